"""What changes, told to those who asked for it, as it changes: the hub and what it keeps for each connection.

Nothing of sockets, JSON or tokens is known here, and nothing is decided: whoever is told of a change finds the same in
the store.
"""
