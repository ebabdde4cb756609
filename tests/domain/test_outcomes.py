from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage.engine import MAX_VALUE_BYTES
from storage.schema.layout import OUTCOMES
from storage.schema.records import OutcomeRecord
from tests.domain.inventory_stage import OPENS_MS, inventory
from ticketd.domain.outcomes import find_outcome, forget_outcomes, keep_outcome

DIGEST = bytes(range(32))
LONG = 16 * 1024


def an_outcome(body: bytes) -> OutcomeRecord:
    return OutcomeRecord(
        fingerprint=bytes(32),
        status=201,
        content_type="application/json",
        body=body,
        headers=(("Location", "/"),),
        forget_at_ms=OPENS_MS + 1,
    )


@pytest.mark.parametrize(
    ("body", "packed"),
    [
        (b"", False),
        (os.urandom(LONG), False),
        (os.urandom(LONG + 1), True),
        (b"[" + b'{"seat": 1},' * 40_000 + b"]", True),
    ],
)
async def test_a_body_is_found_as_it_was_kept_however_long(tmp_path: Path, body: bytes, packed: bool) -> None:
    with inventory(tmp_path) as stage:
        outcome = an_outcome(body)
        await stage.run(lambda tx: keep_outcome(tx, stage.partition, DIGEST, outcome))
        stored = stage.read(lambda reader: OUTCOMES.get(reader, stage.partition, DIGEST))
        assert stored is not None
        assert stored.packed is packed
        assert len(stored.body) < MAX_VALUE_BYTES
        found = stage.read(lambda reader: find_outcome(reader, stage.partition, DIGEST, OPENS_MS))
        assert found == outcome
        assert stage.read(lambda r: find_outcome(r, stage.partition, DIGEST, OPENS_MS + 1)) is None
        stage.clock.at_ms = OPENS_MS + 1
        assert await stage.run(lambda tx: forget_outcomes(tx, stage.partition, 10)) == 1
        assert stage.everything() == {}
