"""How a command reaches what it works on: the daemon's operator's listener while one runs, else the store itself.

Either way the very same endpoints answer: over the socket in the daemon, on the store in this process. So a command
does the same, and says the same, with the daemon up and down.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from config.settings import Settings
from ticketd.cli.backend import Backend
from ticketd.cli.daemon import find_daemon


@contextmanager
def open_backend(settings: Settings, *, create: bool = False) -> Iterator[Backend]:
    """The daemon of the data folder if it answers, else its store. ``create`` makes a folder that is not there yet.

    Refuses with CommandFailed if the daemon cannot be called, and with StorageError what opening the store refuses; a
    folder without a store, too, unless ``create`` is set.
    """
    daemon = find_daemon(settings)
    if daemon is not None:
        with closing(daemon):
            yield daemon
        return
    # Where a daemon answers, the command is spared half a second of loading what only the store needs.
    from ticketd.cli.store import open_store  # noqa: PLC0415

    with open_store(settings, create=create) as store:
        yield store
