"""Event files with one fault each, in their hall: sections, rows, seats, seating plans."""

from __future__ import annotations

from typing import Final

from tests.event_file.bad_files import Bad
from tests.event_file.good_files import ROW0, SEAT0, ZONE0, many_seats, numbers, rows, sections
from tests.event_file.samples import FULL, LEAST, SEATED, changed, seat, with_plan, without, zone

BAD_HALLS: Final[list[Bad]] = [
    Bad("no section", changed(FULL, (("sections",), [])), "sections", "must not be empty"),
    Bad("sections null", changed(FULL, (("sections",), None)), "sections", "must be a list, not null"),
    Bad("section a text", changed(FULL, (("sections", 0), "x")), "sections[0]", "must be an object"),
    Bad("too many sections", changed(LEAST, (("sections",), sections(501))), "sections", "at most 500"),
    Bad(
        "section repeated",
        changed(FULL, (("sections", 1, "name"), "Floor")),
        "sections[1].name",
        "first at",
        False,
    ),
    Bad(
        "section id repeated",
        changed(FULL, (("sections", 1, "section_id"), "00000000-0000-4000-8000-0000000000d0")),
        "sections[1].section_id",
        "is repeated",
        False,
    ),
    Bad(
        "no such tier",
        changed(FULL, (("sections", 1, "tier"), "Galery")),
        "sections[1].tier",
        'names no tier: "Galery"; did you mean "Gallery"?',
        False,
    ),
    Bad("no row", changed(FULL, (("sections", 0, "rows"), [])), "sections[0].rows", "must not be empty"),
    Bad("too many rows", changed(LEAST, (ROW0[:3], rows(1001))), "sections[0].rows", "at most 1000 items"),
    Bad(
        "row repeated",
        changed(FULL, ((*ROW0, "row"), "B")),
        "sections[0].rows[1].row",
        'the row "B" is repeated; it stands first at sections[0].rows[0].row',
        False,
    ),
    Bad("row of nothing", changed(FULL, (ROW0, {"row": "C"})), "sections[0].rows[0]", "and has neither"),
    Bad(
        "row of both",
        changed(FULL, (ROW0, {"row": "C", "seats": ["1"], "last": 2})),
        "sections[0].rows[0]",
        "not both",
    ),
    Bad(
        "row without first",
        changed(FULL, (ROW0, {"row": "C", "last": 2})),
        "sections[0].rows[0].first",
        "missing",
    ),
    Bad(
        "row without last",
        changed(FULL, (ROW0, {"row": "C", "first": 2})),
        "sections[0].rows[0].last",
        "missing",
    ),
    Bad(
        "last before first",
        changed(FULL, (ROW0, {"row": "C", "first": 3, "last": 2})),
        "sections[0].rows[0].last",
        "must be at least 3",
        False,
    ),
    Bad(
        "negative first",
        changed(FULL, (ROW0, {"row": "C", "first": -1, "last": 2})),
        "sections[0].rows[0].first",
        "0 to",
    ),
    Bad(
        "last too far",
        changed(FULL, (ROW0, {"row": "C", "first": 1_000_000, "last": 1_000_001})),
        "sections[0].rows[0].last",
        "must be 0 to 1000000",
    ),
    Bad("no seat", changed(FULL, ((*ROW0, "seats"), [])), "sections[0].rows[0].seats", "must not be empty"),
    Bad(
        "counted row too long",
        changed(LEAST, (ROW0, {"row": "A", "first": 0, "last": 1000})),
        "sections[0].rows[0]",
        "at most 1000 seats, not 1001",
        False,
    ),
    Bad(
        "listed row too long",
        changed(LEAST, (ROW0, {"row": "A", "seats": numbers(1001)})),
        "sections[0].rows[0].seats",
        "at most 1000 items",
    ),
    Bad(
        "seat repeated",
        changed(FULL, ((*ROW0, "seats", 2), "1")),
        "sections[0].rows[0].seats[2]",
        'the seat "1" is repeated; it stands first at sections[0].rows[0].seats[0]',
    ),
    Bad(
        "too many seats",
        changed(LEAST, (("sections",), many_seats(11))),
        "sections[1].rows[10]",
        "more than 200000 seats in all",
        False,
    ),
    Bad(
        "row text too long",
        changed(
            LEAST, (ROW0, {"row": "A", "seats": [*(f"{n:04}" + "ä" * 46 for n in range(341)), "x" * 33]})
        ),
        "sections[0].rows[0]",
        "32769 bytes in all; at most 32768",
        False,
    ),
    # --- seating plans ---
    Bad(
        "plan null", changed(SEATED, (("seating_plan",), None)), "seating_plan", "must be an object, not null"
    ),
    Bad("no zones", without(SEATED, (*ZONE0[:2],)), "seating_plan.zones", "is missing"),
    Bad("zones a text", changed(SEATED, (ZONE0[:2], "x")), "seating_plan.zones", "must be a list"),
    Bad("nothing to sell", with_plan([]), "seating_plan.zones", "have no seats to sell", False),
    Bad(
        "nothing in zones",
        with_plan([zone("Z", ("A", []))]),
        "seating_plan.zones",
        "have no seats to sell",
        False,
    ),
    Bad(
        "too many zones",
        with_plan([zone(f"Z{n}", ("A", [seat("1", f"g{n}")])) for n in range(501)]),
        "seating_plan.zones",
        "at most 500",
    ),
    *(
        Bad(f"plan without {where}", without(SEATED, path), f"seating_plan.zones[0]{where}", "is missing")
        for path, where in (
            ((*ZONE0, "name"), ".name"),
            ((*ZONE0, "position"), ".position"),
            ((*ZONE0, "rows"), ".rows"),
            ((*ZONE0, "rows", 0, "row_number"), ".rows[0].row_number"),
            ((*ZONE0, "rows", 0, "seats"), ".rows[0].seats"),
            ((*ZONE0, "rows", 0, "position", "y"), ".rows[0].position.y"),
            ((*SEAT0, "seat_number"), ".rows[0].seats[0].seat_number"),
            ((*SEAT0, "seat_guid"), ".rows[0].seats[0].seat_guid"),
            ((*SEAT0, "position"), ".rows[0].seats[0].position"),
            ((*SEAT0, "position", "x"), ".rows[0].seats[0].position.x"),
            ((*SEAT0, "category"), ".rows[0].seats[0].category"),
        )
    ),
    *(
        Bad(f"plan {where} {value!r}", changed(SEATED, (path, value)), f"seating_plan.zones[0]{where}", says)
        for path, where, value, says in (
            ((*ZONE0, "name"), ".name", "", "empty"),
            ((*ZONE0, "name"), ".name", " ", "blank"),
            ((*ZONE0, "name"), ".name", "x" * 101, "at most 100"),
            ((*ZONE0, "rows"), ".rows", {}, "must be a list"),
            ((*ZONE0, "rows", 0), ".rows[0]", 5, "must be an object"),
            ((*ZONE0, "rows", 0, "row_number"), ".rows[0].row_number", "", "empty"),
            ((*ZONE0, "rows", 0, "row_number"), ".rows[0].row_number", 1, "text"),
            ((*ZONE0, "rows", 0, "row_number"), ".rows[0].row_number", "x" * 51, "at most 50"),
            ((*ZONE0, "rows", 0, "seats"), ".rows[0].seats", 5, "must be a list"),
            (SEAT0, ".rows[0].seats[0]", None, "must be an object"),
            ((*SEAT0, "seat_number"), ".rows[0].seats[0].seat_number", "", "empty"),
            ((*SEAT0, "seat_number"), ".rows[0].seats[0].seat_number", "\t", "control"),
            ((*SEAT0, "seat_number"), ".rows[0].seats[0].seat_number", None, "not null"),
            ((*SEAT0, "seat_number"), ".rows[0].seats[0].seat_number", "x" * 51, "at most 50"),
            ((*SEAT0, "seat_guid"), ".rows[0].seats[0].seat_guid", "", "empty"),
            ((*SEAT0, "seat_guid"), ".rows[0].seats[0].seat_guid", "x" * 201, "at most 200"),
            ((*SEAT0, "category"), ".rows[0].seats[0].category", "", "empty"),
            ((*SEAT0, "position"), ".rows[0].seats[0].position", [0, 0], "must be an object"),
            ((*SEAT0, "position", "x"), ".rows[0].seats[0].position.x", "1", "must be a number"),
            ((*SEAT0, "position", "x"), ".rows[0].seats[0].position.x", True, "must be a number"),
        )
    ),
    Bad(
        "plan seat repeated in its row",
        changed(SEATED, ((*SEAT0[:-1], 1, "seat_number"), "1")),
        "seating_plan.zones[0].rows[0].seats[1].seat_number",
        '"1" is repeated in row "A" of its zone',
        False,
    ),
    Bad(
        "plan seat repeated over an aisle",
        with_plan([zone("Z", ("A", [seat("1", "a")]), ("B", [seat("1", "b")]), ("A", [seat("1", "c")]))]),
        "seating_plan.zones[0].rows[2].seats[0].seat_number",
        '"1" is repeated in row "A" of its zone',
        False,
    ),
    Bad(
        "plan zone repeated",
        changed(SEATED, (("seating_plan", "zones", 1, "name"), "Hall ")),
        "seating_plan.zones[1].name",
        'the zone name "Hall" is repeated; it stands first at seating_plan.zones[0].name',
        False,
    ),
    Bad(
        "plan category without a tier",
        changed(SEATED, ((*SEAT0, "category"), "Flor"), ((*SEAT0[:-1], 1, "category"), "Flor")),
        "seating_plan.zones[0].rows[0].seats[0].category",
        'there is no tier for the category "Flor", which 2 seats have; did you mean "Floor"?',
        False,
    ),
    Bad(
        "plan guid repeated",
        changed(SEATED, (("seating_plan", "zones", 1, "rows", 0, "seats", 0, "seat_guid"), "g1")),
        "seating_plan.zones[0].rows[0].seats[0].seat_guid",
        '"g1" is repeated at seating_plan.zones[1].rows[0].seats[0]',
        False,
    ),
    Bad(
        "plan position too far",
        changed(
            SEATED,
            ((*SEAT0, "position", "x"), 1e308),
            ((*ZONE0, "rows", 0, "position"), {"x": 1e308, "y": 0}),
            ((*SEAT0[:-1], 1, "position", "x"), -1e308),
        ),
        "seating_plan.zones[0].rows[0].seats[0].position",
        "no finite place",
        False,
    ),
    Bad(
        "plan position too far down",
        changed(
            SEATED,
            ((*SEAT0, "position", "y"), -1e308),
            ((*ZONE0, "rows", 0, "position"), {"x": 0, "y": -1e308}),
        ),
        "seating_plan.zones[0].rows[0].seats[0].position",
        "no finite place",
        False,
    ),
    Bad(
        "plan row text too long",
        with_plan(
            [zone("Z", ("A", [seat(chr(256 + n), f"{n:0198}") for n in range(163)] + [seat("x", "1" * 168)]))]
        ),
        'seating_plan.zones[0].rows, row "A"',
        "32769 bytes in all",
        False,
    ),
    Bad(
        "plan row too long",
        with_plan(
            [zone("Z", *[("A", [seat(f"{r}-{n}", f"g{r}-{n}") for n in range(500 + r)]) for r in range(2)])]
        ),
        "seating_plan.zones[0].rows",
        'row "A" must have at most 1000 seats, not 1001',
        False,
    ),
    Bad(
        "plan with too many rows",
        with_plan([zone("Z", *[(f"R{n}", [seat("1", f"g{n}")]) for n in range(1001)])]),
        "seating_plan.zones[0].rows",
        "at most 1000 different row numbers, not 1001",
        False,
    ),
]
