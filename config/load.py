"""Reads the settings: defaults, then a TOML file, then ``TICKETD_`` variables, then flags; the later wins.

Every value is checked, also one that a later source replaces, and all that is wrong is told at once. Nothing but the
named file is read; the environment and the flags are handed in.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from config.conflicts import find_conflicts
from config.settings import GROUPS, Settings, kinds_of
from config.values import NotAllowed, nearest, read_value, shown, shown_setting

PREFIX: Final = "TICKETD_"

DEFAULT: Final = "default"
COMMAND_LINE: Final = "command line"
ENVIRONMENT: Final = "environment"

# What Kubernetes puts into every container beside a service named "ticketd"; none of it is meant for us.
_OF_KUBERNETES: Final = re.compile(
    r"TICKETD_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_TABLE_LINE: Final = re.compile(r"\s*\[\s*[\"']?([A-Za-z0-9_-]+)[\"']?\s*\]\s*(?:#.*)?")
_KEY_LINE: Final = re.compile(r"\s*[\"']?([A-Za-z0-9_-]+)[\"']?(?:\s*\.\s*[\"']?([A-Za-z0-9_-]+)[\"']?)?\s*=")


class SettingProblem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong.

    ``name``: the setting as ``group.name``, or what stands in its place. ``value``: as given, secrets hidden; None
    where the source as a whole is at fault. ``source``: ``FILE:LINE``, a variable, ``command line`` or ``default``.
    ``reason``: what is allowed.
    """

    name: str
    value: str | None
    source: str
    reason: str

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.source}: {self.reason}"
        return f"{self.name} = {self.value} ({self.source}): {self.reason}"


class SettingsError(Exception):
    """Settings that the daemon cannot start with. The text has one line for each problem; there is at least one."""

    def __init__(self, problems: tuple[SettingProblem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class LoadedSettings(msgspec.Struct, frozen=True):
    """Settings, and where each came from: ``sources`` has every ``group.name``, as in ``SettingProblem.source``."""

    settings: Settings
    sources: Mapping[str, str]


class _Given(msgspec.Struct, frozen=True):
    """A value for a setting of an existing group, not yet checked."""

    group: str
    name: str
    value: object
    source: str
    from_text: bool = False


def load_settings(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> LoadedSettings:
    """The settings of a TOML ``file``, ``environ`` and ``flags`` over the defaults.

    ``environ``: its ``TICKETD_GROUP__NAME`` and ``TICKETD_GROUP_NAME`` count, other names are none of ours. ``flags``:
    ``group.name`` to a value of the setting's type or its text; None stands for a flag that was not given. Raises
    SettingsError.
    """
    problems: list[SettingProblem] = []
    values: dict[str, dict[str, object]] = {group: {} for group in GROUPS}
    sources = {f"{group}.{name}": DEFAULT for group in GROUPS for name in kinds_of(GROUPS[group])}
    for entries in (_read_file(file), _read_environ(environ or {}), _read_flags(flags or {})):
        for entry in entries:
            if isinstance(entry, SettingProblem):
                problems.append(entry)
                continue
            try:
                values[entry.group][entry.name] = _checked(entry)
            except NotAllowed as error:
                problems.append(_problem(entry, str(error)))
            else:
                sources[f"{entry.group}.{entry.name}"] = entry.source
    if problems:
        raise SettingsError(tuple(problems))
    settings = msgspec.convert(values, Settings)
    if conflicts := find_conflicts(settings):
        raise SettingsError(tuple(_conflict(settings, sources, *conflict) for conflict in conflicts))
    return LoadedSettings(settings, sources)


def _checked(given: _Given) -> object:
    kinds = kinds_of(GROUPS[given.group])
    if given.name not in kinds:
        near = nearest(given.name, kinds).replace("mean ", f"mean {given.group}.")
        raise NotAllowed(f"there is no such setting{near}")
    try:
        return read_value(kinds[given.name], given.value, from_text=given.from_text)
    except NotAllowed as error:
        raise NotAllowed(f"must be {error}") from error


def _problem(given: _Given, reason: str) -> SettingProblem:
    return SettingProblem(
        name=f"{given.group}.{given.name}",
        value=shown_setting(given.group, given.name, given.value),
        source=given.source,
        reason=reason,
    )


def _conflict(settings: Settings, sources: Mapping[str, str], name: str, reason: str) -> SettingProblem:
    group, _, short = name.partition(".")
    value = getattr(getattr(settings, group), short)
    return SettingProblem(
        name=name, value=shown_setting(group, short, value), source=sources[name], reason=reason
    )


def _read_file(file: Path | None) -> Iterator[_Given | SettingProblem]:
    if file is None:
        return
    try:
        text = file.read_bytes().decode()
        tables = tomllib.loads(text)
    except OSError as error:
        yield _file_problem(file, f"cannot be read: {error.strerror}")
        return
    except UnicodeDecodeError as error:
        yield _file_problem(file, f"is not UTF-8 text: byte {error.start} cannot be read")
        return
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        yield _file_problem(file, f"is not TOML: {error}")
        return
    lines = _find_lines(text)
    for group, table in tables.items():
        source = _place(file, lines.get((group, "")))
        if group not in GROUPS:
            reason = f"there is no such group of settings{nearest(group, GROUPS)}"
            value = shown_setting(group, group, table)
            yield SettingProblem(name=group, value=value, source=source, reason=reason)
        elif not isinstance(table, dict):
            reason = f"must be a table of settings, under [{group}]"
            yield SettingProblem(name=group, value=shown(table), source=source, reason=reason)
        else:
            for name, value in table.items():
                yield _Given(
                    group, name, value, _place(file, lines.get((group, name), lines.get((group, ""))))
                )


def _file_problem(file: Path, reason: str) -> SettingProblem:
    return SettingProblem(name=str(file), value=None, source=str(file), reason=reason)


def _place(file: Path, line: int | None) -> str:
    return str(file) if line is None else f"{file}:{line}"


def _find_lines(text: str) -> dict[tuple[str, str], int]:
    """(group, name) → line, counted from 1; (group, "") → where the group begins.

    Only for telling people where to look: a text inside a string of many lines may be taken for a setting here.
    """
    lines: dict[tuple[str, str], int] = {}
    group = ""
    for number, line in enumerate(text.splitlines(), 1):
        if match := _TABLE_LINE.fullmatch(line):
            group = match[1]
            lines.setdefault((group, ""), number)
        elif match := _KEY_LINE.match(line):
            owner, name = (group, match[1]) if group else (match[1], match[2] or "")
            lines.setdefault((owner, name), number)
            lines.setdefault((owner, ""), number)
    return lines


def _read_environ(environ: Mapping[str, str]) -> Iterator[_Given | SettingProblem]:
    known = {
        f"{PREFIX}{group}{divider}{name}".upper(): (group, name)
        for group in GROUPS
        for name in kinds_of(GROUPS[group])
        for divider in ("_", "__")
    }
    seen: dict[tuple[str, str], str] = {}
    for variable in sorted(environ):
        value = environ[variable]
        if not variable.startswith(PREFIX) or _OF_KUBERNETES.fullmatch(variable):
            continue
        if variable not in known:
            reason = f"there is no such setting{nearest(variable, known)}"
            hidden = shown_setting("", variable, value)
            yield SettingProblem(name=variable, value=hidden, source=ENVIRONMENT, reason=reason)
            continue
        group, name = known[variable]
        given = _Given(group, name, value, variable, from_text=True)
        other = seen.setdefault((group, name), variable)
        if environ[other] != value:
            yield _problem(given, f"must be the same as in {other}, or one of the two left out")
        else:
            yield given


def _read_flags(flags: Mapping[str, object]) -> Iterator[_Given | SettingProblem]:
    for flag, value in flags.items():
        if value is None:
            continue
        group, _, name = flag.partition(".")
        if group in GROUPS:
            yield _Given(group, name, value, COMMAND_LINE, from_text=True)
        else:
            reason = f"there is no such group of settings{nearest(group, GROUPS)}"
            hidden = shown_setting(group, name, value)
            yield SettingProblem(name=flag, value=hidden, source=COMMAND_LINE, reason=reason)
