"""The bank's page of a 3-D Secure challenge: ``/3ds/{payment}/{secret}``, whose form posts ``outcome``."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs, urlencode

from tests.stripe_judge.charging import end_challenge
from tests.stripe_judge.intents import intent_behind_page
from tests.stripe_judge.judge import Judge
from tests.stripe_judge.refusals import Refusal
from tests.stripe_judge.wire import Answer, Request

PREFIX: Final = "/3ds/"
_HTML: Final = {"Content-Type": "text/html; charset=utf-8"}
_FORM: Final = (
    b'<!doctype html><title>3-D Secure</title><form method="post">'
    b'<button name="outcome" value="complete">Complete</button>'
    b'<button name="outcome" value="fail">Fail</button></form>'
)


def show_page(judge: Judge, request: Request) -> Answer:
    """The page, or what follows its form: back to the shop, with the payment's name in the address."""
    name, _, secret = request.path.removeprefix(PREFIX).partition("/")
    call = judge.call(name=name)
    try:
        intent = intent_behind_page(call, secret)
    except Refusal as refusal:
        return Answer(refusal.status, str(refusal).encode(), _HTML)
    if request.method == "GET":
        return Answer(200, _FORM, _HTML)
    outcome = parse_qs(request.body.decode("ascii", "replace")).get("outcome")
    if request.method != "POST" or outcome not in (["complete"], ["fail"]):
        return Answer(400, b"outcome is complete or fail", _HTML)
    passed = outcome == ["complete"]
    with judge.store.transaction():
        ended = end_challenge(call, intent, passed=passed)
    judge.stir()
    if intent.return_url is None:
        return Answer(200, b"Done.", _HTML)
    told = {
        "payment_intent": ended.id,
        "payment_intent_client_secret": ended.secret,
        "redirect_status": "succeeded" if passed else "failed",
    }
    sign = "&" if "?" in intent.return_url else "?"
    return Answer(303, b"", _HTML | {"Location": f"{intent.return_url}{sign}{urlencode(told)}"})
