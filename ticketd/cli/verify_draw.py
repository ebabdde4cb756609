"""``ticketd verify-draw``: checks the saved draw of a lobby against its commitment, place by place."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from storage.schema.draws import ALGORITHM, SEED_BYTES, commitment_of, drawn_places
from ticketd.cli.failures import CommandFailed
from ticketd.cli.options import Commands, add_common_options, add_json_option

_DRAWN: Final = "DRAWN"
_WANTED: Final = "GET /v1/queue/draw?event_id=EVENT_ID&full=true, once its status is DRAWN"


class _SavedDraw(msgspec.Struct, frozen=True, kw_only=True):
    """The full answer, as far as it is needed; ``entries`` and ``order`` are missing in the short one."""

    event_id: UUID
    status: str
    algorithm: str
    commitment: str
    entry_count: int
    seed: str | None = None
    entries: list[UUID] | None = None
    order: list[UUID] | None = None


class _Verified(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What ``--json`` prints; ``rank`` is the place of the entry that was asked for, 1 for the first drawn."""

    event_id: UUID
    commitment: str
    entry_count: int
    entries_sha256: str
    entry: UUID | None = None
    joined: int | None = None
    rank: int | None = None


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Adds ``verify-draw`` to the command line."""
    parser = commands.add_parser(
        "verify-draw",
        help="check the draw of a lobby",
        description="Reads a saved draw, checks that its seed is the one that was committed to, and works out every "
        f"place anew. Needs no store and no daemon. The file is the answer of {_WANTED}. Compare the commitment that "
        "is printed with the one that was published before the opening. Ends with 1 if anything differs.",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the saved answer")
    parser.add_argument("--entry", metavar="ID", type=UUID, help="tell where this entry was drawn")
    add_common_options(parser)
    add_json_option(parser)
    parser.set_defaults(run=run_verify_draw)


def run_verify_draw(arguments: argparse.Namespace) -> None:
    """Prints what was checked. Raises CommandFailed with the first difference."""
    draw = _read(arguments.file)
    verified = _verify(draw, arguments.entry)
    if arguments.json:
        print(msgspec.json.encode(verified).decode())
        return
    print(f"the draw of event {draw.event_id} is what its seed and its {draw.entry_count} entries give")
    print(f"commitment: {verified.commitment}")
    print(f"SHA-256 of the entries in order of joining: {verified.entries_sha256}")
    if verified.entry is not None:
        print(
            f"entry {verified.entry}: joined as {verified.joined}, drawn as {verified.rank} of {draw.entry_count}"
        )


def _read(file: Path) -> _SavedDraw:
    try:
        draw = msgspec.json.decode(file.read_bytes(), type=_SavedDraw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CommandFailed(f"{file} is no saved draw ({error}); save the answer of {_WANTED}") from None
    if draw.status != _DRAWN:
        raise CommandFailed(
            f"{file}: the draw was not made when this was saved; save the answer of {_WANTED}"
        )
    if draw.seed is None or draw.entries is None or draw.order is None:
        raise CommandFailed(f"{file} has no list of the entries; save the answer of {_WANTED}")
    return draw


def _verify(draw: _SavedDraw, entry: UUID | None) -> _Verified:
    """Checks everything in turn. Raises CommandFailed with the first difference."""
    entries, order = draw.entries or [], draw.order or []
    if draw.algorithm != ALGORITHM:
        raise CommandFailed(f"the algorithm is {draw.algorithm}; this release knows {ALGORITHM}")
    seed = _seed_of(draw)
    if len(entries) != draw.entry_count or len(order) != draw.entry_count:
        raise CommandFailed(
            f"entry_count is {draw.entry_count}, and {len(entries)} entries and {len(order)} places are listed"
        )
    if len(set(entries)) != len(entries):
        raise CommandFailed("an entry is listed twice")
    ids = b"".join(one.bytes for one in entries)
    rank = 0
    for piece in drawn_places(seed, ids):
        for place in piece:
            if order[rank] != entries[place]:
                raise CommandFailed(
                    f"place {rank + 1} differs: {order[rank]} is told, {entries[place]} was drawn"
                )
            rank += 1
    if entry is not None and entry not in entries:
        raise CommandFailed(f"entry {entry} was not in the draw")
    return _Verified(
        event_id=draw.event_id,
        commitment=draw.commitment,
        entry_count=draw.entry_count,
        entries_sha256=hashlib.sha256(ids).hexdigest(),
        entry=entry,
        joined=None if entry is None else entries.index(entry) + 1,
        rank=None if entry is None else order.index(entry) + 1,
    )


def _seed_of(draw: _SavedDraw) -> bytes:
    """The seed, which is the one that was committed to. Raises CommandFailed."""
    try:
        seed = bytes.fromhex(draw.seed or "")
    except ValueError:
        seed = b""
    # Python also reads capitals and spaces; what is published has neither, and another program may not read them.
    if not seed or seed.hex() != draw.seed:
        raise CommandFailed("the seed is not written in hex, two digits in lower case for each byte")
    if len(seed) != SEED_BYTES or commitment_of(seed).hex() != draw.commitment:
        raise CommandFailed(
            f"the seed is not the one that was committed to: its hash is not {draw.commitment}"
        )
    return seed
