"""The API document (OpenAPI 3.1), made from the table of endpoints that also routes the requests.

Nothing is said here that the table or the structs do not know: codes that follow from a credential or a body are added
by rule, the rest stands in each endpoint's line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from handlers.call import JSON_TYPE
from handlers.endpoint import BodyEncoding, Credential, Door, Endpoint, Token
from handlers.errors import ErrorAnswer
from handlers.openapi_text import INTRODUCTION, PART_TEXTS, TITLE
from handlers.pages import HTML_TYPE
from handlers.wire.common import END
from ticketd.credentials.keyring import TokenKind
from ticketd.errors import ErrorCode
from ticketd.rate_limits.classes import RateClass

Document = dict[str, Any]  # JSON

_REF: Final = "#/components/schemas/{name}"
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_BOUND_KINDS: Final = frozenset({TokenKind.QUEUE, TokenKind.ACCESS})
_STATUS_TEXTS: Final = {
    101: "The WebSocket is open",
    200: "Success",
    201: "Created",
    204: "Success, no body",
    304: "Not modified",
    426: "Ask for a WebSocket",
}
_RETRY_STATUSES: Final = frozenset({429, 503})


def build_document(endpoints: Iterable[Endpoint], server_url: str, version: str) -> Document:
    """The document over the public endpoints of the table. ``server_url`` is where this daemon is reached."""
    lines = [line for line in endpoints if line.door is not Door.OPERATOR]
    schemas = _Schemas(lines)
    paths: dict[str, Document] = {}
    for line in lines:
        paths.setdefault(line.path, {})[line.method.lower()] = _operation(line, schemas)
    parts = dict.fromkeys(line.part for line in lines)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "version": version,
            "description": INTRODUCTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": server_url}],
        "tags": [{"name": part, "description": PART_TEXTS[part]} for part in parts],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "headers": _SHARED_HEADERS,
            "securitySchemes": _SECURITY_SCHEMES,
        },
    }


class _Schemas:
    """The schemas of all structs that the lines name, and references to them."""

    def __init__(self, lines: Iterable[Endpoint]) -> None:
        forms: dict[type[msgspec.Struct], None] = {ErrorAnswer: None}
        queries: dict[type[msgspec.Struct], None] = {}
        for line in lines:
            for form in (line.body, line.answer):
                if form is not None:
                    forms[form] = None
            if line.query is not None:
                queries[line.query] = None
        everything = [*forms, *queries]
        refs, components = msgspec.json.schema_components(everything, ref_template=_REF)
        self._refs = dict(zip(everything, refs, strict=True))
        tidy = {name: _tidy(schema) for name, schema in components.items()}
        self._queries = {form: tidy[form.__name__] for form in queries}
        unused = {form.__name__ for form in queries} - {form.__name__ for form in forms}
        self.components = {name: schema for name, schema in tidy.items() if name not in unused}

    def ref(self, form: type[msgspec.Struct]) -> Document:
        """A reference to a struct's schema."""
        return dict(self._refs[form])

    def fields(self, form: type[msgspec.Struct]) -> Mapping[str, Document]:
        """The fields of a query's struct."""
        fields: Mapping[str, Document] = self._queries[form]["properties"]
        return fields


def _tidy(schema: object) -> Any:
    """Decimals go on the wire as numbers, ``$`` is the end of a text; everything else is as msgspec says."""
    if isinstance(schema, dict):
        tidy = {name: _tidy(value) for name, value in schema.items()}
        if isinstance(pattern := tidy.get("pattern"), str):
            tidy["pattern"] = pattern.removesuffix(END) + "$" * pattern.endswith(END)
        if tidy.get("format") == "decimal":
            tidy["type"] = "number"
            del tidy["format"]
        return tidy
    if isinstance(schema, list):
        return [_tidy(value) for value in schema]
    return schema


def _operation(line: Endpoint, schemas: _Schemas) -> Document:
    operation: Document = {
        "operationId": line.name,
        "tags": [line.part],
        "summary": line.summary,
        "description": _description(line),
        "parameters": _parameters(line, schemas),
        "responses": _responses(line, schemas),
        "security": _security(line.credential),
    }
    if line.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {_request_type(line): {"schema": schemas.ref(line.body)}},
        }
    return operation


def _description(line: Endpoint) -> str:
    text = (line.function.__doc__ or line.summary).strip()
    return re.sub(r"\s+", " ", text).replace("``", "`")


def _request_type(line: Endpoint) -> str:
    return BodyEncoding.FORM.value if line.encoding is BodyEncoding.FORM else JSON_TYPE


def _parameters(line: Endpoint, schemas: _Schemas) -> list[Document]:
    found = [_path_parameter(name) for name in _PARAMETER.findall(line.path)]
    if line.query is not None:
        required = {field.encode_name for field in msgspec.structs.fields(line.query) if field.required}
        for name, schema in schemas.fields(line.query).items():
            plain = {key: value for key, value in schema.items() if key != "description"}
            parameter: Document = {"name": name, "in": "query", "required": name in required, "schema": plain}
            if "description" in schema:
                parameter["description"] = schema["description"]
            found.append(parameter)
    if line.has_etag:
        found.append(_header("If-None-Match", "An ETag that you have: 304 if it is still the newest"))
    if not line.credential.scopes:
        return found
    if line.credential.kinds & _BOUND_KINDS:
        found.append(
            _header("X-Device-ID", "The `device_fingerprint` that joined, with a queue or access token")
        )
    found.append(_header("X-Session-ID", "Opaque, for the log", max_length=128))
    found.append(_header("X-Request-ID", "A UUID of your own for this call", form="uuid"))
    if line.idempotent:
        found.append(
            _header("Idempotency-Key", "Makes a repetition answer the same", min_length=8, max_length=128)
        )
    return found


def _path_parameter(name: str) -> Document:
    schema: Document = {"type": "string"}
    if name.endswith("_id"):
        schema["format"] = "uuid"
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _header(
    name: str, text: str, *, min_length: int = 1, max_length: int = 256, form: str | None = None
) -> Document:
    schema: Document = {"type": "string", "minLength": min_length, "maxLength": max_length}
    if form is not None:
        schema = {"type": "string", "format": form}
    else:
        schema["pattern"] = r"^[!-~]([ -~]*[!-~])?$"
    return {"name": name, "in": "header", "required": False, "description": text, "schema": schema}


def error_codes(line: Endpoint) -> list[ErrorCode]:
    """Every code that an endpoint may give: those of its line, and those that follow from its credential and body."""
    codes = dict.fromkeys(line.errors)
    credential = line.credential
    if credential.scopes or line.path.startswith("/v1/"):
        # A credential that is sent to the API must be good also where none is needed.
        codes[ErrorCode.API_KEY_INVALID] = None
        codes |= dict.fromkeys(
            (ErrorCode.TOKEN_INVALID, ErrorCode.TOKEN_EXPIRED, ErrorCode.TOKEN_KIND_NOT_ALLOWED)
        )
        if credential.kinds & _BOUND_KINDS:
            codes[ErrorCode.DEVICE_MISMATCH] = None
    if credential.scopes:
        codes |= dict.fromkeys((ErrorCode.SCOPE_MISSING, ErrorCode.INVALID_REQUEST))
        if TokenKind.QUEUE not in credential.kinds:
            codes[ErrorCode.QUEUE_ACCESS_ONLY] = None
        if credential.token is not Token.OPTIONAL:
            codes[ErrorCode.TOKEN_MISSING] = None
        codes[ErrorCode.OVERLOADED] = None
        codes[ErrorCode.STORAGE_UNAVAILABLE] = None
    if line.query is not None:
        codes[ErrorCode.INVALID_REQUEST] = None
    if line.method in {"POST", "PUT", "DELETE"}:
        codes |= dict.fromkeys(
            (ErrorCode.INVALID_REQUEST, ErrorCode.BODY_TOO_LARGE, ErrorCode.UNSUPPORTED_MEDIA_TYPE)
        )
    if line.idempotent:
        codes |= dict.fromkeys((ErrorCode.IDEMPOTENCY_KEY_IN_USE, ErrorCode.IDEMPOTENCY_KEY_REUSED))
    if is_limited(line):
        codes[ErrorCode.RATE_LIMITED] = None
    codes[ErrorCode.INTERNAL_ERROR] = None
    return list(codes)


def is_limited(line: Endpoint) -> bool:
    """Whether a rate limit counts the calls of an endpoint, and its answers tell of it."""
    return line.rate is not RateClass.UNLIMITED


def _common_headers(line: Endpoint) -> Document:
    """The headers of every answer of an endpoint."""
    limits = {name: {"$ref": f"#/components/headers/{name}"} for name in _RATE_HEADERS}
    request_id: Document = {"X-Request-ID": {"schema": {"type": "string", "format": "uuid"}}}
    version = {"X-Commit-Version": {"$ref": "#/components/headers/X-Commit-Version"}}
    return request_id | (version if line.credential.scopes else {}) | (limits if is_limited(line) else {})


def _responses(line: Endpoint, schemas: _Schemas) -> Document:
    responses: Document = {str(line.status): _success(line, schemas)}
    if line.status == 426:
        # The answer of the table is for who does not ask for an upgrade.
        responses["101"] = {"description": _STATUS_TEXTS[101], "headers": _common_headers(line)}
    if line.has_etag:
        responses["304"] = {"description": _STATUS_TEXTS[304], "headers": _common_headers(line)}
    by_status: dict[int, list[ErrorCode]] = {}
    for code in error_codes(line):
        by_status.setdefault(code.status, []).append(code)
    for status, codes in sorted(by_status.items()):
        response: Document = {
            "description": "; ".join(f"`{code.name}`: {code.message}" for code in codes),
            "headers": _common_headers(line),
            "content": {JSON_TYPE: {"schema": schemas.ref(ErrorAnswer)}},
        }
        if line.media_type == HTML_TYPE and not set(codes).isdisjoint(line.errors):
            # What a page refuses it may tell on a page.
            response["content"][HTML_TYPE.partition(";")[0]] = {}
        if status in _RETRY_STATUSES:
            response["headers"]["Retry-After"] = {"schema": {"type": "integer"}}
        responses[str(status)] = response
    return responses


def _success(line: Endpoint, schemas: _Schemas) -> Document:
    success: Document = {"description": _STATUS_TEXTS[line.status]}
    headers = _common_headers(line)
    if line.has_etag:
        headers["ETag"] = {"schema": {"type": "string"}}
    if line.idempotent:
        headers["Idempotency-Replayed"] = {"schema": {"type": "string"}}
    success["headers"] = headers
    if line.answer is not None:
        success["content"] = {line.media_type: {"schema": schemas.ref(line.answer)}}
    elif line.status != 204:
        success["content"] = {line.media_type.partition(";")[0]: {}}
    return success


def _security(credential: Credential) -> list[Document]:
    if not credential.scopes:
        return [{}]
    key: Document = {"ApiKey": []}
    tokens = [{**key, scheme: []} for kind in sorted(credential.kinds) for scheme in _SCHEMES_BY_KIND[kind]]
    return tokens if credential.token is Token.NEEDED else [key, *tokens]


_SCHEMES_BY_KIND: Final = {
    TokenKind.USER: ("UserToken",),
    TokenKind.QUEUE: ("QueueToken", "QueueTokenInQuery"),
    TokenKind.ACCESS: ("AccessToken",),
}

_RATE_HEADERS: Final[Document] = {
    "X-RateLimit-Limit": {
        "description": "How many calls the tightest of the limits in force allows",
        "schema": {"type": "integer", "minimum": 1},
    },
    "X-RateLimit-Remaining": {
        "description": "How many calls it has left",
        "schema": {"type": "integer", "minimum": 0},
    },
    "X-RateLimit-Reset": {
        "description": "When all of it is free again, in Unix seconds",
        "schema": {"type": "integer"},
    },
}

_SHARED_HEADERS: Final[Document] = _RATE_HEADERS | {
    "X-Commit-Version": {
        "description": "With `server.commit_header` only: at which version of each partition this was read; with "
        "`new`, the version that it committed",
        "schema": {"type": "string"},
        "example": "event-0f0e0d0c-0b0a-4009-8807-060504030201=42;new",
    },
}

_SECURITY_SCHEMES: Final[Document] = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "UserToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "From `POST /v1/sessions`, or from the operator's identity provider",
    },
    "QueueToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "From `POST /v1/queue/join`",
    },
    "QueueTokenInQuery": {"type": "apiKey", "in": "query", "name": "queue_token"},
    "AccessToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "From `GET /v1/queue/status` once it says READY",
    },
}
