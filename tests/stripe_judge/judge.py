"""How a request is judged: credentials, limits, faults on order, idempotency keys, and then what it asks.

The order is Stripe's: what was refused before the endpoint began (a wrong key, a limit, a parameter out of form, a
request under the same idempotency key) is not kept under the key; whatever the endpoint answered is.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import trio

from tests.stripe_judge.behaviour import Behaviour
from tests.stripe_judge.call import Call, new_id
from tests.stripe_judge.charging import expire_authorisations
from tests.stripe_judge.endpoints import Endpoint, find_endpoint
from tests.stripe_judge.faults import Fault, FaultOrder, take_fault
from tests.stripe_judge.form import Node, check_form, parse_form
from tests.stripe_judge.refusals import Refusal, api_error, bad_request, locked, rate_limited
from tests.stripe_judge.shapes import expand
from tests.stripe_judge.store import Store
from tests.stripe_judge.wire import Answer, Request, json_answer

LONGEST_KEY: Final = 255
NEVER_BEGUN: Final = frozenset({Fault.RATE_LIMIT, Fault.LOCK_TIMEOUT, Fault.UNAVAILABLE_BEFORE})
_VERSION: Final = re.compile(r"20[0-9]{2}-[01][0-9]-[0-3][0-9](?:\.[a-z]+)?\Z")


class Judge:
    """The API over one file. ``wall`` is the real time in seconds, ``base_url`` where the judge can be reached."""

    def __init__(
        self,
        path: Path,
        *,
        api_key: str = "sk_test_judge",
        base_url: str = "http://judge.invalid",
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.store = Store(path)
        self.base_url = base_url
        self.wall = wall
        self.stirred = trio.Event()
        self._api_key = api_key
        self._keys_at_work: set[str] = set()
        self._objects_at_work: set[str] = set()
        self._counted: dict[str, tuple[int, int]] = {}

    def call(self, *, name: str = "", request: str | None = None) -> Call:
        """The judge's hands, for what is done without a request of the API too."""
        return Call(
            store=self.store,
            behaviour=self.store.setting(Behaviour),
            wall=self.wall(),
            base_url=self.base_url,
            name=name,
            request=request,
        )

    def stir(self) -> None:
        """Says that there may be webhooks to send."""
        self.stirred.set()
        self.stirred = trio.Event()

    async def answer(self, request: Request) -> Answer | None:
        """The API's answer; None where the connection is to end without one."""
        try:
            self._check_credentials(request)
            endpoint, name = find_endpoint(request.method, request.path)
        except Refusal as refusal:
            return _refused(refusal)
        with self.store.transaction():
            fault = take_fault(self.store, endpoint.title)
        answer = await self._judge(endpoint, name, request, fault)
        with self.store.transaction():
            self._write_down(endpoint, request, fault, answer)
        self.stir()
        return answer

    def _write_down(
        self, endpoint: Endpoint, request: Request, fault: FaultOrder | None, answer: Answer | None
    ) -> None:
        self.store.sql.execute(
            "INSERT INTO calls (at, endpoint, path, key, status, replayed, fault) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                self.wall(),
                endpoint.title,
                request.path,
                request.headers.get("idempotency-key"),
                None if answer is None else answer.status,
                answer is not None and "Idempotent-Replayed" in answer.headers,
                None if fault is None else fault.kind.value,
            ),
        )

    # --- before the endpoint --------------------------------------------------------------------------------

    def _check_credentials(self, request: Request) -> None:
        given = _key_given(request.headers.get("authorization", ""))
        if given is None:
            raise Refusal(401, "You did not provide an API key.")
        if given != self._api_key:
            raise Refusal(401, f"Invalid API Key provided: {given[:8]}{'*' * 8}")
        version = request.headers.get("stripe-version")
        if version is not None and _VERSION.match(version) is None:
            raise bad_request(f"Invalid Stripe API version: {version}")

    def _over_the_limit(self, endpoint: Endpoint, behaviour: Behaviour) -> bool:
        if behaviour.rate_per_second is None:
            return False
        second = int(self.wall())
        counted_in, count = self._counted.get(endpoint.title, (second, 0))
        count = count + 1 if counted_in == second else 1
        self._counted[endpoint.title] = (second, count)
        return count > behaviour.rate_per_second

    async def _judge(
        self, endpoint: Endpoint, name: str, request: Request, fault: FaultOrder | None
    ) -> Answer | None:
        kind = None if fault is None else fault.kind
        headers = {} if fault is None else fault.headers
        seconds = 0.0 if fault is None else fault.seconds
        behaviour = self.store.setting(Behaviour)
        over = self._over_the_limit(endpoint, behaviour)
        if over or kind in NEVER_BEGUN:
            return _not_begun(Fault.RATE_LIMIT if over else kind, headers)
        if kind in {Fault.DROP_BEFORE, Fault.TIMEOUT_BEFORE}:
            await trio.sleep(seconds if kind is Fault.TIMEOUT_BEFORE else 0)
            return None
        try:
            delay = behaviour.latency_seconds + (seconds if kind is Fault.SLOW else 0)
            answer = await self._under_key(endpoint, name, request, (delay, kind))
        except Refusal as refusal:
            return _refused(refusal)
        if kind in {Fault.DROP_AFTER, Fault.TIMEOUT_AFTER}:
            await trio.sleep(seconds if kind is Fault.TIMEOUT_AFTER else 0)
            return None
        if kind is Fault.UNAVAILABLE_AFTER:
            return _refused(api_error(503), headers)
        return replace(answer, headers={**answer.headers, **headers})

    # --- under the key --------------------------------------------------------------------------------------

    async def _under_key(
        self, endpoint: Endpoint, name: str, request: Request, order: tuple[float, Fault | None]
    ) -> Answer:
        """What was answered under the key, or is now. ``order``: how much later it begins, and which fault it has."""
        delay, fault = order
        key = _idempotency_key(request)
        parameters = _parameters_of(request)
        if key is not None:
            kept = self._kept(key, request, parameters)
            if kept is not None:
                return kept
            if key in self._keys_at_work:
                raise Refusal(
                    409,
                    "There is currently another in-progress request using this Idempotent Key (that probably means you "
                    "submitted twice, and the other request is still going through): "
                    f"{key}. Please try again later.",
                    type="idempotency_error",
                    code="idempotency_key_in_use",
                )
        at_work = name if request.method == "POST" else ""
        if at_work and at_work in self._objects_at_work:
            raise locked()
        marks = [(self._keys_at_work, key), (self._objects_at_work, at_work)]
        for marked, mark in marks:
            if mark:
                marked.add(mark)
        try:
            if delay:
                await trio.sleep(delay)
            return self._run(endpoint, name, request, fault)
        finally:
            for marked, mark in marks:
                if mark:
                    marked.discard(mark)

    def _kept(self, key: str, request: Request, parameters: str) -> Answer | None:
        """What was answered under this key; 400 if it was another request's."""
        row = self.store.sql.execute(
            "SELECT endpoint, parameters, status, body, request FROM keys WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return None
        endpoint, kept_parameters, status, body, made_by = row
        if endpoint != f"{request.method} {request.path}":
            raise Refusal(
                400,
                "Keys for idempotent requests can only be used for the same endpoint they were first used for "
                f"('{request.path}' vs '{endpoint.partition(' ')[2]}'). Try using a key other than '{key}' if you "
                "meant to execute a different request.",
                type="idempotency_error",
            )
        if kept_parameters != parameters:
            raise Refusal(
                400,
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                f"Try using a key other than '{key}' if you meant to execute a different request.",
                type="idempotency_error",
            )
        headers = {"Request-Id": new_id("req_", 14), "Original-Request": made_by, "Idempotency-Key": key}
        return Answer(
            status, body, {"Content-Type": "application/json", **headers, "Idempotent-Replayed": "true"}
        )

    def _run(self, endpoint: Endpoint, name: str, request: Request, fault: Fault | None) -> Answer:
        """Does it and keeps its answer, in one commit."""
        key = _idempotency_key(request)
        parameters = _parameters_of(request)
        call = replace(
            self.call(name=name, request=new_id("req_", 14)),
            params=check_form(endpoint.spec, _form_of(request)),
            key=key,
        )
        with self.store.transaction():
            expire_authorisations(call)
            answer = _faulty(call) if fault is Fault.ERROR_BEFORE else _done(endpoint, call)
            if fault is Fault.ERROR_AFTER:
                answer = _faulty(call)
            if key is not None:
                self.store.sql.execute(
                    "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        key,
                        f"{request.method} {request.path}",
                        parameters,
                        answer.status,
                        answer.body,
                        call.request,
                        self.wall(),
                    ),
                )
        return answer


def _not_begun(kind: Fault | None, headers: Mapping[str, str]) -> Answer:
    if kind is Fault.RATE_LIMIT:
        refusal, reason = rate_limited()
        return _refused(refusal, {**headers, **reason})
    return _refused(locked() if kind is Fault.LOCK_TIMEOUT else api_error(503), headers)


def _done(endpoint: Endpoint, call: Call) -> Answer:
    """The endpoint's answer, be it a refusal."""
    try:
        document = endpoint.function(call)
        expanded = expand(call.store, call.base_url, document, call.params.texts("expand"))
        return json_answer(200, expanded, _names(call))
    except Refusal as refusal:
        return _refused(refusal, _names(call))


def _faulty(call: Call) -> Answer:
    return _refused(api_error(), _names(call))


def _refused(refusal: Refusal, headers: Mapping[str, str] | None = None) -> Answer:
    named = {"Request-Id": new_id("req_", 14), **(headers or {})}
    return json_answer(refusal.status, {"error": refusal.error}, named)


def _names(call: Call) -> dict[str, str]:
    """The headers that name a request."""
    names = {"Request-Id": call.request or ""}
    if call.key is not None:
        names["Idempotency-Key"] = call.key
    return names


def _key_given(authorization: str) -> str | None:
    """The API key, as a bearer's or as the name of basic authentication."""
    scheme, _, given = authorization.partition(" ")
    if scheme == "Bearer" and given:
        return given
    if scheme == "Basic":
        try:
            return base64.b64decode(given, validate=True).decode().partition(":")[0] or None
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def _idempotency_key(request: Request) -> str | None:
    """The key of a POST; other requests have none, whatever they carry."""
    key = request.headers.get("idempotency-key")
    if request.method != "POST" or key is None:
        return None
    if not 0 < len(key) <= LONGEST_KEY:
        raise bad_request(f"Idempotency keys must be 1 to {LONGEST_KEY} characters long.")
    return key


def _form_of(request: Request) -> dict[str, Node]:
    if request.method != "POST":
        return parse_form(request.query)
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if request.body and kind != "application/x-www-form-urlencoded":
        raise bad_request(f"Invalid request (check that your POST content type is a form's, not {kind}).")
    if request.query:
        raise bad_request("The parameters of a POST stand in its body.")
    return parse_form(request.body)


def _parameters_of(request: Request) -> str:
    """The parameters in one writing, whatever their order was."""
    return json.dumps(_form_of(request), sort_keys=True)
