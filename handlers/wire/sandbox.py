"""The form of the sandbox gateway's page."""

from __future__ import annotations

from typing import Literal

from handlers.wire.common import RequestBody


class ChallengeForm(RequestBody, frozen=True, kw_only=True):
    """What the buyer chose."""

    outcome: Literal["complete", "fail"]
