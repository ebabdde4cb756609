"""Settings that are each allowed but cannot stand together."""

from __future__ import annotations

from config.settings import AuthSettings, HoardingSettings, MailSettings, ServerSettings, Settings


def find_conflicts(settings: Settings) -> list[tuple[str, str]]:
    """Pairs of a setting (``group.name``) and what it must be in view of another; empty if all agree."""
    return [
        *_server_conflicts(settings.server),
        *_storage_conflicts(settings),
        *_auth_conflicts(settings.auth),
        *_payment_conflicts(settings),
        *_mail_conflicts(settings.mail),
        *_room_conflicts(settings),
        *_hoarding_conflicts(settings.hoarding),
    ]


def _server_conflicts(server: ServerSettings) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if server.tls_certificate_file and not server.tls_key_file:
        found.append(("server.tls_key_file", "must be set where server.tls_certificate_file is"))
    if server.tls_key_file and not server.tls_certificate_file:
        found.append(("server.tls_certificate_file", "must be set where server.tls_key_file is"))
    # Port 0 is a free one, another for each.
    if server.operator_bind == server.bind and not server.bind.endswith(":0"):
        found.append(("server.operator_bind", "must be another address than server.bind"))
    return found


def _storage_conflicts(settings: Settings) -> list[tuple[str, str]]:
    storage = settings.storage
    found: list[tuple[str, str]] = []
    if storage.batch_max > storage.queue_max:
        found.append(
            ("storage.batch_max", f"must be at most storage.queue_max, which is {storage.queue_max}")
        )
    if storage.min_free_bytes >= storage.map_size_bytes:
        reason = f"must be less than storage.map_size_bytes, which is {storage.map_size_bytes}"
        found.append(("storage.min_free_bytes", reason))
    return found


def _auth_conflicts(auth: AuthSettings) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    file = auth.user_jwks_file or auth.user_key_file
    if auth.user_jwks_file and auth.user_key_file:
        found.append(
            ("auth.user_key_file", "must be empty where auth.user_jwks_file is set: keys come from one file")
        )
    for name, value in (("user_issuer", auth.user_issuer), ("user_audience", auth.user_audience)):
        if file and not value:
            found.append((f"auth.{name}", "must be set where user tokens are checked with keys of a file"))
        if value and not file:
            found.append((f"auth.{name}", "must be empty without auth.user_jwks_file or auth.user_key_file"))
    return found


def _payment_conflicts(settings: Settings) -> list[tuple[str, str]]:
    payments = settings.payments
    if payments.gateway == "stripe" and not payments.stripe_api_key:
        return [("payments.stripe_api_key", 'must be set where payments.gateway is "stripe"')]
    return []


def _mail_conflicts(mail: MailSettings) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if mail.smtp_username and not mail.smtp_host:
        found.append(("mail.smtp_username", "must be empty without mail.smtp_host"))
    if mail.smtp_password and not mail.smtp_username:
        found.append(("mail.smtp_password", "must be empty without mail.smtp_username"))
    return found


def _room_conflicts(settings: Settings) -> list[tuple[str, str]]:
    rooms = settings.rooms
    limits = settings.rate_limits
    found: list[tuple[str, str]] = []
    if rooms.poll_interval_max_seconds < rooms.poll_interval_seconds:
        reason = f"must be at least rooms.poll_interval_seconds, which is {rooms.poll_interval_seconds}"
        found.append(("rooms.poll_interval_max_seconds", reason))
    if limits.enabled and rooms.poll_interval_seconds * limits.queue_status_per_minute < 60:
        # Buyers who come when they are told to would be refused.
        reason = (
            f"must allow a call every rooms.poll_interval_seconds, which is {rooms.poll_interval_seconds}"
        )
        found.append(("rate_limits.queue_status_per_minute", reason))
    return found


def _hoarding_conflicts(hoarding: HoardingSettings) -> list[tuple[str, str]]:
    if hoarding.cooldown_seconds > hoarding.lapse_window_seconds:
        reason = f"must be at most hoarding.lapse_window_seconds, which is {hoarding.lapse_window_seconds}"
        return [("hoarding.cooldown_seconds", reason)]
    return []
