"""What is read often, kept in memory and rebuilt from the store: search, seat maps, keys.

A view follows the change log and never decides anything: a command always reads the store itself.
"""
