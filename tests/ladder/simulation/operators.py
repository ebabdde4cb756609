"""Operators and tills: they pause and set rooms, block seats, change and end events, give money back, sell for cash."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from uuid import UUID

from storage.verify import Problem
from tests.ladder.simulation.people import Town
from tests.ladder.simulation.script import Crash, Hall, Operate
from tests.ladder.simulation.world import Request
from tests.support.daemon import START_MS, Answer
from tests.support.events import arena_file
from ticketd.credentials.api_keys import Scope
from ticketd.domain.times import rfc3339


def event_file(hall: Hall, event: UUID, *, rows: int | None = None, price: str = "500.00") -> dict[str, Any]:
    """The event file of a hall."""
    opens_ms = START_MS + hall.opens_ms
    sale: dict[str, object] = {"general_sale_start": rfc3339(opens_ms - opens_ms % 1000)}
    if hall.presale_ms:
        sale["presale_start"] = rfc3339(START_MS + hall.presale_ms)
        sale["presale_codes"] = [{"code": "FAN", "max_joins": 5}]
    count = hall.rows if rows is None else rows
    return arena_file(
        rows=[{"row": str(number), "first": 1, "last": 10} for number in range(1, count + 1)],
        event_id=str(event),
        sale=sale,
        purchase_limit=hall.purchase_limit,
        hold_seconds=hall.hold_seconds,
        refund_fees=hall.refund_fees,
        tiers=[{"name": "Floor", "price": price, "fees": "75.00"}],
        waiting_room={
            "enabled": hall.enabled,
            "capacity": hall.capacity,
            "max_active": hall.max_active,
            "admit_per_minute": hall.admit_per_minute,
            "claim_seconds": hall.claim_seconds,
            "access_seconds": hall.access_seconds,
            "lobby_opens": rfc3339(START_MS + hall.lobby_ms) if hall.lobby_ms else None,
        },
    )


class Office:
    """The operator of all halls, and their tills."""

    def __init__(self, town: Town, halls: tuple[Hall, ...]) -> None:
        self._town = town
        self._halls = halls
        self._sold: list[str] = []

    async def put(self, hall: int, **changes: Any) -> Answer | None:
        """Puts an event as its hall is, but for the changes."""
        event = self._town.events[hall]
        return await self._ask("PUT", f"events/{event}", event_file(self._halls[hall], event, **changes))

    async def operate(self, action: Operate, name: str) -> None:
        """Does what the action says; ``name`` is no other action's."""
        simple = _SETTINGS.get(action.do)
        event = self._town.events[action.hall]
        if simple is not None:
            await self._ask("POST", f"rooms/{event}", simple(action.x))
        else:
            await self._deeds()[action.do](action, name)

    def _deeds(self) -> Mapping[str, Callable[[Operate, str], Awaitable[None]]]:
        return {
            "block": self._block,
            "unblock": self._block,
            "refund": self._refund,
            "refund_ticket": self._refund,
            "reprice": self._change,
            "grow": self._change,
            "shrink": self._change,
            "cancel_event": self._end,
            "delete_event": self._end,
            "sell_at_till": self._sell,
            "refund_at_till": self._take_back,
            "look": self._look,
        }

    async def _ask(
        self, method: str, path: str, body: object = None, key: str | None = None
    ) -> Answer | None:
        return await self._town.world.ask(
            Request(
                method=method,
                target=f"/v1/operator/{path}",
                caller="operator",
                body=body,
                scope=None,
                key=key,
                address="",
            )
        )

    async def _block(self, action: Operate, name: str) -> None:
        seats = await self._town.seat_ids(action.hall, "office")
        wanted = "AVAILABLE" if action.do == "block" else "BLOCKED"
        chosen = [seat for seat, status in seats if status == wanted or action.x % 5 == 0][: 1 + action.x % 6]
        if chosen:
            path = f"events/{self._town.events[action.hall]}/{action.do}"
            await self._ask("POST", path, {"seat_ids": chosen}, f"office-{name}" if action.x & 1 else None)

    async def _refund(self, action: Operate, name: str) -> None:
        orders = self._town.orders
        if not orders:
            return
        order, _, _ = orders[action.x % len(orders)]
        body: dict[str, object] = {"even_used": action.x % 3 == 0}
        if action.x % 4:
            body["with_fees"] = action.x % 4 == 1
        if action.do == "refund_ticket":
            tickets = [ticket for ticket, _ in self._town.world.codes(order)]
            if not tickets:
                return
            body["ticket_ids"] = tickets[: 1 + action.x % 2]
        await self._ask("POST", f"orders/{order}/refund", body, f"office-{name}" if action.x & 1 else None)

    async def _change(self, action: Operate, _: str) -> None:
        rows = self._halls[action.hall].rows
        match action.do:
            case "reprice":
                await self.put(action.hall, price=f"{100 + action.x % 900}.00")
            case "grow":
                await self.put(action.hall, rows=rows + 1)
            case _:
                await self.put(action.hall, rows=max(rows - 1, 1))

    async def _end(self, action: Operate, _: str) -> None:
        event = self._town.events[action.hall]
        if action.do == "cancel_event":
            await self._ask("POST", f"events/{event}/cancel")
        else:
            await self._ask("DELETE", f"events/{event}")

    async def _sell(self, action: Operate, name: str) -> None:
        receipt = f"R{action.x % 40}" if action.x % 3 == 0 else f"R-{name}"
        body = {
            "event_id": str(self._town.events[action.hall]),
            "payment": {"method": "CASH", "receipt": receipt},
            "quantity": 1 + action.x % 4,
        }
        if action.x % 4 == 0:
            # The daemon dies as it sells, or right after.
            crash = Crash(at_ms=0, commits=1 + action.x % 2, after=action.x % 8 == 0, down_ms=500)
            self._town.world.plan_crash(crash)
        sold = await self._till("/v1/box-office/sales", body, f"till-{name}")
        if (
            sold is not None
            and sold.status == 409
            and sold.code == "ORDER_EXISTS"
            and receipt != f"R{action.x % 40}"
        ):
            text = f"{receipt} was sold without an answer, and is refused to its own repetition"
            problem = Problem(invariant="same-key-same-bytes", where="till", text=text)
            self._town.world.watch.report([problem])
        if sold is not None and sold.status == 201:
            self._sold.append(sold.json["order_id"])

    async def _take_back(self, action: Operate, name: str) -> None:
        if self._sold:
            order = self._sold[action.x % len(self._sold)]
            await self._till(f"/v1/box-office/sales/{order}/refund", {"receipt": f"B-{name}"}, f"till-{name}")

    async def _till(self, target: str, body: object, key: str) -> Answer | None:
        call = Request(
            method="POST",
            target=target,
            caller="key:box_office",
            body=body,
            scope=Scope.BOX_OFFICE,
            key=key,
            address="till",
        )
        answer = await self._town.world.ask(call)
        return await self._town.world.ask(call) if answer is None else answer

    async def _look(self, action: Operate, _: str) -> None:
        event = self._town.events[action.hall]
        paths = ("stats", "orders", f"ledger?event_id={event}", "audit", "events", f"orders?event_id={event}")
        path = paths[action.x % len(paths)]
        seen = await self._ask("GET", path)
        if seen is not None and seen.status >= 400 and seen.status != 404:
            text = f"it is answered {seen.status} {seen.body[:200]!r}"
            self._town.world.watch.report([Problem(invariant="operator-sees", where=path, text=text)])


_SETTINGS: Final[Mapping[str, Callable[[int], dict[str, object]]]] = {
    "pause": lambda _: {"pause": True},
    "resume": lambda _: {"resume": True},
    "max_active": lambda x: {"max_active": 1 + x % 8},
    "admit_per_minute": lambda x: {"admit_per_minute": 1 + x % 30},
    "capacity": lambda x: {"capacity": 1 + x % 50},
}
