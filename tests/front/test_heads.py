"""Heads: what is refused, and that what passes cannot be read in another way."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ticketd.front.heads import CHUNKED, Head, fault_of_part, origin_form, read_head
from ticketd.front.refusals import FrontRefusal

HOST = b"Host: a\r\n"
GET = b"GET / HTTP/1.1\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST
NOT_HTTP, TWO_LENGTHS, TARGET = FrontRefusal.NOT_HTTP, FrontRefusal.TWO_LENGTHS, FrontRefusal.TARGET

STRICT = re.compile(
    rb"(?P<method>[!#$%&'*+\-.^_`|~0-9A-Za-z]+) (?P<target>[\x21-\x7e]+) HTTP/1\.[01]\r\n"
    rb"(?P<fields>(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*)\r\n"
)
"""RFC 9112 without what it lets a reader forgive: the judge of what may pass."""


def passed(data: bytes) -> Head:
    found = read_head(data)
    assert isinstance(found, Head), found
    return found


@pytest.mark.parametrize(
    ("data", "refusal"),
    {
        "nothing": (b"\r\n\r\n", NOT_HTTP),
        "words": (b"hello there\r\n\r\n", NOT_HTTP),
        "no version": (b"GET /\r\n\r\n", NOT_HTTP),
        "HTTP/0.9": (b"GET / HTTP/0.9\r\n\r\n", FrontRefusal.HTTP_VERSION),
        "HTTP/1.2": (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", NOT_HTTP),
        "another protocol": (b"GET / RTSP/1.0\r\n" + HOST + b"\r\n", FrontRefusal.NOT_HTTP),
        "HTTP/2.0": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", FrontRefusal.HTTP_VERSION),
        "http/1.1": (b"GET / http/1.1\r\n" + HOST + b"\r\n", NOT_HTTP),
        "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\n", FrontRefusal.HTTP_VERSION),
        "an empty line first": (b"\r\n" + GET + HOST + b"\r\n", NOT_HTTP),
        "a space first": (b" " + GET + HOST + b"\r\n", NOT_HTTP),
        "two spaces": (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", NOT_HTTP),
        "two spaces behind the target": (b"GET /  HTTP/1.1\r\n" + HOST + b"\r\n", NOT_HTTP),
        "a space behind the version": (b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n", NOT_HTTP),
        "a tab for a space": (b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n", NOT_HTTP),
        "a space within the target": (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", NOT_HTTP),
        "NUL in the method": (b"G\0T / HTTP/1.1\r\n" + HOST + b"\r\n", NOT_HTTP),
        "NUL in the target": (b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n", NOT_HTTP),
        "a byte above ASCII in the target": (b"GET /\xe9 HTTP/1.1\r\n" + HOST + b"\r\n", NOT_HTTP),
        "unknown method, bad target": (b"BREW /\xe9 HTTP/1.1\r\n" + HOST + b"\r\n", NOT_HTTP),
        "unknown method, two spaces": (b"BREW  / HTTP/1.1\r\n" + HOST + b"\r\n", NOT_HTTP),
        "unknown method, no target": (b"BREW HTTP/1.1\r\n" + HOST + b"\r\n", NOT_HTTP),
        "LF ends the request line": (b"GET / HTTP/1.1\n" + HOST + b"\r\n", NOT_HTTP),
        "LF ends a header": (GET + b"Host: a\nX: 1\r\n\r\n", NOT_HTTP),
        "LF ends the head": (GET + b"Host: a\n\nGET / HTTP/1.1\r\nHost: b\r\n\r\n", NOT_HTTP),
        "LF ends the head behind CRLF": (GET + b"Host: a\r\n\nX: 1\r\n\r\n", NOT_HTTP),
        "CR within a header": (GET + HOST + b"X: 1\rY: 2\r\n\r\n", NOT_HTTP),
        "CR CR LF": (GET + HOST + b"X: 1\r\r\n\r\n", NOT_HTTP),
        "CR ends the request line": (b"GET / HTTP/1.1\rHost: a\r\n\r\n", NOT_HTTP),
        "folded by a space": (GET + HOST + b"X: 1\r\n 2\r\n\r\n", NOT_HTTP),
        "folded by a tab": (GET + HOST + b"X: 1\r\n\t2\r\n\r\n", NOT_HTTP),
        "the first header begins with a space": (GET + b" Host: a\r\n\r\n", NOT_HTTP),
        "NUL in a header": (GET + HOST + b"X: 1\0\r\n\r\n", NOT_HTTP),
        "a control character in a header": (GET + HOST + b"X: \x01\r\n\r\n", NOT_HTTP),
        "DEL in a header": (GET + HOST + b"X: \x7f\r\n\r\n", NOT_HTTP),
        "a space before the colon": (GET + HOST + b"X : 1\r\n\r\n", NOT_HTTP),
        "a tab before the colon": (GET + HOST + b"X\t: 1\r\n\r\n", NOT_HTTP),
        "no colon": (GET + HOST + b"X\r\n\r\n", NOT_HTTP),
        "no name": (GET + HOST + b": 1\r\n\r\n", NOT_HTTP),
        "a byte above ASCII in a name": (GET + HOST + b"X\xe9: 1\r\n\r\n", NOT_HTTP),
        "no host": (GET + b"\r\n", NOT_HTTP),
        "two hosts": (GET + HOST + b"Host: b\r\n\r\n", NOT_HTTP),
        "the same host twice": (GET + HOST + HOST + b"\r\n", NOT_HTTP),
        "two hosts, unknown method": (b"BREW / HTTP/1.1\r\n" + HOST + b"HOST: b\r\n\r\n", NOT_HTTP),
        "two hosts under HTTP/1.0": (b"GET / HTTP/1.0\r\n" + HOST + b"host: b\r\n\r\n", NOT_HTTP),
        "two lengths": (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", NOT_HTTP),
        "the same length twice": (POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n", NOT_HTTP),
        "two lengths in a line": (POST + b"Content-Length: 1, 1\r\n\r\n", NOT_HTTP),
        "an empty length": (POST + b"Content-Length:\r\n\r\n", NOT_HTTP),
        "a negative length": (POST + b"Content-Length: -1\r\n\r\n", NOT_HTTP),
        "a length with a plus": (POST + b"Content-Length: +1\r\n\r\n", NOT_HTTP),
        "a length in hex": (POST + b"Content-Length: 0x1\r\n\r\n", NOT_HTTP),
        "a length with an underscore": (POST + b"Content-Length: 1_0\r\n\r\n", NOT_HTTP),
        "a length with a point": (POST + b"Content-Length: 1.0\r\n\r\n", NOT_HTTP),
        "a length with a space within": (POST + b"Content-Length: 1 0\r\n\r\n", NOT_HTTP),
        "a length of other digits": (POST + b"Content-Length: \xb2\r\n\r\n", NOT_HTTP),
        "a length of 19 digits": (POST + b"Content-Length: " + b"1" * 19 + b"\r\n\r\n", NOT_HTTP),
        "a length of 5,000 digits": (POST + b"Content-Length: " + b"0" * 5000 + b"\r\n\r\n", NOT_HTTP),
        "length and coding": (POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        "coding and length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", None),
        "chunked under HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", NOT_HTTP),
        "chunked, then another": (POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n", NOT_HTTP),
        "another, then chunked": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", NOT_HTTP),
        "chunked twice": (POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n", NOT_HTTP),
        "chunked twice in a line": (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n", NOT_HTTP),
        "xchunked": (POST + b"Transfer-Encoding: xchunked\r\n\r\n", NOT_HTTP),
        "chunked with a parameter": (POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n", NOT_HTTP),
        "chunked in quotes": (POST + b'Transfer-Encoding: "chunked"\r\n\r\n', NOT_HTTP),
        "identity": (POST + b"Transfer-Encoding: identity\r\n\r\n", NOT_HTTP),
        "an empty coding": (POST + b"Transfer-Encoding:\r\n\r\n", NOT_HTTP),
        "chunked behind a vertical tab": (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n", NOT_HTTP),
        "chunked before a tab": (POST + b"Transfer-Encoding: chunked\t\r\n\r\n", NOT_HTTP),
        "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\n" + HOST + b"\r\n", FrontRefusal.CONNECT),
        "CONNECT to a path": (b"CONNECT / HTTP/1.1\r\n" + HOST + b"\r\n", None),
        "asterisk": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", TARGET),
        "another scheme": (b"GET ftp://a/ HTTP/1.1\r\n" + HOST + b"\r\n", TARGET),
        "no authority": (b"GET http:///x HTTP/1.1\r\n" + HOST + b"\r\n", None),
    }.values(),
)
def test_what_is_refused(data: bytes, refusal: FrontRefusal | None) -> None:
    found = read_head(data)
    assert isinstance(found, FrontRefusal)
    assert refusal is None or found is refusal


def test_length_and_coding_are_told_apart_from_other_faults_if_llhttp_lets_them_through() -> None:
    both = read_head(POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert both in {NOT_HTTP, TWO_LENGTHS}


class TestWhatPasses:
    def test_a_whole_head(self) -> None:
        head = passed(b"POST /a?b=c HTTP/1.1\r\nHost: a\r\nX-Api-Key:k\r\nContent-Length: 12\r\n\r\n")
        assert (head.method, head.target, head.version) == ("POST", "/a?b=c", "1.1")
        assert head.fields == {"host": "a", "x-api-key": "k", "content-length": "12"}
        assert head.lines == [(b"Host", b"a"), (b"X-Api-Key", b"k"), (b"Content-Length", b"12")]
        assert (head.body_bytes, head.keeps_alive, head.waits_for_continue) == (12, True, False)

    @pytest.mark.parametrize("name", [b"Host", b"host", b"HOST", b"hOsT"])
    def test_names_in_any_case(self, name: bytes) -> None:
        assert passed(GET + name + b": a\r\n\r\n").fields == {"host": "a"}

    @pytest.mark.parametrize("space", [b"", b" ", b"\t", b" \t \t"])
    @pytest.mark.parametrize("value", [b"1", b"1 2", b"", b"\xe9"])
    def test_white_space_around_a_value_is_no_part_of_it(self, space: bytes, value: bytes) -> None:
        head = passed(GET + HOST + b"X:" + space + value + space + b"\r\nY: 2\r\n\r\n")
        assert head.fields == {"host": "a", "x": value.decode("latin-1"), "y": "2"}
        assert head.lines[1] == (b"X", value)

    @pytest.mark.parametrize("space", [b"", b" ", b"   "])
    def test_white_space_behind_what_says_how_long_the_body_is(self, space: bytes) -> None:
        assert passed(POST + b"Content-Length: 5" + space + b"\r\n\r\n").body_bytes == 5
        assert passed(POST + b"Transfer-Encoding: Chunked" + space + b"\r\n\r\n").body_bytes == CHUNKED

    def test_lines_of_one_name_are_joined(self) -> None:
        head = passed(GET + HOST + b"A: 1\r\nB: 2\r\na: 3\r\n\r\n")
        assert head.fields == {"host": "a", "a": "1, 3", "b": "2"}
        assert head.lines[1:] == [(b"A", b"1"), (b"B", b"2"), (b"a", b"3")]

    @pytest.mark.parametrize(("digits", "length"), [(b"0", 0), (b"007", 7), (b"9" * 18, 10**18 - 1)])
    def test_lengths(self, digits: bytes, length: int) -> None:
        assert passed(POST + b"Content-Length: " + digits + b"\r\n\r\n").body_bytes == length

    @pytest.mark.parametrize(
        "method", ["GET", "HEAD", "PATCH", "PURGE", "BREW", "get", "GETS", "M-S!", "X" * 99]
    )
    def test_any_token_is_a_method(self, method: str) -> None:
        assert passed(method.encode() + b" /x HTTP/1.1\r\n" + HOST + b"\r\n").method == method

    @pytest.mark.parametrize(
        "host", [b"", b"a", b"a:80", b"[::1]:80", b"xn--a", b"a..b", b"A" * 300, b"a%20b"]
    )
    def test_a_host_may_be_any_name(self, host: bytes) -> None:
        assert passed(GET + b"Host: " + host + b"\r\n\r\n").fields == {"host": host.decode()}

    @pytest.mark.parametrize("host", [b"a b", b"a/b", b"a@b", b"a, b", b"a?b", b'"a"', b"\xe9", b"a#"])
    def test_a_host_that_could_be_read_as_more_is_refused(self, host: bytes) -> None:
        for version in (b"1.1", b"1.0"):
            head = b"GET / HTTP/" + version + b"\r\nHost: " + host + b"\r\n\r\n"
            assert read_head(head) is FrontRefusal.NOT_HTTP

    def test_http_1_0_needs_no_host_and_is_not_kept_alive(self) -> None:
        head = passed(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (head.version, head.keeps_alive) == ("1.0", False)

    @pytest.mark.parametrize(
        ("line", "kept"),
        [
            (b"close", False),
            (b"Close", False),
            (b"x, close", False),
            (b"keep-alive", True),
            (b"closed", True),
        ],
    )
    def test_connection(self, line: bytes, kept: bool) -> None:
        assert passed(GET + HOST + b"Connection: " + line + b"\r\n\r\n").keeps_alive is kept

    @pytest.mark.parametrize(
        ("version", "line", "waits"),
        [
            (b"1.1", b"100-continue", True),
            (b"1.1", b"100-Continue", True),
            (b"1.0", b"100-continue", False),
            (b"1.1", b"x", False),
        ],
    )
    def test_expect(self, version: bytes, line: bytes, waits: bool) -> None:
        head = passed(b"GET / HTTP/" + version + b"\r\n" + HOST + b"Expect: " + line + b"\r\n\r\n")
        assert head.waits_for_continue is waits

    @pytest.mark.parametrize(
        ("method", "version", "lines", "asks"),
        [
            (b"GET", b"1.1", b"Upgrade: websocket\r\nConnection: Upgrade\r\n", True),
            (b"GET", b"1.1", b"Upgrade: x, WebSocket\r\nConnection: x\r\nConnection: upgrade\r\n", True),
            (b"POST", b"1.1", b"Upgrade: websocket\r\nConnection: Upgrade\r\n", False),
            (b"GET", b"1.0", b"Upgrade: websocket\r\nConnection: Upgrade\r\n", False),
            (b"GET", b"1.1", b"Upgrade: websocket\r\n", False),
            (b"GET", b"1.1", b"Connection: Upgrade\r\n", False),
            (b"GET", b"1.1", b"Upgrade: h2c\r\nConnection: Upgrade\r\n", False),
        ],
    )
    def test_who_asks_for_a_websocket(self, method: bytes, version: bytes, lines: bytes, asks: bool) -> None:
        head = passed(method + b" / HTTP/" + version + b"\r\n" + HOST + lines + b"\r\n")
        assert head.asks_for_websocket is asks


@pytest.mark.parametrize(
    ("target", "origin"),
    [
        (b"/", b"/"),
        (b"/a?b", b"/a?b"),
        (b"//a", b"//a"),
        (b"http://a", b"/"),
        (b"HTTPS://a:1/b?c", b"/b?c"),
        (b"http://a//b", b"//b"),
        (b"http://", None),
        (b"http:///b", None),
        (b"http://a?b", None),
        (b"http://a?b/c", None),
        (b"*", None),
        (b"", None),
        (b"a", None),
        (b"?a", None),
        (b"ftp://a/", None),
    ],
)
def test_targets(target: bytes, origin: bytes | None) -> None:
    assert origin_form(target) == origin


class TestParts:
    @pytest.mark.parametrize(
        "whole", [GET + HOST + b"X: 1 \r\n\r\n", b"BREW /x HTTP/1.1\r\n" + HOST + b"\r\n", POST + b"\r\n"]
    )
    def test_every_beginning_of_a_head_may_become_one(self, whole: bytes) -> None:
        for size in range(1, len(whole)):
            assert fault_of_part(whole[:size]) is None, whole[:size]

    @pytest.mark.parametrize(
        "part",
        [
            b"\x16\x03\x01",
            b"\0",
            b"G\xe9",
            b"GET /\xe9",
            GET + b"X : ",
            GET + b"X: 1\n",
            GET + HOST + b" 1",
            b"(x",
        ],
    )
    def test_what_cannot_become_one_is_not_waited_for(self, part: bytes) -> None:
        assert fault_of_part(part) is NOT_HTTP


pieces = st.sampled_from(
    [
        *(
            b"GET",
            b"POST",
            b"BREW",
            b"CONNECT",
            b" ",
            b"  ",
            b"/",
            b"/a%20b",
            b"http://a",
            b"*",
            b"HTTP/1.1",
            b"HTTP/1.0",
        ),
        *(
            b"\r\n",
            b"\n",
            b"\r",
            b"\0",
            b"\t",
            b":",
            b"Host: a\r\n",
            b"Content-Length: 3\r\n",
            b"Content-Length",
        ),
        *(
            b"Transfer-Encoding: chunked\r\n",
            b"chunked",
            b"Transfer-Encoding",
            b"X: 1\r\n",
            b" 2\r\n",
            b"\xe9",
            b"\x7f",
        ),
        *(b"Connection: Upgrade\r\n", b"Upgrade: websocket\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n"),
    ]
)
soup = st.lists(pieces, max_size=16).map(b"".join)
near = st.tuples(st.sampled_from([GET, b"BREW /x HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n"]), soup).map(b"".join)


@given(st.one_of(st.binary(max_size=200), soup, near, near.map(lambda data: data.replace(b"\r\n\r\n", b""))))
@example(b"")
@example(b"GET / HTTP/1.1\r\nHost: a\r\n\nX: 1")
@example(b"HTTP/1.1 200 OK")
def test_whatever_comes_is_read_or_refused_and_what_passes_is_strict(data: bytes) -> None:
    part = (data + b"\r\n\r\n").split(b"\r\n\r\n")[0]
    assert fault_of_part(part) in {None, NOT_HTTP}
    found = read_head(part + b"\r\n\r\n")
    if isinstance(found, FrontRefusal):
        return
    strict = STRICT.fullmatch(part + b"\r\n\r\n")
    assert strict is not None
    assert found.method.encode() == strict["method"]
    assert found.target.encode() == origin_form(strict["target"])
    lines = [line.partition(b":") for line in strict["fields"].split(b"\r\n")[:-1]]
    assert found.lines == [(name, value.strip(b" \t")) for name, _, value in lines]
    # A head that was well begun is never given up before its end.
    assert fault_of_part(part) is None


names = st.from_regex(rb"\A[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,12}\Z").filter(
    lambda name: name.lower() not in {b"host", b"content-length", b"transfer-encoding"}
)
values = st.from_regex(rb"\A[\t\x20-\x7e\x80-\xff]{0,20}\Z").map(lambda value: value.strip(b" \t"))
targets = st.from_regex(rb"\A/[\x21-\x7e]{0,20}\Z")


@given(
    st.sampled_from([b"GET", b"POST", b"BREW", b"x-y"]),
    targets,
    st.lists(st.tuples(names, values), max_size=8),
)
def test_a_head_that_is_written_down_again_means_the_same(
    method: bytes, target: bytes, lines: list[tuple[bytes, bytes]]
) -> None:
    def write(lines: list[tuple[bytes, bytes]], target: bytes) -> bytes:
        fields = b"".join(b"%b: %b\r\n" % line for line in lines)
        return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, fields)

    head = passed(write([(b"Host", b"a"), *lines], target))
    assert (head.target.encode(), head.lines[1:]) == (target, lines)
    again = passed(write(head.lines, head.target.encode()))
    assert again == head
