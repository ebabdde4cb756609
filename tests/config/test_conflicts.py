"""Settings that are allowed alone and refused together."""

from __future__ import annotations

import pytest

from config import SettingsError, load_settings

KEY = {
    "auth.user_key_file": "idp.pem",
    "auth.user_issuer": "https://idp.example",
    "auth.user_audience": "ticketd",
}


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        ({"server.tls_key_file": "key.pem"}, ["server.tls_certificate_file"]),
        ({"server.tls_certificate_file": "cert.pem"}, ["server.tls_key_file"]),
        (
            {"server.bind": "127.0.0.1:80", "server.operator_bind": "127.0.0.1:80"},
            ["server.operator_bind"],
        ),
        ({"storage.batch_max": 11, "storage.queue_max": 10}, ["storage.batch_max"]),
        ({"storage.min_free_bytes": 2**24, "storage.map_size_bytes": 2**24}, ["storage.min_free_bytes"]),
        (KEY | {"auth.user_jwks_file": "idp.jwks"}, ["auth.user_key_file"]),
        (KEY | {"auth.user_issuer": ""}, ["auth.user_issuer"]),
        ({"auth.user_jwks_file": "idp.jwks"}, ["auth.user_issuer", "auth.user_audience"]),
        ({"auth.user_audience": "ticketd"}, ["auth.user_audience"]),
        ({"payments.gateway": "stripe"}, ["payments.stripe_api_key"]),
        ({"mail.smtp_username": "u"}, ["mail.smtp_username"]),
        ({"mail.smtp_host": "mail.example", "mail.smtp_password": "p"}, ["mail.smtp_password"]),
        ({"rooms.poll_interval_seconds": 121}, ["rooms.poll_interval_max_seconds"]),
        ({"rooms.poll_interval_seconds": 29}, ["rate_limits.queue_status_per_minute"]),
        (
            {"rooms.poll_interval_seconds": 6, "rate_limits.queue_status_per_minute": 9},
            ["rate_limits.queue_status_per_minute"],
        ),
        ({"hoarding.lapse_window_seconds": 299}, ["hoarding.cooldown_seconds"]),
    ],
)
def test_what_cannot_stand_together_is_refused(flags: dict[str, object], names: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(flags=flags)
    assert [problem.name for problem in caught.value.problems] == names


@pytest.mark.parametrize(
    "flags",
    [
        {"server.tls_certificate_file": "cert.pem", "server.tls_key_file": "key.pem"},
        {"server.bind": "127.0.0.1:80", "server.operator_bind": "127.0.0.1:81"},
        {"server.bind": "127.0.0.1:0", "server.operator_bind": "127.0.0.1:0"},
        {"storage.batch_max": 10, "storage.queue_max": 10},
        {"storage.min_free_bytes": 2**24 - 1, "storage.map_size_bytes": 2**24},
        KEY,
        {"payments.gateway": "stripe", "payments.stripe_api_key": "sk_test_1"},
        {"payments.stripe_api_key": "sk_test_1"},
        {"mail.smtp_host": "mail.example", "mail.smtp_username": "u", "mail.smtp_password": "p"},
        {"rooms.poll_interval_seconds": 120},
        {"rooms.poll_interval_seconds": 30},
        {"rooms.poll_interval_seconds": 6, "rate_limits.queue_status_per_minute": 10},
        {"rooms.poll_interval_seconds": 29, "rate_limits.enabled": False},
        {"hoarding.lapse_window_seconds": 300},
    ],
)
def test_what_can_stand_together_is_accepted(flags: dict[str, object]) -> None:
    load_settings(flags=flags)


def test_a_conflict_names_the_source_and_hides_secrets() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(None, {"TICKETD_MAIL_SMTP_PASSWORD": "CANARY"})
    assert str(caught.value) == (
        "mail.smtp_password = (hidden) (TICKETD_MAIL_SMTP_PASSWORD): must be empty without mail.smtp_username"
    )
