"""Every endpoint × every wrong credential: the right refusal, in the one form, documented, and the store unchanged."""

from __future__ import annotations

from handlers.call import ListenerKind
from handlers.endpoint import Door, Token
from tests.api.judging import (
    Judge,
    judged,
)
from tests.api.sorting import has_key, kind_of, with_key
from tests.api.world import OWNER
from tests.support.daemon import Client
from tests.support.tokens import mint
from ticketd.credentials.api_keys import Scope
from ticketd.credentials.keyring import TokenKind
from ticketd.errors import ErrorCode

_BOUND = {TokenKind.QUEUE, TokenKind.ACCESS}


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
        if line.credential.token in {Token.VOUCHED, Token.VOUCHED_IF_REQUIRED}:
            nobody = with_key(client.with_token(None, client.device), daemon.keys[Scope.PUBLIC])
            await judge.refused(line, "no voucher", sample.send(line, nobody), ErrorCode.TOKEN_MISSING)
            unreadable = nobody.call(line.method, sample.target(line), raw=b"{")
            await judge.refused(line, "no voucher, no JSON", unreadable, ErrorCode.TOKEN_MISSING)
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
