"""How Python's collector of cycles works in a daemon: seldom, and never through what has been there from the start.

Requests make many objects and hardly a cycle. With the settings that Python starts with, the collector looks at the
young ones a hundred times a second, and now and then through all that the daemon holds, which takes tens of
milliseconds.
"""

from __future__ import annotations

import gc
from typing import Final

YOUNG_OBJECTS: Final = 50_000
"""So many more objects than before, and the young ones are looked at."""
_YOUNG_ROUNDS: Final = 20
_MIDDLE_ROUNDS: Final = 100


def spare_what_stays() -> None:
    """To be called once, when everything is loaded: what there is then is never looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, _YOUNG_ROUNDS, _MIDDLE_ROUNDS)
