"""The rehearsal of an on-sale: a crowd of buyers played against a daemon over its API, and a report of what they met.

It knows the daemon by its API alone and reads answers with forms of its own: code shared with the server would hide a
fault of the server. Only where the rehearsal made the daemon itself is the store read, too, once the daemon has ended.
"""
