"""The command line of the ladder: ``scripts/ladder``."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.ladder.climb import climb, plant_all, tell, write_verdicts
from tests.ladder.rungs import NAMES, plants_of, rung_named

MINUTES: Final = 10.0
"""How long a climb takes if nothing is said."""
_EXIT: Final = """\
exit status: 0 if all that was climbed passed; 1 if something was found, or a planted bug was missed; 2 for a wrong
command line; 3 if nothing was found, and a rung proved nothing
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Climbs, plants or lists; the exit status."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    names = [name for name in NAMES if name in (chosen.rung or NAMES)]
    if chosen.list:
        return _list(names)
    if chosen.planted:
        return plant_all(names)
    seed = secrets.randbelow(1_000_000_000) if chosen.seed is None else chosen.seed
    verdicts = climb(names, chosen.minutes * 60, seed)
    if chosen.json is not None:
        write_verdicts(verdicts, chosen.json)
    return tell(verdicts)


def _list(names: Sequence[str]) -> int:
    for name in names:
        rung = rung_named(name)
        print(f"{name:12}  {rung.share:5.1f}  {len(plants_of(name)):3} planted  {rung.summary}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/ladder",
        description="Tries to break the product in every way that is known, one rung after another.",
        epilog=_EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--minutes",
        type=_minutes,
        default=MINUTES,
        metavar="N",
        help=f"for all together (default {MINUTES:g})",
    )
    parser.add_argument(
        "--rung",
        action="append",
        choices=NAMES,
        metavar="NAME",
        help=f"only this one; more than once for several: {', '.join(NAMES)}",
    )
    parser.add_argument(
        "--seed", type=_seed, metavar="N", help="all that is random follows from it (default: drawn)"
    )
    parser.add_argument("--json", type=_new_file, metavar="FILE", help="write the verdicts there, too")
    parser.add_argument(
        "--planted", action="store_true", help="plant the bugs that the rungs must find, and see"
    )
    parser.add_argument(
        "--list", action="store_true", help="name the rungs, their shares of the time, their bugs"
    )
    return parser


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0
    if not 0 < minutes <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes: type one such as 60, or 0.5")
    return minutes


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no seed: type a whole number, 0 or more")
    return int(text)


def _new_file(text: str) -> Path:
    """A file that can be written; an hour's climb must not find out at its end that it cannot."""
    file = Path(text)
    is_writable = os.access(file, os.W_OK) if file.exists() else os.access(file.parent, os.W_OK | os.X_OK)
    if file.is_dir() or not is_writable:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: type a file in a folder that is there")
    return file


if __name__ == "__main__":
    sys.exit(main())
