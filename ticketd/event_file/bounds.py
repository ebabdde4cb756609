"""Every bound of the event file, once: the parser checks them and the JSON Schema is made from them.

Bounds alone. They keep each stored record of an event within the store's 64 KiB; a test encodes the largest ones.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Range(NamedTuple):
    """The least and the most that is allowed, both included."""

    least: int
    most: int


MAX_FILE_BYTES: Final = 16 * 1024 * 1024

MAX_FAULTS: Final = 200
"""So many faults are told; the rest are counted. A file with more wants another look at what wrote it."""

# --- texts, in characters (code points) ---
MAX_NAME: Final = 200
MAX_DESCRIPTION: Final = 10_000
MAX_CATEGORY: Final = 100
MAX_URL: Final = 2_000
MAX_CITY: Final = 100
MAX_COUNTRY: Final = 60
MAX_TIMEZONE: Final = 64
MAX_PLACE_NAME: Final = 100
"""Of a tier or a section."""
MAX_LABEL: Final = 50
"""Of a row or a seat."""
MAX_GUID: Final = 200
MAX_CODE: Final = 64

# --- lists ---
TIERS: Final = Range(1, 50)
SECTIONS: Final = Range(1, 500)
ROWS: Final = Range(1, 1_000)
SEATS_IN_ROW: Final = Range(1, 1_000)
PRESALE_CODES: Final = Range(0, 200)
MAX_SEATS: Final = 200_000
MAX_ROW_TEXT_BYTES: Final = 32 * 1024
"""The numbers and guids of one row's seats together, in UTF-8."""

# --- money ---
MAX_PRICE_MINOR: Final = 10**12
MAX_TAX_PPM: Final = 1_000_000
TAX_DECIMALS: Final = 6

# --- whole numbers ---
SEAT_NUMBERS: Final = Range(0, 1_000_000)
PURCHASE_LIMIT: Final = Range(1, 1_000)
HOLD_SECONDS: Final = Range(1, 86_400)
MAX_JOINS: Final = Range(1, 10_000_000)
CAPACITY: Final = Range(1, 10_000_000)
MAX_ACTIVE: Final = Range(1, 1_000_000)
ADMIT_PER_MINUTE: Final = Range(1, 1_000_000)
CLAIM_SECONDS: Final = Range(1, 86_400)
ACCESS_SECONDS: Final = Range(1, 86_400)
MAX_ENTRIES_PER_DEVICE: Final = Range(1, 1_000)

# --- times, in milliseconds UTC: the years 1970 to 9999 ---
TIMES_MS: Final = Range(0, 253_402_300_799_999)
