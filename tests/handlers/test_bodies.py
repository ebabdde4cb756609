from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.bodies import check_media_type, decode_body, parse_query, read_body, read_bytes
from handlers.call import JSON_TYPE, RawRequest
from handlers.endpoint import BodyEncoding, Endpoint
from handlers.wire.common import RequestBody
from handlers.wire.inventory import ReserveBody
from tests.handlers.requests import raw_request
from tests.handlers.test_router import line
from ticketd.errors import ErrorCode, Refusal

LIMIT = 65_536
JSON = {"content-type": JSON_TYPE}


class Inner(RequestBody, frozen=True, kw_only=True):
    text: str = ""


class Form(RequestBody, frozen=True, kw_only=True):
    text: Annotated[str, msgspec.Meta(max_length=10)]
    number: Annotated[int, msgspec.Meta(ge=1, le=8)] = 1
    texts: list[str] = msgspec.field(default_factory=list)
    inner: Inner | None = None


POSTED = dataclasses.replace(line("POST", "/things"), body=Form)
BODILESS = line("POST", "/things")


def refusal_of(raw: bytes, form: type[msgspec.Struct] = Form) -> dict[str, object]:
    with pytest.raises(Refusal) as caught:
        decode_body(raw, form)
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    return dict(caught.value.details)


def test_a_body_that_fits_is_its_struct() -> None:
    raw = '{"text": "é\\u00e9", "number": 8, "texts": ["a"], "inner": {"text": "b"}}'.encode()
    assert decode_body(raw, Form) == Form(text="éé", number=8, texts=["a"], inner=Inner(text="b"))
    assert decode_body(b' {"text" : "\\ud83c\\udfab"}\r\n', Form) == Form(text="🎫")


@pytest.mark.parametrize(
    ("raw", "field", "problem"),
    [
        ('{"text": 1}', "text", "Expected `str`, got `int`"),
        ('{"text": null}', "text", "Expected `str`, got `null`"),
        ('{"text": "01234567890"}', "text", "Expected `str` of length <= 10"),
        ('{"text": "a", "number": 0}', "number", "Expected `int` >= 1"),
        ('{"text": "a", "number": 9}', "number", "Expected `int` <= 8"),
        ('{"text": "a", "number": 1.0}', "number", "Expected `int`, got `float`"),
        ('{"text": "a", "number": true}', "number", "Expected `int`, got `bool`"),
        ('{"text": "a", "number": "1"}', "number", "Expected `int`, got `str`"),
        ('{"text": "a", "number": 18446744073709551616}', "number", "Expected `int`"),
        ('{"text": "a", "texts": ["b", 1]}', "texts[1]", "Expected `str`, got `int`"),
        ('{"text": "a", "inner": {"text": 1}}', "inner.text", "Expected `str`, got `int`"),
        ('{"text": "a", "inner": {"more": 1}}', "inner", "Object contains unknown field `more`"),
        ('{"text": "a", "text": "b"}', "text", "given more than once"),
        ('{"text": "a", "inner": {"text": "a", "text": "b"}}', "text", "given more than once"),
        ('{"text": "a\\u0000"}', "text", "holds a NUL character"),
        ('{"text": "a", "texts": ["b", "\\u0000"]}', "texts", "holds a NUL character"),
        ('{"text": "a", "texts": [["\\u0000"]]}', "texts", "holds a NUL character"),
        ('{"text": "a", "inner": {"text": "\\u0000"}}', "text", "holds a NUL character"),
    ],
)
def test_a_field_that_does_not_fit_is_named(raw: str, field: str, problem: str) -> None:
    details = refusal_of(raw.encode())
    assert details["field"] == field
    assert str(details["problem"]).startswith(problem)


def test_a_missing_and_an_unknown_field_are_named() -> None:
    assert refusal_of(b"{}") == {"field": "text", "problem": "Object missing required field `text`"}
    assert refusal_of(b'{"text": "a", "more": 1}') == {
        "field": "more",
        "problem": "Object contains unknown field `more`",
    }
    assert refusal_of(b"[]") == {"body": "Expected `object`, got `array`"}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b'{"text": "a"}{}',
        b"\xef\xbb\xbf" + b'{"text": "a"}',
        '{"text": "a"}'.encode("utf-16"),
        '{"text": "a"}'.encode("utf-32-le"),
        b'{"text": "\xff"}',
        b'{"text": "\xed\xa0\x80"}',
        b'{"text": "\xc0\x80"}',
        b'{"text": "a\x00"}',
        b'{"text": "a\n"}',
        b'{"text": "\\ud800"}',
        b'{"text": "\\udc00"}',
        b'{"text": "\\ud800\\ud800"}',
        b'{"text": "\\ud800abcdef"}',
        b'{"text": "a", "number": NaN}',
        b'{"text": "a", "number": Infinity}',
        b'{"text": "a", "number": -Infinity}',
        b'{"text": "a", "number": 01}',
        b"{'text': 'a'}",
        b'{"text": "a",}',
        b"[" * 60_000,
        b'{"text": ' * 7_000,
        b'{"text": "a", "texts": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"text": "a", "number": ' + b"9" * 5_000 + b"}",
    ],
    ids=lambda raw: repr(raw[:24]),
)
def test_what_is_not_json_is_refused(raw: bytes) -> None:
    refusal_of(raw)


def test_what_is_quoted_of_a_body_is_short() -> None:
    long = "x" * 60_000
    assert all(
        len(json.dumps(details)) < 500
        for details in (
            refusal_of(f'{{"{long}": 1}}'.encode()),
            refusal_of(f'{{"{long}": 1, "{long}": 2}}'.encode()),
            refusal_of(f'{{"{long}": "\\u0000"}}'.encode()),
            refusal_of(f'{{"text": "a", "inner": {{"{long}": 1}}}}'.encode()),
        )
    )


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def must_fit_or_be_refused(read: Callable[[], object], kind: type) -> None:
    """Whatever is read becomes what it is to be, or is refused in a way that can be told."""
    try:
        found = read()
    except Refusal as refusal:
        found = refusal
    if isinstance(found, Refusal):
        assert found.code is ErrorCode.INVALID_REQUEST
        msgspec.json.encode(found.details)
    else:
        assert isinstance(found, kind)
        msgspec.json.encode(found)


@given(JSON_VALUES)
def test_any_json_is_read_or_refused(value: object) -> None:
    must_fit_or_be_refused(lambda: decode_body(json.dumps(value).encode(), Form), Form)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    must_fit_or_be_refused(lambda: decode_body(raw, Form), Form)
    must_fit_or_be_refused(lambda: decode_body(b'{"text": "' + raw + b'"}', Form), Form)


@given(st.lists(st.one_of(st.none(), st.integers(), st.text(), st.uuids().map(str)), max_size=4), JSON_VALUES)
def test_any_wish_for_seats_is_read_or_refused(seat_ids: list[object], quantity: object) -> None:
    user = "00000000-0000-4000-8000-000000000001"
    wish = {"event_id": user, "user_id": user, "seat_ids": seat_ids, "quantity": quantity}
    must_fit_or_be_refused(lambda: decode_body(json.dumps(wish).encode(), ReserveBody), ReserveBody)


# --- the query ------------------------------------------------------------------------------------------------------


def test_a_query_is_its_fields() -> None:
    assert parse_query("") == {}
    assert parse_query("a=1&b=&c=%C3%A9+d&e") == {"a": "1", "b": "", "c": "é d", "e": ""}


@pytest.mark.parametrize(
    "raw", ["a=1&a=2", "a=%ff", "a=%00", "a=%ed%a0%80", "&".join(f"f{n}=1" for n in range(51)), "%00=1&%00=1"]
)
def test_a_query_that_cannot_be_read_is_refused(raw: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_query(raw)
    assert caught.value.code is ErrorCode.INVALID_REQUEST


def test_a_query_of_fifty_fields_is_read() -> None:
    assert len(parse_query("&".join(f"f{n}=1" for n in range(50)))) == 50


@given(st.binary(max_size=100))
def test_any_query_is_read_or_refused(raw: bytes) -> None:
    must_fit_or_be_refused(lambda: parse_query(raw.decode("latin-1")), dict)


# --- the media type -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "application/json",
        "Application/JSON",
        " application/json ",
        "application/json;charset=utf-8",
        'application/json; charset="UTF-8"',
    ],
)
def test_json_is_taken_however_it_is_written(value: str) -> None:
    check_media_type(raw_request(headers={"content-type": value}), JSON_TYPE)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "text/plain",
        "application/jsonx",
        "application/json; charset=latin-1",
        "application/xml",
        "json",
        "application/x-www-form-urlencoded",
        "application/json, application/json",
        "text/json",
        "*/*",
    ],
)
def test_another_media_type_is_refused(value: str) -> None:
    with pytest.raises(Refusal) as caught:
        check_media_type(raw_request(headers={"content-type": value}), JSON_TYPE)
    assert caught.value.code is ErrorCode.UNSUPPORTED_MEDIA_TYPE
    assert caught.value.details == {"expected": JSON_TYPE}


async def read_whole(endpoint: Endpoint, request: RawRequest) -> tuple[bytes, msgspec.Struct | None]:
    raw = await read_bytes(request, LIMIT)
    return raw, read_body(endpoint, request, raw)


# --- which body is read at all --------------------------------------------------------------------------------------


async def test_a_get_has_no_body() -> None:
    read = line("GET", "/things")
    for method in ("GET", "HEAD"):
        assert await read_whole(read, raw_request(method, body=b"{}")) == (b"", None)


async def test_a_call_without_a_form_takes_nothing_or_an_empty_object() -> None:
    assert await read_whole(BODILESS, raw_request()) == (b"", None)
    raw, body = await read_whole(BODILESS, raw_request(headers=JSON, body=b"{}"))
    assert raw == b"{}"
    assert body is not None
    for given_body, headers, code in (
        (b"{}", {}, ErrorCode.UNSUPPORTED_MEDIA_TYPE),
        (b'{"a": 1}', JSON, ErrorCode.INVALID_REQUEST),
        (b"[]", JSON, ErrorCode.INVALID_REQUEST),
        (b"null", JSON, ErrorCode.INVALID_REQUEST),
    ):
        with pytest.raises(Refusal) as caught:
            await read_whole(BODILESS, raw_request(headers=headers, body=given_body))
        assert caught.value.code is code


async def test_the_media_type_is_judged_before_the_body() -> None:
    with pytest.raises(Refusal) as caught:
        await read_whole(POSTED, raw_request(headers={"content-type": "text/plain"}, body=b"{"))
    assert caught.value.code is ErrorCode.UNSUPPORTED_MEDIA_TYPE
    assert (await read_whole(POSTED, raw_request(headers=JSON, body=b'{"text":"a"}')))[1] == Form(text="a")


async def test_a_raw_body_is_left_to_its_endpoint() -> None:
    raw = dataclasses.replace(BODILESS, encoding=BodyEncoding.RAW)
    assert await read_whole(raw, raw_request(headers=JSON, body=b"\xff")) == (b"\xff", None)
    with pytest.raises(Refusal) as caught:
        await read_whole(raw, raw_request(body=b"{}"))
    assert caught.value.code is ErrorCode.UNSUPPORTED_MEDIA_TYPE


async def test_a_form_is_read_as_a_browser_posts_it() -> None:
    posted = dataclasses.replace(BODILESS, encoding=BodyEncoding.FORM, body=Inner)
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert (await read_whole(posted, raw_request(headers=headers, body=b"text=a+b")))[1] == Inner(text="a b")
    for body in (b"text=a&text=b", b"more=1", b"text=%ff", b"text=\xff", b"text=%00"):
        with pytest.raises(Refusal) as caught:
            await read_whole(posted, raw_request(headers=headers, body=body))
        assert caught.value.code is ErrorCode.INVALID_REQUEST
    with pytest.raises(Refusal) as caught:
        await read_whole(posted, raw_request(headers=JSON, body=b"{}"))
    assert caught.value.code is ErrorCode.UNSUPPORTED_MEDIA_TYPE


@given(st.text(st.sampled_from("ab=;\x00é"), max_size=8))
def test_one_field_that_needs_no_decoding_is_read_as_any_other(raw: str) -> None:
    def read(text: str) -> dict[str, str] | None:
        try:
            return parse_query(text)
        except Refusal:
            return None

    # An empty field beside it makes it go the long way.
    assert read(raw) == read(f"&{raw}")


class Mixed(RequestBody, frozen=True, kw_only=True):
    first: int = 0
    needed: str
    listed: list[int] = msgspec.field(default_factory=list)
    maybe: str | None = None
    inner: Inner | None = None


TEXTS = st.text(st.sampled_from('a:\\"\x00é,{}'), max_size=3)
FIELDS = st.sampled_from(["first", "needed", "listed", "maybe", "inner", "text", "other"])
VALUES = st.one_of(
    st.none(),
    st.integers(0, 2),
    TEXTS,
    st.lists(st.integers(0, 1), max_size=2),
    st.fixed_dictionaries({}, optional={"text": TEXTS}),
)


def same_in_the_long_way(raw: bytes) -> tuple[object, object]:
    """What is read of a body, and what is read of it where every body is looked at twice."""

    def read() -> object:
        try:
            return decode_body(raw, Mixed)
        except Refusal as refusal:
            return refusal.code, refusal.details

    short = read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("handlers.bodies._decode_plain", lambda raw, form: None)
        return short, read()


@given(
    st.lists(st.tuples(FIELDS, VALUES), max_size=5), st.booleans(), st.sampled_from(["", " ", "\x00", "]"])
)
def test_a_body_is_read_alike_whether_or_not_it_is_looked_at_twice(
    pairs: list[tuple[str, object]], ascii_only: bool, more: str
) -> None:
    members = (f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=ascii_only)}" for name, value in pairs)
    raw = ("{" + ", ".join(members) + "}" + more).encode()
    short, long = same_in_the_long_way(raw)
    assert short == long


@pytest.mark.parametrize(
    "raw",
    [
        b'{"needed":"a","needed":"b"}',
        b'{"needed":"a","first":1,"first":1}',
        b'{"needed":"a","needed":"b","listed":[]}',
        b'{"needed":"a\\u0000"}',
        b'{"needed":"a\x00"}',
        b'{"needed":"\xff"}',
        b'{"needed":"\xed\xa0\x80"}',
        b'{"needed":"a","first":NaN}',
        b"\xef\xbb\xbf" + b'{"needed":"a"}',
        '{"needed":"a"}'.encode("utf-16"),
        b'{"needed":' + b"[" * 100_000,
    ],
)
def test_bodies_that_are_refused_are_refused_alike(raw: bytes) -> None:
    short, long = same_in_the_long_way(raw)
    assert isinstance(short, tuple)
    assert short == long


def test_a_plain_body_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def loads(*_: object, **__: object) -> object:
        raise AssertionError("looked at twice")

    monkeypatch.setattr("handlers.bodies.json.loads", loads)
    ids = ["0190a0b0-0000-7000-8000-0000000000aa", "0190a0b0-0000-7000-8000-0000000000ab"]
    body = {"event_id": ids[0], "user_id": ids[1], "seat_ids": ids}
    assert decode_body(msgspec.json.encode(body), ReserveBody) == msgspec.convert(body, ReserveBody)
