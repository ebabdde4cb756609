"""What a line of the table of endpoints says. The table itself is ``handlers.routes``."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from handlers.call import Call, Reply
from handlers.services import Services
from ticketd.credentials.api_keys import Scope
from ticketd.credentials.keyring import TokenKind
from ticketd.errors import ErrorCode
from ticketd.rate_limits.classes import RateClass

API_PREFIX: Final = "/v1/"


class Door(enum.Enum):
    """On which listeners an endpoint is found."""

    PUBLIC = "public"
    OPERATOR = "operator"
    BOTH = "both"


class Token(enum.Enum):
    """Whether a call needs a token. A token that is sent must be valid and of an allowed kind in any case."""

    NEEDED = "needed"
    VOUCHED = "vouched"
    """Needed, unless the key is a storefront's, whose server vouches for its buyers."""
    VOUCHED_IF_REQUIRED = "vouched if required"
    """As VOUCHED; and nobody need vouch where ``auth.user_tokens`` is ``optional``."""
    OPTIONAL = "optional"


@dataclass(frozen=True, slots=True)
class Credential:
    """What opens an endpoint: API keys of ``scopes`` (none: no key is asked for), tokens of ``kinds``."""

    scopes: frozenset[Scope]
    token: Token
    kinds: frozenset[TokenKind]
    scope_names: frozenset[str] = field(init=False, repr=False)
    """The same scopes as keys have them stored."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "scope_names", frozenset(scope.value for scope in self.scopes))


_BUYING_SCOPES: Final = frozenset({Scope.PUBLIC, Scope.STOREFRONT})

OPEN: Final = Credential(frozenset(), Token.OPTIONAL, frozenset(TokenKind))
"""No key, no token: health, documentation, signed links."""
BROWSING: Final = Credential(frozenset(Scope), Token.OPTIONAL, frozenset({TokenKind.USER, TokenKind.ACCESS}))
"""An API key of any scope; a user or access token may be sent."""
JOINING: Final = Credential(_BUYING_SCOPES, Token.VOUCHED_IF_REQUIRED, frozenset({TokenKind.USER}))
"""An API key, and a user token where neither a storefront nor the settings do without one."""
RESUMING: Final = Credential(_BUYING_SCOPES, Token.VOUCHED, frozenset({TokenKind.USER}))
"""A storefront's key, or another one and a user token."""
TRUSTED_SERVER: Final = Credential(frozenset({Scope.STOREFRONT}), Token.OPTIONAL, frozenset({TokenKind.USER}))
"""A storefront's key."""
QUEUEING: Final = Credential(_BUYING_SCOPES, Token.NEEDED, frozenset({TokenKind.QUEUE}))
"""A queue token."""
SHOPPING: Final = Credential(_BUYING_SCOPES, Token.NEEDED, frozenset({TokenKind.ACCESS}))
"""An access token."""
OWNING: Final = Credential(_BUYING_SCOPES, Token.NEEDED, frozenset({TokenKind.USER, TokenKind.ACCESS}))
"""A user or an access token: the buyer's own things."""
RECEIVING: Final = Credential(_BUYING_SCOPES, Token.NEEDED, frozenset({TokenKind.USER}))
"""A user token."""
OPERATING: Final = Credential(frozenset({Scope.OPERATOR}), Token.OPTIONAL, frozenset())
"""The operator: on the Unix socket its file mode, on TCP an operator key."""


SELLING: Final = Credential(frozenset({Scope.BOX_OFFICE}), Token.OPTIONAL, frozenset())
"""A till's key."""


class BodyEncoding(enum.Enum):
    """How a body is written. RAW: JSON that the endpoint reads itself, from ``Call.raw``; FORM: as browsers post it."""

    JSON = "application/json"
    RAW = "raw"
    FORM = "application/x-www-form-urlencoded"


# One that has nothing to wait for gives its reply at once. The body's type differs from line to line; each endpoint
# function is typed, the table cannot be.
EndpointFunction = Callable[[Services, Call[Any]], Reply | Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One line of the table.

    ``path`` has its parameters in braces. ``body`` is None where no body is read (an empty object is allowed).
    ``query`` names the query's fields for the API document. ``answer`` is the struct of the success answer, None for
    204 and for what is not JSON (``media_type``). ``errors`` are the codes of this call beyond those that follow from
    its credential and body. ``hot`` marks what a sale is made of. ``idempotent`` tells that Idempotency-Key counts.
    """

    method: str
    path: str
    function: EndpointFunction
    part: str
    summary: str
    credential: Credential
    rate: RateClass
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    answer: type[msgspec.Struct] | None = None
    status: int = 200
    errors: tuple[ErrorCode, ...] = ()
    idempotent: bool = False
    hot: bool = False
    door: Door = Door.PUBLIC
    media_type: str = "application/json"
    encoding: BodyEncoding = BodyEncoding.JSON
    has_etag: bool = False
    """Whether its answer has an ETag, and If-None-Match is honoured."""
    large: bool = False
    """Whether the body may be as large as ``server.operator_max_body_bytes``."""
    in_api: bool = field(init=False, repr=False)
    """Whether it is a call of the API, and no page for people or probe."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_api", self.path.startswith(API_PREFIX))

    @property
    def name(self) -> str:
        """The name of the operation: its function's."""
        return getattr(self.function, "__name__", self.path)
