"""The ports to the outside world, opened by the settings: the payment gateway, mail, the identity provider."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from config.settings import AuthSettings, MailSettings, PaymentSettings, Settings
from storage.clock import Clock, SteadyClock
from storage.schema.movements import BOX_OFFICE
from ticketd.app import Outside
from ticketd.credentials.external import ExternalAlgorithm, ExternalIssuer
from ticketd.credentials.key_files import read_jwks_file, read_pem_file, read_shared_secret_file
from ticketd.places import OUTBOX_FOLDER, SANDBOX_FILE
from ticketd.ports.box_office import BoxOfficeGateway
from ticketd.ports.mail import Mailer, Sender
from ticketd.ports.outbox import OutboxMailer
from ticketd.ports.sandbox_payments import SandboxGateway
from ticketd.ports.smtp import SmtpMailer, SmtpSecurity, SmtpServer

if TYPE_CHECKING:
    from ticketd.ports.stripe_payments import StripeGateway


def open_outside(settings: Settings, data: Path, public_url: str, clock: SteadyClock) -> Outside:
    """Opens what the settings name. Refuses with LedgerUnusable, CredentialFileError or OSError."""
    gateway = open_gateway(settings, data, public_url, clock)
    sandbox = gateway if isinstance(gateway, SandboxGateway) else None
    return Outside(
        gateway=gateway,
        sandbox=sandbox,
        run_gateway=None if isinstance(gateway, SandboxGateway | BoxOfficeGateway) else gateway.run,
        mailer=_open_mailer(settings.mail, data, clock),
        external=open_external_issuer(settings.auth),
        now_ms=clock.machine_ms,
    )


def open_gateway(
    settings: Settings, data: Path, public_url: str, clock: Clock
) -> BoxOfficeGateway | SandboxGateway | StripeGateway:
    """Opens the payment gateway that the settings name. Refuses with LedgerUnusable."""
    if settings.payments.gateway == "stripe":
        return _open_stripe(settings.payments)
    if settings.payments.gateway == BOX_OFFICE:
        return BoxOfficeGateway()
    return SandboxGateway(data / SANDBOX_FILE, now_ms=clock.now_ms, public_url=public_url)


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


def _open_stripe(payments: PaymentSettings) -> StripeGateway:
    # Its SDK takes most of a second to load, which a daemon that takes no money is spared.
    from ticketd.ports.stripe_calls import StripeAccount  # noqa: PLC0415
    from ticketd.ports.stripe_payments import StripeGateway  # noqa: PLC0415

    return StripeGateway(
        StripeAccount(
            api_key=payments.stripe_api_key,
            api_base=payments.stripe_api_base,
            timeout_seconds=payments.timeout_seconds,
            calls_at_once=payments.stripe_calls_at_once,
            calls_per_second=payments.stripe_calls_per_second,
        )
    )


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
