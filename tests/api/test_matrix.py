"""Every endpoint × everything that can be wrong with a call, made out of the table of endpoints: the right refusal, in
the one form, as documented, and the store unchanged."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec
import trio.testing

from handlers.call import ListenerKind
from handlers.endpoint import BodyEncoding, Door, Endpoint, Token
from handlers.routes import ENDPOINTS
from tests.api.judging import (
    Judge,
    answer_problems,
    fields_of,
    fits,
    judged,
    required_fields,
    struct_of,
)
from tests.api.samples import SAMPLES, Sample
from tests.api.world import OWNER
from tests.support.daemon import Client
from tests.support.tokens import mint
from ticketd.credentials.api_keys import Scope
from ticketd.credentials.keyring import TokenKind
from ticketd.errors import ErrorCode

UNKNOWN = str(UUID(int=0xDEAD))
LIMIT = 65_536
KEY = {"idempotency-key": "the-first-key"}
JSON = {"content-type": "application/json"}
_BOUND = {TokenKind.QUEUE, TokenKind.ACCESS}


def has_key(line: Endpoint) -> bool:
    return bool(line.credential.scopes)


def takes_a_body(line: Endpoint) -> bool:
    return line.method in {"POST", "PUT", "DELETE"}


def kind_of(judge: Judge, client: Client) -> TokenKind | None:
    """The kind of the token that a sample's caller has."""
    if client.token is None:
        return None
    services = judge.world.daemon.services
    return services.keys.tokens.verify(client.token, services.clock.now_ms()).kind


def with_key(client: Client, key: str | None) -> Client:
    return Client(client.server, key, client.token, client.device, client.listener)


# --- each sample succeeds, or the rest would prove nothing ----------------------------------------------------------


def test_every_endpoint_has_a_sample() -> None:
    assert {line.name for line in ENDPOINTS} == set(SAMPLES)


@judged
async def test_what_is_right_is_answered_as_documented(judge: Judge) -> None:
    for line, sample in judge.samples():
        judge.asked += 1
        before = judge.world.digest()
        answer = await sample.send(line)
        if answer.status != line.status:
            judge.fault(line, "the sample", f"{answer.status} {answer.body[:300]!r}")
            continue
        if line.method == "GET" and judge.world.digest() != before:
            judge.fault(line, "the sample", "a GET changed the store")
        media = "" if line.status == 204 else line.media_type
        if line.path != "/docs/{asset}" and answer.headers.get("content-type", "") != media:
            judge.fault(line, "the sample", f"the type is {answer.headers.get('content-type')}")
        if line.answer is not None:
            for problem in answer_problems(line.answer.__name__, answer.json):
                judge.fault(line, "the sample", problem)
            if isinstance(decode_strictly(line, answer.body), str):
                judge.fault(line, "the sample", "is not the struct of the table")


def decode_strictly(line: Endpoint, body: bytes) -> object:
    try:
        return msgspec.json.decode(body, type=line.answer)
    except msgspec.ValidationError as error:
        return str(error)


@judged
async def test_what_is_repeated_is_answered_the_same(judge: Judge) -> None:
    for line, sample in judge.samples(lambda line: line.idempotent):
        judge.asked += 1
        keyed = Sample(**{**vars(sample), "headers": {**(sample.headers or {}), **KEY}})
        first = await keyed.send(line)
        await trio.testing.wait_all_tasks_blocked()  # What follows in the background is no part of this.
        between = judge.world.digest()
        again = await keyed.send(line)
        if first.status != line.status or (again.status, again.body) != (first.status, first.body):
            judge.fault(
                line, "a repetition", f"{first.status} {first.body[:99]!r} {again.status} {again.body[:99]!r}"
            )
        if again.headers.get("idempotency-replayed") != "true":
            judge.fault(line, "a repetition", "does not say that it is one")
        if again.headers.get("location") != first.headers.get("location"):
            judge.fault(line, "a repetition", "has another Location")
        if judge.world.digest() != between:
            judge.fault(line, "a repetition", "changed the store")
        for key in ("short", "x" * 129, "with-é-in-it"):
            bad = Sample(**{**vars(sample), "headers": {**(sample.headers or {}), "idempotency-key": key}})
            await judge.refused(line, f"the key {key[:12]}", bad.send(line), ErrorCode.INVALID_REQUEST)
        if line.body is not None:
            other = keyed.client.call(
                line.method, keyed.target(line), {**keyed.body, "x": 1}, headers=keyed.headers
            )
            await judge.refused(line, "another body", other, ErrorCode.IDEMPOTENCY_KEY_REUSED)


# --- who calls ------------------------------------------------------------------------------------------------------


@judged
async def test_api_keys(judge: Judge) -> None:
    good = judge.world.daemon.keys[Scope.STOREFRONT]
    for line, sample in judge.samples():
        for key in ("", "tk_", "nonsense", "tk_aaaaaaaaaaaa_" + "a" * 43, good[:-2] + "AA", "é"):
            if not has_key(line) and (key == "" or not line.path.startswith("/v1/")):
                continue
            call = sample.send(line, with_key(sample.client, key))
            await judge.refused(line, f"the key {key!r}", call, ErrorCode.API_KEY_INVALID)
        if not has_key(line):
            continue
        for scope in set(Scope) - line.credential.scopes:
            call = sample.send(line, with_key(sample.client, judge.world.daemon.keys[scope]))
            await judge.refused(line, f"the scope {scope}", call, ErrorCode.SCOPE_MISSING)


@judged
async def test_tokens(judge: Judge) -> None:
    daemon = judge.world.daemon
    for line, sample in judge.samples(has_key):
        client = sample.client
        if line.credential.token is Token.NEEDED:
            call = sample.send(line, client.with_token(None, client.device))
            await judge.refused(line, "no token", call, ErrorCode.TOKEN_MISSING)
        for text in ("x", "a.b.c", "a" * 5000, "é", f"{client.token}x", "x" + str(client.token)):
            call = sample.send(line, client.with_token(text, client.device))
            await judge.refused(line, f"the token {text[:9]}", call, ErrorCode.TOKEN_INVALID)
        for kind in TokenKind:
            old = client.with_token(mint(daemon, kind, age_seconds=60, ttl_seconds=60))
            await judge.refused(line, f"an old {kind}", sample.send(line, old), ErrorCode.TOKEN_EXPIRED)
            if kind not in line.credential.kinds:
                other = client.with_token(mint(daemon, kind, user=OWNER))
                code = ErrorCode.TOKEN_KIND_NOT_ALLOWED
                if kind is TokenKind.QUEUE:
                    code = ErrorCode.QUEUE_ACCESS_ONLY
                await judge.refused(line, f"a {kind} token", sample.send(line, other), code)


@judged
async def test_devices(judge: Judge) -> None:
    daemon = judge.world.daemon
    for line, sample in judge.samples(has_key):
        clients = [sample.client] if kind_of(judge, sample.client) in _BOUND else []
        if TokenKind.ACCESS in line.credential.kinds:
            clients.append(sample.client.with_token(mint(daemon, TokenKind.ACCESS, user=OWNER)))
        for client in clients:
            for device in (None, "", "another", "é", "x" * 300):
                call = sample.send(line, client.with_token(client.token, device))
                await judge.refused(line, f"the device {device}", call, ErrorCode.DEVICE_MISMATCH)


@judged
async def test_doors(judge: Judge) -> None:
    for line, sample in judge.samples(lambda line: line.door is not Door.BOTH):
        for listener in ListenerKind:
            if (line.door is Door.PUBLIC) == (listener is ListenerKind.PUBLIC):
                continue
            client = Client(sample.client.server, sample.client.api_key, listener=listener)
            call = sample.send(line, client)
            await judge.refused(line, f"at {listener}", call, ErrorCode.NOT_FOUND, undocumented=True)


# --- the body -------------------------------------------------------------------------------------------------------

STRANGE: tuple[object, ...] = (
    None, True, 0, -1, 1.5, 10**30, "", "x", "é" * 300, "\n", "x\n",
    [], {}, [None], ["x"], [["x"]], {"x": 1}, [UNKNOWN] * 2,
)  # fmt: skip


def spoiled(body: dict[str, Any], struct: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The body with one thing wrong, by what is wrong; fields of objects in it too."""
    for name in sorted(required_fields(struct)):
        yield f"without {name}", {key: value for key, value in body.items() if key != name}
    yield "with another field", {**body, "another": 1}
    for name, schema in fields_of(struct).items():
        for value in STRANGE:
            if not fits(schema, value):
                yield f"{name} = {value!r:.30}", {**body, name: value}
        yield f"{name} with NUL", {**body, name: "a\x00b"}
        yield f"{name} with NUL in a list", {**body, name: ["a\x00b"]}
        inner = struct_of(schema)
        if inner is not None and isinstance(body.get(name), dict):
            for what, changed in spoiled(copy.deepcopy(body[name]), inner):
                yield f"{name}: {what}", {**body, name: changed}


@judged
async def test_bodies_field_by_field(judge: Judge) -> None:
    for line, sample in judge.samples(
        lambda line: line.encoding is BodyEncoding.JSON and line.body is not None
    ):
        assert line.body is not None
        for what, body in spoiled(sample.body, line.body.__name__):
            answer = await judge.refused(
                line, what, sample.client.call(line.method, sample.target(line), body, headers=sample.headers)
            )
            if answer.status != 400:
                judge.fault(line, what, f"wanted 400, got {answer.status} {answer.code}")


@judged
async def test_bodies_that_are_none(judge: Judge) -> None:
    for line, sample in judge.samples(takes_a_body):
        good = sample.raw or json.dumps(sample.body or {}).encode()
        first = json.dumps(next(iter(sample.body.items()), ("x", 1)) if sample.body else ("x", 1)).encode()
        name, value = (part.strip() for part in first.strip(b"[]").split(b",", 1))
        wrong = {
            "nothing at all": b" ",
            "half of it": good[:-1],
            "more than it": good + b"x",
            "twice": good + good,
            "a list": b"[]",
            "null": b"null",
            "a text": b'"x"',
            "a number": b"1",
            "a list of it": b"[" + good + b"]",
            "bad UTF-8": b'{"\xff": 1}',
            "UTF-16": good.decode().encode("utf-16"),
            "a byte order mark": b"\xef\xbb\xbf" + good,
            "NaN": b'{"x": NaN}',
            "half a surrogate pair": b'{"x": "\\ud800"}',
            "deep lists": b"[" * 30_000,
            "deep objects": b'{"x":' * 10_000,
            "a field twice": b"{" + name + b": " + value + b", " + good.lstrip(b"{ "),
        }
        headers = JSON
        if line.encoding is BodyEncoding.FORM:
            headers = {"content-type": "application/x-www-form-urlencoded"}
            wrong = {"nothing": b" ", "half": b"outcome=", "twice": good + b"&" + good, "bad": b"outcome=%ff"}
        for what, raw in wrong.items():
            if what == "a field twice" and not sample.body:
                continue
            if what == "a byte order mark" and line.encoding is BodyEncoding.RAW:
                continue  # Event files come from editors.
            call = sample.client.call(line.method, sample.target(line), raw=raw, headers=headers)
            await judge.refused(line, what, call, ErrorCode.INVALID_REQUEST)


@judged
async def test_media_types(judge: Judge) -> None:
    for line, sample in judge.samples(takes_a_body):
        good = sample.raw or json.dumps(sample.body or {}).encode()
        for media in (
            "",
            "text/plain",
            "application/xml",
            "application/json; charset=latin-1",
            "multipart/form-data",
        ):
            call = sample.client.call(
                line.method, sample.target(line), raw=good, headers={"content-type": media}
            )
            await judge.refused(line, f"the type {media}", call, ErrorCode.UNSUPPORTED_MEDIA_TYPE)


@judged
async def test_the_size_of_a_body(judge: Judge) -> None:
    for line, sample in judge.samples(lambda line: takes_a_body(line) and not line.large):
        headers = sample.headers or JSON
        for size, code in ((LIMIT, ErrorCode.INVALID_REQUEST), (LIMIT + 1, ErrorCode.BODY_TOO_LARGE)):
            raw = b"{".ljust(size)
            call = sample.client.call(line.method, sample.target(line), raw=raw, headers=headers)
            await judge.refused(line, f"{size} bytes", call, code)


# --- the path and the query -----------------------------------------------------------------------------------------


@judged
async def test_ids_that_are_none(judge: Judge) -> None:
    for line, sample in judge.samples(lambda line: "{" in line.path):
        for name, good in sample.path.items():
            strange = [
                "x",
                "0" * 32,
                f"{good}0",
                f"{{{good}}}",
                f"{good}\x00",
                f" {good}",
                f"{good}\n",
                "é",
                "%2e",
            ]
            if line.name != "put_operator_event":
                strange.append(UNKNOWN)
            for value in strange:
                call = sample.client.call(
                    line.method,
                    sample.target(line, **{name: value}),
                    sample.body,
                    raw=sample.raw,
                    headers=sample.headers,
                )
                answer = await judge.refused(line, f"{name} = {value!r}", call)
                if answer.status != 404:
                    judge.fault(line, f"{name} = {value!r}", f"wanted 404, got {answer.status}")


@judged
async def test_an_id_in_capitals_is_the_same(judge: Judge) -> None:
    for line, sample in judge.samples(lambda line: line.method == "GET" and "_id}" in line.path):
        judge.asked += 1
        path = {name: value.upper() for name, value in sample.path.items() if name.endswith("_id")}
        answer = await sample.client.get(sample.target(line, **path))
        if answer.status != 200:
            judge.fault(line, "an id in capitals", f"{answer.status} {answer.body[:99]!r}")


@judged
async def test_queries(judge: Judge) -> None:
    for line, sample in judge.samples(lambda line: has_key(line) and line.query is not None):
        target = sample.target(line).partition("?")[0]
        for raw in ("a=1&a=2", "a=%ff", "a=%00", "&".join(f"f{n}=1" for n in range(60))):
            call = sample.client.call(line.method, f"{target}?{raw}")
            await judge.refused(line, f"the query {raw[:20]}", call, ErrorCode.INVALID_REQUEST)
        assert line.query is not None
        for name, schema in fields_of_query(line).items():
            for value in ("", "x", "-1", "0", "1.5", "9" * 30, "9" * 5000, "true", "null", "[]", "é"):
                if fits(schema, value) or fits(schema, number(value)):
                    continue
                call = sample.client.call(line.method, f"{target}?{name}={value}")
                await judge.refused(line, f"{name}={value[:20]}", call, ErrorCode.INVALID_REQUEST)


def fields_of_query(line: Endpoint) -> dict[str, dict[str, Any]]:
    """The query's fields of which the document says more than that they are texts."""
    assert line.query is not None
    (_,), components = msgspec.json.schema_components([line.query])
    found: dict[str, dict[str, Any]] = components[line.query.__name__]["properties"]
    return found


def number(text: str) -> object:
    """A number of a query, or the text itself."""
    return int(text) if text.lstrip("-").isdecimal() and len(text) < 100 else text


@judged
async def test_methods(judge: Judge) -> None:
    by_path: dict[tuple[str, Door], set[str]] = {}
    for line in ENDPOINTS:
        by_path.setdefault((line.path, line.door), set()).add(line.method)
    for line, sample in judge.samples():
        methods = by_path[line.path, line.door]
        allowed = sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set()))
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW", "get"):
            if method in allowed:
                continue
            for client in (sample.client, with_key(sample.client, None)):
                answer = await judge.refused(
                    line, method, client.call(method, sample.target(line)), ErrorCode.METHOD_NOT_ALLOWED
                )
                if answer.headers["allow"] != ", ".join(allowed):
                    judge.fault(line, method, f"Allow is {answer.headers['allow']}")
        options = await sample.client.call("OPTIONS", sample.target(line))
        if (options.status, options.headers["allow"]) != (204, ", ".join(allowed)):
            judge.fault(line, "OPTIONS", f"{options.status} {options.headers}")


@judged
async def test_head(judge: Judge) -> None:
    for line, sample in judge.samples(lambda line: line.method == "GET" and line.name != "get_metrics"):
        judge.asked += 1
        got = await sample.client.get(sample.target(line))
        head = await sample.client.call("HEAD", sample.target(line))
        kept = {"etag", "content-type", "cache-control", "vary"}
        both = [
            (one.status, {name: value for name, value in one.headers.items() if name in kept})
            for one in (got, head)
        ]
        if both[0] != both[1]:
            judge.fault(line, "HEAD", f"{both[0]} {both[1]}")


# --- what is somebody else's ----------------------------------------------------------------------------------------


def belongs(line: Endpoint) -> bool:
    """Whether the endpoint is about one thing of a buyer's."""
    return line.name in {
        "get_reservation",
        "delete_reservation",
        "create_order",
        "get_order",
        "cancel_own_order",
        "delete_payment_method",
        "list_tickets",
        "offer_own_ticket",
        "cancel_own_transfer",
    }


@judged
async def test_what_is_somebody_elses_does_not_exist(judge: Judge) -> None:
    world = judge.world
    for line, sample in judge.samples(belongs):
        strangers = [world.stranger_access]
        if TokenKind.USER in line.credential.kinds:
            strangers.append(world.stranger)
        for stranger in strangers:
            answer = await judge.refused(line, "a stranger", sample.send(line, stranger))
            if answer.status != 404:
                judge.fault(line, "a stranger", f"wanted 404, got {answer.status} {answer.code}")
            unknown = Sample(
                stranger,
                dict.fromkeys(sample.path, UNKNOWN),
                sample.body and {**sample.body, "reservation_id": UNKNOWN},
                query=f"?order_id={UNKNOWN}" if "order_id" in sample.query else "",
            )
            if line.name == "offer_own_ticket":
                unknown = Sample(stranger, {"ticket_id": UNKNOWN}, sample.body)
            nothing = await judge.refused(line, "nobody's", unknown.send(line))
            if told(answer.json) != told(nothing.json):
                judge.fault(line, "a stranger", f"learns something: {answer.body!r} {nothing.body!r}")


def told(answer: Any) -> object:
    """What an error tells, but for what every error says anew and for the id that was asked for."""
    error = answer["error"]
    return error["code"], error["message"], sorted(error["details"])


@judged
async def test_lists_show_ones_own_alone(judge: Judge) -> None:
    world = judge.world
    lists = {"list_orders", "get_payment_methods", "list_tickets", "list_transfers"}
    theirs = [
        world.ids[name] for name in ("order", "cancellable", "card", "ticket", "accepted", "shoppers_card")
    ]
    for line, sample in judge.samples(lambda line: line.name in lists):
        for client in (world.stranger, world.stranger_access, world.friend):
            judge.asked += 1
            answer = await client.get(line.path)
            if answer.status != 200 or any(one in answer.body.decode() for one in theirs):
                judge.fault(line, "a stranger's list", f"{answer.status} {answer.body[:200]!r}")
        own = await sample.client.get(line.path)
        if not any(one in own.body.decode() for one in theirs):
            judge.fault(line, "one's own list", f"{own.body[:200]!r}")


@judged
async def test_another_buyers_name_and_card(judge: Judge) -> None:
    world = judge.world
    for line, sample in judge.samples(lambda line: line.name in {"create_reservation", "join_queue"}):
        client = world.stranger if line.name == "join_queue" else world.stranger_access
        await judge.refused(line, "for somebody else", sample.send(line, client), ErrorCode.USER_MISMATCH)
    ((line, sample),) = judge.samples(lambda line: line.name == "create_order")
    for card in (world.ids["strangers_card"], world.ids["card"], UNKNOWN, "x", ""):
        body = {**sample.body, "payment_method_id": card}
        call = sample.client.post(line.path, body)
        await judge.refused(line, f"the card {card}", call, ErrorCode.INVALID_PAYMENT_METHOD)


@judged
async def test_an_access_token_opens_its_own_event_alone(judge: Judge) -> None:
    world = judge.world
    token = mint(world.daemon, TokenKind.ACCESS, user=OWNER, event=world.other_event_id)
    owner = world.owner.with_token(token)
    mismatch = ErrorCode.EVENT_MISMATCH
    for line, sample in judge.samples(lambda line: ErrorCode.EVENT_MISMATCH in line.errors):
        if line.name == "create_reservation":
            body = {**sample.body, "user_id": str(OWNER)}
            await judge.refused(line, "another event", owner.post(line.path, body), mismatch)
        else:
            await judge.refused(line, "another event", sample.send(line, owner), mismatch)


@judged
async def test_a_claim_needs_the_very_token_of_its_mail(judge: Judge) -> None:
    world = judge.world
    names = {"accept_offered_ticket": "declined_token", "decline_offered_ticket": "accepted_token"}
    for line, sample in judge.samples(lambda line: line.name in names):
        for token in (world.ids[names[line.name]], "x", sample.body["claim_token"][:-1], "A" * 43):
            call = sample.client.post(sample.target(line), {"claim_token": token})
            await judge.refused(line, f"the token {token[:9]}", call, ErrorCode.TRANSFER_NOT_FOUND)
