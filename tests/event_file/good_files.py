"""Event files that are right, many of them at a bound."""

from __future__ import annotations

from typing import Final

from tests.event_file.samples import (
    FULL,
    LEAST,
    SEATED,
    Document,
    JsonPath,
    changed,
    seat,
    with_plan,
    without,
    zone,
)

ROW0: Final[JsonPath] = ("sections", 0, "rows", 0)
SEAT0: Final[JsonPath] = ("seating_plan", "zones", 0, "rows", 0, "seats", 0)
ZONE0: Final[JsonPath] = ("seating_plan", "zones", 0)


def numbers(length: int) -> list[str]:
    """Seat numbers."""
    return [f"{index}" for index in range(length)]


def codes(count: int) -> list[Document]:
    """Presale codes."""
    return [{"code": f"C{index}", "max_joins": 1} for index in range(count)]


def tiers(count: int) -> list[Document]:
    """Tiers, the first of them Floor."""
    return [{"name": "Floor" if index == 0 else f"T{index}", "price": "1"} for index in range(count)]


def sections(count: int) -> list[Document]:
    """Sections of one seat each."""
    one_seat = [{"row": "A", "first": 1, "last": 1}]
    return [{"name": f"S{index}", "tier": "Floor", "rows": one_seat} for index in range(count)]


def rows(count: int) -> list[Document]:
    """Rows of one seat each."""
    return [{"row": f"R{index}", "first": 1, "last": 1} for index in range(count)]


def many_seats(rows_of_last: int) -> list[Document]:
    """Sections of 199,000 seats and ``rows_of_last`` rows of 100."""
    full = [{"row": f"R{index}", "first": 1, "last": 1000} for index in range(199)]
    last = [{"row": f"R{index}", "first": 1, "last": 100} for index in range(rows_of_last)]
    return [{"name": "Big", "tier": "Floor", "rows": full}, {"name": "Last", "tier": "Floor", "rows": last}]


GOOD: Final[dict[str, Document]] = {
    "full": FULL,
    "least": LEAST,
    "seated": SEATED,
    "longest texts": changed(
        FULL,
        (("name",), "n" * 200),
        (("description",), "d" * 10_000),
        (("category",), "c" * 100),
        (("artist", "name"), "a" * 200),
        (("venue", "name"), "v" * 200),
        (("venue", "city"), "ü" * 100),
        (("venue", "state"), "s" * 100),
        (("venue", "country"), "c" * 60),
        (("image_url",), "https://e.org/" + "u" * 1986),
        (("tiers", 1, "name"), "t" * 100),
        (("sections", 1, "tier"), "t" * 100),
        (("sections", 1, "name"), "s" * 100),
        (("sections", 1, "rows", 0, "row"), "r" * 50),
        (("sections", 1, "rows", 0, "seats", 0), "9" * 50),
        (("sale", "presale_codes", 0, "code"), "!" * 64),
    ),
    "empty texts": changed(
        FULL, (("description",), ""), (("category",), ""), (("image_url",), ""), (("venue", "state"), "")
    ),
    "nulls": changed(
        FULL,
        *(
            (path, None)
            for path in (
                ("event_id",),
                ("artist",),
                ("doors_open",),
                ("sale", "presale_start"),
                ("sale", "sale_end"),
                ("refundable_until",),
                ("waiting_room", "lobby_opens"),
                ("venue", "venue_id"),
                ("tiers", 0, "tier_id"),
                ("sections", 0, "section_id"),
            )
        ),
    ),
    "smallest numbers": changed(
        FULL,
        (("purchase_limit",), 1),
        (("hold_seconds",), 1),
        (("tiers", 0, "price"), "0"),
        (("tiers", 0, "fees"), "0.00"),
        (("tax_rate",), "0"),
        (
            ("waiting_room",),
            {
                "capacity": 1,
                "max_active": 1,
                "admit_per_minute": 1,
                "claim_seconds": 1,
                "access_seconds": 1,
                "max_entries_per_device": 1,
            },
        ),
        ((*ROW0[:3], 1), {"row": "B", "first": 0, "last": 0}),
    ),
    "largest numbers": changed(
        FULL,
        (("purchase_limit",), 1000),
        (("hold_seconds",), 86_400),
        (("tiers", 0, "price"), "10000000000.00"),
        (("tax_rate",), "1.000000"),
        (("sale", "presale_codes", 0, "max_joins"), 10_000_000),
        (
            ("waiting_room",),
            {
                "capacity": 10_000_000,
                "max_active": 1_000_000,
                "admit_per_minute": 1_000_000,
                "claim_seconds": 86_400,
                "access_seconds": 86_400,
                "max_entries_per_device": 1000,
            },
        ),
        ((*ROW0[:3], 1), {"row": "B", "first": 999_001, "last": 1_000_000}),
    ),
    "longest row": changed(LEAST, (ROW0, {"row": "A", "first": 1, "last": 1000})),
    "longest list of seats": changed(LEAST, (ROW0, {"row": "A", "seats": numbers(1000)})),
    "most rows": changed(LEAST, (ROW0[:3], rows(1000))),
    "most sections": changed(LEAST, (("sections",), sections(500))),
    "most tiers": changed(LEAST, (("tiers",), tiers(50))),
    "most codes": changed(FULL, (("sale", "presale_codes"), codes(200))),
    "most seats": changed(LEAST, (("sections",), many_seats(10))),
    "longest row text": changed(
        # 341 labels of 96 bytes and one of 32: 32,768 bytes.
        LEAST,
        (ROW0, {"row": "A", "seats": [*(f"{n:04}" + "ä" * 46 for n in range(341)), "x" * 32]}),
    ),
    "sale opens just before the beginning": changed(
        LEAST, (("sale", "general_sale_start"), "2027-08-15T18:59:59.999Z")
    ),
    "doors open with the beginning": changed(FULL, (("doors_open",), "2027-08-15T19:00:00Z")),
    "lobby opens with the presale": changed(FULL, (("waiting_room", "lobby_opens"), "2026-06-01T10:00:00Z")),
    "lobby opens with the sale": changed(
        LEAST,
        (("waiting_room",), {"lobby_opens": "2026-06-03T10:00:00Z"}),
        (("artist",), {"name": "Ada Reed"}),
    ),
    "plan with what only a drawing needs": changed(
        SEATED,
        (("seating_plan", "size"), {"width": 9, "height": 9}),
        ((*ZONE0, "areas"), [{"shape": "circle"}]),
        ((*ZONE0, "zone_id"), "z"),
        ((*SEAT0, "uuid"), "not looked at"),
        (("seating_plan", "zones", 1, "rows", 0, "row_number_position"), "both"),
    ),
    "plan with nothing in places": with_plan(
        [
            zone("Hall", ("A", [seat("1", "g")]), ("", [])),
            {"position": {"x": 0, "y": 0}, "rows": []},
            {"name": "", "position": {"x": 0, "y": 0}, "rows": [{"seats": []}]},
        ]
    ),
    "plan with blanks around": with_plan(
        [zone(" Hall ", (" A\u00a0", [seat(" 1 ", " g ", category="Floor ")]))]
    ),
    "plan row without a position": without(SEATED, (*ZONE0, "rows", 0, "position")),
    "plan with the longest texts": with_plan([zone("z" * 100, ("r" * 50, [seat("s" * 50, "g" * 200)]))]),
    "plan with most rows": with_plan([zone("Z", *[(f"R{n}", [seat("1", f"g{n}")]) for n in range(1000)])]),
    "plan with the longest row text": with_plan(
        # 163 seats of 2 and 198 bytes, one of 1 and 167: 32,768 bytes.
        [zone("Z", ("A", [seat(chr(256 + n), f"{n:0198}") for n in range(163)] + [seat("x", "1" * 167)]))]
    ),
    "plan with the longest row": with_plan([zone("Z", ("A", [seat(str(n), f"g{n}") for n in range(1000)]))]),
}
