"""Which front the tests of this folder run: the fast one, and where a module says so both, one after the other; and hot
endpoints behind it, which answer at once or later."""

from __future__ import annotations

import pytest

from tests.front import raw_http
from tests.front.hot_stage import Stage


@pytest.fixture(autouse=True)
def front(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kind of front that ``serving`` starts."""
    kind: str = getattr(request, "param", "fast")
    monkeypatch.setattr(raw_http, "FRONT_KIND", kind)
    return kind


@pytest.fixture(params=[True, False], ids=["at once", "later"])
def stage(request: pytest.FixtureRequest) -> Stage:
    return Stage(at_once=request.param)
