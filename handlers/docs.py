"""The API document as JSON, and a page that shows it, with all its assets from this daemon."""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import Final

from handlers.call import AnyCall, Reply
from handlers.coding import etag_of
from handlers.pages import HTML_TYPE
from handlers.services import Services
from ticketd.errors import ErrorCode, Refusal

_TYPES: Final = {"js": "application/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
_ASSETS: Final = ("swagger-ui-bundle.js", "swagger-ui.css", "start.js")
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_PAGE: Final = (
    b'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>ticketd: the API</title>'
    b'<link rel="stylesheet" href="/docs/swagger-ui.css"></head><body><div id="document"></div>'
    b'<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>'
)


async def get_openapi(services: Services, _: AnyCall) -> Reply:
    """200 with this document."""
    body = services.api_document()
    return Reply(status=200, body=body, headers=(("ETag", etag_of(body)),))


async def show_docs(_: Services, __: AnyCall) -> Reply:
    """200 with the page that shows the document."""
    headers = (("Content-Security-Policy", _POLICY), ("X-Content-Type-Options", "nosniff"))
    return Reply(status=200, body=_PAGE, content_type=HTML_TYPE, headers=headers)


async def get_docs_asset(_: Services, call: AnyCall) -> Reply:
    """200 with one of the page's assets."""
    name = call.path["asset"]
    if name not in _ASSETS:
        raise Refusal(ErrorCode.NOT_FOUND)
    body = _asset(name)
    headers = (("ETag", etag_of(body)), ("X-Content-Type-Options", "nosniff"))
    return Reply(status=200, body=body, content_type=_TYPES[name.rpartition(".")[2]], headers=headers)


@functools.cache
def _asset(name: str) -> bytes:
    return files("handlers").joinpath("docs_assets", name).read_bytes()
