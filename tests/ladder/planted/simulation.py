"""Bugs that the simulation must catch within its short form."""

from __future__ import annotations

from typing import Final

from tests.support.planting import Plant

PLANTS: Final[dict[str, Plant]] = {
    "a lost counter update": Plant(
        file="ticketd/domain/hold_book.py",
        right="    bought = has.bought + seats if sold else has.bought\n",
        wrong="    bought = has.bought\n",
        rung="simulation",
        told="[purchases-equal-recount]",
    ),
    "expiry without recheck": Plant(
        file="ticketd/domain/reservations.py",
        right="list(DUE_RESERVATIONS.until(tx, partition, tx.now_ms, limit)):",
        wrong="list(DUE_RESERVATIONS.scan(tx, partition, limit=limit)):",
        rung="simulation",
        told="[hold-not-ended-early]",
    ),
    "admission off by one": Plant(
        file="ticketd/domain/room_book.py",
        right="        if self.room.active >= settings.max_active:\n",
        wrong="        if self.room.active > settings.max_active:\n",
        rung="simulation",
        told="[active-within-limit]",
    ),
    "rate of admission off by one": Plant(
        file="ticketd/domain/room_book.py",
        right="        rivals = self.room.admitted + 1 - self.rate_per_minute\n",
        wrong="        rivals = self.room.admitted - self.rate_per_minute\n",
        rung="simulation",
        told="[admissions-within-rate]",
    ),
    "an idempotency outcome in another commit": Plant(
        file="handlers/commit.py",
        right="        keep_outcome(tx, scope, request.digest, outcome_of(reply, request, tx.now_ms + retention_ms))\n"
        "        return Reply(",
        wrong="        return Reply(",
        rung="simulation",
        told="[same-key-same-bytes]",
    ),
    "acknowledge before commit": Plant(
        file="ticketd/tasks/placing.py",
        right="        answer = await self.record(begin.event_id, begun, outcome)\n",
        wrong="        with self._engine.snapshot() as view:\n"
        "            body = self._answers.created(view, begin.event_id, begun)\n"
        "        answer: PlacedAnswer | Refusal = PlacedAnswer(status=201, body=body)\n",
        rung="simulation",
        told="[acknowledged-survives]",
    ),
    "a token accepted for another event": Plant(
        file="handlers/inventory.py",
        right="    if body.event_id != call.principal.event_id:\n",
        wrong="    if body.event_id == call.principal.user_id:\n",
        rung="simulation",
        told="[only-ones-own]",
    ),
    "another device with the token": Plant(
        file="handlers/judge.py",
        right="        matches = same_device(hash_device(sent), claims.device_hash)\n",
        wrong="        matches = bool(hash_device(sent))\n",
        rung="simulation",
        told="[only-ones-own]",
    ),
    "overtaking": Plant(
        file="ticketd/domain/admission.py",
        right="    line = list(LINE.scan(book.tx, book.partition, limit=limit)) if book.room.waiting else []\n"
        "    before",
        wrong="    line = list(LINE.scan(book.tx, book.partition, limit=limit, reverse=True))\n    before",
        rung="simulation",
        told="[nobody-overtakes]",
    ),
    "a hold ended early after a declined payment": Plant(
        file="ticketd/domain/reservations.py",
        right="            due_at_ms=reservation.expires_at_ms,\n            excused",
        wrong="            due_at_ms=tx.now_ms,\n            excused",
        rung="simulation",
        told="[hold-not-ended-early]",
    ),
    "a hold that nobody ends": Plant(
        file="ticketd/tasks/holds.py",
        right="    if isinstance(event, HoldMoved) or (isinstance(event, SeatsMoved) "
        "and event.state is SeatState.RESERVED):",
        wrong="    if isinstance(event, HoldMoved):",
        rung="simulation",
        told="[hold-not-past-its-end]",
    ),
    "purchase limit off by one": Plant(
        file="ticketd/domain/reservations.py",
        right="    if has.held + has.bought + seats > sale.purchase_limit:\n",
        wrong="    if has.held + has.bought + seats > sale.purchase_limit + 1:\n",
        rung="simulation",
        told="[purchase-limit]",
    ),
    "seats freed while they are paid": Plant(
        file="ticketd/domain/reservations.py",
        right="    if reservation.state is ReservationState.PAYING:\n        raise _ordered(reservation)\n    return",
        wrong="    return",
        rung="simulation",
        told="[error-is-known]",
    ),
    "a refund written down and not asked for": Plant(
        file="ticketd/tasks/settling.py",
        right="            outcome = await self._calls.refund(order, settled_minor)\n",
        wrong='            outcome = Refunded("re_unasked", order.refund_minor)\n',
        rung="simulation",
        told="refund",
    ),
    "no idempotency key": Plant(
        file="ticketd/tasks/gateway_calls.py",
        right='f"{order.order_id}:authorise"',
        wrong='f"{order.order_id}:{trio.current_time()}"',
        rung="simulation",
        told="[money-is-where-it-belongs]",
    ),
    "a subscriber that is told twice": Plant(
        file="storage/writer.py",
        right="        if not changes:\n            return\n        for subscriber",
        wrong="        if not changes:\n            return\n"
        "        changes = [*changes, changes[-1]]\n        for subscriber",
        rung="simulation",
        told="[published-in-order]",
        seconds=2,
        sample=True,
    ),
    "places that do not move up when somebody leaves": Plant(
        file="ticketd/views/positions.py",
        right="        self._count(seq, -1)\n",
        wrong="        self._count(seq, 0)\n",
        rung="simulation",
        told="[position-is-exact]",
    ),
    "inner detail in an error": Plant(
        file="handlers/errors.py",
        right="            details=dict(refusal.details),\n",
        wrong='            details={**refusal.details, "raised_at": __file__},\n',
        rung="simulation",
        told="[error-without-inner-detail]",
    ),
}
