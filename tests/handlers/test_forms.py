from __future__ import annotations

import gzip
from collections.abc import Mapping

import pytest
import zstandard

from config.settings import ServerSettings
from handlers.call import ListenerKind, Reply
from handlers.coding import (
    CODINGS_KEPT,
    LONGEST_KEPT,
    MIN_COMPRESSED_BYTES,
    accepted_coding,
    compress,
    etag_of,
    kept_coding,
)
from handlers.forms import finish_reply, preflight_reply
from handlers.router import Router
from tests.handlers.requests import raw_request
from tests.handlers.test_router import line
from ticketd.errors import ErrorCode, Refusal

REQUEST_ID = "0198c0de-0000-7000-8000-000000000001"
CLOSED = ServerSettings()
SHOP = ServerSettings(cors_origins=("https://shop.example", "https://other.example"))
ANYONE = ServerSettings(cors_origins=("*",))
LARGE = b'{"a":"' + b"x" * MIN_COMPRESSED_BYTES + b'"}'
TAG = '"tag"'
TAGGED = (("ETag", TAG),)


def finished(
    reply: Reply, headers: Mapping[str, str] | None = None, settings: ServerSettings = CLOSED
) -> tuple[Reply, dict[str, list[str]]]:
    """The finished reply, and its headers by their names in lower case."""
    done = finish_reply(settings, raw_request("GET", headers=headers), reply, REQUEST_ID)
    found: dict[str, list[str]] = {}
    for name, value in done.headers:
        found.setdefault(name.lower(), []).append(value)
    return done, found


def test_every_reply_names_its_request_and_is_not_cached() -> None:
    for reply in (Reply(status=200, body=b"{}"), Reply(status=404), Reply(status=204, content_type="")):
        done, headers = finished(reply)
        assert (done.status, done.body, done.content_type) == (reply.status, reply.body, reply.content_type)
        assert headers == {"x-request-id": [REQUEST_ID], "cache-control": ["no-store"]}


def test_a_reply_with_a_tag_may_be_kept_and_asked_about() -> None:
    assert finished(Reply(status=200, headers=TAGGED))[1]["cache-control"] == ["private, no-cache"]
    own = (*TAGGED, ("Cache-Control", "max-age=9"))
    assert finished(Reply(status=200, headers=own))[1]["cache-control"] == ["max-age=9"]


@pytest.mark.parametrize("header", [TAG, f"W/{TAG}", "*", f'"other", {TAG}', f'W/"other",W/{TAG} '])
def test_who_has_it_already_is_told_so(header: str) -> None:
    done, headers = finished(Reply(status=200, body=LARGE, headers=TAGGED), {"if-none-match": header})
    assert (done.status, done.body, done.content_type) == (304, b"", "")
    assert headers["etag"] == [TAG]
    assert headers["vary"] == ["Accept-Encoding"]
    assert "content-encoding" not in headers


@pytest.mark.parametrize("header", ["", '"other"', "tag", 'W/"other"', '"tag'])
def test_who_has_another_gets_it(header: str) -> None:
    done, _ = finished(Reply(status=200, body=b"{}", headers=TAGGED), {"if-none-match": header})
    assert (done.status, done.body) == (200, b"{}")


def test_only_a_success_is_answered_by_304() -> None:
    for status in (201, 404, 503):
        assert finished(Reply(status=status, headers=TAGGED), {"if-none-match": "*"})[0].status == status
    assert finished(Reply(status=200), {"if-none-match": "*"})[0].status == 200


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("zstd", "zstd"),
        ("gzip, zstd", "zstd"),
        ("gzip;q=1.0, zstd;q=0.9", "gzip"),
        ("gzip; q=0.5,zstd;q=0.5", "zstd"),
        ("*", "zstd"),
        ("zstd;q=0, *", "gzip"),
        ("gzip;q=0, zstd;q=0", None),
        ("*;q=0", None),
        ("br", None),
        ("identity", None),
        ("gzip;q=x", None),
        ("gzip;q=nan", None),
        ("gzip;q=-1", None),
        ("gzip;q=", None),
        (",;,gzip", "gzip"),
    ],
)
def test_the_coding_is_what_was_asked_for(header: str, coding: str | None) -> None:
    assert accepted_coding(header) == coding


def test_only_so_many_headers_are_remembered_and_no_long_ones() -> None:
    kept_coding.cache_clear()
    for length, kept in ((LONGEST_KEPT - 1, 1), (LONGEST_KEPT, 2), (LONGEST_KEPT + 1, 2)):
        assert accepted_coding("gzip".ljust(length)) == "gzip"
        assert kept_coding.cache_info().currsize == kept
    for number in range(CODINGS_KEPT + 1):
        assert accepted_coding(f"zstd, x{number}") == "zstd"
        assert kept_coding.cache_info().currsize == min(3 + number, CODINGS_KEPT)
    assert accepted_coding("gzip".ljust(LONGEST_KEPT)) == "gzip"


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_large_answer_is_compressed(coding: str) -> None:
    done, headers = finished(Reply(status=200, body=LARGE, headers=TAGGED), {"accept-encoding": coding})
    assert headers["content-encoding"] == [coding]
    assert headers["vary"] == ["Accept-Encoding"]
    assert len(done.body) < len(LARGE)
    unpacked = gzip.decompress(done.body) if coding == "gzip" else zstandard.decompress(done.body)
    assert unpacked == LARGE
    # Other bytes of the same content: the tag is weak, and either tag finds it again.
    assert headers["etag"] == [f"W/{TAG}"]
    for tag in (TAG, f"W/{TAG}"):
        again, _ = finished(
            Reply(status=200, body=LARGE, headers=TAGGED), {"accept-encoding": coding, "if-none-match": tag}
        )
        assert again.status == 304


def test_equal_bodies_are_compressed_to_equal_bytes() -> None:
    assert compress(LARGE, "gzip") == compress(LARGE, "gzip")
    assert compress(LARGE, "zstd") == compress(LARGE, "zstd")


@pytest.mark.parametrize(
    ("reply", "is_compressed"),
    [
        (Reply(status=200, body=b"x" * MIN_COMPRESSED_BYTES), True),
        (Reply(status=200, body=b"x" * (MIN_COMPRESSED_BYTES - 1)), False),
        (Reply(status=201, body=LARGE), False),
        (Reply(status=200, body=LARGE, content_type="application/pdf"), False),
        (Reply(status=200, body=LARGE, content_type="text/html; charset=utf-8"), True),
        (Reply(status=200, body=LARGE, headers=(("content-encoding", "br"),)), False),
    ],
)
def test_what_is_compressed(reply: Reply, is_compressed: bool) -> None:
    done, headers = finished(reply, {"accept-encoding": "gzip"})
    assert (headers.get("content-encoding") == ["gzip"]) is is_compressed
    assert (done.body != reply.body) is is_compressed


def test_a_tag_is_quoted_and_depends_on_every_part() -> None:
    tags = {etag_of(1, "a"), etag_of(1, "b"), etag_of(2, "a"), etag_of("1", "a"), etag_of(1)}
    assert len(tags) == 5
    assert all(len(tag) == 34 and tag[0] == tag[-1] == '"' for tag in tags)


# --- browsers -------------------------------------------------------------------------------------------------------


def test_without_configured_origins_nothing_is_said_of_them() -> None:
    _, headers = finished(Reply(status=200), {"origin": "https://shop.example"})
    assert not any(name.startswith("access-control") for name in headers)
    assert "vary" not in headers


def test_a_configured_origin_may_read_the_answer() -> None:
    for status in (200, 404):
        _, headers = finished(Reply(status=status), {"origin": "https://shop.example"}, SHOP)
        assert headers["access-control-allow-origin"] == ["https://shop.example"]
        assert "X-Request-ID" in headers["access-control-expose-headers"][0].split(", ")
        assert headers["vary"] == ["Origin"]


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "https://shop.example.evil",
        "http://shop.example",
        "https://shop.example/",
        "HTTPS://SHOP.EXAMPLE",
    ],
)
def test_another_origin_may_not(origin: str) -> None:
    _, headers = finished(Reply(status=200), {"origin": origin} if origin else {}, SHOP)
    assert "access-control-allow-origin" not in headers
    assert headers["vary"] == ["Origin"]


def test_everybody_may_where_everybody_is_configured() -> None:
    for sent in ({"origin": "https://x.example"}, {}):
        _, headers = finished(Reply(status=200), sent, ANYONE)
        assert headers["access-control-allow-origin"] == ["*"]
        assert "access-control-allow-credentials" not in headers


ROUTER = Router((line("GET", "/things"), line("POST", "/things")))
PREFLIGHT = {"origin": "https://shop.example", "access-control-request-method": "POST"}


def preflight(settings: ServerSettings, headers: Mapping[str, str], path: str = "/things") -> dict[str, str]:
    request = raw_request("OPTIONS", path, headers)
    reply = preflight_reply(settings, ROUTER, request)
    assert (reply.status, reply.body, reply.content_type) == (204, b"", "")
    return {name.lower(): value for name, value in finish_reply(settings, request, reply, REQUEST_ID).headers}


def test_a_preflight_is_told_what_may_be_sent() -> None:
    for settings in (SHOP, ANYONE):
        headers = preflight(settings, PREFLIGHT)
        assert headers["allow"] == headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS, POST"
        allowed = headers["access-control-allow-headers"].split(", ")
        assert {"Authorization", "X-API-Key", "X-Device-ID", "X-Session-ID", "Idempotency-Key"} <= set(
            allowed
        )
        assert headers["access-control-allow-origin"] in {"*", "https://shop.example"}
        assert headers["x-request-id"] == REQUEST_ID


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        (CLOSED, PREFLIGHT),
        (SHOP, {**PREFLIGHT, "origin": "https://evil.example"}),
        (SHOP, {"origin": "https://shop.example"}),
        (SHOP, {}),
    ],
)
def test_what_is_no_preflight_of_a_known_origin_learns_the_methods_alone(
    settings: ServerSettings, headers: dict[str, str]
) -> None:
    told = preflight(settings, headers)
    assert told["allow"] == "GET, HEAD, OPTIONS, POST"
    assert "access-control-allow-methods" not in told
    assert "access-control-allow-headers" not in told


@pytest.mark.parametrize("listener", list(ListenerKind))
def test_an_unknown_path_has_no_methods(listener: ListenerKind) -> None:
    with pytest.raises(Refusal) as caught:
        preflight_reply(SHOP, ROUTER, raw_request("OPTIONS", "/nothing", PREFLIGHT, listener=listener))
    assert caught.value.code is ErrorCode.NOT_FOUND
