"""Opening listeners: every form of address, and every reason why it cannot be."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Literal

import pytest
import trio

from ticketd.front import BoundAddress, ListenerName, ListenError, open_tcp_listener, open_unix_listener

Found = list[
    tuple[Literal[socket.AddressFamily.AF_INET], socket.SocketKind, int, str, tuple[str, int]]
    | tuple[
        Literal[socket.AddressFamily.AF_INET6],
        socket.SocketKind,
        int,
        str,
        tuple[str, int, int, int] | tuple[int, bytes],
    ]
]
PUBLIC, OPERATOR = ListenerName.PUBLIC, ListenerName.OPERATOR


class TestTcp:
    @pytest.mark.parametrize(
        ("bind", "host"),
        [
            ("127.0.0.1:0", "127.0.0.1"),
            ("0.0.0.0:0", "0.0.0.0"),
            ("[::1]:0", "::1"),
            ("localhost:0", "127.0.0.1"),
        ],
    )
    async def test_listens_and_tells_where(self, bind: str, host: str) -> None:
        listener = await open_tcp_listener(bind, PUBLIC)
        assert (listener.address.name, listener.address.host) == (PUBLIC, host)
        assert listener.address.port
        async with await trio.open_tcp_stream(host, listener.address.port):
            pass
        listener.close()
        listener.close()
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream(host, listener.address.port)

    async def test_name_of_several_addresses_is_bound_to_its_ipv4_address(self) -> None:
        class Resolver(trio.abc.HostnameResolver):
            async def getaddrinfo(
                self,
                host: bytes | None,
                port: bytes | str | int | None,
                family: int = 0,
                type: int = 0,  # noqa: A002  the interface's own name for it
                proto: int = 0,
                flags: int = 0,
            ) -> Found:
                assert host == b"both.example"
                return [
                    (socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("::1", 0, 0, 0)),
                    (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0)),
                ]

            async def getnameinfo(
                self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int
            ) -> tuple[str, str]:
                raise NotImplementedError

        trio.socket.set_custom_hostname_resolver(Resolver())
        listener = await open_tcp_listener("both.example:0", PUBLIC)
        assert listener.address.host == "127.0.0.1"
        listener.close()

    @pytest.mark.parametrize(
        "bind",
        [
            "",
            "8080",
            ":8080",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:x",
            "127.0.0.1:-1",
            "::1:80",
            "[::1]",
            "a:1:2",
        ],
    )
    async def test_other_forms_are_refused(self, bind: str) -> None:
        with pytest.raises(ListenError, match=r"write HOST:PORT"):
            await open_tcp_listener(bind, PUBLIC)

    async def test_port_too_large(self) -> None:
        with pytest.raises(ListenError, match="0 to 65535"):
            await open_tcp_listener("127.0.0.1:65536", PUBLIC)

    async def test_largest_port_is_a_port(self) -> None:
        with pytest.raises(ListenError, match="no such address"):
            await open_tcp_listener("192.0.2.1:65535", PUBLIC)

    @pytest.mark.parametrize("host", ["no-such-host.invalid", "256.0.0.1", "[zz::1]", "a" * 300])
    async def test_unknown_host(self, host: str) -> None:
        with pytest.raises(ListenError, match="is not known"):
            await open_tcp_listener(f"{host}:0", PUBLIC)

    async def test_address_in_use(self) -> None:
        listener = await open_tcp_listener("127.0.0.1:0", PUBLIC)
        with pytest.raises(ListenError, match="in use by another process"):
            await open_tcp_listener(str(listener.address), PUBLIC)
        listener.close()

    async def test_permission(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Whoever runs the tests may have the privilege, so the system's refusal is played.
        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(socket.socket, "bind", refuse)
        with pytest.raises(ListenError, match="permission denied"):
            await open_tcp_listener("127.0.0.1:80", PUBLIC)


class TestUnix:
    async def test_only_the_owner_may_connect_and_the_file_goes_at_the_end(self, tmp_path: Path) -> None:
        path = tmp_path / "operator.sock"
        listener = open_unix_listener(path, OPERATOR)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert listener.address == BoundAddress(name=OPERATOR, path=str(path))
        async with await trio.open_unix_socket(path):
            pass
        listener.close()
        assert not path.exists()
        listener.close()

    async def test_socket_of_a_dead_process_is_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(os.fspath(path))
        listener = open_unix_listener(path, OPERATOR)
        async with await trio.open_unix_socket(path):
            pass
        listener.close()

    async def test_live_socket_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        first = open_unix_listener(path, OPERATOR)
        with pytest.raises(ListenError, match="another process listens there"):
            open_unix_listener(path, OPERATOR)
        async with await trio.open_unix_socket(path):
            pass
        first.close()

    async def test_live_socket_with_a_full_backlog_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
            busy.bind(os.fspath(path))
            busy.listen(0)
            waiting.connect(os.fspath(path))
            with pytest.raises(ListenError, match="another process listens there"):
                open_unix_listener(path, OPERATOR)

    async def test_other_file_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        path.write_text("kept")
        with pytest.raises(ListenError, match="not a socket"):
            open_unix_listener(path, OPERATOR)
        assert path.read_text() == "kept"

    async def test_file_that_another_put_there_since_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        first = open_unix_listener(path, OPERATOR)
        path.rename(tmp_path / "moved")
        second = open_unix_listener(path, OPERATOR)
        first.close()
        assert path.exists()
        second.close()
        assert not path.exists()

    @pytest.mark.parametrize("over", [0, 1])
    async def test_longest_path(self, over: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        path = Path("s" * (107 + over))
        if over:
            with pytest.raises(ListenError, match="at most 107 bytes"):
                open_unix_listener(path, OPERATOR)
        else:
            open_unix_listener(path, OPERATOR).close()

    async def test_folder_that_does_not_exist(self, tmp_path: Path) -> None:
        with pytest.raises(ListenError, match="folder does not exist"):
            open_unix_listener(tmp_path / "none" / "s", OPERATOR)

    async def test_folder_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ListenError, match="not a folder"):
            open_unix_listener(tmp_path / "file" / "s", OPERATOR)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (BoundAddress(name=PUBLIC, host="127.0.0.1", port=80), "127.0.0.1:80"),
        (BoundAddress(name=PUBLIC, host="::1", port=80), "[::1]:80"),
        (BoundAddress(name=OPERATOR, path="/run/s"), "unix:/run/s"),
    ],
)
def test_address_is_written_as_it_is_given(address: BoundAddress, text: str) -> None:
    assert str(address) == text
