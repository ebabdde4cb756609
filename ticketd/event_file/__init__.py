"""The event file: what it may say, how it is read, and how an event is written back as one.

Bytes in, an ``EventPlan`` out, or all that is wrong with the file at once. Nothing here knows a store, a network or a
clock. ``parse.parse_event_file`` and ``document.plan_to_document`` are the two doors.
"""
