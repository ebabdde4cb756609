"""Reading without holes in the memory: what a busy front keeps must not pin what it has read and forgotten."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from ticketd.front.sockets import READ_BYTES, read_nowait

BUSY = """
import os, random, socket
from collections import deque
from ticketd.front.sockets import READ_BYTES, read_nowait

def own_kib():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))

chance = random.Random(1)
pairs = [socket.socketpair() for _ in range(12)]
in_hand, kept = deque(maxlen=30), deque(maxlen=4096)
began = own_kib()
for number in range(80_000):
    one, other = chance.choice(pairs)
    one.send(b"x" * chance.randint(200, 1500))
    in_hand.append(read_nowait(other, READ_BYTES))
    if number % 20 == 0:
        kept.append(os.urandom(chance.randint(700, 850)))
print(own_kib() - began)
"""


def test_reads_leave_no_holes_between_what_is_kept() -> None:
    """4,000 pictures of 800 bytes are 3 MiB; with a hole of a read's size behind each they would be 60."""
    run = subprocess.run([sys.executable, "-c", BUSY], check=True, capture_output=True, text=True)
    assert int(run.stdout) < 16 * 1024


@pytest.mark.parametrize(("most", "pieces"), [(4, [b"abcd", b"ef"]), (5, [b"abcde", b"f"]), (6, [b"abcdef"])])
def test_a_read_is_as_long_as_asked_for(most: int, pieces: list[bytes]) -> None:
    ours, peer = socket.socketpair()
    with ours, peer:
        ours.setblocking(False)
        assert read_nowait(ours, most) is None
        peer.send(b"abcdef")
        assert [read_nowait(ours, most) for _ in pieces] == pieces
        assert read_nowait(ours, most) is None
        peer.close()
        assert read_nowait(ours, READ_BYTES) == b""


def test_what_was_read_stays_as_it_is() -> None:
    ours, peer = socket.socketpair()
    with ours, peer:
        peer.send(b"first")
        first = read_nowait(ours, READ_BYTES)
        peer.send(b"other")
        assert (read_nowait(ours, READ_BYTES), first) == (b"other", b"first")
