from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage.free_space import FreeSpace, free_bytes


class Disk:
    """A disk whose free space the test says, and a watch that it sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = 1000
        self.looks = 0
        self.seconds = 50.0
        self.broken = False
        monkeypatch.setattr("storage.free_space.free_bytes", self.look)

    def look(self, _: Path) -> int:
        self.looks += 1
        if self.broken:
            raise OSError("not now")
        return self.free

    def now(self) -> float:
        return self.seconds


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_it_is_what_the_system_says(tmp_path: Path) -> None:
    said = os.statvfs(tmp_path)
    assert abs(free_bytes(tmp_path) - said.f_bavail * said.f_frsize) < 2**30
    with pytest.raises(FileNotFoundError):
        free_bytes(tmp_path / "missing")


@pytest.mark.parametrize(("later", "told"), [(0.0, 1000), (0.99, 1000), (1.0, 7), (100.0, 7)])
def test_the_system_is_asked_once_a_second_at_most(
    tmp_path: Path, disk: Disk, later: float, told: int
) -> None:
    space = FreeSpace(tmp_path, disk.now)
    disk.free = 7
    disk.seconds += later
    assert [space.bytes() for _ in range(5)] == [told] * 5
    assert disk.looks == (1 if told == 1000 else 2)


def test_without_an_answer_the_last_one_holds_until_the_next(tmp_path: Path, disk: Disk) -> None:
    space = FreeSpace(tmp_path, disk.now)
    disk.free, disk.broken = 7, True
    disk.seconds += 1
    assert space.bytes() == 1000
    disk.broken = False
    assert space.bytes() == 1000
    disk.seconds += 1
    assert space.bytes() == 7
