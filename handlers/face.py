"""The daemon's own face: whether it lives, whether it is ready, what it counts.

Liveness touches no store: a daemon whose store is slow is not to be restarted for it.
"""

from __future__ import annotations

from handlers.answers import answer
from handlers.call import AnyCall, ListenerKind, Reply
from handlers.services import Services
from handlers.wire.face import HealthAnswer
from storage.schema.layout import SYSTEM
from ticketd.credentials.api_keys import Scope
from ticketd.errors import ErrorCode, Refusal
from ticketd.metrics import CONTENT_TYPE


async def get_health(_: Services, __: AnyCall) -> Reply:
    """200 for as long as the daemon answers at all."""
    return answer(HealthAnswer(status="ok"))


async def get_readiness(services: Services, _: AnyCall) -> Reply:
    """200 while the store takes reads and changes, also such as make it larger, else STORAGE_UNAVAILABLE."""
    if not services.engine.takes_growth():
        raise Refusal(ErrorCode.STORAGE_UNAVAILABLE)
    with services.engine.snapshot(SYSTEM) as view:
        view.version(SYSTEM)
    return answer(HealthAnswer(status="ready"))


async def get_metrics(services: Services, call: AnyCall) -> Reply:
    """200 with the metrics, in Prometheus' text form. At the public door only if the settings say so."""
    if call.listener is ListenerKind.PUBLIC and not services.settings.server.metrics_public:
        raise Refusal(ErrorCode.NOT_FOUND)
    if call.listener is ListenerKind.OPERATOR_TCP:
        # On TCP the key is the credential, here as for everything of the operator's.
        key = call.principal.api_key
        if key is None:
            raise Refusal(ErrorCode.API_KEY_INVALID)
        if key.scope != Scope.OPERATOR.value:
            raise Refusal(ErrorCode.SCOPE_MISSING, details={"scopes": [Scope.OPERATOR.value]})
    return Reply(status=200, body=services.metrics.text(), content_type=CONTENT_TYPE)
