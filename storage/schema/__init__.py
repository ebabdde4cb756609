"""What is stored: states and their legal moves, typed records, events of the change log, and where each lies."""
