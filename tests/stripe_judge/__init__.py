"""The judge: a strict fake of those calls of Stripe's API that the daemon makes, as a process of its own.

It answers over HTTP on loopback, so that it outlives a daemon that is killed, and keeps all that it knows in one SQLite
file, committed before each answer, so that it can be killed too::

    python -m tests.stripe_judge --port 0 --data judge.sqlite

True in it: what Stripe's API reference (https://docs.stripe.com/api), its list of error codes
(https://docs.stripe.com/error-codes) and its test cards (https://docs.stripe.com/testing) say of these calls, and the
stricter reading where they leave a choice. A parameter that it does not know is refused, also where Stripe would know
it: no call of the daemon's goes unexamined. ``/_judge/…`` (``control.py``) is not Stripe's: there tests order faults,
webhooks, disputes and time, and read the ledger that the daemon's own must agree with.

Where Stripe surprises, and so does the judge:

- A card that is always declined (``tok_chargeDeclined``) cannot be attached to a customer either: 402.
  ``tok_chargeCustomerFail`` can, and is declined when charged. The setting ``declines_on_attach`` turns this off.
- An authorisation's rest that a capture leaves, and one that is cancelled or expires, counts in the charge's
  ``amount_refunded`` and is told as ``charge.refunded``, although no money came back.
- ``expired_card`` is an error code that comes without a decline code.
- An unknown id is 404 in the path and 400 in a parameter, both ``resource_missing``.
- What was answered under an idempotency key is answered again, a decline and a status of 500 too; what was refused
  before it was begun (a parameter out of form, 409, 429) is not kept.
- A card that was detached, or used once without a customer, can never be used again.
- Search lags behind; lists do not.

Not modelled: connected accounts, currencies' conversion, fees, payouts, any method but cards, the refund objects that
Stripe makes for released authorisations.
"""
