"""Which front the tests of this folder run: the fast one, and where a module says so both, one after the other."""

from __future__ import annotations

import pytest

from tests.front import raw_http


@pytest.fixture(autouse=True)
def front(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kind of front that ``serving`` starts."""
    kind: str = getattr(request, "param", "fast")
    monkeypatch.setattr(raw_http, "FRONT_KIND", kind)
    return kind
