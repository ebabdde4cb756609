"""The HTTP face: the wire structs, the one table of endpoints, and thin endpoints, one file for each part of the API.

An endpoint turns a call into a command and its result into a reply. Rules of the sale and storage keys do not belong
here, and sockets belong to ``ticketd.front``.
"""
