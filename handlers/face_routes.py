"""The lines of the table of endpoints for the daemon's own face: health, metrics, the API document, the sandbox's page.

``handlers.routes`` holds them with all others.
"""

from __future__ import annotations

from typing import Final

from handlers.docs import get_docs_asset, get_openapi, show_docs
from handlers.endpoint import OPEN, BodyEncoding, Door, Endpoint
from handlers.face import get_health, get_metrics, get_readiness
from handlers.pages import HTML_TYPE
from handlers.sandbox import answer_challenge, show_challenge
from handlers.wire.face import HealthAnswer
from handlers.wire.sandbox import ChallengeForm
from ticketd.errors import ErrorCode
from ticketd.metrics import CONTENT_TYPE
from ticketd.rate_limits.classes import RateClass

FACE_ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        method="GET",
        path="/v1/openapi.json",
        function=get_openapi,
        has_etag=True,
        part="daemon",
        summary="The document of this API",
        credential=OPEN,
        rate=RateClass.OTHER,
        door=Door.BOTH,
    ),
    Endpoint(
        method="GET",
        path="/docs",
        function=show_docs,
        part="daemon",
        summary="A page that shows the document of this API",
        credential=OPEN,
        rate=RateClass.UNLIMITED,
        media_type=HTML_TYPE,
    ),
    Endpoint(
        method="GET",
        path="/docs/{asset}",
        function=get_docs_asset,
        part="daemon",
        summary="What that page needs",
        credential=OPEN,
        rate=RateClass.UNLIMITED,
        media_type="application/octet-stream",
        errors=(ErrorCode.NOT_FOUND,),
    ),
    Endpoint(
        method="GET",
        path="/healthz",
        function=get_health,
        part="daemon",
        summary="Whether the daemon lives",
        credential=OPEN,
        rate=RateClass.UNLIMITED,
        answer=HealthAnswer,
        door=Door.BOTH,
    ),
    Endpoint(
        method="GET",
        path="/readyz",
        function=get_readiness,
        part="daemon",
        summary="Whether the daemon is ready to serve",
        credential=OPEN,
        rate=RateClass.UNLIMITED,
        answer=HealthAnswer,
        errors=(ErrorCode.STORAGE_UNAVAILABLE,),
        door=Door.BOTH,
    ),
    Endpoint(
        method="GET",
        path="/metrics",
        function=get_metrics,
        part="daemon",
        summary="What the daemon counts, in Prometheus' text form",
        credential=OPEN,
        rate=RateClass.UNLIMITED,
        media_type=CONTENT_TYPE,
        errors=(ErrorCode.API_KEY_INVALID, ErrorCode.SCOPE_MISSING, ErrorCode.NOT_FOUND),
        door=Door.BOTH,
    ),
    Endpoint(
        method="GET",
        path="/sandbox/payments/{payment_ref}",
        function=show_challenge,
        part="sandbox",
        summary="The page on which a buyer confirms a sandbox payment",
        credential=OPEN,
        rate=RateClass.OTHER,
        media_type=HTML_TYPE,
        errors=(ErrorCode.NOT_FOUND,),
    ),
    Endpoint(
        method="POST",
        path="/sandbox/payments/{payment_ref}",
        function=answer_challenge,
        part="sandbox",
        summary="Confirm or refuse a sandbox payment",
        credential=OPEN,
        rate=RateClass.OTHER,
        body=ChallengeForm,
        encoding=BodyEncoding.FORM,
        media_type=HTML_TYPE,
        errors=(ErrorCode.NOT_FOUND,),
    ),
)
