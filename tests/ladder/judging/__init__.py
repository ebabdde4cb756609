"""The parts of ``tests.ladder.invariants``: what a history of changes, and one of answers, must never show."""
