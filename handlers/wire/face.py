"""Forms of the daemon's own face."""

from __future__ import annotations

from handlers.wire.common import AnswerBody


class HealthAnswer(AnswerBody, frozen=True, kw_only=True):
    """That the daemon answers."""

    status: str
