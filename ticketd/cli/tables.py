"""Lists on the command line: fetched page by page, printed in columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Final

import msgspec

from ticketd.cli.backend import Backend, call

_PER_PAGE: Final = 100


def fetch_pages(backend: Backend, path: str, name: str) -> list[object]:
    """All items of a list, whose answer has them under ``name``."""
    items: list[object] = []
    for page in count(1):
        answer = msgspec.json.decode(call(backend, "GET", f"{path}?page={page}&per_page={_PER_PAGE}"))
        items += answer[name]
        if page * _PER_PAGE >= answer["pagination"]["total"]:
            break
    return items


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints rows under their heads, each column as wide as its widest cell; numbers stand on the right."""
    body = [list(row) for row in rows]
    cells = [[str(cell) for cell in row] for row in (head, *body)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    for number, row in enumerate(cells):
        shown = [
            cell.rjust(width) if number and isinstance(body[number - 1][at], int) else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(shown).rstrip())
