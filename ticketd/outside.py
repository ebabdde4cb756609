"""The ports to the outside world, opened by the settings: the payment gateway, mail, the identity provider."""

from __future__ import annotations

from pathlib import Path

from config.settings import AuthSettings, MailSettings, Settings
from storage.clock import Clock, SteadyClock
from ticketd.app import Outside
from ticketd.credentials.external import ExternalAlgorithm, ExternalIssuer
from ticketd.credentials.key_files import read_jwks_file, read_pem_file, read_shared_secret_file
from ticketd.places import OUTBOX_FOLDER, SANDBOX_FILE
from ticketd.ports.mail import Mailer, Sender
from ticketd.ports.outbox import OutboxMailer
from ticketd.ports.sandbox_payments import SandboxGateway
from ticketd.ports.smtp import SmtpMailer, SmtpSecurity, SmtpServer


class GatewayMissing(Exception):
    """The settings name a payment gateway that this release does not have."""


def open_outside(settings: Settings, data: Path, public_url: str, clock: SteadyClock) -> Outside:
    """Opens what the settings name. Refuses with GatewayMissing, LedgerUnusable, CredentialFileError or OSError."""
    check_gateway(settings)
    sandbox = SandboxGateway(data / SANDBOX_FILE, now_ms=clock.now_ms, public_url=public_url)
    return Outside(
        gateway=sandbox,
        sandbox=sandbox,
        mailer=_open_mailer(settings.mail, data, clock),
        external=open_external_issuer(settings.auth),
        now_ms=clock.machine_ms,
    )


def check_gateway(settings: Settings) -> None:
    """Refuses with GatewayMissing a gateway that the settings may name, and this release does not have."""
    if settings.payments.gateway != "sandbox":
        raise GatewayMissing(
            f"payments.gateway = {settings.payments.gateway!r} is not part of this release; 'sandbox' is"
        )


def open_external_issuer(auth: AuthSettings) -> ExternalIssuer | None:
    """The operator's identity provider; None if none is configured. Refuses with CredentialFileError."""
    if not auth.user_jwks_file and not auth.user_key_file:
        return None
    if auth.user_jwks_file:
        keys = read_jwks_file(Path(auth.user_jwks_file))
    elif "HS256" in auth.user_algorithms:
        keys = read_shared_secret_file(Path(auth.user_key_file))
    else:
        keys = read_pem_file(Path(auth.user_key_file))
    algorithms = [ExternalAlgorithm(name) for name in auth.user_algorithms]
    return ExternalIssuer(auth.user_issuer, auth.user_audience, algorithms, keys)


def _open_mailer(mail: MailSettings, data: Path, clock: Clock) -> Mailer:
    sender = Sender(mail.sender)
    if not mail.smtp_host:
        return OutboxMailer(data / OUTBOX_FOLDER, sender=sender, now_ms=clock.now_ms)
    server = SmtpServer(
        host=mail.smtp_host,
        port=mail.smtp_port,
        security=SmtpSecurity(mail.smtp_security),
        username=mail.smtp_username,
        password=mail.smtp_password,
        timeout_seconds=mail.timeout_seconds,
    )
    return SmtpMailer(server, sender=sender, now_ms=clock.now_ms)
