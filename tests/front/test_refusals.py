"""Every refusal is a whole HTTP answer in the API's error form."""

from __future__ import annotations

import json
import uuid

import h11
import pytest

from ticketd.errors import ErrorCode
from ticketd.front.refusals import FrontRefusal, refusal_bytes


@pytest.mark.parametrize("refusal", FrontRefusal)
def test_form(refusal: FrontRefusal) -> None:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    client.receive_data(refusal_bytes(refusal))
    response, data, end = client.next_event(), client.next_event(), client.next_event()
    assert isinstance(response, h11.Response)
    assert isinstance(data, h11.Data)
    assert isinstance(end, h11.EndOfMessage)
    assert response.status_code == refusal.status
    headers = dict(response.headers)
    assert b"close" in headers[b"connection"].split(b", ")
    assert (headers.get(b"sec-websocket-version") == b"13") == (refusal.status == 426)
    assert (headers.get(b"upgrade") == b"websocket") == (refusal.status == 426)
    assert (b"retry-after" in headers) == (refusal.status == 503)
    error = json.loads(data.data)["error"]
    assert set(error) == {"code", "message", "details", "request_id", "timestamp"}
    assert error["code"] in ErrorCode.__members__
    assert error["details"] == {}
    assert str(uuid.UUID(error["request_id"])) == headers[b"x-request-id"].decode()
    assert error["timestamp"].endswith("Z")


def test_each_answer_has_its_own_request_id() -> None:
    assert refusal_bytes(FrontRefusal.NOT_HTTP) != refusal_bytes(FrontRefusal.NOT_HTTP)


def test_without_a_body() -> None:
    assert refusal_bytes(FrontRefusal.NOT_HTTP, with_body=False).endswith(b"\r\n\r\n")


def test_all_are_told_apart() -> None:
    assert len({refusal.message for refusal in FrontRefusal}) == len(FrontRefusal)
