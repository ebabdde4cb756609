"""Reading a request's body and query, strictly: what does not fit is refused with its place."""

from __future__ import annotations

import functools
import json
import re
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from handlers.call import JSON_TYPE, RawRequest
from handlers.endpoint import BodyEncoding, Endpoint
from ticketd.errors import ErrorCode, Refusal

_NAMED_FIELD: Final = re.compile(
    r"^Object (?:missing required|contains unknown) field `(?P<field>.*)`$", re.DOTALL
)
_PLACE: Final = re.compile(r" - at `\$\.?(?P<place>.*)`$")
BODILESS: Final = frozenset({"GET", "HEAD"})
"""Nothing is read of a call by these methods."""
_MOST_FIELDS: Final = 50
_MAX_PROBLEM_LENGTH: Final = 200
"""A problem quotes the name of an unknown field, which may be as long as the body."""


class Empty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a call that needs none: nothing, or an object without fields."""


def parse_query(raw: str) -> dict[str, str]:
    """The query's fields. A field given twice, or bytes that are not UTF-8, are INVALID_REQUEST."""
    try:
        pairs = _pairs(raw)
    except (ValueError, UnicodeDecodeError):
        raise Refusal(ErrorCode.INVALID_REQUEST, details={"query": "cannot be read"}) from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise Refusal(ErrorCode.INVALID_REQUEST, details={"query": f"{name} is given more than once"})
        if "\x00" in value:
            raise Refusal(ErrorCode.INVALID_REQUEST, details={"query": f"{name} holds a NUL character"})
        fields[name] = value
    return fields


def _pairs(raw: str) -> list[tuple[str, str]]:
    if "%" in raw or "+" in raw or "&" in raw:
        return parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    # One field as it stands, such as a queue token.
    name, _, value = raw.partition("=")
    return [(name, value)] if raw else []


async def read_bytes(request: RawRequest, limit: int) -> bytes:
    """The body as it was sent; nothing is read of a call that carries none. Refuses BODY_TOO_LARGE."""
    return b"" if request.method in BODILESS else await request.read_body(limit)


def read_body(endpoint: Endpoint, request: RawRequest, raw: bytes) -> msgspec.Struct | None:
    """The body as the endpoint's struct; None where there is none.

    Refuses in this order: UNSUPPORTED_MEDIA_TYPE, INVALID_REQUEST with ``details.field``.
    """
    if request.method in BODILESS:
        return None
    form = endpoint.body
    if endpoint.encoding is BodyEncoding.FORM and form is not None:
        check_media_type(request, BodyEncoding.FORM.value)
        return _decode_form(raw, form)
    if endpoint.encoding is BodyEncoding.RAW:
        check_media_type(request, JSON_TYPE)
        return None
    if form is None:
        if not raw:
            return None
        form = Empty
    check_media_type(request, JSON_TYPE)
    return decode_body(raw, form)


def check_media_type(request: RawRequest, wanted: str) -> None:
    """Refuses UNSUPPORTED_MEDIA_TYPE unless the body is said to be what is wanted, in UTF-8 if a charset is named."""
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    if media_type.strip().lower() != wanted or charset not in {"", "charset=utf-8"}:
        raise Refusal(ErrorCode.UNSUPPORTED_MEDIA_TYPE, details={"expected": wanted})


def decode_body(raw: bytes, form: type[msgspec.Struct]) -> msgspec.Struct:
    """A JSON body as its struct, or as one of a union of structs; INVALID_REQUEST for anything else."""
    try:
        if (found := _decode_plain(raw, form)) is not None:
            return found
        json.loads(raw, object_pairs_hook=_refuse_repeats, parse_constant=_refuse_constant)
        return _decoder_of(form).decode(raw)
    except msgspec.ValidationError as error:
        raise Refusal(ErrorCode.INVALID_REQUEST, details=_details(str(error))) from None
    except Refusal:
        raise
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Refusal(ErrorCode.INVALID_REQUEST, details={"body": "is not valid JSON"}) from None


def _decode_plain(raw: bytes, form: type[msgspec.Struct]) -> msgspec.Struct | None:
    """The struct of a body in which no field can be given twice; None where that is not plain to see.

    Each field that is not as if left out was given at least once, each time with a colon, and no field has another
    name. So where there are no more colons than such fields, none was given twice: most bodies need no second look,
    which takes far longer than decoding them. What a text may hold only by an escape, such as NUL, needs one.
    """
    if b"\\" in raw or not isinstance(form, type):
        return None
    try:
        found = _decoder_of(form).decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    needed, optional = _fields(form)
    given = needed + sum(getattr(found, name) is not default for name, default in optional)
    return found if raw.count(b":") == given else None


@functools.cache
def _fields(form: type[msgspec.Struct]) -> tuple[int, list[tuple[str, object]]]:
    """How many fields a struct needs, and those that may be left out, each with what then stands there. One whose
    default is made anew each time cannot be told from one that was given, and is in neither."""
    fields = msgspec.structs.fields(form)
    return (
        sum(field.required for field in fields),
        [(field.name, field.default) for field in fields if field.default is not msgspec.NODEFAULT],
    )


@functools.cache
def _decoder_of(form: type[msgspec.Struct]) -> msgspec.json.Decoder[msgspec.Struct]:
    return msgspec.json.Decoder(form)


def _decode_form(raw: bytes, form: type[msgspec.Struct]) -> msgspec.Struct:
    try:
        return msgspec.convert(parse_query(raw.decode()), form, strict=False)
    except (msgspec.ValidationError, UnicodeDecodeError):
        raise Refusal(ErrorCode.INVALID_REQUEST, details={"body": "is not the form that was shown"}) from None


def _details(problem: str) -> dict[str, str]:
    found = _PLACE.search(problem)
    if found is None:
        named = _NAMED_FIELD.search(problem)
        whole = {"body": problem[:_MAX_PROBLEM_LENGTH]}
        return (
            {"field": named["field"][:_MAX_PROBLEM_LENGTH], "problem": problem[:_MAX_PROBLEM_LENGTH]}
            if named
            else whole
        )
    return {"field": found["place"], "problem": problem[: found.start()][:_MAX_PROBLEM_LENGTH]}


def _refuse_repeats(pairs: list[tuple[str, object]]) -> object:
    names: set[str] = set()
    for name, value in pairs:
        if name in names:
            raise Refusal(
                ErrorCode.INVALID_REQUEST, details={"field": name[:100], "problem": "given more than once"}
            )
        names.add(name)
        # The store and every client can do without NUL.
        if _holds_nul(value):
            raise Refusal(
                ErrorCode.INVALID_REQUEST, details={"field": name[:100], "problem": "holds a NUL character"}
            )
    return None


def _holds_nul(value: object) -> bool:
    """Whether a text, or a list at any depth, holds NUL. Objects within were looked at when they ended."""
    if isinstance(value, list):
        return any(_holds_nul(one) for one in value)
    return isinstance(value, str) and "\x00" in value


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
