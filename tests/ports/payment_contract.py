"""What every payment gateway must do, whoever implements it.

A gateway's own tests subclass ``PaymentContract`` and give it a ``gateway`` fixture; it takes the test tokens of
https://docs.stripe.com/testing. What only one gateway does stands beside that one's tests.
"""

from __future__ import annotations

import pytest
import trio
from msgspec.structs import replace

from tests.ports.charges import (
    TOTAL_MINOR,
    add_card,
    authorise,
    capture,
    card,
    charge_of,
    list_all,
    new_key,
    new_order,
    snapshot,
)
from ticketd.ports.payments import (
    ActionRequired,
    Authorised,
    AuthoriseOutcome,
    Captured,
    CaptureRefused,
    CardAdded,
    Charge,
    Declined,
    GatewayState,
    IdempotencyMismatch,
    MethodRefused,
    OperationRefusal,
    PaymentGateway,
    PaymentSnapshot,
    Refunded,
    RefundRefused,
    Voided,
    VoidRefused,
)

FAR_FUTURE_MS = 4_102_444_800_000
"""The year 2100."""


class PaymentContract:
    """The cases. ``finds_at_once`` is False for a gateway whose search by order lags."""

    finds_at_once = True

    # --- cards ----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("token", "brand", "last_four"),
        [
            ("tok_visa", "Visa", "4242"),
            ("tok_mastercard", "Mastercard", "4444"),
            ("tok_amex", "American Express", "0005"),
            ("tok_chargeDeclined", "Visa", "0002"),
            ("tok_chargeDeclinedInsufficientFunds", "Visa", "9995"),
            ("tok_chargeDeclinedExpiredCard", "Visa", "0069"),
            ("tok_threeDSecure2Required", "Visa", "3220"),
        ],
    )
    async def test_a_test_card_can_be_added(
        self, gateway: PaymentGateway, token: str, brand: str, last_four: str
    ) -> None:
        added = await gateway.describe_method(card(token), new_key())
        assert isinstance(added, CardAdded)
        assert (added.brand, added.last_four) == (brand, last_four)
        assert 1 <= added.expiry_month <= 12

    @pytest.mark.parametrize(
        "token", ["", "tok_unknown", "TOK_VISA", "tok_visa ", "4242424242424242", "\ud800"]
    )
    async def test_another_token_is_refused(self, gateway: PaymentGateway, token: str) -> None:
        assert isinstance(await gateway.describe_method(card(token), new_key()), MethodRefused)

    async def test_each_adding_makes_another_reference(self, gateway: PaymentGateway) -> None:
        assert await add_card(gateway) != await add_card(gateway)

    async def test_a_forgotten_card_is_declined_and_forgetting_again_changes_nothing(
        self, gateway: PaymentGateway
    ) -> None:
        method_ref, other_ref = await add_card(gateway), await add_card(gateway)
        for _ in range(2):
            await gateway.forget_method(method_ref)
        await gateway.forget_method("pm_unknown")
        assert isinstance(await gateway.authorise(charge_of(method_ref), new_key()), Declined)
        assert isinstance(await gateway.authorise(charge_of(other_ref), new_key()), Authorised)

    async def test_a_payment_outlives_its_forgotten_card(self, gateway: PaymentGateway) -> None:
        method_ref = await add_card(gateway)
        outcome = await gateway.authorise(charge_of(method_ref), new_key())
        assert isinstance(outcome, Authorised)
        await gateway.forget_method(method_ref)
        assert await gateway.capture(outcome.payment_ref, TOTAL_MINOR, new_key()) == Captured(TOTAL_MINOR)
        assert isinstance(await gateway.refund(outcome.payment_ref, TOTAL_MINOR, new_key()), Refunded)

    # --- authorising ----------------------------------------------------------------------------------------

    @pytest.mark.parametrize("token", ["tok_visa", "tok_mastercard", "tok_amex"])
    async def test_a_good_card_is_authorised_and_nothing_is_taken(
        self, gateway: PaymentGateway, token: str
    ) -> None:
        charge = charge_of(await add_card(gateway, token))
        outcome = await gateway.authorise(charge, new_key())
        assert isinstance(outcome, Authorised)
        assert await gateway.fetch(outcome.payment_ref) == PaymentSnapshot(
            payment_ref=outcome.payment_ref,
            order_id=charge.order_id,
            state=GatewayState.AUTHORISED,
            amount_minor=TOTAL_MINOR,
            currency="USD",
            authorised_minor=TOTAL_MINOR,
        )

    @pytest.mark.parametrize(
        ("token", "decline_code"),
        [
            ("tok_chargeDeclined", "generic_decline"),
            ("tok_chargeDeclinedInsufficientFunds", "insufficient_funds"),
            ("tok_chargeDeclinedExpiredCard", "expired_card"),
        ],
    )
    async def test_a_bad_card_is_declined_when_charged(
        self, gateway: PaymentGateway, token: str, decline_code: str
    ) -> None:
        outcome = await gateway.authorise(charge_of(await add_card(gateway, token)), new_key())
        assert isinstance(outcome, Declined)
        assert outcome.decline_code == decline_code
        assert outcome.payment_ref is not None
        seen = await snapshot(gateway, outcome.payment_ref)
        assert (seen.state, seen.decline_code) == (GatewayState.FAILED, decline_code)
        assert (seen.authorised_minor, seen.captured_minor) == (0, 0)

    async def test_an_unknown_card_is_declined_without_a_payment(self, gateway: PaymentGateway) -> None:
        outcome = await gateway.authorise(charge_of("pm_unknown"), new_key())
        assert isinstance(outcome, Declined)
        assert outcome.payment_ref is None

    async def test_a_decline_stays_with_its_key_and_another_key_may_succeed(
        self, gateway: PaymentGateway
    ) -> None:
        order_id, key = new_order(), new_key()
        bad = charge_of(await add_card(gateway, "tok_chargeDeclined"), order_id=order_id)
        first = await gateway.authorise(bad, key)
        assert isinstance(first, Declined)
        assert await gateway.authorise(bad, key) == first
        good = charge_of(await add_card(gateway), order_id=order_id)
        assert isinstance(await gateway.authorise(good, new_key()), Authorised)
        assert await gateway.authorise(bad, key) == first

    async def test_a_challenge_waits_for_the_buyer(self, gateway: PaymentGateway) -> None:
        charge = charge_of(await add_card(gateway, "tok_threeDSecure2Required"))
        outcome = await gateway.authorise(charge, new_key())
        assert isinstance(outcome, ActionRequired)
        seen = await snapshot(gateway, outcome.payment_ref)
        assert (seen.state, seen.authorised_minor) == (GatewayState.REQUIRES_ACTION, 0)
        assert seen.redirect_url == outcome.redirect_url
        refused = await gateway.capture(outcome.payment_ref, TOTAL_MINOR, new_key())
        assert refused == CaptureRefused(OperationRefusal.WRONG_STATE)

    # --- capturing ------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("taken_minor", [1, TOTAL_MINOR - 1, TOTAL_MINOR])
    async def test_a_capture_takes_its_amount_and_releases_the_rest(
        self, gateway: PaymentGateway, taken_minor: int
    ) -> None:
        payment_ref = await authorise(gateway)
        assert await gateway.capture(payment_ref, taken_minor, new_key()) == Captured(taken_minor)
        seen = await snapshot(gateway, payment_ref)
        assert seen.state is GatewayState.CAPTURED
        assert (seen.authorised_minor, seen.captured_minor, seen.refunded_minor) == (0, taken_minor, 0)

    async def test_more_than_authorised_is_not_captured(self, gateway: PaymentGateway) -> None:
        payment_ref = await authorise(gateway)
        refused = await gateway.capture(payment_ref, TOTAL_MINOR + 1, new_key())
        assert refused == CaptureRefused(OperationRefusal.AMOUNT_TOO_LARGE)
        assert (await snapshot(gateway, payment_ref)).state is GatewayState.AUTHORISED
        assert await gateway.capture(payment_ref, TOTAL_MINOR, new_key()) == Captured(TOTAL_MINOR)

    async def test_a_payment_is_captured_once(self, gateway: PaymentGateway) -> None:
        payment_ref = await authorise(gateway)
        assert await gateway.capture(payment_ref, 1_000, new_key()) == Captured(1_000)
        again = await gateway.capture(payment_ref, 1_000, new_key())
        assert again == CaptureRefused(OperationRefusal.WRONG_STATE)
        assert (await snapshot(gateway, payment_ref)).captured_minor == 1_000

    async def test_a_declined_payment_is_not_captured(self, gateway: PaymentGateway) -> None:
        charge = charge_of(await add_card(gateway, "tok_chargeDeclined"))
        declined = await gateway.authorise(charge, new_key())
        assert isinstance(declined, Declined)
        assert declined.payment_ref is not None
        refused = await gateway.capture(declined.payment_ref, TOTAL_MINOR, new_key())
        assert refused == CaptureRefused(OperationRefusal.WRONG_STATE)

    # --- voiding --------------------------------------------------------------------------------------------

    async def test_a_void_releases_all_and_ends_the_payment(self, gateway: PaymentGateway) -> None:
        payment_ref = await authorise(gateway)
        assert await gateway.void(payment_ref, new_key()) == Voided()
        seen = await snapshot(gateway, payment_ref)
        assert (seen.state, seen.authorised_minor) == (GatewayState.VOIDED, 0)
        captured = await gateway.capture(payment_ref, TOTAL_MINOR, new_key())
        assert captured == CaptureRefused(OperationRefusal.WRONG_STATE)
        refunded = await gateway.refund(payment_ref, TOTAL_MINOR, new_key())
        assert refunded == RefundRefused(OperationRefusal.WRONG_STATE)
        assert await gateway.void(payment_ref, new_key()) == VoidRefused(OperationRefusal.WRONG_STATE)

    async def test_what_was_captured_is_not_voided(self, gateway: PaymentGateway) -> None:
        payment_ref = await capture(gateway)
        assert await gateway.void(payment_ref, new_key()) == VoidRefused(OperationRefusal.WRONG_STATE)
        assert (await snapshot(gateway, payment_ref)).captured_minor == TOTAL_MINOR

    @pytest.mark.parametrize("token", ["tok_threeDSecure2Required", "tok_chargeDeclined"])
    async def test_a_payment_that_came_to_nothing_can_be_voided(
        self, gateway: PaymentGateway, token: str
    ) -> None:
        outcome = await gateway.authorise(charge_of(await add_card(gateway, token)), new_key())
        assert isinstance(outcome, ActionRequired | Declined)
        assert outcome.payment_ref is not None
        assert await gateway.void(outcome.payment_ref, new_key()) == Voided()
        seen = await snapshot(gateway, outcome.payment_ref)
        # One that was declined may be over by itself, and then stays what it was.
        ends = {GatewayState.VOIDED} | ({GatewayState.FAILED} if isinstance(outcome, Declined) else set())
        assert seen.state in ends
        assert seen.redirect_url is None

    # --- refunding ------------------------------------------------------------------------------------------

    async def test_refunds_in_parts_give_back_no_more_than_was_taken(self, gateway: PaymentGateway) -> None:
        payment_ref = await capture(gateway, amount_minor=10_000)
        refs = set()
        for part_minor in (1, 5_999):
            part = await gateway.refund(payment_ref, part_minor, new_key())
            assert isinstance(part, Refunded)
            assert part.amount_minor == part_minor
            refs.add(part.refund_ref)
        too_much = await gateway.refund(payment_ref, 4_001, new_key())
        assert too_much == RefundRefused(OperationRefusal.AMOUNT_TOO_LARGE)
        rest = await gateway.refund(payment_ref, 4_000, new_key())
        assert isinstance(rest, Refunded)
        assert len(refs | {rest.refund_ref}) == 3
        over = await gateway.refund(payment_ref, 1, new_key())
        assert over == RefundRefused(OperationRefusal.AMOUNT_TOO_LARGE)
        seen = await snapshot(gateway, payment_ref)
        assert (seen.state, seen.captured_minor, seen.refunded_minor) == (
            GatewayState.CAPTURED,
            10_000,
            10_000,
        )

    async def test_only_what_was_captured_is_refunded(self, gateway: PaymentGateway) -> None:
        payment_ref = await authorise(gateway)
        early = await gateway.refund(payment_ref, 1, new_key())
        assert early == RefundRefused(OperationRefusal.WRONG_STATE)
        await gateway.capture(payment_ref, 1_000, new_key())
        over = await gateway.refund(payment_ref, 1_001, new_key())
        assert over == RefundRefused(OperationRefusal.AMOUNT_TOO_LARGE)

    # --- looking --------------------------------------------------------------------------------------------

    async def test_a_payment_that_is_not_there(self, gateway: PaymentGateway) -> None:
        missing = OperationRefusal.NO_SUCH_PAYMENT
        for payment_ref in ("pi_unknown", "", "pi_\ud800", "pi_\u00e9"):
            assert await gateway.capture(payment_ref, 1, new_key()) == CaptureRefused(missing)
            assert await gateway.void(payment_ref, new_key()) == VoidRefused(missing)
            assert await gateway.refund(payment_ref, 1, new_key()) == RefundRefused(missing)
            assert await gateway.fetch(payment_ref) is None

    async def test_an_order_leads_to_its_newest_payment(self, gateway: PaymentGateway) -> None:
        if not self.finds_at_once:
            pytest.skip("this gateway's search lags behind")
        order_id = new_order()
        assert await gateway.find_by_order(order_id) is None
        seen: list[AuthoriseOutcome] = []
        for token in ("tok_chargeDeclined", "tok_visa"):
            charge = charge_of(await add_card(gateway, token), order_id=order_id)
            outcome = await gateway.authorise(charge, new_key())
            found = await gateway.find_by_order(order_id)
            assert found is not None
            assert found.payment_ref == outcome.payment_ref
            assert found == await gateway.fetch(found.payment_ref)
            seen.append(outcome)
        assert [type(outcome) for outcome in seen] == [Declined, Authorised]
        assert await gateway.find_by_order(new_order()) is None

    async def test_all_refunds_of_a_payment_are_told_oldest_first(self, gateway: PaymentGateway) -> None:
        payment_ref, other_ref = await capture(gateway), await capture(gateway)
        assert await gateway.list_refunds(payment_ref) == ()
        made = [await gateway.refund(payment_ref, part_minor, new_key()) for part_minor in (700, 1, 2_000)]
        await gateway.refund(payment_ref, TOTAL_MINOR, new_key())  # Refused, so no refund.
        assert await gateway.list_refunds(payment_ref) == tuple(made)
        assert (await snapshot(gateway, payment_ref)).refunded_minor == 2_701
        assert await gateway.list_refunds(other_ref) == ()

    async def test_an_unknown_payment_has_no_refunds(self, gateway: PaymentGateway) -> None:
        for payment_ref in ("pi_unknown", "", "pi_\ud800", "pi_\u00e9"):
            assert await gateway.list_refunds(payment_ref) == ()

    async def test_every_payment_is_listed_once_whatever_became_of_it(self, gateway: PaymentGateway) -> None:
        refs = [await authorise(gateway) for _ in range(3)]
        await gateway.capture(refs[1], TOTAL_MINOR, new_key())
        await gateway.refund(refs[1], 1_000, new_key())
        await gateway.void(refs[2], new_key())
        for token in ("tok_threeDSecure2Required", "tok_chargeDeclined"):
            outcome = await gateway.authorise(charge_of(await add_card(gateway, token)), new_key())
            assert isinstance(outcome, ActionRequired | Declined)
            assert outcome.payment_ref is not None
            refs.append(outcome.payment_ref)
        listed = await list_all(gateway, since_ms=0)
        found = {payment.payment_ref: payment for payment in listed}
        assert len(found) == len(listed)
        for payment_ref in refs:
            assert found[payment_ref] == await gateway.fetch(payment_ref)

    async def test_nothing_was_begun_in_the_far_future(self, gateway: PaymentGateway) -> None:
        await authorise(gateway)
        assert await list_all(gateway, since_ms=FAR_FUTURE_MS) == []

    @pytest.mark.parametrize("cursor", ["", "no cursor", "-1", "\u0663", "9" * 400])
    async def test_a_cursor_that_was_not_given_out(self, gateway: PaymentGateway, cursor: str) -> None:
        with pytest.raises(ValueError, match="cursor"):
            await gateway.list_payments(0, cursor)

    # --- keys -----------------------------------------------------------------------------------------------

    async def test_the_same_key_answers_the_same_and_does_nothing_twice(
        self, gateway: PaymentGateway
    ) -> None:
        method_key, authorise_key, capture_key, refund_key = (new_key() for _ in range(4))
        added = await gateway.describe_method(card(), method_key)
        assert isinstance(added, CardAdded)
        assert await gateway.describe_method(card(), method_key) == added
        charge = charge_of(added.gateway_method_ref)
        authorised = await gateway.authorise(charge, authorise_key)
        assert isinstance(authorised, Authorised)
        payment_ref = authorised.payment_ref
        assert await gateway.authorise(charge, authorise_key) == authorised
        for _ in range(2):
            assert await gateway.capture(payment_ref, TOTAL_MINOR, capture_key) == Captured(TOTAL_MINOR)
        refunded = await gateway.refund(payment_ref, 1_000, refund_key)
        assert await gateway.refund(payment_ref, 1_000, refund_key) == refunded
        seen = await snapshot(gateway, payment_ref)
        assert (seen.captured_minor, seen.refunded_minor) == (TOTAL_MINOR, 1_000)
        # What came after does not change what was answered then.
        assert await gateway.authorise(charge, authorise_key) == authorised

    async def test_a_void_is_answered_again_and_so_is_a_refusal(self, gateway: PaymentGateway) -> None:
        payment_ref, void_key, capture_key = await authorise(gateway), new_key(), new_key()
        too_much = await gateway.capture(payment_ref, TOTAL_MINOR + 1, capture_key)
        for _ in range(2):
            assert await gateway.void(payment_ref, void_key) == Voided()
        assert await gateway.capture(payment_ref, TOTAL_MINOR + 1, capture_key) == too_much

    async def test_a_key_belongs_to_its_parameters(self, gateway: PaymentGateway) -> None:
        key, method_ref = new_key(), await add_card(gateway)
        charge = charge_of(method_ref)
        authorised = await gateway.authorise(charge, key)
        assert isinstance(authorised, Authorised)
        changes: list[dict[str, object]] = [
            {"order_id": new_order()},
            {"amount_minor": TOTAL_MINOR + 1},
            {"currency": "EUR"},
            {"method_ref": await add_card(gateway)},
            {"description": "another"},
            {"return_url": "https://another.example/"},
        ]
        assert len(changes) == len(Charge.__struct_fields__)
        for change in changes:
            with pytest.raises(IdempotencyMismatch):
                await gateway.authorise(replace(charge, **change), key)
        with pytest.raises(IdempotencyMismatch):
            await gateway.capture(authorised.payment_ref, TOTAL_MINOR, key)
        with pytest.raises(IdempotencyMismatch):
            await gateway.void(authorised.payment_ref, key)
        assert (await snapshot(gateway, authorised.payment_ref)).state is GatewayState.AUTHORISED

    async def test_a_key_belongs_to_its_amount(self, gateway: PaymentGateway) -> None:
        payment_ref, capture_key, refund_key = await authorise(gateway), new_key(), new_key()
        await gateway.capture(payment_ref, 2_000, capture_key)
        await gateway.refund(payment_ref, 1_000, refund_key)
        with pytest.raises(IdempotencyMismatch):
            await gateway.capture(payment_ref, 2_001, capture_key)
        with pytest.raises(IdempotencyMismatch):
            await gateway.refund(payment_ref, 999, refund_key)
        assert (await snapshot(gateway, payment_ref)).refunded_minor == 1_000

    async def test_the_same_key_at_the_same_time_makes_one_payment(self, gateway: PaymentGateway) -> None:
        charge, key = charge_of(await add_card(gateway)), new_key()
        outcomes: list[AuthoriseOutcome] = []

        async def call() -> None:
            outcomes.append(await gateway.authorise(charge, key))

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(call)
        assert len(outcomes) == 8
        assert len({outcome.payment_ref for outcome in outcomes}) == 1

    # --- bounds ---------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("length", [1, 255])
    async def test_keys_within_bounds(self, gateway: PaymentGateway, length: int) -> None:
        key = (new_key() * 8)[:length] if length > 1 else "k"
        assert isinstance(await gateway.describe_method(card(), key), CardAdded)

    @pytest.mark.parametrize("key", ["", "k" * 256, "caf\u00e9", "a\nb", "a\x00"])
    async def test_keys_out_of_bounds(self, gateway: PaymentGateway, key: str) -> None:
        payment_ref = await authorise(gateway)
        with pytest.raises(ValueError, match="idempotency key"):
            await gateway.describe_method(card(), key)
        with pytest.raises(ValueError, match="idempotency key"):
            await gateway.authorise(charge_of(await add_card(gateway)), key)
        with pytest.raises(ValueError, match="idempotency key"):
            await gateway.capture(payment_ref, 1, key)
        with pytest.raises(ValueError, match="idempotency key"):
            await gateway.void(payment_ref, key)
        with pytest.raises(ValueError, match="idempotency key"):
            await gateway.refund(payment_ref, 1, key)
        assert (await snapshot(gateway, payment_ref)).state is GatewayState.AUTHORISED

    @pytest.mark.parametrize("amount_minor", [0, -1])
    async def test_there_is_no_moving_of_nothing(self, gateway: PaymentGateway, amount_minor: int) -> None:
        payment_ref = await capture(gateway)
        with pytest.raises(ValueError, match="at least 1"):
            await gateway.capture(payment_ref, amount_minor, new_key())
        with pytest.raises(ValueError, match="at least 1"):
            await gateway.refund(payment_ref, amount_minor, new_key())
        assert (await snapshot(gateway, payment_ref)).refunded_minor == 0

    async def test_there_are_no_disputes_of_what_nobody_disputes(self, gateway: PaymentGateway) -> None:
        payment_ref = await capture(gateway)
        assert not (await snapshot(gateway, payment_ref)).is_disputed
        assert await gateway.disputes_of(payment_ref) == ()
        assert await gateway.disputes_of("pi_unknown") == ()
        page = await gateway.list_disputes(FAR_FUTURE_MS)
        assert (page.disputes, page.next_cursor) == ((), None)
        with pytest.raises(ValueError, match=r"cursor|disputes"):
            await gateway.list_disputes(0, "dp_unknown")
