"""How many calls a caller may make: pure forms of counting, which know neither HTTP nor the store.

Time is handed in, in milliseconds. Counts live in memory alone: a restart begins anew.
"""
