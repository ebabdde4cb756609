"""Upgrades to a WebSocket: the handshake, whom the application lets in, and the conversation that follows.

How the handshake is read belongs to ``ticketd.front.upgrade``.
"""

from __future__ import annotations

from handlers.websocket import UpgradeRefused, WebSocketApp, WebSocketSession
from ticketd.front.connections import Connection
from ticketd.front.faults import faults_logged
from ticketd.front.limits import FrontLimits
from ticketd.front.refusals import FrontRefusal, refusal_bytes
from ticketd.front.upgrade import UpgradeHead, accepted_bytes, read_upgrade, refused_bytes
from ticketd.front.websocket_conversation import WebSocketConversation


class WebSocketLane:
    """Serves upgraded connections with one application; one instance is the lane of any number of them."""

    def __init__(self, app: WebSocketApp, limits: FrontLimits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, connection: Connection, head: UpgradeHead) -> None:
        """Answers the upgrade, and serves the WebSocket until it has ended. Nothing of ``head`` is kept that long: the
        caller should not keep it either."""
        session, rest = await self._open(connection, head), head.rest
        if session is None:
            return
        del head
        try:
            await WebSocketConversation(connection, session, self._limits).run(rest)
        finally:
            session.close()

    async def _open(self, connection: Connection, head: UpgradeHead) -> WebSocketSession | None:
        """Answers the upgrade; the session, or None if the connection is closed already."""
        request = read_upgrade(head, connection.client[0] if connection.client is not None else "")
        if isinstance(request, FrontRefusal):
            await _answer_and_close(connection, refusal_bytes(request))
            return None
        answer, accepted = refusal_bytes(FrontRefusal.APP_FAILED), None
        with faults_logged("front.app_failed", listener=connection.listener.value):
            outcome = await self._app.open_websocket(request)
            if isinstance(outcome, UpgradeRefused):
                answer = refused_bytes(outcome)
            else:
                accepted = outcome
        if accepted is None:
            await _answer_and_close(connection, answer)
            return None
        try:
            answer = accepted_bytes(request, accepted)
            if (sent := connection.send_nowait(answer)) < len(answer):
                await connection.send(memoryview(answer)[sent:])
        except BaseException:
            accepted.session.close()
            raise
        return accepted.session


async def _answer_and_close(connection: Connection, answer: bytes) -> None:
    await connection.send(answer)
    await connection.close(linger=True)
