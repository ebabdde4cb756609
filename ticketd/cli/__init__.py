"""The command line: one file for each command, and nothing that the daemon needs to serve."""
