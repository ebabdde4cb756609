"""The written forms of addresses, origins, networks and paths."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import forms


def check(has_form: Callable[[str], bool], good: list[str], bad: list[str]) -> None:
    assert [text for text in good if not has_form(text)] == []
    assert [text for text in bad if has_form(text)] == []


def test_bind() -> None:
    check(
        forms.is_bind,
        [
            "127.0.0.1:8080",
            "0.0.0.0:0",
            "[::1]:443",
            "[::]:65535",
            "localhost:1",
            "a-b.example.:80",
            "x_y:80",
        ],
        [
            *(
                "",
                "127.0.0.1",
                ":8080",
                "127.0.0.1:",
                "127.0.0.1:65536",
                "127.0.0.1:-1",
                "127.0.0.1:08",
                "1:2:3",
            ),
            *("::1:80", "[::1]", "[localhost]:80", "[127.0.0.1]:80", "[::g]:80", "256.0.0.1:80", "1.2.3:80"),
            *(
                "-a.example:80",
                "a..b:80",
                "a b:80",
                " a:80",
                "a:80\n",
                "a:８０",
                "ä.example:80",
                "http://a:80",
            ),
            *("a" * 64 + ":80", ".".join(["a" * 63] * 4) + ":80", "[::1%eth0\x00]:80"),
        ],
    )
    check(forms.is_bind_or_empty, ["", "[::1]:0"], [" ", "x"])


def test_host() -> None:
    check(
        forms.is_host_or_empty,
        ["", "mail.example", "10.0.0.1", "::1", "smtp"],
        ["a:25", "[::1]", "a/b", "a b", "1.2"],
    )


def test_web_url() -> None:
    check(
        forms.is_web_url,
        ["https://api.stripe.com", "http://127.0.0.1:12111"],
        ["", "https://api.stripe.com/", "https://a@api.stripe.com", "api.stripe.com", "https://a.example?x"],
    )


def test_public_url() -> None:
    check(
        forms.is_public_url_or_empty,
        [
            "",
            "https://tickets.example",
            "http://127.0.0.1:8080",
            "https://[::1]:8443",
            "https://a.example/shop",
        ],
        [
            *(
                "tickets.example",
                "ftp://a",
                "https://",
                "https://a/",
                "https://a?x",
                "https://a#x",
                "https://a?",
            ),
            *(
                "https://u:p@a",
                "https://a:0",
                "https://a:",
                "https://a:99999",
                "https://a b",
                "https://ä",
                "//a",
            ),
            *("https://a\n", "javascript:alert(1)", "https://[::1", "https://a:x"),
        ],
    )


def test_return_url() -> None:
    longest = f"https://a/{'b' * 2038}"
    check(
        forms.is_return_url_or_empty,
        ["", "https://shop.example", "https://shop.example/paid/?lang=de", "http://127.0.0.1:8000/", longest],
        [
            "shop.example",
            "ftp://a",
            "https://u@a/",
            "https://a/#x",
            "https://a b",
            "javascript:x()",
            f"{longest}b",
        ],
    )


def test_origin() -> None:
    check(
        forms.is_origin,
        [
            "*",
            "https://shop.example",
            "http://localhost:3000",
            "https://[::1]:8443",
            "http://a:443",
            "https://a:80",
        ],
        [
            *(
                "",
                "null",
                "shop.example",
                "https://shop.example/",
                "https://Shop.example",
                "HTTPS://a",
                "https://a:443",
            ),
            *(
                "http://a:80",
                "https://*.example",
                "https://a/x",
                "https://a?",
                "https://a#",
                "https://u@a",
                "**",
            ),
        ],
    )


def test_network() -> None:
    check(
        forms.is_network,
        ["10.0.0.0/8", "10.1.2.3", "::1", "fd00::/8", "0.0.0.0/0"],
        ["", "10.0.0.1/8", "10.0.0.0/33", "a", "10.0.0.0/8 ", "10.0.0.0-10.0.0.9"],
    )


def test_mailbox() -> None:
    check(
        forms.is_mailbox,
        ["tickets@localhost", "a.b+c@mail.example"],
        ["", "a", "@a", "a@", "a@b@c", "a b@c", "T <a@b>", "a@b\n", "a..b@c", ".a@b", "ä@b", "a@b c", "a@-b"],
    )


def test_path_line_and_secret() -> None:
    check(forms.is_path, ["d", "/var/lib/ticketd", "a b/ü", "."], ["", "a\x00b", "a\nb", "\udcff"])
    check(forms.is_line_or_empty, ["", "a b", "ü"], ["a\nb", "\x7f", "\udcff"])
    check(forms.is_secret_or_empty, ["", "sk_test_1", "!~"], ["a b", "a\n", "ü", "\x7f"])


@pytest.mark.parametrize("name", [name for name in vars(forms) if name.startswith("is_")])
@given(text=st.text() | st.text(alphabet="a1:/.[]@*%?#h-tps "))
def test_no_text_makes_a_form_fail(name: str, text: str) -> None:
    assert getattr(forms, name)(text) in {True, False}
