"""``ticketd room``: pausing a waiting room, resuming it, and how many it lets in."""

from __future__ import annotations

import argparse
from uuid import UUID

import msgspec

from ticketd.cli.backend import call
from ticketd.cli.failures import CommandFailed
from ticketd.cli.options import Commands, add_common_options, add_json_option, load_for
from ticketd.cli.reach import open_backend

_LIMITS = ("max_active", "admit_per_minute", "capacity")


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """A room as the daemon tells of it."""

    event_id: UUID
    enabled: bool
    paused: bool
    max_active: int
    admit_per_minute: int
    slowed_to_per_minute: int | None = None
    capacity: int
    lobby: int
    waiting: int
    active: int
    admitted: int


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Adds ``room`` to the command line."""
    parser = commands.add_parser("room", help="waiting rooms", description="An event's waiting room.")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    pause = actions.add_parser(
        "pause", help="let nobody in until resumed", description="Lets nobody in until resumed."
    )
    pause.set_defaults(change={"pause": True})
    resume = actions.add_parser("resume", help="let buyers in again", description="Lets buyers in again.")
    resume.set_defaults(change={"resume": True})
    setting = actions.add_parser(
        "set",
        help="change how many are let in",
        description="Changes how many are let in; at least one option.",
    )
    setting.set_defaults(change={})
    setting.add_argument("--max-active", metavar="N", type=int, help="so many shop at once")
    setting.add_argument("--admit-per-minute", metavar="N", type=int, help="so many are let in in a minute")
    setting.add_argument("--capacity", metavar="N", type=int, help="so many may wait")
    for action in (pause, resume, setting):
        action.add_argument("event_id", metavar="EVENT_ID", type=_uuid)
        add_common_options(action)
        add_json_option(action)
        action.set_defaults(run=run_room)


def run_room(arguments: argparse.Namespace) -> None:
    """Changes a room and prints it as it is then."""
    limits = {name: getattr(arguments, name, None) for name in _LIMITS}
    change = {**arguments.change, **{name: value for name, value in limits.items() if value is not None}}
    if not change:
        raise CommandFailed("nothing to change: give --max-active, --admit-per-minute or --capacity")
    with open_backend(load_for(arguments)) as backend:
        answer = call(backend, "POST", f"/v1/operator/rooms/{arguments.event_id}", change)
    if arguments.json:
        print(answer.decode())
        return
    room = msgspec.json.decode(answer, type=Room)
    print(f"{'paused' if room.paused else 'open'}: {told_room(room)}")


def told_room(room: Room) -> str:
    """A room's limits and counts in one line."""
    slowed = "" if room.slowed_to_per_minute is None else f", slowed to {room.slowed_to_per_minute}"
    return (
        f"{room.active} of {room.max_active} shop, {room.waiting + room.lobby} of {room.capacity} wait, "
        f"{room.admit_per_minute} a minute are let in{slowed}"
    )


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a UUID") from None
