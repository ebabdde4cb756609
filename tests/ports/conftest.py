"""Shared fixtures of the ports' tests."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.ports.charges", "tests.ports.payment_contract")
