"""The long-lived background tasks: holds, rooms, payments, mail, housekeeping.

Each has no input but the store, is idempotent, does a bounded batch for each commit, and can be killed at any point.
The rules it applies are transitions of ``ticketd.domain``; the nursery that runs it is opened above.
"""
