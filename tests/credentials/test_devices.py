from __future__ import annotations

import hashlib

import pytest

from ticketd.credentials.devices import (
    DEVICES_KEPT,
    DeviceHash,
    FingerprintInvalid,
    hash_device,
    same_device,
)


@pytest.mark.parametrize("text", ["a", "a" * 256, "two words", "~!@ #", "0123456789abcdef"])
def test_a_fingerprint_is_known_by_its_sha256(text: str) -> None:
    assert hash_device(text) == hashlib.sha256(text.encode()).digest()


@pytest.mark.parametrize("text", ["", "a" * 257, " a", "a ", "a\tb", "a\n", "\x00", "é", "a\x7f", "\ud800"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(FingerprintInvalid):
        hash_device(text)


def test_only_so_many_hashes_are_remembered() -> None:
    hash_device.cache_clear()
    for number in range(DEVICES_KEPT + 1):
        hash_device(f"device-{number}")
        if number in {DEVICES_KEPT - 2, DEVICES_KEPT - 1}:
            assert hash_device.cache_info().currsize == number + 1
    assert hash_device.cache_info().currsize == DEVICES_KEPT
    assert hash_device("device-0") == hashlib.sha256(b"device-0").digest()


def test_devices_are_compared_by_hash() -> None:
    one = hash_device("one")
    assert same_device(one, hash_device("one"))
    assert not same_device(one, hash_device("two"))
    assert not same_device(one, DeviceHash(one[:-1]))
