"""The daemon: rules of the sale, tickets and credentials, long-lived tasks, ports to the outside, and the front.

Each of those is a room of its own (``domain``, ``tasks``, ``ports``, ``front``, ``cli``, ``views``). Nothing is
imported here, so that importing one room never loads another. Endpoints and the wire belong to ``handlers``, keys
and records to ``storage``.
"""
