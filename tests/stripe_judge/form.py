"""A request's form, read strictly: nested names, and for each endpoint which parameters there are and of what kind.

What is refused here was never begun, so that nothing of it is kept under its idempotency key.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import parse_qsl

from tests.stripe_judge.refusals import bad_request

Node: TypeAlias = "str | list[str] | dict[str, Node]"
Value: TypeAlias = "str | int | bool | tuple[str, ...] | dict[str, str] | Range | Params"

_NAME: Final = re.compile(r"(?P<head>[^\[\]]+)(?P<rest>(?:\[[^\[\]]*\])*)\Z")
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}\Z")
MOST_METADATA: Final = 50
LONGEST_METADATA_NAME: Final = 40
LONGEST_METADATA_VALUE: Final = 500
LONGEST_TEXT: Final = 5000


class Kind(enum.Enum):
    """What a parameter is made of."""

    TEXT = enum.auto()
    INTEGER = enum.auto()
    FLAG = enum.auto()
    TEXTS = enum.auto()
    METADATA = enum.auto()
    RANGE = enum.auto()
    GROUP = enum.auto()


@dataclass(frozen=True)
class Field:
    """A parameter. ``least`` and ``most`` bound an integer, ends included."""

    kind: Kind = Kind.TEXT
    required: bool = False
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    fields: Mapping[str, Field] = field(default_factory=dict)


Spec: TypeAlias = Mapping[str, Field]


@dataclass(frozen=True)
class Range:
    """Bounds of a time in seconds, both ends included; None is open."""

    least: int | None = None
    most: int | None = None


class Params:
    """Parameters that fit their spec."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str) -> str:
        value = self._values[name]
        assert isinstance(value, str)
        return value

    def text_or_none(self, name: str) -> str | None:
        return self.text(name) if name in self else None

    def integer(self, name: str, default: int | None = None) -> int:
        value = self._values.get(name, default)
        assert isinstance(value, int)
        return value

    def flag(self, name: str) -> bool:
        return self._values.get(name, False) is True

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._values.get(name, ())
        assert isinstance(value, tuple)
        return value

    def metadata(self) -> dict[str, str]:
        value = self._values.get("metadata", {})
        assert isinstance(value, dict)
        return value

    def range(self, name: str) -> Range:
        value = self._values.get(name, Range())
        assert isinstance(value, Range)
        return value

    def group(self, name: str) -> Params:
        value = self._values.get(name, Params({}))
        assert isinstance(value, Params)
        return value


# --- reading ------------------------------------------------------------------------------------------------


def parse_form(encoded: bytes) -> dict[str, Node]:
    """The tree of names that a form or a query spells: ``a[b]=1`` is a group, ``a[]=1`` and ``a[0]=1`` a list."""
    if not encoded:
        return {}
    try:
        pairs = parse_qsl(
            encoded.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=1000,
        )
    except ValueError as error:
        raise bad_request(f"Invalid request body: {error}") from error
    tree: dict[str, Node] = {}
    for name, value in pairs:
        _plant(tree, name, value)
    return tree


def _plant(tree: dict[str, Node], name: str, value: str) -> None:
    found = _NAME.match(name)
    if found is None:
        raise bad_request(f"Invalid parameter name: {name}", code="parameter_unknown", param=name)
    steps = [found["head"], *re.findall(r"\[([^\[\]]*)\]", found["rest"])]
    # The keys of metadata are the caller's own, numbers too.
    numbered = steps[-1].isdigit() and steps[0] != "metadata"
    is_list = len(steps) > 1 and (not steps[-1] or numbered)
    if is_list:
        steps.pop()
    for step in steps[:-1]:
        below = tree.setdefault(step, {})
        if not isinstance(below, dict):
            raise bad_request(f"Invalid parameter: {name}", param=name)
        tree = below
    last = steps[-1]
    if is_list:
        items = tree.setdefault(last, [])
        if not isinstance(items, list):
            raise bad_request(f"Invalid array: {name}", code="parameter_invalid_empty", param=name)
        items.append(value)
    elif last in tree:
        raise bad_request(f"Received the parameter twice: {name}", param=name)
    else:
        tree[last] = value


# --- checking -----------------------------------------------------------------------------------------------


def check_form(spec: Spec, tree: Mapping[str, Node], prefix: str = "") -> Params:
    """The parameters, if each is known, none is missing and all are of their kind; else 400, in this order."""

    def full(name: str) -> str:
        return f"{prefix}[{name}]" if prefix else name

    for name in tree:
        if name not in spec:
            raise bad_request(
                f"Received unknown parameter: {full(name)}", code="parameter_unknown", param=full(name)
            )
    for name, wanted in spec.items():
        if wanted.required and name not in tree:
            raise bad_request(
                f"Missing required param: {full(name)}.", code="parameter_missing", param=full(name)
            )
    return Params({name: _value(spec[name], node, full(name)) for name, node in tree.items()})


def _value(wanted: Field, node: Node, name: str) -> Value:
    if wanted.kind is Kind.METADATA:
        return _metadata(node)
    if wanted.kind is Kind.RANGE:
        return _range(node, name)
    if wanted.kind is Kind.TEXTS:
        if not isinstance(node, list):
            raise bad_request("Invalid array", param=name)
        return tuple(node)
    if wanted.kind is Kind.GROUP:
        if not isinstance(node, dict):
            raise bad_request("Invalid object", param=name)
        return check_form(wanted.fields, node, name)
    return _one_text(wanted, _text(wanted, node, name), name)


def _one_text(wanted: Field, text: str, name: str) -> Value:
    if wanted.kind is Kind.INTEGER:
        return _integer(wanted, text, name)
    if wanted.kind is Kind.FLAG:
        if text not in {"true", "false"}:
            raise bad_request(f"Invalid boolean: {text}", param=name)
        return text == "true"
    return text


def _text(wanted: Field, node: Node, name: str) -> str:
    if not isinstance(node, str):
        raise bad_request(f"Invalid string: {name}", param=name)
    if not node:
        raise bad_request(
            f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset a "
            f"parameter; however '{name}' cannot be unset.",
            code="parameter_invalid_empty",
            param=name,
        )
    if len(node) > LONGEST_TEXT or "\x00" in node:
        raise bad_request(f"Invalid string: {name}", param=name)
    if wanted.choices and node not in wanted.choices:
        raise bad_request(f"Invalid {name}: must be one of {', '.join(wanted.choices)}", param=name)
    return node


def _integer(wanted: Field, text: str, name: str) -> int:
    if _INTEGER.match(text) is None:
        raise bad_request(f"Invalid integer: {text}", code="parameter_invalid_integer", param=name)
    value = int(text)
    if wanted.least is not None and value < wanted.least:
        raise bad_request(
            f"This value must be greater than or equal to {wanted.least}.",
            code="parameter_invalid_integer",
            param=name,
        )
    if wanted.most is not None and value > wanted.most:
        raise bad_request(
            f"This value must be less than or equal to {wanted.most}.",
            code="parameter_invalid_integer",
            param=name,
        )
    return value


def _metadata(node: Node) -> dict[str, str]:
    if not isinstance(node, dict):
        raise bad_request("Invalid object", param="metadata")
    if len(node) > MOST_METADATA:
        raise bad_request(f"Metadata can only have up to {MOST_METADATA} keys", param="metadata")
    kept: dict[str, str] = {}
    for name, value in node.items():
        if len(name) > LONGEST_METADATA_NAME:
            raise bad_request(
                f"Metadata keys must be under {LONGEST_METADATA_NAME} characters", param="metadata"
            )
        if not isinstance(value, str) or len(value) > LONGEST_METADATA_VALUE:
            raise bad_request(
                f"Metadata values must be strings of up to {LONGEST_METADATA_VALUE} characters",
                param=f"metadata[{name}]",
            )
        if value:
            kept[name] = value
    return kept


def _range(node: Node, name: str) -> Range:
    whole = Field(Kind.INTEGER)
    if isinstance(node, str):
        at = _integer(whole, node, name)
        return Range(at, at)
    if not isinstance(node, dict):
        raise bad_request("Invalid object", param=name)
    bounds = check_form(dict.fromkeys(("gt", "gte", "lt", "lte"), whole), node, name)
    leasts = [bounds.integer("gte")] if "gte" in bounds else []
    leasts += [bounds.integer("gt") + 1] if "gt" in bounds else []
    mosts = [bounds.integer("lte")] if "lte" in bounds else []
    mosts += [bounds.integer("lt") - 1] if "lt" in bounds else []
    return Range(max(leasts, default=None), min(mosts, default=None))
