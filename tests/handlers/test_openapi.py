from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from handlers.answers import encode_json
from handlers.endpoint import Door, Endpoint, Token
from handlers.openapi import build_document, error_codes
from handlers.openapi_text import PART_TEXTS
from handlers.pages import HTML_TYPE
from handlers.routes import ENDPOINTS
from ticketd.credentials.keyring import TokenKind
from ticketd.errors import ErrorCode
from ticketd.rate_limits.classes import RateClass

DOCUMENT: dict[str, Any] = json.loads(encode_json(build_document(ENDPOINTS, "http://tickets.test", "1.2.3")))
PUBLIC = [line for line in ENDPOINTS if line.door is not Door.OPERATOR]
NAMES = [line.name for line in PUBLIC]


def operation(line: Endpoint) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][line.path][line.method.lower()]
    return found


def schemas_in(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from schemas_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from schemas_in(inner)


def test_it_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert DOCUMENT["openapi"].startswith("3.1")
    assert DOCUMENT["servers"] == [{"url": "http://tickets.test"}]
    assert DOCUMENT["info"]["version"] == "1.2.3"


def test_it_has_every_public_line_of_the_table_and_no_other() -> None:
    operations = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert operations == {(line.method, line.path) for line in PUBLIC}
    assert "operator" not in json.dumps(DOCUMENT["paths"])


def test_every_part_is_explained() -> None:
    assert {line.part for line in ENDPOINTS} == set(PART_TEXTS)
    assert [tag["name"] for tag in DOCUMENT["tags"]] == list(dict.fromkeys(line.part for line in PUBLIC))


@pytest.mark.parametrize("line", PUBLIC, ids=NAMES)
def test_an_operation_says_all_that_its_line_does(line: Endpoint) -> None:
    found = operation(line)
    assert found["operationId"] == line.name
    assert found["summary"]
    assert len(found["description"]) > 10
    assert "``" not in found["description"]
    parameters = {(one["in"], one["name"]) for one in found["parameters"]}
    assert {name for place, name in parameters if place == "path"} == set(re.findall(r"{(\w+)}", line.path))
    if line.query is not None:
        fields = {field.encode_name for field in msgspec.structs.fields(line.query)}
        assert {name for place, name in parameters if place == "query"} == fields
    assert (("header", "Idempotency-Key") in parameters) is line.idempotent
    bound = bool(line.credential.scopes) and bool(line.credential.kinds & {TokenKind.QUEUE, TokenKind.ACCESS})
    assert (("header", "X-Device-ID") in parameters) is bound
    assert ("requestBody" in found) is (line.body is not None)
    assert str(line.status) in found["responses"]


@pytest.mark.parametrize("line", PUBLIC, ids=NAMES)
def test_every_error_is_described_under_its_status(line: Endpoint) -> None:
    responses = copy.deepcopy(operation(line)["responses"])
    codes = error_codes(line)
    for code in codes:
        assert f"`{code.name}`" in responses[str(code.status)]["description"]
    errors = {status for status in responses if int(status) >= 400} - {str(line.status)}
    assert errors == {str(code.status) for code in codes}
    for status in errors:
        content = responses[status]["content"]
        assert content.pop("application/json") == {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}
        assert not content or line.media_type == HTML_TYPE
        assert ("Retry-After" in responses[status]["headers"]) is (status in {"429", "503"})


@pytest.mark.parametrize("line", PUBLIC, ids=NAMES)
def test_who_may_call_is_said(line: Endpoint) -> None:
    security = operation(line)["security"]
    if not line.credential.scopes:
        assert security == [{}]
        return
    assert all("ApiKey" in one for one in security)
    assert ({"ApiKey": []} in security) is (line.credential.token is not Token.NEEDED)
    named = {scheme for one in security for scheme in one} - {"ApiKey"}
    wanted = {
        TokenKind.USER: {"UserToken"},
        TokenKind.QUEUE: {"QueueToken", "QueueTokenInQuery"},
        TokenKind.ACCESS: {"AccessToken"},
    }
    assert named == set().union(*(wanted[kind] for kind in line.credential.kinds))


def test_every_code_that_a_buyer_can_meet_is_documented() -> None:
    documented = {code for line in PUBLIC for code in error_codes(line)}
    # This follows from a method that no operation has.
    assert set(ErrorCode) - documented <= {ErrorCode.METHOD_NOT_ALLOWED}


@pytest.mark.parametrize("line", PUBLIC, ids=NAMES)
def test_every_answer_of_a_limited_operation_tells_of_its_limit(line: Endpoint) -> None:
    responses = operation(line)["responses"]
    assert ("429" in responses) is (line.rate is not RateClass.UNLIMITED)
    names = {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
    for response in responses.values():
        told = {name for name in response["headers"] if name.startswith("X-RateLimit")}
        assert told == (names if "429" in responses else set())
    assert names | {"X-Commit-Version"} == set(DOCUMENT["components"]["headers"])
    if "429" in responses:
        assert "Retry-After" in responses["429"]["headers"]


def test_opening_a_websocket_says_what_goes_into_its_address_and_what_is_answered() -> None:
    opening = DOCUMENT["paths"]["/v1/realtime"]["get"]
    assert {(one["name"], one["in"], one["required"]) for one in opening["parameters"]} == {
        ("token", "query", False),
        ("device_id", "query", False),
    }
    assert set(opening["responses"]["101"]["headers"]) == {
        "X-Request-ID",
        "X-RateLimit-Limit",
        "X-RateLimit-Remaining",
        "X-RateLimit-Reset",
    }
    assert "TOKEN_MISSING" in opening["responses"]["401"]["description"]
    assert {
        code for code in ("DEVICE_MISMATCH", "SCOPE_MISSING") if code in str(opening["responses"]["403"])
    } == {
        "DEVICE_MISMATCH",
        "SCOPE_MISSING",
    }


def test_money_is_a_number_and_a_pattern_is_one_everywhere() -> None:
    fields = list(schemas_in(DOCUMENT["components"]["schemas"]))
    assert not [one for one in fields if one.get("format") == "decimal"]
    patterns = [one["pattern"] for one in fields if isinstance(one.get("pattern"), str)]
    assert patterns
    assert all(pattern.startswith("^") and pattern.endswith("$") for pattern in patterns)
    assert not [pattern for pattern in patterns if "(?" in pattern]


def test_no_pattern_lets_a_last_line_break_pass() -> None:
    """Python's own ``$`` would."""
    bodies = [line.body for line in ENDPOINTS if line.body is not None]
    _, components = msgspec.json.schema_components(bodies)
    patterns = [one["pattern"] for one in schemas_in(components) if isinstance(one.get("pattern"), str)]
    assert patterns
    for pattern in patterns:
        assert re.search(pattern, "\n") is None
        assert re.search(pattern, "AB\n") is None
        assert re.search(pattern, "a@b\n") is None


def test_request_bodies_refuse_what_they_do_not_know() -> None:
    for line in PUBLIC:
        if line.body is not None:
            schema = DOCUMENT["components"]["schemas"][line.body.__name__]
            assert schema["additionalProperties"] is False
