"""Options that every command takes, and the settings that follow from them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from config import Settings, load_settings


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--config`` and ``--data``."""
    parser.add_argument("--config", metavar="FILE", type=Path, help="a TOML file of settings")
    parser.add_argument("--data", metavar="DIR", help="the data folder (default: storage.data)")


def load_for(arguments: argparse.Namespace, flags: Mapping[str, object] | None = None) -> Settings:
    """The settings that a command runs with. Refuses with SettingsError."""
    given = {"storage.data": arguments.data, **(flags or {})}
    return load_settings(arguments.config, os.environ, given).settings
