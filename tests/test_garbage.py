"""That the collector is set for a daemon, in a process of its own: its settings are the whole process's."""

from __future__ import annotations

import subprocess
import sys

ASKED = """
import gc
from ticketd.garbage import YOUNG_OBJECTS, spare_what_stays

class Ring:
    def __init__(self):
        self.itself = self

before_thresholds = gc.get_threshold()
kept = Ring()
spare_what_stays()
assert gc.get_freeze_count() > 1_000
# The older ones are looked at as often as Python does: what is alive in one round is kept until theirs.
assert gc.get_threshold() == (YOUNG_OBJECTS, *before_thresholds[1:])
assert not any(one is kept for one in gc.get_objects())
before = len([one for one in gc.get_objects() if isinstance(one, Ring)])
for _ in range(YOUNG_OBJECTS * 3):
    Ring()
# Cycles that come later are found all the same.
assert len([one for one in gc.get_objects() if isinstance(one, Ring)]) - before < YOUNG_OBJECTS * 2
"""


def test_what_was_there_is_spared_and_later_cycles_are_found() -> None:
    done = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
