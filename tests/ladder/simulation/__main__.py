"""Plays one script again: ``python -m tests.ladder.simulation FILE``, or ``SEED`` for that which the seed makes."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.ladder.simulation.run import play
from tests.ladder.simulation.rung import read_script
from tests.ladder.simulation.script import write_script


def main() -> int:
    """1 if the script fails."""
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    given = sys.argv[1]
    outcome = play(write_script(int(given)) if given.isdecimal() else read_script(Path(given)))
    print(f"trace {outcome.trace}")
    print(", ".join(f"{name} {count}" for name, count in sorted(outcome.figures.items())))
    print("\n".join(outcome.problems) or "nothing was found")
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
