"""The tour (``tour.sh``): commands for a shell that buy seats through the API, each on a line of its own, so that they
can be pasted one by one or all at once. They need curl and python3. A test runs it, and the README shows it.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

TOUR_FILE: Final = "tour.sh"


def tour_text(url: str, api_key: str, outbox: str) -> str:
    """The tour for a server at ``url``, with a storefront's key and the folder where its mails lie."""
    text = files(__package__).joinpath(TOUR_FILE).read_text()
    for place, value in (("@URL@", url), ("@KEY@", api_key), ("@OUTBOX@", outbox)):
        text = text.replace(place, value)
    return text.strip()
