"""Answers as bytes: what they hold, and that no header can end its line."""

from __future__ import annotations

import email.utils
import http

import h11
import pytest

from handlers.call import Reply
from ticketd.front.answers import UnsafeHeader, app_head, reply_head, status_line

UNSAFE = ["a\r\nX: 1", "a\n", "a\r", "\r\n\r\n", "a\nb\rc"]


def headers_of(head: bytes) -> list[tuple[bytes, bytes]]:
    """As h11 reads them; the head has to end where its bytes do."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="HEAD", target="/", headers=[("host", "a")]))
    client.receive_data(head)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    assert isinstance(client.next_event(), h11.EndOfMessage)
    assert client.trailing_data[0] == b""
    return list(response.headers)


class TestReplies:
    def test_a_whole_head(self) -> None:
        reply = Reply(status=201, body=b"12345", headers=(("Location", "/a"), ("Vary", "b"), ("Vary", "c")))
        head = reply_head(reply, closes=False)
        assert head.startswith(b"HTTP/1.1 201 Created\r\n")
        *others, date = headers_of(head)
        assert others == [
            (b"location", b"/a"),
            (b"vary", b"b"),
            (b"vary", b"c"),
            (b"content-type", b"application/json"),
            (b"content-length", b"5"),
        ]
        assert date[0] == b"date"
        assert email.utils.parsedate_to_datetime(date[1].decode()).tzinfo is not None

    @pytest.mark.parametrize("closes", [True, False])
    def test_the_last_answer_says_so(self, closes: bool) -> None:
        names = headers_of(reply_head(Reply(status=200), closes=closes))
        assert ((b"connection", b"close") in names) is closes

    @pytest.mark.parametrize("status", [204, 304])
    def test_an_answer_without_a_body_has_no_length(self, status: int) -> None:
        names = {name for name, _ in headers_of(reply_head(Reply(status=status), closes=False))}
        assert names == {b"date"}

    def test_an_empty_body_has_one(self) -> None:
        assert (b"content-length", b"0") in headers_of(reply_head(Reply(status=200), closes=False))

    @pytest.mark.parametrize("text", UNSAFE)
    def test_a_header_that_would_end_its_line_is_not_sent(self, text: str) -> None:
        for headers in ((("X", text),), ((text, "1"),), (("A", "1"), ("X", text))):
            with pytest.raises(UnsafeHeader):
                reply_head(Reply(status=200, headers=headers), closes=False)
        with pytest.raises(UnsafeHeader):
            reply_head(Reply(status=200, content_type=text), closes=False)

    def test_a_header_may_hold_any_other_byte_of_latin_1(self) -> None:
        head = reply_head(Reply(status=200, headers=(("X", "\xe9"),)), closes=False)
        assert b"X: \xe9\r\n" in head


class TestApps:
    def test_a_whole_head(self) -> None:
        head = app_head(404, [(b"x", b"1"), (b"content-length", b"0")])
        assert head.startswith(b"HTTP/1.1 404 Not Found\r\nx: 1\r\ncontent-length: 0\r\ndate: ")
        assert len(headers_of(head)) == 3

    @pytest.mark.parametrize("text", UNSAFE)
    def test_a_header_that_would_end_its_line_is_not_sent(self, text: str) -> None:
        for headers in ([(b"x", text.encode())], [(text.encode(), b"1")]):
            with pytest.raises(UnsafeHeader):
                app_head(200, headers)


@pytest.mark.parametrize("status", list(http.HTTPStatus))
def test_status_lines(status: http.HTTPStatus) -> None:
    assert status_line(status) == f"HTTP/1.1 {status.value} {status.phrase}\r\n"


def test_a_status_without_a_phrase() -> None:
    assert status_line(599) == "HTTP/1.1 599 \r\n"
