"""The rules of the sale, as pure transitions over a transaction.

A transition is synchronous: no clock but the transaction's, no randomness, no network, no log; every check stands
before the first write. Who is told, what is shown and when it runs again belong to the rooms above.
"""
