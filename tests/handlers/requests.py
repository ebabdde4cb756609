"""A raw request for tests that stand below the server."""

from __future__ import annotations

from collections.abc import Mapping

from handlers.call import ListenerKind, RawRequest


def raw_request(
    method: str = "POST",
    path: str = "/",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    listener: ListenerKind = ListenerKind.PUBLIC,
) -> RawRequest:
    """A request whose body is read whatever the limit, so that a test sees which limit was asked for."""

    async def read_body(limit: int) -> bytes:
        assert limit >= len(body)
        return body

    return RawRequest(
        method=method,
        path=path,
        query="",
        headers=headers or {},
        client="127.0.0.1",
        listener=listener,
        read_body=read_body,
    )
