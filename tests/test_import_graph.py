"""Imports point down: draws the import graph of the product and fails on an arrow that runs up or in a circle.

Every import counts, also one inside a function or for types alone. What a package runs implicitly when a module of it
is imported does not: the packages' own files import nothing from above.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = ("config", "storage", "ticketd", "handlers")

# From the bottom. A room may import from the lines above its own here, and from its neighbours on the same line as long
# as no circle arises. A new room or a new file right under ticketd/ must be given its place.
LEVELS: Final[tuple[tuple[str, ...], ...]] = (
    ("config",),
    ("storage",),
    (
        "ticketd.errors",
        "ticketd.ids",
        "ticketd.metrics",
        "ticketd.places",
        "ticketd.version",
    ),
    # Pure forms, which know neither store nor sale: texts that are signed, printed or read.
    ("ticketd.credentials", "ticketd.event_file", "ticketd.rate_limits", "ticketd.tickets"),
    ("ticketd.domain",),
    ("ticketd.ports", "ticketd.views"),
    ("ticketd.tasks",),
    ("ticketd.realtime",),
    ("handlers",),
    ("ticketd.front",),
    (
        "ticketd.tree",
        "ticketd.app",
        "ticketd.cli",
        "ticketd.demo",
        "ticketd.rehearsal",
        "ticketd.first_start",
        "ticketd.garbage",
        "ticketd.loading",
        "ticketd.store_metrics",
        "ticketd.process_metrics",
        "ticketd.logs",
        "ticketd.outside",
        "ticketd.__main__",
    ),
)

# Third-party names that live behind one file or in one room: name, then the modules (or rooms) that may say it.
CONFINED: Final[Mapping[str, tuple[str, ...]]] = {
    "lmdb": ("storage.lmdb_engine",),
    "trio.lowlevel": (
        "storage.writer",
        "ticketd.front.sockets",
        "ticketd.front.parking",
        "ticketd.process_metrics",
    ),
    "httptools": ("ticketd.front.heads",),
    "asyncio": (),
    "hypercorn": ("ticketd.front", "handlers.quart_app"),
    "quart": ("ticketd.front", "handlers.quart_app"),
    "quart_trio": ("ticketd.front", "handlers.quart_app"),
    "tests": (),
    "scripts": (),
}


@dataclass(frozen=True)
class Source:
    """One module: its dotted name, whether it is a package's own file, and its text."""

    name: str
    is_package: bool
    text: str


def within(name: str, place: str) -> bool:
    return name == place or name.startswith(place + ".")


def names_imported(source: Source) -> Iterator[str]:
    """Every dotted name that the module imports: ``a.b`` for ``import a.b``, ``a.b.c`` for ``from a.b import c``."""
    for node in ast.walk(ast.parse(source.text, source.name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, (package_above(source, node.level), node.module)))
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            # After "import trio", a module of it can be reached without an import of its own.
            name = f"{node.value.id}.{node.attr}"
            if name in CONFINED:
                yield name


def package_above(source: Source, dots: int) -> str:
    """What a relative import's ``dots`` mean in this module; the empty string for an absolute one."""
    if not dots:
        return ""
    parts = source.name.split(".")
    return ".".join(parts[: len(parts) - dots + source.is_package])


def draw(sources: Iterable[Source]) -> dict[str, set[str]]:
    """Module → the modules of the product that it imports."""
    by_name = {source.name: source for source in sources}

    def module_of(name: str) -> str:
        """The module that holds ``name``: the name itself, or the nearest part of it that is a module."""
        while name and name not in by_name:
            name = name.rpartition(".")[0]
        return name

    return {
        source.name: {module_of(name) for name in names_imported(source)} - {"", source.name}
        for source in by_name.values()
    }


def room_of(module: str) -> tuple[int, str] | None:
    for level, rooms in enumerate(LEVELS):
        for room in rooms:
            if within(module, room):
                return level, room
    return None


def find_faults(sources: Iterable[Source]) -> list[str]:
    """One line for each module without a place, arrow that runs up, circle of rooms or modules, and stray name."""
    sources = list(sources)
    graph = draw(sources)
    faults: list[str] = []
    rooms: dict[str, set[str]] = {}
    for module, arrows in sorted(graph.items()):
        if module == "ticketd":
            faults += [f"ticketd imports {arrow}, and must import nothing" for arrow in sorted(arrows)]
            continue
        if (here := room_of(module)) is None:
            faults.append(f"{module} has no place in LEVELS")
            continue
        for arrow in sorted(arrows):
            there = room_of(arrow)
            if there is None or there == here:
                continue
            if there[0] > here[0]:
                faults.append(f"{module} imports {arrow}, which stands above it")
            else:
                rooms.setdefault(here[1], set()).add(there[1])
    faults += [f"circle of rooms: {circle}" for circle in circles(rooms)]
    faults += [f"circle of modules: {circle}" for circle in circles(graph)]
    return faults + find_strays(sources)


def circles(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [" → ".join(reversed(error.args[1]))]
    return []


def find_strays(sources: Iterable[Source]) -> list[str]:
    """One line for each confined name that is imported where it may not be."""
    return sorted(
        {
            f"{source.name} imports {confined}, which belongs to {' and '.join(allowed) or 'no part of the product'}"
            for source in sources
            for name in names_imported(source)
            for confined, allowed in CONFINED.items()
            if within(name, confined) and not any(within(source.name, place) for place in allowed)
        }
    )


def read_product() -> list[Source]:
    sources = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = list(path.relative_to(ROOT).with_suffix("").parts)
            is_package = parts[-1] == "__init__"
            sources.append(
                Source(".".join(parts[:-1] if is_package else parts), is_package, path.read_text())
            )
    return sources


def test_imports_of_the_product_point_down() -> None:
    assert find_faults(read_product()) == []


def test_the_product_is_really_read() -> None:
    graph = draw(read_product())
    assert len(graph) > 30
    assert "storage.engine" in graph["storage.schema.tables"]


def planted(**modules: str) -> list[Source]:
    """Sources from keywords: ``config__load="import storage.keys"`` is the module ``config.load``."""
    texts = {name.replace("__", "."): text for name, text in modules.items()}
    packages = {name.rpartition(".")[0] for name in texts} | {"config", "storage", "ticketd.domain"}
    return [Source(name, name in packages, text) for name, text in texts.items()]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("import ticketd.ports.payments", "stands above it"),
        ("from ticketd.ports import payments", "stands above it"),
        ("from ticketd.ports.payments import Gateway", "stands above it"),
        ("from ..ports import payments", "stands above it"),
        ("def f() -> None:\n    from ticketd.ports import payments", "stands above it"),
        ("import typing\nif typing.TYPE_CHECKING:\n    import ticketd.ports.payments", "stands above it"),
    ],
)
def test_an_arrow_that_runs_up_is_caught(text: str, fault: str) -> None:
    faults = find_faults(planted(ticketd__domain__sales=text, ticketd__ports__payments=""))
    assert faults == [f"ticketd.domain.sales imports ticketd.ports.payments, which {fault}"]


def test_an_arrow_that_runs_down_is_let_be() -> None:
    down = planted(
        ticketd__ports__payments="from ticketd.domain import sales", ticketd__domain__sales="import trio"
    )
    assert find_faults(down) == []


def test_a_circle_of_rooms_on_one_level_is_caught() -> None:
    faults = find_faults(
        planted(
            ticketd__ports__mail="import ticketd.views.key_book",
            ticketd__views__key_book="",
            ticketd__views__search="import ticketd.ports.outbox",
            ticketd__ports__outbox="",
        )
    )
    assert len(faults) == 1
    assert faults[0].startswith("circle of rooms: ticketd.")


def test_a_circle_of_modules_in_one_room_is_caught() -> None:
    faults = find_faults(
        planted(
            ticketd__domain__sales="from .seats import move_seats",
            ticketd__domain__seats="from . import money",
            ticketd__domain__money="from ticketd.domain.sales import load_sale",
        )
    )
    assert len(faults) == 1
    assert faults[0].startswith("circle of modules: ticketd.domain.")


def test_a_circle_through_a_packages_own_file_is_caught() -> None:
    faults = find_faults(
        [
            Source("config", True, "from config.load import load_settings"),
            Source("config.load", False, "from config import Settings"),
        ]
    )
    assert len(faults) == 1
    assert faults[0].startswith("circle of modules: config")


def test_a_file_without_a_place_is_caught() -> None:
    assert find_faults([Source("ticketd.attic", False, "")]) == ["ticketd.attic has no place in LEVELS"]


@pytest.mark.parametrize(
    ("module", "text", "stray"),
    [
        ("storage.writer", "import lmdb", "lmdb"),
        ("storage.lmdb_engine", "from trio.lowlevel import checkpoint", "trio.lowlevel"),
        (
            "ticketd.tasks.rooms",
            "import trio\nasync def f() -> None:\n    await trio.lowlevel.checkpoint()",
            "trio.lowlevel",
        ),
        ("ticketd.tasks.rooms", "from trio import lowlevel", "trio.lowlevel"),
        ("ticketd.front.fast_lane", "import httptools", "httptools"),
        ("handlers.events", "from quart import Quart", "quart"),
        ("ticketd.cli.serve", "import hypercorn.config", "hypercorn"),
        ("ticketd.cli.serve", "import asyncio", "asyncio"),
        ("ticketd.cli.serve", "from tests.sim import world", "tests"),
    ],
)
def test_a_confined_name_elsewhere_is_caught(module: str, text: str, stray: str) -> None:
    faults = find_faults([Source(module, False, text)])
    assert len(faults) == 1
    assert faults[0].startswith(f"{module} imports {stray}, which belongs to ")


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("storage.lmdb_engine", "import lmdb"),
        ("storage.writer", "import trio.lowlevel"),
        ("ticketd.front.sockets", "import trio.lowlevel"),
        ("ticketd.front.hypercorn_lane", "import hypercorn.trio"),
        ("handlers.quart_app", "from quart_trio import QuartTrio"),
        ("storage.writer", "import lmdbx"),
    ],
)
def test_a_confined_name_in_its_place_is_let_be(module: str, text: str) -> None:
    assert find_faults([Source(module, False, text)]) == []
