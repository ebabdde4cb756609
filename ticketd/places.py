"""The names of what the daemon keeps in its data folder beside the store, and of the demonstration's folder."""

from __future__ import annotations

from typing import Final

SOCKET_FILE: Final = "operator.sock"
"""The operator's door; its file mode is the credential."""
OUTBOX_FOLDER: Final = "outbox"
"""Mails, where no server for them is configured."""
SANDBOX_FILE: Final = "sandbox-payments.sqlite"
"""What the sandbox gateway remembers."""
DEMO_FOLDER: Final = "ticketd-demo"
"""The data folder of a demonstration for which none is named."""
