"""``ticketd config``."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import trustme

from config import Settings, load_settings, render_settings
from tests.cli.conftest import Run


def test_show_is_a_file_of_settings_with_their_sources(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_text('[server]\nbind = "127.0.0.1:99"\n')
    told = run("config", "show", "--config", file, "--data", "here")
    shown = tomllib.loads(told.out)
    assert shown["server"]["bind"] == "127.0.0.1:99"
    assert shown["storage"]["data"] == "here"
    assert f'bind = "127.0.0.1:99"  # {file}:2' in told.out
    assert 'data = "here"  # command line' in told.out
    assert "map_size_bytes = 268435456  # TICKETD_STORAGE_MAP_SIZE_BYTES" in told.out
    assert "retention_seconds = 86400  # default" in told.out


def test_what_is_shown_can_be_loaded_again(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_text(run("config", "show").out)
    again = load_settings(file).settings
    assert again == load_settings(flags={"storage.map_size_bytes": 256 * 1024 * 1024}).settings


def test_show_as_json(run: Run) -> None:
    told = json.loads(run("config", "show", "--json").out)
    expected = render_settings(Settings())
    expected["storage"]["map_size_bytes"] = 256 * 1024 * 1024
    assert told["settings"] == expected
    assert told["sources"]["server.bind"] == "default"


def test_secrets_are_not_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HOST", "mail.example"), ("USERNAME", "tickets"), ("PASSWORD", "swordfish")):
        monkeypatch.setenv(f"TICKETD_MAIL_SMTP_{name}", value)
    for told in (run("config", "show"), run("config", "show", "--json")):
        assert "swordfish" not in told.out
        assert "(hidden)" in told.out


def test_check(run: Run, tmp_path: Path) -> None:
    assert run("config", "check").line == "the settings can be used"
    file = tmp_path / "t.toml"
    file.write_text('[server]\nbnd = "x"\n[room]\n[log]\nlevel = "loud"\n')
    told = run("config", "check", "--config", file)
    assert told.status == 1
    assert [place in told.err for place in (":2", ":3", ":5")] == [True] * 3
    assert "did you mean" in told.err


def test_variables_of_the_command_line_itself_are_no_settings(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKETD_DEBUG", "0")
    monkeypatch.setenv("TICKETD_OPERATOR_KEY", "tk_x")
    assert run("config", "check").status == 0
    monkeypatch.setenv("TICKETD_DEBUGG", "0")
    assert run("config", "check").status == 1


def test_check_as_json(run: Run) -> None:
    assert json.loads(run("config", "check", "--json").out) == {"usable": True}


def test_check_refuses_what_the_daemon_would(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_text('[payments]\ngateway = "stripe"\n')
    told = run("config", "check", "--config", file)
    assert (told.status, told.out) == (1, "")
    assert "payments.stripe_api_key" in told.err
    file.write_text('[payments]\ngateway = "stripe"\nstripe_api_key = "sk"\n')
    assert run("config", "check", "--config", file).status == 0
    file.write_text('[auth]\nuser_jwks_file = "missing.json"\nuser_issuer = "i"\nuser_audience = "a"\n')
    told = run("config", "check", "--config", file)
    assert told.status == 1
    assert "missing.json" in told.err


def test_check_refuses_a_certificate_that_the_daemon_would(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    issued, other = authority.issue_cert("127.0.0.1"), authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    monkeypatch.setenv("TICKETD_SERVER_TLS_CERTIFICATE_FILE", str(certificate))
    monkeypatch.setenv("TICKETD_SERVER_TLS_KEY_FILE", str(key))
    told = run("config", "check")
    assert (told.status, told.err) == (1, f"ticketd: There is no file {certificate}.\n")
    certificate.write_bytes(issued.cert_chain_pems[0].bytes())
    key.write_bytes(other.private_key_pem.bytes())
    told = run("config", "check")
    assert told.status == 1
    assert told.err == f"ticketd: The key {key} does not belong to the certificate {certificate}.\n"
    key.write_bytes(issued.private_key_pem.bytes())
    assert run("config", "check").line == "the settings can be used"
