"""Options that every command takes, and the settings that follow from them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from config import LoadedSettings, Settings, load_settings
from ticketd.cli.failures import DEBUG_VARIABLE

OPERATOR_KEY_VARIABLE: Final = "TICKETD_OPERATOR_KEY"
"""The operator key with which commands call a daemon whose operator's listener is on TCP."""

_NO_SETTINGS: Final = frozenset({DEBUG_VARIABLE, OPERATOR_KEY_VARIABLE})

# argparse has no public name for what add_subparsers returns.
Commands = argparse._SubParsersAction


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--config`` and ``--data``."""
    parser.add_argument("--config", metavar="FILE", type=Path, help="a TOML file of settings")
    parser.add_argument("--data", metavar="DIR", help="the data folder (default: storage.data)")


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Adds ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def load_all(arguments: argparse.Namespace, flags: Mapping[str, object] | None = None) -> LoadedSettings:
    """The settings that a command runs with, and where each came from. Refuses with SettingsError."""
    environ = {name: value for name, value in os.environ.items() if name not in _NO_SETTINGS}
    given = {"storage.data": arguments.data, **(flags or {})}
    return load_settings(arguments.config, environ, given)


def load_for(arguments: argparse.Namespace, flags: Mapping[str, object] | None = None) -> Settings:
    """The settings that a command runs with. Refuses with SettingsError."""
    return load_all(arguments, flags).settings
