"""Verification: walks a whole store and names every invariant that does not hold.

It reads records and nothing else, and shares no code with the domain that wrote them: a fault of the one is not
repeated by the other. Each invariant is a function that yields what is wrong, so that a simulation can run them after
every step on one event (``verify_event``), and ``ticketd verify`` on everything (``verify_store``).
"""

from storage.verify.problem import Problem
from storage.verify.store import verify_event, verify_store

__all__ = ["Problem", "verify_event", "verify_store"]
