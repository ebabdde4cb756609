"""How Python's collector of cycles works in a daemon: seldom, and never through what has been there from the start.

Requests make many objects and hardly a cycle. With the settings that Python starts with, the collector looks at the
young ones a hundred times a second, and now and then through all that the daemon holds, which takes tens of
milliseconds.
"""

from __future__ import annotations

import gc
from typing import Final

YOUNG_OBJECTS: Final = 10_000
"""So many more objects than before, and the young ones are looked at: more than are in hand at any moment, or every
crowd of requests would be looked through while it is answered."""
_YOUNG_ROUNDS: Final = 10
_MIDDLE_ROUNDS: Final = 10
"""Those that were alive when they were looked at wait for so many rounds. With a hundred, a daemon grew by about a
MiB a minute for as long as connections came and went."""


def spare_what_stays() -> None:
    """To be called once, when everything is loaded: what there is then is never looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, _YOUNG_ROUNDS, _MIDDLE_ROUNDS)
