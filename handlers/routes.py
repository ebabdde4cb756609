"""The one table of endpoints: method, path, credential, body, answer, limits, function.

From it alone come the routes, the API document and the tests that walk every endpoint. To add one, write its structs
under ``handlers/wire/``, its function in the file of its part, and its line here.
"""

from __future__ import annotations

from typing import Final

from handlers.endpoint import (
    Endpoint,
)

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    # --- sessions ---
    # --- queue ---
    # --- events ---
    # --- inventory ---
    # --- orders ---
    # --- payment methods ---
    # --- tickets ---
    # --- transfers ---
    # --- the daemon's own face ---
    # --- operator ---
)
