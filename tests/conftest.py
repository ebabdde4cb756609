"""What every test finds as it was: the logs of the process, which a command run within it sets up for itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def logs_put_back() -> Iterator[None]:
    """Puts the process's logs back, if the test has changed them."""
    root, ours = logging.getLogger(), logging.getLogger("ticketd")
    handlers, level, our_level = root.handlers, root.level, ours.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    ours.setLevel(our_level)
    if structlog.is_configured():
        structlog.reset_defaults()
