"""How far a rehearsal is, on standard error: one line redrawn on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

from typing import Final, TextIO

from ticketd.rehearsal.measurements import Measurements

PLAIN_SECONDS: Final = 5.0


class Progress:
    """Writes a line for each state that is shown, as ``out`` can take it."""

    def __init__(self, out: TextIO, buyers: int) -> None:
        self._out = out
        self._buyers = buyers
        self._redraws = out.isatty()
        self._shown_at_s: float | None = None
        self._requests = 0

    def show(self, notes: Measurements, through: int) -> None:
        """Shows the state, unless a plain line was written just now."""
        elapsed_s = notes.elapsed_s
        is_last = through == self._buyers
        since_s = elapsed_s - (self._shown_at_s or 0.0)
        is_fresh = self._shown_at_s is not None and since_s < PLAIN_SECONDS
        if not self._redraws and not is_last and is_fresh:
            return
        rate = (notes.requests - self._requests) / since_s if since_s > 0 else 0.0
        self._shown_at_s, self._requests = elapsed_s, notes.requests
        line = (
            f"{elapsed_s:5.0f} s  joined {notes.joined}/{self._buyers}  waiting {notes.waiting}  "
            f"shopping {notes.shopping}  seats sold {notes.seats_bought}  through {through}  "
            f"errors {notes.errors}  {rate:.0f} req/s"
        )
        self._out.write(f"\r\x1b[K{line}" if self._redraws else f"{line}\n")
        self._out.flush()

    def finish(self) -> None:
        """Leaves the line that was redrawn."""
        if self._redraws:
            self._out.write("\n")
            self._out.flush()
