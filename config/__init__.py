"""Settings: one typed struct a group, every bound in one place, and how they are read.

What a setting does belongs to whoever uses it; here stand its name, type, default and limits. Nothing of the rest of
the project is imported.
"""

from __future__ import annotations

from config.load import LoadedSettings, SettingProblem, SettingsError, load_settings
from config.settings import (
    AuthSettings,
    IdempotencySettings,
    LogSettings,
    MailSettings,
    PaymentSettings,
    RoomSettings,
    ServerSettings,
    Settings,
    StorageSettings,
    TicketSettings,
)
from config.values import render_settings

__all__ = [
    "AuthSettings",
    "IdempotencySettings",
    "LoadedSettings",
    "LogSettings",
    "MailSettings",
    "PaymentSettings",
    "RoomSettings",
    "ServerSettings",
    "SettingProblem",
    "Settings",
    "SettingsError",
    "StorageSettings",
    "TicketSettings",
    "load_settings",
    "render_settings",
]
