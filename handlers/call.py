"""One call and its reply, as every endpoint sees them: no Quart, no socket, no framework.

``RawRequest`` is what a front hands in, ``Call`` what an endpoint gets once the request was judged, ``Reply`` what goes
back. Whoever serves the request puts the same bytes on the wire.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Generic, TypeAlias, TypeVar
from uuid import UUID

import msgspec

from storage.schema.ids import EntryId, EventId, UserId
from storage.schema.records import ApiKeyRecord
from ticketd.credentials.claims import Claims
from ticketd.errors import ErrorCode, Refusal

Headers: TypeAlias = tuple[tuple[str, str], ...]

Body_co = TypeVar("Body_co", bound=msgspec.Struct | None, covariant=True)
Q = TypeVar("Q", bound=msgspec.Struct)

JSON_TYPE: Final = "application/json"

_IDS_KEPT: Final = 4096
"""A sale asks for few events, and for these again and again."""
_UUID_LENGTH: Final = 36
_UUID_FORM: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class ListenerKind(enum.Enum):
    """Which of the daemon's doors a request came through."""

    PUBLIC = "public"
    OPERATOR = "operator"
    """The Unix socket, whose file mode is the credential."""
    OPERATOR_TCP = "operator-tcp"
    """The operator's listener on TCP, where an operator key is the credential."""


class BodyLost(Exception):
    """The rest of a request's body will not come. No answer is made: whoever reads the wire knows what to say."""


class RawRequest(msgspec.Struct, frozen=True):
    """A request as it was read: ``path`` decoded, ``query`` raw, header names in lower case, the body not read yet.

    ``client`` is the address of the socket's other end ("" for a Unix socket), which may be a proxy's.
    ``read_body(limit)`` gives the whole body, or raises Refusal BODY_TOO_LARGE once it is longer than ``limit`` bytes,
    or BodyLost.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    client: str
    listener: ListenerKind
    read_body: Callable[[int], Awaitable[bytes]]


class Principal(msgspec.Struct, frozen=True):
    """Who calls: the API key, and what the token says, if one was sent."""

    api_key: ApiKeyRecord | None
    claims: Claims | None

    @property
    def user_id(self) -> UserId:
        """The token's buyer. Only for endpoints that need a token."""
        return self.needed_claims.user_id

    @property
    def event_id(self) -> EventId:
        """The event of a queue or access token."""
        event_id = self.needed_claims.event_id
        if event_id is None:
            raise Refusal(ErrorCode.TOKEN_KIND_NOT_ALLOWED)
        return event_id

    @property
    def entry_id(self) -> EntryId:
        """The place in the room of a queue or access token."""
        entry_id = self.needed_claims.entry_id
        if entry_id is None:
            raise Refusal(ErrorCode.TOKEN_KIND_NOT_ALLOWED)
        return entry_id

    @property
    def needed_claims(self) -> Claims:
        """The token's claims; TOKEN_MISSING without one."""
        if self.claims is None:
            raise Refusal(ErrorCode.TOKEN_MISSING)
        return self.claims


class IdempotentRequest(msgspec.Struct, frozen=True):
    """A request with an Idempotency-Key: ``digest`` names scope, route and key, ``fingerprint`` path and body."""

    digest: bytes
    fingerprint: bytes


class Call(msgspec.Struct, Generic[Body_co], frozen=True, kw_only=True):
    """A request that was judged and read."""

    principal: Principal
    body: Body_co
    raw: bytes = b""
    path: Mapping[str, str] = msgspec.field(default_factory=dict)
    query: Mapping[str, str] = msgspec.field(default_factory=dict)
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    request_id: str
    session_id: str = ""
    client: str = ""
    listener: ListenerKind = ListenerKind.PUBLIC
    idempotent: IdempotentRequest | None = None

    def path_id(self, name: str, missing: ErrorCode) -> UUID:
        """The id at ``name`` in the path; a malformed one is answered like one that does not exist."""
        found = parse_uuid(self.path[name])
        if found is None:
            raise Refusal(missing)
        return found

    def query_as(self, form: type[Q]) -> Q:
        """The query as a struct; what does not fit is INVALID_REQUEST."""
        if not self.query and isinstance(empty := _of_no_query(form), form):
            return empty
        try:
            found = msgspec.convert(dict(self.query), form, strict=False, str_keys=True)
        except msgspec.ValidationError as error:
            raise Refusal(ErrorCode.INVALID_REQUEST, details={"query": str(error)}) from None
        for name in form.__struct_fields__:
            # The text "null" is no value of a field that is not text; msgspec takes it for a field left out.
            if name in self.query and getattr(found, name) is None:
                raise Refusal(ErrorCode.INVALID_REQUEST, details={"query": f"{name} cannot be null"})
        return found


@functools.cache
def _of_no_query(form: type[msgspec.Struct]) -> msgspec.Struct | None:
    """What a query without fields says; None where it lacks some. The forms are the code's, and few."""
    try:
        return msgspec.convert({}, form, str_keys=True)
    except msgspec.ValidationError:
        return None


AnyCall = Call[msgspec.Struct | None]
"""A call whose body is not looked at."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An answer: status, body, further headers. ``kept`` tells that its idempotent outcome is stored already."""

    status: int
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: Headers = ()
    kept: bool = False


Answerer: TypeAlias = Callable[[RawRequest], Reply | Awaitable[Reply]]
"""Gives the finished reply to a request, at once where nothing has to be waited for. What is awaited raises BodyLost if
``read_body`` did."""


def is_uuid(text: str) -> bool:
    """Whether this is a UUID in its canonical form of 36 characters, upper or lower case."""
    return _UUID_FORM.fullmatch(text) is not None


def parse_uuid(text: str) -> UUID | None:
    """A UUID in its canonical form of 36 characters, upper or lower case; None for anything else."""
    return _read_uuid(text) if len(text) == _UUID_LENGTH else None


@functools.lru_cache(maxsize=_IDS_KEPT)
def _read_uuid(text: str) -> UUID | None:
    return UUID(text) if _UUID_FORM.fullmatch(text) else None
