"""The few pages that the daemon itself shows to people: one plain style, no script, nothing from elsewhere."""

from __future__ import annotations

import html
from typing import Final

from handlers.call import Reply

HTML_TYPE: Final = "text/html; charset=utf-8"

_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
_HEADERS: Final = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", _POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
_STYLE: Final = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:4rem auto;padding:0 1rem;color:#222}"
    "button{font:inherit;padding:.5rem 1.25rem;margin:0 .5rem .5rem 0}pre{white-space:pre-wrap;background:#f4f4f4;"
    "padding:1rem}dt{color:#666}dd{margin:0 0 .5rem}"
)


def text_of(value: object) -> str:
    """A value as text in a page, with nothing in it that a browser would take for markup."""
    return html.escape(str(value), quote=True)


def page(title: str, body: str, status: int = 200) -> Reply:
    """A page. ``body`` is HTML: everything in it that came from elsewhere went through ``text_of``."""
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text_of(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{text_of(title)}</h1>{body}</body></html>"
    )
    return Reply(status=status, body=text.encode(), content_type=HTML_TYPE, headers=_HEADERS)
