"""File modes do not bind root, so a test of them runs as somebody else where it can."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_NOBODY = 65534

needs_another_user = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can make files that the test may not read, and run as another user"
)


@contextmanager
def world_folder() -> Iterator[Path]:
    """A new folder that every user may enter and write; a test's own lies within one that is its owner's alone."""
    folder = Path(tempfile.mkdtemp(prefix="ticketd-test-"))
    folder.chmod(0o777)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Runs the block with another user's rights."""
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
