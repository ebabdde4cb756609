"""The simulation: the whole daemon but sockets and threads on virtual time, under a seeded scheduler.

``script``: what happens, as data made from a seed. ``chance``: nothing random but by the seed. ``world``: the daemon,
its deaths and its new lives, the gateway, the mail, the clock. ``people``: who calls it. ``watch``: what must hold
after every step, and the trace of all that was answered and committed. ``run``: one script from its beginning to its
end. ``shrink``: a script that fails, cut down. ``rung``: many seeds, one after the other.
"""

from tests.ladder.simulation.rung import RUNG

__all__ = ["RUNG"]
