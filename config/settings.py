"""The settings: one frozen struct a group, and ``Settings`` holding them all.

A group holds nothing but names, types and defaults. The bounds of each type stand in ``config.bounds``; where values
come from is the business of ``config.load``. A struct built by hand is not checked: ``load_settings`` is what checks.
"""

from __future__ import annotations

from typing import Final, get_type_hints

import msgspec
from msgspec import Meta, Struct

from config import bounds
from config.bounds import DAY, GIB, KIB, MIB

HIDDEN: Final = "(hidden)"


class Group(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of settings. Its ``repr`` hides secrets, so that a group in a log or a traceback gives none away."""

    def __rich_repr__(self) -> list[tuple[str, object]]:
        pairs = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return [(name, HIDDEN if value and is_secret(type(self), name) else value) for name, value in pairs]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"


def kinds_of(group: type[Struct]) -> dict[str, object]:
    """The annotated type of each setting of a group, by name, in the order of their declaration."""
    return get_type_hints(group, include_extras=True)


def metas_of(kind: object) -> tuple[Meta, ...]:
    """The bounds that an annotated type carries."""
    return tuple(meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, Meta))


def is_secret(group: type[Struct], name: str) -> bool:
    """Whether a setting's value must never be shown."""
    return any((meta.extra or {}).get("secret", False) for meta in metas_of(kinds_of(group)[name]))


class ServerSettings(Group, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The listeners and what one connection may take."""

    bind: bounds.Bind = "127.0.0.1:8080"
    operator_bind: bounds.OperatorBind = ""
    public_url: bounds.PublicUrl = ""
    cors_origins: bounds.Origins = ()
    trusted_proxies: bounds.Networks = ()
    metrics_public: bool = False
    tls_certificate_file: bounds.KeyFile = ""
    tls_key_file: bounds.KeyFile = ""
    front: bounds.FrontKind = "fast"
    commit_header: bool = False
    max_connections: bounds.Connections = 10_000
    max_connections_per_address: bounds.Connections = 1_000
    header_timeout_seconds: bounds.WireSeconds = 5
    body_timeout_seconds: bounds.WireSeconds = 30
    idle_timeout_seconds: bounds.WireSeconds = 60
    send_timeout_seconds: bounds.WireSeconds = 30
    shutdown_seconds: bounds.ShutdownSeconds = 10
    max_header_bytes: bounds.HeaderBytes = 16 * KIB
    max_body_bytes: bounds.BodyBytes = 64 * KIB
    operator_max_body_bytes: bounds.OperatorBodyBytes = 16 * MIB


class StorageSettings(Group, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The data folder and the writer."""

    data: bounds.Folder = "ticketd-data"
    map_size_bytes: bounds.MapBytes = 64 * GIB
    batch_max: bounds.BatchCommands = 512
    queue_max: bounds.QueuedCommands = 20_000
    change_retention_seconds: bounds.ChangeSeconds = DAY
    min_free_bytes: bounds.FreeBytes = 64 * MIB


class AuthSettings(Group, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may act for a buyer, and for how long."""

    user_tokens: bounds.UserTokens = "required"
    device_binding: bounds.DeviceBinding = "strict"
    user_jwks_file: bounds.KeyFile = ""
    user_key_file: bounds.KeyFile = ""
    user_issuer: bounds.Claim = ""
    user_audience: bounds.Claim = ""
    user_algorithms: bounds.UserAlgorithms = ("RS256", "ES256", "EdDSA")
    leeway_seconds: bounds.LeewaySeconds = 5
    access_token_seconds: bounds.TokenSeconds = DAY
    queue_token_seconds: bounds.TokenSeconds = DAY


class PaymentSettings(Group, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The payment gateway and how long it is waited for."""

    gateway: bounds.Gateway = "sandbox"
    box_office: bool = False
    void_on_dispute: bool = False
    freeze_seconds: bounds.FreezeSeconds = 60
    timeout_seconds: bounds.GatewaySeconds = 20
    capture_retry_seconds: bounds.RetrySeconds = 5
    return_url: bounds.ReturnUrl = ""
    stripe_api_key: bounds.Secret = ""
    stripe_webhook_secret: bounds.Secret = ""
    stripe_api_base: bounds.ApiBase = "https://api.stripe.com"
    stripe_calls_at_once: bounds.CallsAtOnce = 20
    stripe_calls_per_second: bounds.CallsPerSecond = 25


class MailSettings(Group, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where mail goes: a server, or one file each in the outbox of the data folder."""

    smtp_host: bounds.SmtpHost = ""
    smtp_port: bounds.Port = 587
    smtp_username: bounds.SmtpUsername = ""
    smtp_password: bounds.Password = ""
    smtp_security: bounds.SmtpSecurity = "starttls"
    sender: bounds.Mailbox = "tickets@localhost"
    timeout_seconds: bounds.GatewaySeconds = 20


class LogSettings(Group, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is written to standard error, and how."""

    level: bounds.LogLevel = "info"
    format: bounds.LogFormat = "auto"


class RoomSettings(Group, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often those in line are asked to come again, and whether fewer are let in while payments fail; what differs
    by event stands in the event itself."""

    poll_interval_seconds: bounds.PollSeconds = 30
    poll_interval_max_seconds: bounds.PollSeconds = 120
    slow_on_payment_trouble: bool = True


class RealtimeSettings(Group, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one WebSocket may take, and how it is told that a client is gone."""

    max_message_bytes: bounds.MessageBytes = 4 * KIB
    ping_seconds: bounds.WireSeconds = 20
    pong_timeout_seconds: bounds.WireSeconds = 20
    stalled_seconds: bounds.WireSeconds = 30


class HoardingSettings(Group, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one buyer, one device or one address may take of an event without paying; 0 turns a limit off."""

    max_entries_per_address: bounds.EntriesPerAddress = 100
    lapsed_holds: bounds.LapsedHolds = 3
    lapsed_holds_per_address: bounds.LapsedHolds = 30
    lapse_window_seconds: bounds.LapseWindowSeconds = 1800
    cooldown_seconds: bounds.CooldownSeconds = 300


class TicketSettings(Group, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tickets after the sale."""

    transfer_seconds: bounds.TransferSeconds = 7 * DAY


class IdempotencySettings(Group, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the outcome of a request is kept for its repetition."""

    retention_seconds: bounds.OutcomeSeconds = DAY


class RateLimitSettings(Group, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many calls each caller may make; messages are those of one WebSocket."""

    enabled: bool = True
    search_per_minute: bounds.RateCalls = 100
    event_details_per_minute: bounds.RateCalls = 200
    seat_map_per_minute: bounds.RateCalls = 50
    reserve_per_minute: bounds.RateCalls = 10
    queue_status_per_minute: bounds.PollCalls = 2
    queue_status_burst: bounds.BurstCalls = 2
    token_per_hour: bounds.RateCalls = 1000
    join_per_minute: bounds.RateCalls = 10
    sessions_per_minute: bounds.RateCalls = 6000
    orders_per_minute: bounds.RateCalls = 60
    tickets_per_minute: bounds.RateCalls = 60
    transfers_per_minute: bounds.RateCalls = 30
    realtime_per_minute: bounds.RateCalls = 20
    realtime_messages_per_minute: bounds.RateMessages = 120
    box_office_per_minute: bounds.RateCalls = 600
    webhooks_per_minute: bounds.RateCalls = 6000
    operator_per_minute: bounds.RateCalls = 6000
    other_per_minute: bounds.RateCalls = 300
    max_callers: bounds.RateCallers = 200_000


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of a daemon."""

    server: ServerSettings = msgspec.field(default_factory=ServerSettings)
    storage: StorageSettings = msgspec.field(default_factory=StorageSettings)
    auth: AuthSettings = msgspec.field(default_factory=AuthSettings)
    payments: PaymentSettings = msgspec.field(default_factory=PaymentSettings)
    mail: MailSettings = msgspec.field(default_factory=MailSettings)
    log: LogSettings = msgspec.field(default_factory=LogSettings)
    rooms: RoomSettings = msgspec.field(default_factory=RoomSettings)
    realtime: RealtimeSettings = msgspec.field(default_factory=RealtimeSettings)
    hoarding: HoardingSettings = msgspec.field(default_factory=HoardingSettings)
    tickets: TicketSettings = msgspec.field(default_factory=TicketSettings)
    idempotency: IdempotencySettings = msgspec.field(default_factory=IdempotencySettings)
    rate_limits: RateLimitSettings = msgspec.field(default_factory=RateLimitSettings)


GROUPS: Final[dict[str, type[Group]]] = get_type_hints(Settings)
"""The struct of each group, by the group's name, in the order of their declaration."""
