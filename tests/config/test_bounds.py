"""Every bound of every setting: at it, below it, above it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import msgspec
import pytest

from config.settings import GROUPS, Settings, kinds_of, metas_of
from config.values import NotAllowed, allowed_of, read_value

SETTINGS = [
    (group, name, kind) for group, struct in GROUPS.items() for name, kind in kinds_of(struct).items()
]
NAMES = [f"{group}.{name}" for group, name, _ in SETTINGS]

# The bounds once more, written down apart from the code.
RANGES = {
    "server.max_connections": (1, 1_000_000),
    "server.max_connections_per_address": (1, 1_000_000),
    "server.header_timeout_seconds": (1, 3600),
    "server.body_timeout_seconds": (1, 3600),
    "server.idle_timeout_seconds": (1, 3600),
    "server.send_timeout_seconds": (1, 3600),
    "server.shutdown_seconds": (1, 600),
    "server.max_header_bytes": (1024, 1_048_576),
    "server.max_body_bytes": (1024, 16_777_216),
    "server.operator_max_body_bytes": (1024, 268_435_456),
    "storage.map_size_bytes": (16_777_216, 17_592_186_044_416),
    "storage.batch_max": (1, 4096),
    "storage.queue_max": (1, 1_000_000),
    "storage.change_retention_seconds": (60, 31_622_400),
    "storage.min_free_bytes": (0, 1_099_511_627_776),
    "auth.leeway_seconds": (0, 300),
    "auth.access_token_seconds": (60, 2_592_000),
    "auth.queue_token_seconds": (60, 2_592_000),
    "payments.freeze_seconds": (1, 60),
    "payments.timeout_seconds": (1, 300),
    "payments.capture_retry_seconds": (1, 3600),
    "payments.stripe_calls_at_once": (1, 256),
    "payments.stripe_calls_per_second": (1, 10_000),
    "mail.smtp_port": (1, 65535),
    "mail.timeout_seconds": (1, 300),
    "rooms.poll_interval_seconds": (1, 3600),
    "rooms.poll_interval_max_seconds": (1, 3600),
    "realtime.max_message_bytes": (1024, 1_048_576),
    "realtime.ping_seconds": (1, 3600),
    "realtime.pong_timeout_seconds": (1, 3600),
    "realtime.stalled_seconds": (1, 3600),
    "hoarding.max_entries_per_address": (0, 10_000),
    "hoarding.lapsed_holds": (0, 1000),
    "hoarding.lapsed_holds_per_address": (0, 1000),
    "hoarding.lapse_window_seconds": (1, 86_400),
    "hoarding.cooldown_seconds": (0, 86_400),
    "tickets.transfer_seconds": (1, 31_622_400),
    "idempotency.retention_seconds": (60, 2_592_000),
    "rate_limits.search_per_minute": (1, 1_000_000),
    "rate_limits.event_details_per_minute": (1, 1_000_000),
    "rate_limits.seat_map_per_minute": (1, 1_000_000),
    "rate_limits.reserve_per_minute": (1, 1_000_000),
    "rate_limits.join_per_minute": (1, 1_000_000),
    "rate_limits.sessions_per_minute": (1, 1_000_000),
    "rate_limits.orders_per_minute": (1, 1_000_000),
    "rate_limits.tickets_per_minute": (1, 1_000_000),
    "rate_limits.transfers_per_minute": (1, 1_000_000),
    "rate_limits.realtime_per_minute": (1, 1_000_000),
    "rate_limits.realtime_messages_per_minute": (1, 1_000_000),
    "rate_limits.webhooks_per_minute": (1, 1_000_000),
    "rate_limits.operator_per_minute": (1, 1_000_000),
    "rate_limits.box_office_per_minute": (1, 1_000_000),
    "rate_limits.other_per_minute": (1, 1_000_000),
    "rate_limits.token_per_hour": (1, 1_000_000),
    "rate_limits.queue_status_per_minute": (1, 6000),
    "rate_limits.queue_status_burst": (1, 60),
    "rate_limits.max_callers": (1000, 10_000_000),
}


def kind_of(name: str) -> object:
    group, _, short = name.partition(".")
    return kinds_of(GROUPS[group])[short]


def allows(name: str, value: object, *, from_text: bool = False) -> bool:
    try:
        read_value(kind_of(name), value, from_text=from_text)
    except NotAllowed:
        return False
    return True


def test_every_number_has_its_range_here() -> None:
    default = Settings()
    numbers = {
        f"{group}.{name}"
        for group, name, _ in SETTINGS
        if type(getattr(getattr(default, group), name)) is int
    }
    assert numbers == set(RANGES)


@pytest.mark.parametrize("name", RANGES)
def test_a_number_is_allowed_at_its_bounds_and_refused_beyond(name: str) -> None:
    lowest, highest = RANGES[name]
    assert allows(name, lowest)
    assert allows(name, highest)
    assert allows(name, str(highest), from_text=True)
    assert not allows(name, lowest - 1)
    assert not allows(name, highest + 1)
    assert not allows(name, str(lowest - 1), from_text=True)
    assert str(lowest) in allowed_of(kind_of(name))
    assert str(highest) in allowed_of(kind_of(name))


def wrong_types() -> Iterator[object]:
    yield from (
        1.5,
        True,
        None,
        "x\ny",
        "\x00",
        b"x",
        {},
        {"a": 1},
        [1],
        [[]],
        2**70,
        float("nan"),
        "y" * 4097,
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_value_of_a_wrong_type_is_refused(name: str) -> None:
    allowed = [value for value in wrong_types() if allows(name, value)]
    switches = {
        "server.commit_header",
        "server.metrics_public",
        "payments.box_office",
        "payments.void_on_dispute",
        "rate_limits.enabled",
        "rooms.slow_on_payment_trouble",
    }
    assert allowed == ([True] if name in switches else [])


@pytest.mark.parametrize(("group", "name", "kind"), SETTINGS, ids=NAMES)
def test_every_default_is_allowed_and_every_setting_says_what_is(group: str, name: str, kind: object) -> None:
    default = getattr(GROUPS[group](), name)
    assert read_value(kind, default, from_text=False) == default
    assert allowed_of(kind)
    assert sum(meta.description is not None for meta in metas_of(kind)) <= 1


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("auth.user_tokens", ["required", "optional"]),
        ("auth.device_binding", ["strict", "present", "off"]),
        ("payments.gateway", ["sandbox", "stripe"]),
        ("mail.smtp_security", ["starttls", "tls", "none"]),
        ("log.level", ["debug", "info", "warning", "error"]),
        ("log.format", ["auto", "json", "text"]),
    ],
)
def test_a_choice_allows_its_values_alone_and_names_them(name: str, values: list[str]) -> None:
    for value in values:
        assert allows(name, value)
        assert f'"{value}"' in allowed_of(kind_of(name))
        assert not allows(name, value.upper())
    assert not allows(name, "")


@pytest.mark.parametrize("text", ["true", "false", "1", "0"])
def test_truth_is_read_from_text(text: str) -> None:
    assert read_value(bool, text, from_text=True) is (text in {"true", "1"})


@pytest.mark.parametrize("text", ["yes", "", "2", "on"])
def test_other_words_are_not_truth(text: str) -> None:
    with pytest.raises(NotAllowed, match="true or false"):
        read_value(bool, text, from_text=True)


def test_algorithms_are_some_each_once() -> None:
    known = ["RS256", "ES256", "EdDSA", "HS256"]
    for count in range(1, 5):
        assert all(
            allows("auth.user_algorithms", list(some)) for some in itertools.permutations(known, count)
        )
    assert not allows("auth.user_algorithms", [])
    assert not allows("auth.user_algorithms", ["RS256", "RS256"])
    assert not allows("auth.user_algorithms", ["none"])
    assert not allows("auth.user_algorithms", "", from_text=True)


def test_lists_are_bounded_and_without_repetition() -> None:
    networks = [f"10.0.{n // 256}.{n % 256}" for n in range(1001)]
    assert allows("server.trusted_proxies", networks[:1000])
    assert not allows("server.trusted_proxies", networks)
    assert not allows("server.trusted_proxies", ["10.0.0.0/8", "10.0.0.0/8"])


def test_a_text_is_at_most_4096_characters() -> None:
    assert allows("storage.data", "d" * 4096)
    assert not allows("storage.data", "d" * 4097)


def test_the_structs_forbid_unknown_fields() -> None:
    for struct in (Settings, *GROUPS.values()):
        with pytest.raises(msgspec.ValidationError, match="unknown field"):
            msgspec.convert({"no_such_setting": 1}, struct)
