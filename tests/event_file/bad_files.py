"""Event files with one fault each, outside the hall."""

from __future__ import annotations

from typing import Final, NamedTuple

from tests.event_file.good_files import ROW0, codes, tiers
from tests.event_file.samples import FULL, LEAST, SEATED, changed, without


class Bad(NamedTuple):
    """A file with one fault: where it is told, a part of what is told, and whether a schema can see it."""

    name: str
    document: object
    where: str
    says: str
    schema_sees: bool = True


BAD_FILES: Final[list[Bad]] = [
    Bad("a list", [], "file", "must be an object, not a list"),
    Bad("null", None, "file", "must be an object, not null"),
    *(
        Bad(f"without {'.'.join(map(str, path))}", without(FULL, path), where, "is missing")
        for path, where in (
            (("name",), "name"),
            (("venue",), "venue"),
            (("venue", "name"), "venue.name"),
            (("venue", "city"), "venue.city"),
            (("venue", "country"), "venue.country"),
            (("venue", "timezone"), "venue.timezone"),
            (("date",), "date"),
            (("sale",), "sale"),
            (("sale", "general_sale_start"), "sale.general_sale_start"),
            (("sale", "presale_codes", 1, "code"), "sale.presale_codes[1].code"),
            (("sale", "presale_codes", 1, "max_joins"), "sale.presale_codes[1].max_joins"),
            (("currency",), "currency"),
            (("artist", "name"), "artist.name"),
            (("tiers",), "tiers"),
            (("tiers", 0, "price"), "tiers[0].price"),
            (("sections", 0, "name"), "sections[0].name"),
            (("sections", 0, "tier"), "sections[0].tier"),
            (("sections", 0, "rows"), "sections[0].rows"),
            ((*ROW0, "row"), "sections[0].rows[0].row"),
        )
    ),
    Bad("no hall", without(FULL, ("sections",)), "file", "and has neither"),
    Bad("two halls", changed(FULL, (("seating_plan",), SEATED["seating_plan"])), "file", "not both"),
    *(
        Bad(f"unknown {where}", changed(FULL, (path, 1)), where, says)
        for path, where, says in (
            (("Name",), "Name", 'did you mean "name"?'),
            (("wating_room",), "wating_room", 'did you mean "waiting_room"?'),
            (("odd one",), '["odd one"]', "is not a field of the event file"),
            (("venue", "town"), "venue.town", "is not a field"),
            (("artist", "id"), "artist.id", "is not a field"),
            (("sale", "sale_ends"), "sale.sale_ends", 'did you mean "sale_end"?'),
            (("sale", "presale_codes", 0, "max_join"), "sale.presale_codes[0].max_join", "max_joins"),
            (("tiers", 1, "fee"), "tiers[1].fee", 'did you mean "fees"?'),
            (("sections", 1, "row"), "sections[1].row", 'did you mean "rows"?'),
            ((*ROW0, "seat"), "sections[0].rows[0].seat", 'did you mean "seats"?'),
            (("waiting_room", "max_activ"), "waiting_room.max_activ", 'did you mean "max_active"?'),
        )
    ),
    *(
        Bad(f"{'.'.join(map(str, path))} too long", changed(FULL, (path, "x" * length)), where, "at most")
        for path, length, where in (
            (("name",), 201, "name"),
            (("description",), 10_001, "description"),
            (("category",), 101, "category"),
            (("artist", "name"), 201, "artist.name"),
            (("venue", "name"), 201, "venue.name"),
            (("venue", "city"), 101, "venue.city"),
            (("venue", "state"), 101, "venue.state"),
            (("venue", "country"), 61, "venue.country"),
            (("sections", 0, "name"), 101, "sections[0].name"),
            ((*ROW0, "row"), 51, "sections[0].rows[0].row"),
            ((*ROW0, "seats", 1), 51, "sections[0].rows[0].seats[1]"),
        )
    ),
    Bad(
        "tier name too long",
        changed(LEAST, (("tiers",), [*tiers(1), {"name": "x" * 101, "price": "1"}])),
        "tiers[1].name",
        "at most 100 characters long, not 101",
    ),
    Bad("name empty", changed(FULL, (("name",), "")), "name", "must not be empty"),
    Bad("name blank", changed(FULL, (("name",), " ")), "name", "white space"),
    Bad("name with a line end", changed(FULL, (("name",), "a\n")), "name", "control characters"),
    Bad("name with NUL", changed(FULL, (("name",), "a\0b")), "name", 'control characters: "a\\u0000b"'),
    Bad("name with C1", changed(FULL, (("name",), "a\x85b")), "name", "control characters"),
    Bad("name with a surrogate", changed(FULL, (("name",), "a\ud800")), "name", "surrogate", False),
    Bad("name begins with a blank", changed(FULL, (("name",), " a")), "name", "white space"),
    Bad("name ends with a wide blank", changed(FULL, (("name",), "a\u3000")), "name", "white space"),
    Bad("name a number", changed(FULL, (("name",), 5)), "name", "must be a text, not a number"),
    Bad("description with NUL", changed(FULL, (("description",), "\0")), "description", "control"),
    Bad(
        "description null", changed(FULL, (("description",), None)), "description", "must be a text, not null"
    ),
    Bad("seat empty", changed(FULL, ((*ROW0, "seats", 1), "")), "sections[0].rows[0].seats[1]", "empty"),
    Bad("seat a number", changed(FULL, ((*ROW0, "seats", 1), 2)), "sections[0].rows[0].seats[1]", "text"),
    Bad("artist a text", changed(FULL, (("artist",), "Ada")), "artist", "must be an object, not a text"),
    *(
        Bad(f"image_url {url}", changed(FULL, (("image_url",), url)), "image_url", "http")
        for url in (
            "ftp://e.org",
            "//e.org/x",
            "https://",
            "https:///x",
            "http://e.org/a b",
            "http://é.org",
            "https://e\n",
        )
    ),
    Bad(
        "image_url long", changed(FULL, (("image_url",), "https://e.org/" + "u" * 1987)), "image_url", "2000"
    ),
    Bad("image_url null", changed(FULL, (("image_url",), None)), "image_url", "must be a text, not null"),
    *(
        Bad(f"event_id {value!r}", changed(FULL, (("event_id",), value)), "event_id", "must be a UUID")
        for value in (
            "",
            "x",
            5,
            "6f1c2a9e3b5d4c7f8a901b2c3d4e5f60",
            "{6f1c2a9e-3b5d-4c7f-8a90-1b2c3d4e5f60}",
        )
    ),
    *(
        Bad(
            f"timezone {value!r}", changed(FULL, (("venue", "timezone"), value)), "venue.timezone", says, sees
        )
        for value, says, sees in (
            ("Mars/Olympus", "name of a time zone", False),
            ("europe/zurich", "name of a time zone", False),
            ("Europe", "name of a time zone", False),
            ("../../etc/passwd", "name of a time zone", False),
            ("", "empty", True),
            ("x" * 65, "at most 64", True),
            (1, "text", True),
        )
    ),
    *(
        Bad(f"date {value!r}", changed(FULL, (("date",), value)), "date", says, sees)
        for value, says, sees in (
            ("2027-08-15", "such as", True),
            ("2027-08-15T19:00:00", "such as", True),
            ("2027-08-15 19:00:00Z", "such as", True),
            ("2027-08-15T19:00Z", "such as", True),
            ("2027-08-15T19:00:00.Z", "such as", True),
            ("2027-08-15T19:00:00.1234567890Z", "such as", True),
            ("2027-08-15T19:00:00+0200", "such as", True),
            ("2027-08-15T19:00:00Z\n", "such as", True),
            ("٢٠٢٧-08-15T19:00:00Z", "such as", True),  # Arabic digits are the point
            (1_800_000_000, "such as", True),
            (None, "such as", True),
            ("2027-02-29T19:00:00Z", "calendar", False),
            ("2027-08-15T24:00:00Z", "calendar", False),
            ("2027-08-15T19:00:60Z", "calendar", False),
            ("0000-01-01T00:00:00Z", "calendar", False),
            ("2027-08-15T19:00:00+24:00", "offset", False),
            ("2027-08-15T19:00:00-01:60", "offset", False),
            ("1969-12-31T23:59:59.999Z", "1970 to 9999", False),
            ("1970-01-01T00:00:00+00:01", "1970 to 9999", False),
            ("9999-12-31T23:59:59-00:01", "1970 to 9999", False),
            ("0001-01-01T00:00:00+23:59", "1970 to 9999", False),
        )
    ),
    Bad(
        "doors late",
        changed(FULL, (("doors_open",), "2027-08-15T19:00:00.001Z")),
        "doors_open",
        "after date",
        False,
    ),
    *(
        Bad(
            f"sale at {late}",
            changed(LEAST, (("sale", "general_sale_start"), late)),
            "sale.general_sale_start",
            "must be before the event's date",
            False,
        )
        for late in ("2027-08-15T19:00:00Z", "2027-08-15T21:00:00.001+02:00")
    ),
    Bad(
        "presale with the sale",
        changed(FULL, (("sale", "presale_start"), "2026-06-03T10:00:00.250Z")),
        "sale.presale_start",
        "must be before general_sale_start",
        False,
    ),
    Bad(
        "sale ends with its start",
        changed(FULL, (("sale", "sale_end"), "2026-06-03T10:00:00.250Z")),
        "sale.sale_end",
        "must be after general_sale_start",
        False,
    ),
    Bad(
        "lobby after the presale",
        changed(FULL, (("waiting_room", "lobby_opens"), "2026-06-01T10:00:00.001Z")),
        "waiting_room.lobby_opens",
        "must not be after presale_start",
        False,
    ),
    Bad(
        "lobby after the sale",
        changed(LEAST, (("waiting_room",), {"lobby_opens": "2026-06-03T10:00:00.001Z"})),
        "waiting_room.lobby_opens",
        "must not be after general_sale_start",
        False,
    ),
    *(
        Bad(f"currency {value!r}", changed(FULL, (("currency",), value)), "currency", "ISO 4217")
        for value in ("chf", "XXX", "DEM", "", 756, None)
    ),
    *(
        Bad(f"price {value!r}", changed(FULL, (("tiers", 0, "price"), value)), "tiers[0].price", says, sees)
        for value, says, sees in (
            (500.0, "binary fraction", True),
            (500, "binary fraction", True),
            (None, "such as", True),
            (True, "such as", True),
            ("", "such as", True),
            ("-1.00", "such as", True),
            ("+1.00", "such as", True),
            ("1e3", "such as", True),
            ("NaN", "such as", True),
            ("1,00", "such as", True),
            ("01.00", "such as", True),
            (".50", "such as", True),
            ("5.", "such as", True),
            ("5.00\n", "such as", True),
            ("٥.00", "such as", True),
            ("9" * 5000, "such as", True),
            ("5.00001", "such as", True),
            ("5.001", "at most 2 decimals in CHF", False),
            ("10000000000.01", "must be at most 10000000000.00", False),
        )
    ),
    Bad("fees", changed(FULL, (("tiers", 0, "fees"), "1.234")), "tiers[0].fees", "2 decimals", False),
    Bad("fees null", changed(FULL, (("tiers", 0, "fees"), None)), "tiers[0].fees", "such as"),
    *(
        Bad(f"tax_rate {value!r}", changed(FULL, (("tax_rate",), value)), "tax_rate", says, sees)
        for value, says, sees in (
            (0.09, "binary fraction", True),
            (0, "binary fraction", True),
            (None, "such as", True),
            ("0.0000001", "at most 6 decimals", True),
            ("-0.1", "such as", True),
            ("9%", "such as", True),
            ("2", "such as", True),
            ("1.000001", "at most 1", False),
        )
    ),
    *(
        Bad(
            f"{'.'.join(map(str, path))} {value!r}",
            changed(FULL, (path, value)),
            ".".join(map(str, path)),
            says,
            sees,
        )
        for path, most in (
            (("purchase_limit",), 1000),
            (("hold_seconds",), 86_400),
            (("waiting_room", "capacity"), 10_000_000),
            (("waiting_room", "max_active"), 1_000_000),
            (("waiting_room", "admit_per_minute"), 1_000_000),
            (("waiting_room", "claim_seconds"), 86_400),
            (("waiting_room", "access_seconds"), 86_400),
            (("waiting_room", "max_entries_per_device"), 1000),
        )
        for value, says, sees in (
            (0, f"must be 1 to {most}", True),
            (most + 1, f"must be 1 to {most}", True),
            (10**400, f"must be 1 to {most}", True),
            (True, "a whole number, not true or false", True),
            ("8", "a whole number, not a text", True),
            (None, "a whole number, not null", True),
            (8.0, "a whole number, not a number", False),
        )
    ),
    Bad("flag", changed(FULL, (("refund_fees",), 1)), "refund_fees", "must be true or false, not a number"),
    Bad(
        "enabled",
        changed(FULL, (("waiting_room", "enabled"), "yes")),
        "waiting_room.enabled",
        "true or false",
    ),
    Bad("room null", changed(FULL, (("waiting_room",), None)), "waiting_room", "must be an object, not null"),
    Bad(
        "code 0",
        changed(FULL, (("sale", "presale_codes", 0, "max_joins"), 0)),
        "sale.presale_codes[0].max_joins",
        "1 to",
    ),
    *(
        Bad(
            f"code {code!r}",
            changed(FULL, (("sale", "presale_codes", 0, "code"), code)),
            "sale.presale_codes[0].code",
            "64",
        )
        for code in ("", "a b", "x" * 65, "ä", "a\n", 7)
    ),
    Bad(
        "code repeated",
        changed(FULL, (("sale", "presale_codes", 1, "code"), "FANS")),
        "sale.presale_codes[1].code",
        'the code "FANS" is repeated; it stands first at sale.presale_codes[0].code',
        False,
    ),
    Bad(
        "codes null", changed(FULL, (("sale", "presale_codes"), None)), "sale.presale_codes", "must be a list"
    ),
    Bad(
        "too many codes",
        changed(FULL, (("sale", "presale_codes"), codes(201))),
        "sale.presale_codes",
        "at most 200",
    ),
    Bad("no tier", changed(FULL, (("tiers",), [])), "tiers", "must not be empty"),
    Bad("tiers null", changed(FULL, (("tiers",), None)), "tiers", "must be a list, not null"),
    Bad("tiers with a plan", changed(SEATED, (("tiers",), {})), "tiers", "must be a list, not an object"),
    Bad("tier a text", changed(FULL, (("tiers",), ["Floor"])), "tiers[0]", "must be an object, not a text"),
    Bad("too many tiers", changed(LEAST, (("tiers",), tiers(51))), "tiers", "at most 50 items, not 51"),
    Bad(
        "tier repeated",
        changed(FULL, (("tiers", 1, "name"), "Floor"), (("sections", 1, "tier"), "Floor")),
        "tiers[1].name",
        'the tier name "Floor" is repeated; it stands first at tiers[0].name',
        False,
    ),
    Bad(
        "tier id repeated",
        changed(FULL, (("tiers", 1, "tier_id"), "00000000-0000-4000-8000-0000000000C0")),
        "tiers[1].tier_id",
        "is repeated; it stands first at tiers[0].tier_id",
        False,
    ),
]
