"""Forms are read strictly: each rule at its bound, below and above it."""

from __future__ import annotations

import pytest

from tests.stripe_judge.form import Field, Kind, Range, check_form, parse_form
from tests.stripe_judge.refusals import Refusal

SPEC = {
    "amount": Field(Kind.INTEGER, least=1, most=100),
    "name": Field(),
    "reason": Field(choices=("duplicate", "fraudulent")),
    "confirm": Field(Kind.FLAG),
    "expand": Field(Kind.TEXTS),
    "created": Field(Kind.RANGE),
    "metadata": Field(Kind.METADATA),
    "card": Field(Kind.GROUP, fields={"token": Field(required=True)}),
}


def refusal_of(form: str) -> tuple[object, object]:
    with pytest.raises(Refusal) as refused:
        check_form(SPEC, parse_form(form.encode()))
    assert refused.value.status == 400
    return refused.value.error.get("code"), refused.value.error.get("param")


@pytest.mark.parametrize(
    ("form", "code", "param"),
    [
        ("other=1", "parameter_unknown", "other"),
        ("card[other]=1", "parameter_unknown", "card[other]"),
        ("card[token]=t&card[other]=1", "parameter_unknown", "card[other]"),
        ("created[at]=1", "parameter_unknown", "created[at]"),
        ("[x]=1", "parameter_unknown", "[x]"),
        ("x]=1", "parameter_unknown", "x]"),
        ("amount=", "parameter_invalid_empty", "amount"),
        ("amount=0", "parameter_invalid_integer", "amount"),
        ("amount=-1", "parameter_invalid_integer", "amount"),
        ("amount=101", "parameter_invalid_integer", "amount"),
        ("amount=1.5", "parameter_invalid_integer", "amount"),
        ("amount=1e2", "parameter_invalid_integer", "amount"),
        ("amount=%D9%A1", "parameter_invalid_integer", "amount"),
        ("amount=1%0A", "parameter_invalid_integer", "amount"),
        ("amount[]=1", None, "amount"),
        ("amount[x]=1", None, "amount"),
        ("amount=1&amount=1", None, "amount"),
        ("name=%00", None, "name"),
        ("name=" + "n" * 5001, None, "name"),
        ("reason=other", None, "reason"),
        ("confirm=True", None, "confirm"),
        ("confirm=1", None, "confirm"),
        ("expand=x", None, "expand"),
        ("card=x", None, "card"),
        ("metadata=x", None, "metadata"),
        ("created[gte]=x", "parameter_invalid_integer", "created[gte]"),
        ("name=1&name[x]=1", None, "name[x]"),
        ("name=%FF", None, None),
        ("name", None, None),
        ("n\u00e4me=1", None, None),
    ],
)
def test_what_is_refused(form: str, code: str | None, param: str | None) -> None:
    assert refusal_of(form) == (code, param)


def test_what_is_missing() -> None:
    spec = {"card": Field(Kind.GROUP, required=True, fields={"token": Field(required=True)})}
    for form, param in ((b"", "card"), (b"card[x]=1", "card[x]")):
        with pytest.raises(Refusal) as refused:
            check_form(spec, parse_form(form))
        assert refused.value.error["param"] == param
    assert check_form(spec, parse_form(b"card[token]=tok")).group("card").text("token") == "tok"


@pytest.mark.parametrize("amount", [1, 2, 99, 100])
def test_an_integer_within_its_bounds(amount: int) -> None:
    assert check_form(SPEC, parse_form(f"amount={amount}".encode())).integer("amount") == amount


def test_every_kind_is_read() -> None:
    params = check_form(
        SPEC,
        parse_form(
            b"name=J%C3%BCrgen+K&confirm=true&expand[]=a&expand[1]=b&metadata[order_id]=1&metadata[no]="
            b"&created[gt]=4&created[lte]=9&reason=fraudulent"
        ),
    )
    assert params.text("name") == "J\u00fcrgen K"
    assert params.flag("confirm")
    assert not check_form(SPEC, parse_form(b"confirm=false")).flag("confirm")
    assert params.texts("expand") == ("a", "b")
    assert params.metadata() == {"order_id": "1"}
    assert params.range("created") == Range(5, 9)
    assert check_form(SPEC, parse_form(b"created=7")).range("created") == Range(7, 7)
    assert check_form(SPEC, parse_form(b"created[gte]=4&created[lt]=9")).range("created") == Range(4, 8)


def test_the_bounds_of_metadata() -> None:
    for most, longest_name, longest_value in ((49, 39, 499), (50, 40, 500)):
        form = "&".join(f"metadata[{number}]=v" for number in range(most - 1))
        form += f"&metadata[{'n' * longest_name}]={'v' * longest_value}"
        assert len(check_form(SPEC, parse_form(form.encode())).metadata()) == most
    assert refusal_of("&".join(f"metadata[{number}]=v" for number in range(51))) == (None, "metadata")
    assert refusal_of(f"metadata[{'n' * 41}]=v") == (None, "metadata")
    assert refusal_of(f"metadata[n]={'v' * 501}") == (None, "metadata[n]")
