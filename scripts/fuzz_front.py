"""One reader of the front under atheris: ``scripts/fuzz-front`` runs it, in an environment of its own.

What must hold of the readers is ``tests.ladder.front_targets``; here they are only fed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

# What is imported here is instrumented, and what it imports itself; all else would only be slower.
with atheris.instrument_imports(include=["ticketd", "wsproto"]):
    import ticketd.front.chunks
    import ticketd.front.frames
    import ticketd.front.heads
    import ticketd.front.upgrade  # noqa: F401 - imported for the sake of being instrumented

import handlers.bodies
from tests.ladder.front_targets import SAMPLES, TARGETS

for function in (handlers.bodies.decode_body, handlers.bodies.parse_query):
    atheris.instrument_func(function)


def main() -> None:
    """Feeds the reader that is named first; the other arguments are libFuzzer's, the corpus's folder among them."""
    name, corpus = sys.argv[1], Path(sys.argv[2])
    for number, sample in enumerate(SAMPLES[name]):
        (corpus / f"sample-{number}").write_bytes(sample)
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
