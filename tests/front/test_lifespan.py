"""The lifespan of an app that does what it should, and of those that do not."""

from __future__ import annotations

import pytest
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from ticketd.front.lifespan import Lifespan, LifespanError


class App:
    """Plays ``parts`` in turn: ``receive``, or the type of a message to send."""

    def __init__(self, *parts: str) -> None:
        self._parts = parts
        self.received: list[str] = []

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        assert scope["type"] == "lifespan"
        for part in self._parts:
            match part:
                case "receive":
                    self.received.append((await receive())["type"])
                case "lifespan.startup.failed":
                    await send({"type": "lifespan.startup.failed", "message": "why"})
                case "lifespan.shutdown.failed":
                    await send({"type": "lifespan.shutdown.failed", "message": "why"})
                case "lifespan.startup.complete":
                    await send({"type": "lifespan.startup.complete"})
                case _:
                    await send({"type": "lifespan.shutdown.complete"})


async def live(app: App) -> None:
    """Starts it, asks it to stop, waits for its end."""
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            lifespan = Lifespan(app)
            await nursery.start(lifespan.run)
            lifespan.request_stop()


GOOD_START = ("receive", "lifespan.startup.complete")


async def test_start_and_end() -> None:
    app = App(*GOOD_START, "receive", "lifespan.shutdown.complete")
    await live(app)
    assert app.received == ["lifespan.startup", "lifespan.shutdown"]


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ((), "must support the lifespan"),
        (("receive",), "must support the lifespan"),
        (("receive", "lifespan.startup.failed", "receive"), "did not start: why"),
        ((*GOOD_START, "receive", "lifespan.shutdown.failed", "receive"), "did not shut down cleanly: why"),
    ],
)
async def test_app_that_does_not(parts: tuple[str, ...], match: str) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        await live(App(*parts))
    assert raised.group_contains(LifespanError, match=match)


async def test_app_that_ends_on_its_own() -> None:
    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(Lifespan(App(*GOOD_START)).run)
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as raised, trio.fail_after(5):
        await serve()
    assert raised.group_contains(LifespanError, match="ended while it should serve")
