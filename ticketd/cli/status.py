"""``ticketd status``: whether the daemon runs, and what is in the store."""

from __future__ import annotations

import argparse
from uuid import UUID

import msgspec

from ticketd.cli.backend import call
from ticketd.cli.options import Commands, add_common_options, add_json_option, load_for
from ticketd.cli.reach import open_backend
from ticketd.cli.room import Room
from ticketd.cli.tables import print_table


class _Seats(msgspec.Struct, frozen=True, kw_only=True):
    available: int
    reserved: int
    sold: int
    blocked: int


class _Hoarding(msgspec.Struct, frozen=True, kw_only=True):
    cooldowns: int
    refusals: dict[str, int]


class _Event(msgspec.Struct, frozen=True, kw_only=True):
    event_id: UUID
    name: str
    date: str
    status: str
    seats: _Seats
    room: Room
    hoarding: _Hoarding


class _Store(msgspec.Struct, frozen=True, kw_only=True):
    used_bytes: int
    map_bytes: int
    disk_free_bytes: int


class _Stats(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    events: list[_Event]
    store: _Store | None


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Adds ``status`` to the command line."""
    parser = commands.add_parser(
        "status",
        help="show whether the daemon runs, events, seats and rooms",
        description="Shows whether the daemon runs, the space that is used, and each event's seats and room.",
    )
    add_common_options(parser)
    add_json_option(parser)
    parser.set_defaults(run=run_status)


def run_status(arguments: argparse.Namespace) -> None:
    """Prints the status."""
    settings = load_for(arguments)
    with open_backend(settings) as backend:
        answer = call(backend, "GET", "/v1/operator/stats")
        running = backend.is_daemon
    if arguments.json:
        print(msgspec.json.encode({"running": running, **msgspec.json.decode(answer)}).decode())
        return
    stats = msgspec.json.decode(answer, type=_Stats)
    print(f"ticketd {stats.version} on {settings.storage.data}: {'running' if running else 'not running'}")
    if stats.store is not None:
        print(
            f"store: {_mib(stats.store.used_bytes)} MiB used of {_mib(stats.store.map_bytes)} MiB reserved, "
            f"{_mib(stats.store.disk_free_bytes)} MiB free on the disk"
        )
    print()
    print_table(_HEAD, map(_row, stats.events))
    for event in stats.events:
        _print_hoarding(event)


_HEAD = ("EVENT", "STATUS", "DATE", "FREE", "HELD", "SOLD", "BLOCKED", "WAIT", "SHOP", "ROOM", "NAME")


def _row(event: _Event) -> tuple[object, ...]:
    seats, room = event.seats, event.room
    state = "off" if not room.enabled else "paused" if room.paused else "open"
    if state == "open" and room.slowed_to_per_minute is not None:
        state = f"slowed to {room.slowed_to_per_minute}/min"
    return (
        event.event_id,
        event.status,
        event.date,
        seats.available,
        seats.reserved,
        seats.sold,
        seats.blocked,
        room.waiting + room.lobby,
        room.active,
        state,
        event.name,
    )


def _print_hoarding(event: _Event) -> None:
    refused = {reason: count for reason, count in event.hoarding.refusals.items() if count}
    if event.hoarding.cooldowns or refused:
        told = ", ".join(f"{count} refused by {reason}" for reason, count in refused.items())
        print(f"hoarding at {event.event_id}: {event.hoarding.cooldowns} cool down{told and ', '}{told}")


def _mib(size: int) -> int:
    return size // (1024 * 1024)
