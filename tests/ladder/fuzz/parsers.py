"""The front's readers of bytes, fed in this process with what is nearly right: thousands of cases a second."""

from __future__ import annotations

import random
from itertools import count
from typing import Final

from tests.ladder.front_targets import SAMPLES, TARGETS
from tests.ladder.fuzz.cases import Log
from tests.ladder.fuzz.mutation import change_bytes, change_head, in_chunks
from tests.ladder.fuzz.scene import Scene

PART: Final = "parsers"


def play_parsers(_: Scene, log: Log, seconds: float) -> None:
    """Feeds one reader after another for so long."""
    over = log.until(PART, seconds)
    names = sorted(TARGETS)
    for number in count(log.played.get(PART, 0)):
        if over():
            return
        name = names[number % len(names)]
        data = nearly(log.chance(PART, number), name)
        try:
            TARGETS[name](data)
            wrong = None
        except Exception as error:  # whatever it may raise is what is looked for
            wrong = f"{name}: {error!r} of {data!r}"[:3000]
        log.note(PART, number, wrong)


def nearly(chance: random.Random, name: str) -> bytes:
    """What the reader of this name takes, but for some changes."""
    sample = chance.choice(SAMPLES[name])
    if name in {"head", "upgrade"} and chance.random() < 0.7:
        return change_head(chance, sample)
    if name == "chunks" and chance.random() < 0.5:
        chunked = in_chunks(chance, b"\r\n\r\n" + chance.randbytes(chance.randint(0, 40)))
        return chunked.partition(b"\r\n\r\n")[2]
    return change_bytes(chance, sample)
