"""The judge over HTTP/1.1, with connections kept open: h11 on Trio."""

from __future__ import annotations

from functools import partial
from typing import Final

import h11
import trio

from tests.stripe_judge import control, pages
from tests.stripe_judge.judge import Judge
from tests.stripe_judge.webhooks import run_deliveries
from tests.stripe_judge.wire import Answer, Request, json_answer

LARGEST_BODY: Final = 1 << 20
_READ: Final = 65536


async def serve(
    judge: Judge, port: int, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Listens on loopback and sends webhooks, until it is cancelled; reports where it listens."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_tcp, partial(serve_connection, judge), port, host="127.0.0.1")
        )
        judge.base_url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.start_soon(run_deliveries, judge)
        task_status.started(judge.base_url)


async def answer(judge: Judge, request: Request) -> Answer | None:
    """Whoever answers this address."""
    if request.path.startswith(control.PREFIX):
        return control.obey(judge, request)
    if request.path.startswith(pages.PREFIX):
        return pages.show_page(judge, request)
    return await judge.answer(request)


async def serve_connection(judge: Judge, stream: trio.abc.Stream) -> None:
    """One connection, request after request; ended without an answer where the judge gives none."""
    http = h11.Connection(h11.SERVER)
    async with stream:
        try:
            while True:
                request = await _read(http, stream)
                if request is None:
                    return
                answered = await answer(judge, request)
                if answered is None:
                    return
                await _send(http, stream, answered)
                if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                    return
                http.start_next_cycle()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # The caller has gone; what it asked for is done all the same.
        except h11.RemoteProtocolError as error:
            if http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                await _send(http, stream, json_answer(400, {"error": {"message": str(error)}}))


async def _read(http: h11.Connection, stream: trio.abc.Stream) -> Request | None:
    """The next request; None at the connection's end."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            if http.they_are_waiting_for_100_continue:
                go_on = http.send(h11.InformationalResponse(status_code=100, headers=[]))
                await stream.send_all(go_on or b"")
            http.receive_data(bytes(await stream.receive_some(_READ)))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > LARGEST_BODY:
                return None
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            return _request(head, bytes(body))
        else:
            return None


def _request(head: h11.Request, body: bytes) -> Request:
    path, _, query = head.target.partition(b"?")
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    return Request(head.method.decode(), path.decode("latin-1"), query, headers, body)


async def _send(http: h11.Connection, stream: trio.abc.Stream, answered: Answer) -> None:
    headers = [*answered.headers.items(), ("Content-Length", str(len(answered.body)))]
    data = http.send(h11.Response(status_code=answered.status, headers=headers)) or b""
    data += http.send(h11.Data(data=answered.body)) or b""
    data += http.send(h11.EndOfMessage()) or b""
    await stream.send_all(data)
