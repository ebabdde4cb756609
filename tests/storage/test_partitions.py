from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.change_log import ENGINE_PARTITION
from storage.engine import Key, Partition
from storage.keys import pack_key
from storage.lmdb_engine import open_lmdb
from storage.partitions import partitions, stray_keys
from tests.storage.stores import MIB

names = st.one_of(
    st.binary(min_size=1, max_size=3),
    st.sampled_from([b"e", b"ea", b"e\xff", b"e\xff\xff", b"\xff" * 64, b"f", bytes(ENGINE_PARTITION)]),
).map(Partition)


@given(
    st.sets(names, max_size=8),
    st.one_of(
        st.just(b""), st.binary(max_size=3), st.sampled_from([b"e", b"e\xff", b"\xff", b"x" * 64, b"x" * 65])
    ),
    st.none() | names,
)
@settings(deadline=None, max_examples=60)
def test_partitions_with_a_prefix_come_in_order(
    some: set[Partition], prefix: bytes, after: Partition | None
) -> None:
    meant = sorted((len(name), name) for name in some - {ENGINE_PARTITION} if name.startswith(prefix))
    if after is not None:
        meant = [place for place in meant if place > (len(after), after)]
    with tempfile.TemporaryDirectory() as folder:
        backend = open_lmdb(Path(folder) / "store", 4 * MIB, synced=False)
        backend.apply(sorted((pack_key(name, number), b"") for name in some for number in (0, 7)), [])
        view = backend.view()
        assert list(partitions(view, prefix, after)) == [name for _, name in meant]
        view.close()
        backend.close()


def test_keys_that_lie_in_no_partition_are_passed_over_and_told(tmp_path: Path) -> None:
    good = [pack_key(Partition(name), 1) for name in (b"ab", b"abcde", b"abzzz", b"zzzzz", b"\xff" * 64)]
    behind = [Key(b"\x02ab\xff"), Key(b"\x02ab\xff\xff" + bytes(500)), Key(b"\x40" + b"\xff" * 65)]
    cut_off = [
        Key(b"\x05"),
        Key(b"\x05ab"),
        Key(b"\x05abc"),
        Key(b"\x05zzzz"),
        Key(b"\x06zz"),
        Key(b"\x40" * 64),
    ]
    stray = sorted([*behind, *cut_off])
    backend = open_lmdb(tmp_path / "store", 4 * MIB, synced=False)
    backend.apply([(key, b"") for key in sorted([*good, *stray])], [])
    view = backend.view()
    assert list(partitions(view)) == [b"ab", b"abcde", b"abzzz", b"zzzzz", b"\xff" * 64]
    assert list(partitions(view, b"ab")) == [b"ab", b"abcde", b"abzzz"]
    assert list(partitions(view, after=Partition(b"ab"))) == [b"abcde", b"abzzz", b"zzzzz", b"\xff" * 64]
    assert list(stray_keys(view)) == stray
    view.close()
    backend.close()


def test_one_seek_for_each_partition_however_much_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_lmdb(tmp_path / "store", 4 * MIB, synced=False)
    backend.apply([(pack_key(Partition(b"e"), number), b"") for number in range(1000)], [])
    view = backend.view()
    read = 0
    real = view.scan

    def counting(*args: object, **kwargs: object) -> object:
        nonlocal read
        pairs = list(real(*args, **kwargs))  # type: ignore[arg-type]  # passed on as they come
        read += len(pairs)
        return iter(pairs)

    class Counting:
        get = staticmethod(view.get)
        scan = staticmethod(counting)

    assert list(partitions(Counting(), b"e")) == [b"e"]  # type: ignore[arg-type]  # the same, counted
    assert read == 1
    view.close()
    backend.close()
