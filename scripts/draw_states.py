"""The tables of legal moves as a Graphviz graph, one cluster for each kind of thing."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from storage.schema import states


def tables() -> dict[str, Mapping[enum.Enum, frozenset[enum.Enum]]]:
    """Every table of ``storage.schema.states``, by the name of its enum."""
    found = {}
    for name, table in vars(states).items():
        if name.endswith("_MOVES"):
            found[type(next(iter(table))).__name__] = table
    return found


def main() -> None:
    print("digraph states { rankdir=LR; node [shape=box, style=rounded];")
    for kind, table in tables().items():
        print(f'  subgraph "cluster_{kind}" {{ label="{kind}";')
        for before, moves in table.items():
            print(f'    "{kind}.{before.name}" [label="{before.name}"];')
            for after in sorted(moves, key=lambda state: state.name):
                print(f'    "{kind}.{before.name}" -> "{kind}.{after.name}";')
        print("  }")
    print("}")


if __name__ == "__main__":
    main()
