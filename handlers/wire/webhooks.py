"""Forms of the webhooks part."""

from __future__ import annotations

from handlers.wire.common import AnswerBody


class WebhookTaken(AnswerBody, frozen=True, kw_only=True):
    """An event was taken."""

    received: bool
