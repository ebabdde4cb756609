"""One WebSocket's conversation: messages are read, carried out or refused, and what is told is numbered.

The session ends with its token. Nothing that a client sends ends more than its own session.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

import msgspec
import structlog

from handlers.answers import encode_json, time_text
from handlers.bodies import decode_body
from handlers.errors import ErrorAnswer, error_reply, refusal_of
from handlers.services import Services
from handlers.websocket import MessageProblem, SessionEnds
from handlers.wire.realtime import ClientMessage, ErrorMessage, Pong, Subscribe, Unsubscribe
from storage.engine import Snapshot
from storage.schema.ids import EntryId, EventId
from storage.schema.states import EntryState
from ticketd.credentials.claims import Claims, TokenExpired, TokenInvalid
from ticketd.credentials.keyring import TokenKind
from ticketd.errors import ErrorCode, Refusal
from ticketd.rate_limits.classes import RateClass
from ticketd.rate_limits.counting import MINUTE_MS, Window
from ticketd.realtime.connection import Listener
from ticketd.realtime.outbox import LineOverrun
from ticketd.realtime.updates import QueuePlace
from ticketd.views.places import find_standing
from ticketd.views.positions import Positions

NOT_JSON: Final = 1003
TOKEN_OVER: Final = 1008
FAILED: Final = 1011
TOO_SLOW: Final = 1013

_LOOK_AGAIN_MS: Final = 1000

_log = structlog.get_logger("ticketd.realtime")


class _NotJson(Exception):
    """The message is no JSON."""


class RealtimeSession:
    """What one connection says and hears. Made for a token that is good.

    Of ten thousand nearly all are silent, so no more is kept than what is needed to speak up.
    """

    __slots__ = (
        "_calls",
        "_connection",
        "_ends",
        "_expires_at_ms",
        "_on_news",
        "_request_id",
        "_seq",
        "_services",
        "_tokens",
    )

    def __init__(self, services: Services, claims: Claims, tokens: tuple[str, ...], request_id: str) -> None:
        self._services = services
        self._tokens = tokens
        self._request_id = request_id
        self._expires_at_ms = claims.expires_at_ms
        self._connection = services.hub.connect(_listener(claims), self, claims.expires_at_ms)
        self._on_news: Callable[[], None] | None = None
        self._seq = 0
        self._ends: SessionEnds | None = None
        self._calls: int | None = None

    # --- what the client says ---------------------------------------------------------------------------------------

    @property
    def takes_messages(self) -> bool:
        """Whether another message is read: not while too many answers have not been taken."""
        return self._ends is not None or self._connection.takes_questions

    def receive(self, message: str) -> None:
        """Carries out one message, or answers ``error``. Raises SessionEnds 1003 for what is not JSON."""
        if self._ends is not None or self._end_if_expired():
            return
        try:
            self._count_message()
            self._carry_out(_read_message(message))
        except _NotJson:
            self._say_error(Refusal(ErrorCode.INVALID_REQUEST, "The message is not JSON."))
            raise SessionEnds(NOT_JSON, "not JSON") from None
        except Exception as failure:
            refusal = refusal_of(failure)
            if refusal.code is ErrorCode.INTERNAL_ERROR:
                _log.exception("message failed", request_id=self._request_id)
            self._say_error(refusal)

    def refuse_message(self, problem: MessageProblem) -> None:
        """Puts the error in line that tells of a message that could not be taken."""
        if problem is MessageProblem.TOO_LARGE:
            self._say_error(Refusal(ErrorCode.BODY_TOO_LARGE, "The message is too large."))
        else:
            self._say_error(Refusal(ErrorCode.INVALID_REQUEST, "Only text messages are read."))

    def _carry_out(self, message: ClientMessage) -> None:
        if isinstance(message, Subscribe):
            self._connection.subscribe(EventId(message.event_id))
        elif isinstance(message, Unsubscribe):
            self._connection.unsubscribe(EventId(message.event_id))
        else:
            self._connection.answer(encode_json(Pong(timestamp=time_text(self._now_ms()))))

    def _count_message(self) -> None:
        limits = self._services.settings.rate_limits
        if not limits.enabled:
            return
        limit = Window(limits.realtime_messages_per_minute, MINUTE_MS)
        now_ms = self._now_ms()
        taken = limit.take(self._calls, now_ms)
        self._calls = taken.state
        if not taken.is_allowed:
            wait_seconds = -((now_ms - taken.retry_at_ms) // 1000)
            raise Refusal(
                ErrorCode.RATE_LIMITED,
                details={
                    "class": RateClass.REALTIME.value,
                    "limit": limit.limit,
                    "retry_after_seconds": wait_seconds,
                },
                retry_after_seconds=wait_seconds,
            )

    # --- what the client hears --------------------------------------------------------------------------------------

    def listen(self, on_news: Callable[[], None]) -> None:
        """``on_news`` is called when there may be something to send."""
        self._on_news = on_news

    def has_news(self) -> None:
        """The hub's word that there may be something to send."""
        if self._on_news is not None:
            self._on_news()

    def next_message(self) -> bytes | None:
        """The next message; None if there is nothing now. Raises SessionEnds: 1008 once the token is over, 1013 for one
        who reads too slowly to be told everything, 1011 if something failed here."""
        try:
            text = self._connection.next_text()
        except LineOverrun:
            raise SessionEnds(TOO_SLOW, "too slow") from None
        except Exception as failure:
            if refusal_of(failure).code is ErrorCode.INTERNAL_ERROR:
                _log.exception("session failed", request_id=self._request_id)
            raise SessionEnds(FAILED, "internal error") from None
        if text is not None:
            return self._numbered(text)
        if self._ends is not None:
            raise self._ends
        return None

    def last_message(self) -> bytes | None:
        """A message that is in line already."""
        try:
            text = self._connection.text_in_line()
        except LineOverrun:
            return None
        return None if text is None else self._numbered(text)

    def close(self) -> None:
        """The connection is over."""
        self._on_news = None
        self._connection.close()

    def _numbered(self, text: bytes) -> bytes:
        self._seq += 1
        return b'{"seq":%d,' % self._seq + text[1:]

    def _say_error(self, refusal: Refusal) -> None:
        reply = error_reply(refusal, self._request_id, self._now_ms())
        error = msgspec.json.decode(reply.body, type=ErrorAnswer).error
        self._connection.answer(encode_json(ErrorMessage(error=error)))

    # --- the token's end --------------------------------------------------------------------------------------------

    def _end_if_expired(self) -> bool:
        if self._now_ms() >= self._expires_at_ms:
            self.recheck()
        return self._ends is not None

    def recheck(self) -> int | None:
        """Ends the session if its tokens are good no more: their time is over, or a key was taken away. When to look
        again; None once it has ended."""
        if self._ends is not None:
            return None
        now_ms = self._now_ms()
        try:
            for token in self._tokens:
                self._services.keys.tokens.verify(token, now_ms)
        except TokenExpired:
            self._end(ErrorCode.TOKEN_EXPIRED, "token expired")
            return None
        except TokenInvalid:
            self._end(ErrorCode.TOKEN_INVALID, "token not valid any more")
            return None
        if now_ms >= self._expires_at_ms:
            # An outside issuer's token may be good a little longer, by leeway and by that issuer's time.
            self._expires_at_ms = now_ms + _LOOK_AGAIN_MS
        return self._expires_at_ms

    def _end(self, code: ErrorCode, reason: str) -> None:
        """Nothing more is told but why."""
        self._ends = SessionEnds(TOKEN_OVER, reason)
        self._connection.close()
        self._say_error(Refusal(code))
        self._connection.wake()

    def _now_ms(self) -> int:
        return self._services.clock.now_ms()


def find_queue_place(positions: Positions) -> Callable[[Snapshot, EventId, EntryId], QueuePlace]:
    """How the hub reads a place, also one that ended."""

    def find(view: Snapshot, event_id: EventId, entry_id: EntryId) -> QueuePlace:
        try:
            standing = find_standing(view, positions, event_id, entry_id)
        except Refusal as refusal:
            return QueuePlace(EntryState(str(refusal.details["status"])), 0, 0)
        return QueuePlace(standing.state, standing.position, standing.wait_ms)

    return find


def _listener(claims: Claims) -> Listener:
    is_queue = claims.kind is TokenKind.QUEUE
    return Listener(claims.user_id, claims.event_id, claims.entry_id if is_queue else None)


def _read_message(message: str) -> ClientMessage:
    """A message as its struct. Refuses INVALID_REQUEST with its place for JSON that is no message."""
    try:
        msgspec.json.decode(message)
    except RecursionError:
        raise Refusal(ErrorCode.INVALID_REQUEST, details={"body": "is nested too deeply"}) from None
    except (msgspec.MsgspecError, ValueError):
        raise _NotJson from None
    # Any of the messages: the struct is chosen by its type field.
    form = cast("type[msgspec.Struct]", ClientMessage)
    return cast("ClientMessage", decode_body(message.encode(), form))
