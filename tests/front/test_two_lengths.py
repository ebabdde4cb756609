from __future__ import annotations

import h11
import pytest

from ticketd.front.http11 import _refusal_of
from ticketd.front.refusals import FrontRefusal

LENGTH = ("Content-Length", "5")
CHUNKED = ("Transfer-Encoding", "chunked")


@pytest.mark.parametrize(
    ("lengths", "refusal"),
    [((), None), ((LENGTH,), None), ((CHUNKED,), None), ((LENGTH, CHUNKED), FrontRefusal.TWO_LENGTHS)],
)
def test_a_request_says_once_how_long_its_body_is(
    lengths: tuple[tuple[str, str], ...], refusal: FrontRefusal | None
) -> None:
    request = h11.Request(method="POST", target="/", headers=[("Host", "h"), *lengths])
    assert _refusal_of(request) is refusal
