"""The version of ticketd, from the metadata of the installed package. Nothing else."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

VERSION: Final = version("ticketd")
