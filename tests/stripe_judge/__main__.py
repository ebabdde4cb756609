"""``python -m tests.stripe_judge --port 0 --data judge.sqlite``: serves until it is ended, and says first where."""

from __future__ import annotations

import argparse
from pathlib import Path

import trio

from tests.stripe_judge.judge import Judge
from tests.stripe_judge.server import serve


async def _main(judge: Judge, port: int) -> None:
    async with trio.open_nursery() as nursery:
        url = await nursery.start(serve, judge, port)
        print(f"the judge listens on {url}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.stripe_judge", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--data", type=Path, required=True, help="the file in which it keeps what it knows")
    parser.add_argument("--key", default="sk_test_judge", help="the API key that it takes")
    given = parser.parse_args()
    judge = Judge(given.data, api_key=given.key)
    trio.run(_main, judge, given.port)


if __name__ == "__main__":
    main()
