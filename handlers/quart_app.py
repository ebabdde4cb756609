"""The Quart-Trio application: every line of the table of endpoints as a route, and nothing of its own.

It turns an ASGI request into a ``RawRequest`` and a ``Reply`` into a response. No rule, no endpoint and no error form
is made here, so that another way of serving gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

from hypercorn.typing import HTTPScope
from quart import Response, request
from quart.wrappers.base import BaseRequestWebsocket
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.routing import MapAdapter

from handlers.call import ListenerKind, RawRequest, Reply
from handlers.endpoint import Endpoint
from handlers.serve import Server
from ticketd.errors import ErrorCode, Refusal

_LIMIT_SETTING: Final = "MAX_CONTENT_LENGTH"
_NO_TIMEOUT: Final = None
_ANY_HOST: Final = "localhost"
_BODILESS: Final = frozenset({204, 304})


class _App(QuartTrio):
    """Quart that finds routes by paths alone: what a Host header says is nobody's concern here, and may be no host."""

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        """The routes, for one request."""
        if request is None:
            return super().create_url_adapter(request)
        return self.url_map.bind(
            _ANY_HOST, url_scheme="http", default_method=request.method, path_info=request.path
        )


def build_app(
    server: Server, endpoints: Iterable[Endpoint], listener: ListenerKind, body_limit: int
) -> QuartTrio:
    """The application behind one listener; ``body_limit`` is the largest body, in bytes, that is read there."""
    app = _App("ticketd", static_folder=None)
    app.url_map.merge_slashes = False
    # One byte more, so that the endpoint's own limit is what refuses.
    app.config[_LIMIT_SETTING] = body_limit + 1
    # The front bounds how long a body may take.
    app.config["BODY_TIMEOUT"] = _NO_TIMEOUT
    app.config["RESPONSE_TIMEOUT"] = _NO_TIMEOUT

    async def answer(**_: str) -> Response:
        return _response(await server.answer_request(_raw_request(listener)))

    async def answer_error(_: HTTPException) -> Response:
        return await answer()

    methods_by_path: dict[str, set[str]] = {}
    for endpoint in endpoints:
        methods_by_path.setdefault(endpoint.path, {"OPTIONS"}).add(endpoint.method)
    for path, methods in methods_by_path.items():
        app.add_url_rule(
            path.replace("{", "<").replace("}", ">"),
            endpoint=path,
            view_func=answer,
            methods=sorted(methods),
            provide_automatic_options=False,
        )
    # What Quart's own routing refuses is refused again by ours, in our form.
    app.register_error_handler(HTTPException, answer_error)
    return app


def _raw_request(listener: ListenerKind) -> RawRequest:
    scope = cast(HTTPScope, request.scope)
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    client = scope.get("client")
    return RawRequest(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        client=str(client[0]) if client else "",
        listener=listener,
        read_body=_read_body,
    )


async def _read_body(limit: int) -> bytes:
    announced = request.content_length
    if announced is not None and announced > limit:
        raise Refusal(ErrorCode.BODY_TOO_LARGE, details={"max_bytes": limit})
    try:
        body = await request.get_data(cache=False, as_text=False, parse_form_data=False)
    except RequestEntityTooLarge:
        raise Refusal(ErrorCode.BODY_TOO_LARGE, details={"max_bytes": limit}) from None
    if len(body) > limit:
        raise Refusal(ErrorCode.BODY_TOO_LARGE, details={"max_bytes": limit})
    return body


def _response(reply: Reply) -> Response:
    response = Response(reply.body, status=reply.status)
    del response.headers["Content-Type"]
    if reply.content_type and reply.status not in _BODILESS:
        response.headers["Content-Type"] = reply.content_type
    if reply.status in _BODILESS:
        response.headers.pop("Content-Length", None)
    for name, value in reply.headers:
        response.headers.add(name, value)
    return response
