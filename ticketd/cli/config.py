"""``ticketd config``: what the settings are, where each came from, and whether they can be used."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping

import msgspec

from config import render_settings
from ticketd.cli.failures import CommandFailed
from ticketd.cli.options import Commands, add_common_options, add_json_option, load_all


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Adds ``config`` to the command line."""
    parser = commands.add_parser("config", help="show or check the settings", description="The settings.")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    show = actions.add_parser(
        "show",
        help="print every setting and where it came from",
        description="Prints every setting in the form of the file, and where each came from. Secrets are not shown.",
    )
    add_json_option(show)
    show.set_defaults(run=run_show)
    check = actions.add_parser(
        "check",
        help="tell whether a daemon could start with them",
        description="Reads the settings as the daemon would, and tells all that is wrong with them.",
    )
    add_json_option(check)
    check.set_defaults(run=run_check)
    for action in (show, check):
        add_common_options(action)


def run_show(arguments: argparse.Namespace) -> None:
    """Prints all settings. Refuses with SettingsError."""
    loaded = load_all(arguments)
    groups = render_settings(loaded.settings)
    if arguments.json:
        print(msgspec.json.encode({"settings": groups, "sources": loaded.sources}).decode())
        return
    print("\n\n".join(_group(name, values, loaded.sources) for name, values in groups.items()))


def run_check(arguments: argparse.Namespace) -> None:
    """Says that the settings can be used. Refuses with SettingsError, or CommandFailed for what they name outside."""
    settings = load_all(arguments).settings
    # What only the daemon knows of: showing the settings does without it.
    from ticketd.credentials.key_files import CredentialFileError  # noqa: PLC0415
    from ticketd.front.certificates import CertificateError, load_certificates  # noqa: PLC0415
    from ticketd.outside import open_external_issuer  # noqa: PLC0415

    try:
        load_certificates(settings.server)
        open_external_issuer(settings.auth)
    except (CertificateError, CredentialFileError) as problem:
        raise CommandFailed(str(problem)) from None
    print('{"usable":true}' if arguments.json else "the settings can be used")


def _group(group: str, values: Mapping[str, object], sources: Mapping[str, str]) -> str:
    lines = [f"[{group}]"]
    for name, value in values.items():
        lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}  # {sources[f'{group}.{name}']}")
    return "\n".join(lines)
