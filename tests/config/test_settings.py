"""Settings hide their secrets, and the shipped files agree with them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import config
from config import MailSettings, PaymentSettings, Settings, load_settings, render_settings
from config.settings import GROUPS, is_secret, kinds_of

SHIPPED = Path(config.__file__).parent
EXAMPLE = SHIPPED / "ticketd.example.toml"
SECRETS = {"payments.stripe_api_key", "payments.stripe_webhook_secret", "mail.smtp_password"}

WITH_SECRETS = Settings(
    payments=PaymentSettings(stripe_api_key="CANARY", stripe_webhook_secret="CANARY"),
    mail=MailSettings(smtp_password="CANARY", smtp_host="mail.example"),
)


def test_the_secrets_are_these() -> None:
    assert {
        f"{group}.{name}"
        for group in GROUPS
        for name in kinds_of(GROUPS[group])
        if is_secret(GROUPS[group], name)
    } == (SECRETS)


def test_secrets_are_hidden_in_repr_and_when_shown() -> None:
    assert "CANARY" not in repr(WITH_SECRETS)
    assert "CANARY" not in f"{WITH_SECRETS.payments} {WITH_SECRETS.mail!r}"
    shown = render_settings(WITH_SECRETS)
    assert "CANARY" not in repr(shown)
    assert shown["payments"]["stripe_api_key"] == "(hidden)"
    assert shown["mail"]["smtp_host"] == "mail.example"


def test_a_secret_that_is_not_set_is_shown_as_empty() -> None:
    assert render_settings(Settings())["payments"]["stripe_api_key"] == ""


def test_all_settings_are_shown_in_order_and_plain() -> None:
    shown = render_settings(Settings())
    assert list(shown) == list(GROUPS)
    assert {group: list(values) for group, values in shown.items()} == {
        group: list(kinds_of(GROUPS[group])) for group in GROUPS
    }
    assert shown["auth"]["user_algorithms"] == ["RS256", "ES256", "EdDSA"]


def test_the_example_has_every_setting_with_its_default() -> None:
    loaded = load_settings(EXAMPLE)
    assert loaded.settings == Settings()
    assert [name for name, source in loaded.sources.items() if not source.startswith(f"{EXAMPLE}:")] == []


def test_the_example_comments_every_setting_on_its_line() -> None:
    lines = [line for line in EXAMPLE.read_text().splitlines() if re.match(r"\w+ =", line)]
    assert len(lines) == sum(len(kinds_of(struct)) for struct in GROUPS.values())
    assert [line for line in lines if not re.search(r"\S +# \S", line)] == []


def test_the_unit_gives_the_daemon_longer_to_stop_than_it_takes() -> None:
    unit = (SHIPPED / "ticketd.service").read_text()
    found = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert found is not None
    assert int(found[1]) > Settings().server.shutdown_seconds


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings().log.level = "debug"  # type: ignore[misc]  # that it is refused is what is tested
