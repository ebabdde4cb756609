"""Credentials: token keys and tokens, API keys, device fingerprints.

All of it is pure: randomness and time come in as arguments, and only the ``read_…`` functions of
``key_files`` open a file. Which credential opens which endpoint is the endpoints' table's business, not
decided here.
"""
