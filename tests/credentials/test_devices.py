from __future__ import annotations

import hashlib

import pytest

from ticketd.credentials.devices import DeviceHash, FingerprintInvalid, hash_device, same_device


@pytest.mark.parametrize("text", ["a", "a" * 256, "two words", "~!@ #", "0123456789abcdef"])
def test_a_fingerprint_is_known_by_its_sha256(text: str) -> None:
    assert hash_device(text) == hashlib.sha256(text.encode()).digest()


@pytest.mark.parametrize("text", ["", "a" * 257, " a", "a ", "a\tb", "a\n", "\x00", "é", "a\x7f", "\ud800"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(FingerprintInvalid):
        hash_device(text)


def test_devices_are_compared_by_hash() -> None:
    one = hash_device("one")
    assert same_device(one, hash_device("one"))
    assert not same_device(one, hash_device("two"))
    assert not same_device(one, DeviceHash(one[:-1]))
