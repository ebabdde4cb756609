"""``python -m ticketd``: the same as the ``ticketd`` command."""

from __future__ import annotations

from ticketd.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
