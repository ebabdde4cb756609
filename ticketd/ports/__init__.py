"""What the daemon calls in the world outside: payments and mail, each a port with its implementations."""
