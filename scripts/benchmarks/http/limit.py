"""The limit: bare Trio sockets and httptools that answer a fixed text.

Run as ``python -m scripts.benchmarks.http.limit PORT``.

One task a connection: receive, feed the parser, send. No routing, no credentials, no time-outs.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Final

import httptools
import trio

_BODY: Final = b'{"queue_position":12450,"status":"QUEUED","access_granted":false}'
_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(_BODY),
    _BODY,
)
_RECEIVE_BYTES: Final = 65_536


class _Requests:
    """What httptools calls back: counts the requests that are complete."""

    def __init__(self) -> None:
        self.complete = 0

    def on_message_complete(self) -> None:
        self.complete += 1


async def _answer(stream: trio.SocketStream) -> None:
    requests = _Requests()
    parser = httptools.HttpRequestParser(requests)
    try:
        while data := await stream.receive_some(_RECEIVE_BYTES):
            parser.feed_data(data)
            if requests.complete:
                await stream.send_all(_ANSWER * requests.complete)
                requests.complete = 0
    except trio.BrokenResourceError:
        pass
    finally:
        await trio.aclose_forcefully(stream)


def main() -> None:
    """Serves until it is killed."""
    port = int(sys.argv[1])
    trio.run(partial(trio.serve_tcp, _answer, port, host="127.0.0.1", backlog=4096))


if __name__ == "__main__":
    main()
