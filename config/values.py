"""One value of one setting: whether it is allowed, what would be, and how it is shown without giving a secret away."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Final, get_origin

import msgspec

from config.settings import GROUPS, HIDDEN, Settings, is_secret, kinds_of, metas_of

_LONGEST_SHOWN: Final = 100
_SOUNDS_SECRET: Final = re.compile(r"key|secret|passw|token|credential|stripe", re.IGNORECASE)
_LOOKS_SECRET: Final = re.compile(r"(sk|rk|whsec)_")


class NotAllowed(ValueError):
    """The value is outside what the setting allows; the text says what is allowed."""


def read_value(kind: object, value: object, *, from_text: bool) -> object:
    """``value`` as the setting's type has it.

    ``kind``: the annotated type of the setting. ``from_text``: a text stands for a number, for ``true`` or ``false``
    (``1`` or ``0``), or, its parts divided by commas, for a list, as variables and flags write them. Raises NotAllowed.
    """
    if from_text and isinstance(value, str) and _plain(kind) is tuple:
        value = [part.strip() for part in value.split(",") if part.strip()]
    try:
        converted: object = msgspec.convert(value, kind, strict=not (from_text and isinstance(value, str)))
    except (msgspec.ValidationError, UnicodeError, RecursionError) as error:
        raise NotAllowed(allowed_of(kind)) from error
    for meta in metas_of(kind):
        has_form = (meta.extra or {}).get("form")
        if has_form is not None and not has_form(converted):
            raise NotAllowed(allowed_of(kind))
    return converted


def allowed_of(kind: object) -> str:
    """What a setting of this type allows, as the end of a sentence that begins with "must be"."""
    for meta in metas_of(kind):
        if meta.description is not None:
            return meta.description
    if kind is bool:
        return "true or false"
    raise TypeError(f"{kind!r} does not say what it allows")


def _plain(kind: object) -> object:
    origin = getattr(kind, "__origin__", kind)
    return get_origin(origin) or origin


def shown(value: object) -> str:
    """A value as a person would write it in the file, cut after 100 characters, without control characters."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str):
        text = json.dumps(value, ensure_ascii=not value.isprintable())
    elif isinstance(value, list | tuple):
        text = f"[{', '.join(shown(item) for item in value)}]"
    elif isinstance(value, Mapping):
        text = "{...}"
    else:
        text = str(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def shown_setting(group: str, name: str, value: object) -> str:
    """As ``shown``, with secrets hidden; under a name that is no setting, also what may be a secret misnamed."""
    if group in GROUPS and name in kinds_of(GROUPS[group]):
        secret = is_secret(GROUPS[group], name)
    else:
        secret = _SOUNDS_SECRET.search(name) is not None or _LOOKS_SECRET.match(str(value)) is not None
    return HIDDEN if secret and value != "" else shown(value)


def nearest(name: str, names: Iterable[str]) -> str:
    """``"; did you mean X?"`` if one of the names is near, else nothing."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def render_settings(settings: Settings) -> dict[str, dict[str, object]]:
    """Group → name → value, in the order of declaration, lists as lists, a secret that is set as ``(hidden)``."""
    return {
        group: {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in getattr(settings, group).__rich_repr__()
        }
        for group in GROUPS
    }
