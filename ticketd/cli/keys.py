"""``ticketd keys``: API keys made, listed and revoked; signing keys rotated."""

from __future__ import annotations

import argparse
from typing import Final
from urllib.parse import quote

import msgspec

from ticketd.cli.backend import call
from ticketd.cli.options import Commands, add_common_options, add_json_option, load_for
from ticketd.cli.reach import open_backend
from ticketd.cli.tables import fetch_pages, print_table
from ticketd.credentials.api_keys import Scope
from ticketd.domain.keys import SIGNING_KEY_KINDS

_SCOPES: Final = tuple(scope.value for scope in Scope)


class _Key(msgspec.Struct, frozen=True):
    key_id: str
    scope: str
    name: str
    created_at: str
    revoked_at: str | None


class _Created(msgspec.Struct, frozen=True):
    key: str


class _Rotated(msgspec.Struct, frozen=True):
    kid: str


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Adds ``keys`` to the command line."""
    parser = commands.add_parser(
        "keys", help="API keys and signing keys", description="API keys and signing keys."
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    create = actions.add_parser(
        "create",
        help="create an API key and print it",
        description="Creates an API key and prints it alone. It is shown this once; the store keeps only a hash of it.",
    )
    create.add_argument(
        "--scope",
        choices=_SCOPES,
        default=Scope.STOREFRONT.value,
        help="public: a browser or an app; storefront (the default): a trusted server; operator; gate; box_office: "
        "a till",
    )
    create.add_argument("--name", default="", help="for people: who has it (at most 100 characters)")
    create.set_defaults(run=run_create)
    listing = actions.add_parser(
        "list", help="list API keys", description="Lists API keys, revoked ones too."
    )
    add_json_option(listing)
    listing.set_defaults(run=run_list)
    revoke = actions.add_parser(
        "revoke", help="revoke an API key", description="Revokes an API key, at once and for good."
    )
    revoke.add_argument("key_id", metavar="ID", help="the key's id, as 'keys list' shows it (not the key)")
    revoke.set_defaults(run=run_revoke)
    rotate = actions.add_parser(
        "rotate",
        help="put a fresh signing key in force",
        description="Puts a fresh signing key in force and prints its id. Tokens and tickets that older keys signed "
        "stay valid; links to tickets that were sent out (kind link) do not.",
    )
    rotate.add_argument("kind", metavar="KIND", choices=SIGNING_KEY_KINDS, help=" | ".join(SIGNING_KEY_KINDS))
    rotate.set_defaults(run=run_rotate)
    for action in (create, listing, revoke, rotate):
        add_common_options(action)


def run_create(arguments: argparse.Namespace) -> None:
    """Prints a new API key, and nothing else."""
    with open_backend(load_for(arguments), create=True) as backend:
        body = {"scope": arguments.scope, "name": arguments.name}
        print(msgspec.json.decode(call(backend, "POST", "/v1/operator/keys", body), type=_Created).key)


def run_list(arguments: argparse.Namespace) -> None:
    """Prints all API keys."""
    with open_backend(load_for(arguments)) as backend:
        keys = fetch_pages(backend, "/v1/operator/keys", "keys")
    if arguments.json:
        print(msgspec.json.encode(keys).decode())
        return
    rows = [
        (key.key_id, key.scope, key.created_at, key.revoked_at or "-", key.name or "-")
        for key in msgspec.convert(keys, list[_Key])
    ]
    print_table(("ID", "SCOPE", "CREATED", "REVOKED", "NAME"), rows)


def run_revoke(arguments: argparse.Namespace) -> None:
    """Revokes a key."""
    with open_backend(load_for(arguments)) as backend:
        call(backend, "DELETE", f"/v1/operator/keys/{quote(arguments.key_id, safe='')}")
    print(f"revoked {arguments.key_id}")


def run_rotate(arguments: argparse.Namespace) -> None:
    """Prints the id of the signing key that is in force now."""
    with open_backend(load_for(arguments)) as backend:
        answer = call(backend, "POST", f"/v1/operator/signing-keys/{arguments.kind}/rotate")
    print(msgspec.json.decode(answer, type=_Rotated).kid)
