"""Forms that several parts of the API share."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Final, TypeVar

import msgspec

Item = TypeVar("Item")

END: Final = r"$(?!\n)"
"""The end of a text in a pattern: Python's ``$`` alone also stands before a last line break."""

Money = Annotated[
    Decimal, msgspec.Meta(description="An amount with exactly the currency's decimals", examples=[1500.00])
]
Time = Annotated[str, msgspec.Meta(description="RFC 3339, UTC", examples=["2026-08-15T19:00:00Z"])]
Fingerprint = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=256,
        pattern=r"^[!-~]([ -~]*[!-~])?" + END,
        description="The device's fingerprint: 1 to 256 printable ASCII characters, no space at either end",
    ),
]
Email = Annotated[
    str,
    msgspec.Meta(min_length=3, max_length=254, pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+" + END),
]
ShortText = Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*" + END)]
NeededText = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+" + END)]


class RequestBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of request bodies: a field that is not known is refused."""


class AnswerBody(msgspec.Struct, frozen=True, kw_only=True):
    """Base of answers."""


class Address(RequestBody, frozen=True, kw_only=True):
    """A billing address."""

    street: NeededText
    city: NeededText
    postal_code: Annotated[str, msgspec.Meta(max_length=20, pattern=r"^[^\x00-\x1f\x7f]*" + END)] = ""
    country: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}" + END, description="ISO 3166-1 alpha-2")]
    state: ShortText = ""


class Pagination(AnswerBody, frozen=True, kw_only=True):
    """Which part of a list this is; ``page`` counts from 1."""

    page: int
    per_page: int
    total: int


class PageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a list is asked for."""

    page: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20


def page_of(items: Sequence[Item], query: PageQuery) -> tuple[Sequence[Item], Pagination]:
    """The items of the page that is asked for."""
    start = (query.page - 1) * query.per_page
    return (
        items[start : start + query.per_page],
        Pagination(page=query.page, per_page=query.per_page, total=len(items)),
    )
