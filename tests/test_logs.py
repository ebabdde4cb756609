"""Logs: what is hidden, whoever wrote it, and the form of a line."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Literal

import pytest
import structlog

from config.settings import LogSettings
from ticketd.credentials.api_keys import API_KEY_RANDOM_BYTES, Scope, new_api_key
from ticketd.logs import MASK, mask_secrets, set_up_logs

API_KEY = new_api_key(b"k" * API_KEY_RANDOM_BYTES, Scope.PUBLIC, "", 0)[0]
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhYmMifQ.c2lnbmF0dXJlLW9mLTMyLWJ5dGVz"
SECRETS = {
    "an API key": API_KEY,
    "a token": JWT,
    "a token without its signature": JWT.rsplit(".", 1)[0] + ".",
    "a bearer": "Bearer abcdefgh12345678",
    "a lower case bearer": "bearer abcdefgh12345678",
    "a card token": "tok_visa_4242",
    "an American card number with spaces": "3782 822463 10005",
    "another card token": "tok_chargeDeclinedInsufficientFunds",
    "a payment method": "pm_1Mq2Abcdef",
    "a secret key of a gateway": "sk_test_51Habcdefgh",
    "a webhook's secret": "whsec_abcdefgh1234",
    "a payment intent's secret": "pi_3Mtw_secret_YrKJUKribcBjcG8HVhfZluoGH",
    "a card number": "4242424242424242",
    "a card number with spaces": "4242 4242 4242 4242",
    "a card number with dashes": "4242-4242-4242-4242",
    "an American card number": "378282246310005",
    "a ticket's code": "TKD1:" + "A" * 60,
}


Lines = Callable[[], str]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """Reads what was written to standard error. The logs of the process are put back afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("ticketd")
    handlers, level, our_level = root.handlers, root.level, ours.level
    yield lambda: capsys.readouterr().err
    root.handlers = handlers
    root.setLevel(level)
    ours.setLevel(our_level)
    structlog.reset_defaults()


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_a_secret_is_hidden_wherever_it_stands(secret: str) -> None:
    for text in (secret, f"x {secret} y", f'{{"a": "{secret}"}}', f"({secret})", f"key={secret};"):
        assert secret not in mask_secrets(text)
        assert MASK in mask_secrets(text)


@pytest.mark.parametrize(
    "link",
    [
        "http://tickets.example/claim?transfer=0190-x&token=abcDEF123456_-",
        "/tickets/0190.pdf?link=abcDEF123456_-",
        "GET /v1/queue/status?queue_token=abcDEF123456_-",
        "claim_token=abcDEF123456_-",
        '{"claim_token": "abcDEF123456_-"}',
        "claim_token='abcDEF123456_-'",
        "CreateSession(token='abcDEF123456_-')",
    ],
)
def test_the_secret_of_a_link_is_hidden(link: str) -> None:
    assert "abcDEF123456_-" not in mask_secrets(link)


@pytest.mark.parametrize(
    "text",
    [
        "request 0190f1d2-5a6b-7c8d-9e0f-a1b2c3d4e5f6 took 12.34 ms",
        "2026-11-22T20:03:44.517893Z",
        "order 01a204e0-4733-750b-9b1d-11423dfe6715: 186000 minor units of USD",
        "route=/v1/tickets/{ticket_id} status=200",
        "1795378134517",
        "01234567-1234-7123-8123-123456789012",
        "12345678-1234-7123-8123-123456789012 12345678-1234-7123-8123-123456789012",
        'link: "https://tickets.example/x"',
        "barcode 123456789012",
        "auth.user_tokens is 'optional'",
        "the API key tk_ is malformed",
    ],
)
def test_what_is_no_secret_is_left_as_it_is(text: str) -> None:
    assert mask_secrets(text) == text


def test_a_line_of_json_has_its_time_level_and_logger(lines: Lines) -> None:
    set_up_logs(LogSettings(format="json"))
    structlog.get_logger("ticketd.here").warning("it happened", count=3)
    line = json.loads(lines())
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "it happened", "level": "warning", "logger": "ticketd.here", "count": 3}


def test_lines_for_people(lines: Lines) -> None:
    set_up_logs(LogSettings(format="text"))
    structlog.get_logger("ticketd.here").warning("it happened", count=3)
    line = lines()
    assert "it happened" in line
    assert "count=3" in line
    assert "\x1b" not in line


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_secret_gets_through_by_any_way(lines: Lines, form: Literal["json", "text"]) -> None:
    set_up_logs(LogSettings(format=form))
    log, other = structlog.get_logger("ticketd.here"), logging.getLogger("hypercorn.error")
    for secret in SECRETS.values():
        log.warning(secret)
        log.warning("x", anything=secret, nested={"deep": [secret]})
        other.warning("GET /x?y=%s", secret)
        for logger in (log, other):
            try:
                raise ValueError(secret)
            except ValueError:
                logger.exception("failed")
    text = lines()
    assert text.count("failed") == 2 * len(SECRETS)
    assert text.count("Traceback") == 2 * len(SECRETS)
    assert [what for what, secret in SECRETS.items() if secret in text] == []


def test_a_line_of_json_stays_json_with_its_secrets_hidden(lines: Lines) -> None:
    set_up_logs(LogSettings(format="json"))
    log = structlog.get_logger("ticketd.here")
    for secret in SECRETS.values():
        log.warning("x", anything=secret, quoted=f'"{secret}"')
    for line in lines().splitlines():
        assert json.loads(line)["event"] == "x"


def test_libraries_write_in_the_same_form(lines: Lines) -> None:
    set_up_logs(LogSettings(format="json"))
    logging.getLogger("hypercorn.error").warning("a %s", "b")
    line = json.loads(lines())
    assert (line["event"], line["level"], line["logger"]) == ("a b", "warning", "hypercorn.error")


@pytest.mark.parametrize(
    ("level", "ours", "libraries"),
    [("debug", "diwe", "we"), ("info", "iwe", "we"), ("warning", "we", "we"), ("error", "e", "e")],
)
def test_the_level_says_what_is_told(
    lines: Lines, level: Literal["debug", "info", "warning", "error"], ours: str, libraries: str
) -> None:
    set_up_logs(LogSettings(format="json", level=level))
    for log in (structlog.get_logger("ticketd.here"), logging.getLogger("library")):
        log.debug("d")
        log.info("i")
        log.warning("w")
        log.error("e")
    assert "".join(json.loads(line)["event"] for line in lines().splitlines()) == ours + libraries


def test_what_cannot_be_encoded_is_told_all_the_same(lines: Lines) -> None:
    set_up_logs(LogSettings(format="json"))
    structlog.get_logger("here").warning("x", odd=object(), raw=b"\xff", line="a\nb")
    (line,) = lines().splitlines()
    assert json.loads(line)["event"] == "x"
