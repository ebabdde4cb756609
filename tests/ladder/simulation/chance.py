"""Nothing random but by the seed: ids, secrets and Trio's choice of the next task, for as long as a block lasts.

The product is not asked to know of it: what it draws from is replaced where it is drawn.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from unittest.mock import patch

import trio._core._run as trio_run

from ticketd import ids


@contextmanager
def seeded(seed: int, now_ns: Callable[[], int]) -> Iterator[random.Random]:
    """Yields the source of all that is random in this process. ``now_ns`` dates new ids."""
    source = random.Random(seed)
    fresh_ids = ids.IdSource(now_ns, source.randbytes)
    made_ids = ids.new_id.__self__  # type: ignore[attr-defined]  # the bound method that everybody has imported
    with ExitStack() as stack:
        stack.enter_context(patch.object(os, "urandom", source.randbytes))
        # What secrets and SystemRandom draw from.
        stack.enter_context(patch.object(random, "_urandom", source.randbytes))
        for name in ("_now_ns", "_random", "_newest"):
            stack.enter_context(patch.object(made_ids, name, getattr(fresh_ids, name)))
        # Ids that are only shown are made of noise of their own, and dated by the machine.
        stack.enter_context(patch.object(ids, "_noise", source.getrandbits))
        stack.enter_context(patch.object(ids, "time", SimpleNamespace(time_ns=now_ns)))
        stack.enter_context(patch.object(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True))
        stack.enter_context(patch.object(trio_run, "_r", random.Random(seed)))
        yield source
