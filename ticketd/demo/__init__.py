"""What ``ticketd serve --demo`` brings along: three events, a key, and a tour to copy and paste."""
