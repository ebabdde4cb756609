"""Where settings come from, which source wins, and what is said of each that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from config import LoadedSettings, SettingProblem, Settings, SettingsError, load_settings, render_settings


def problems_of(
    text: str | None = None,
    environ: dict[str, str] | None = None,
    flags: dict[str, object] | None = None,
    *,
    folder: Path | None = None,
) -> tuple[SettingProblem, ...]:
    file = None
    if text is not None:
        assert folder is not None
        file = write(folder, text)
    with pytest.raises(SettingsError) as caught:
        load_settings(file, environ, flags)
    assert caught.value.problems
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
    return caught.value.problems


def write(folder: Path, text: str) -> Path:
    file = folder / "ticketd.toml"
    file.write_text(text)
    return file


def load_text(folder: Path, text: str) -> LoadedSettings:
    return load_settings(write(folder, text))


def test_nothing_given_is_the_defaults() -> None:
    loaded = load_settings()
    assert loaded.settings == Settings()
    assert set(loaded.sources.values()) == {"default"}
    assert len(loaded.sources) == sum(len(group) for group in render_settings(Settings()).values())


def test_the_later_source_wins_and_is_named(tmp_path: Path) -> None:
    file = write(
        tmp_path, "[server]\nbind = '[::1]:1'\nmax_connections = 1\n[storage]\nbatch_max = 3 # few\n"
    )
    loaded = load_settings(
        file,
        {"TICKETD_SERVER__MAX_CONNECTIONS": "2", "TICKETD_SERVER_BIND": "a.example:2", "HOME": "/root"},
        {"server.bind": "localhost:3", "storage.data": None},
    )
    assert loaded.settings.server.bind == "localhost:3"
    assert loaded.sources["server.bind"] == "command line"
    assert loaded.settings.server.max_connections == 2
    assert loaded.sources["server.max_connections"] == "TICKETD_SERVER__MAX_CONNECTIONS"
    assert loaded.settings.storage.batch_max == 3
    assert loaded.sources["storage.batch_max"] == f"{file}:5"
    assert loaded.settings.storage.data == "ticketd-data"
    assert loaded.sources["storage.data"] == "default"


def test_variables_are_read_by_the_type_of_their_setting() -> None:
    server = load_settings(
        None,
        {
            "TICKETD_SERVER_METRICS_PUBLIC": "true",
            "TICKETD_SERVER_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
            "TICKETD_SERVER_CORS_ORIGINS": "",
            "TICKETD_SERVER_PUBLIC_URL": "https://tickets.example",
        },
    ).settings.server
    assert server.metrics_public is True
    assert server.trusted_proxies == ("10.0.0.0/8", "::1")
    assert server.cors_origins == ()
    assert server.public_url == "https://tickets.example"


def test_flags_may_have_the_type_of_their_setting() -> None:
    server = load_settings(
        flags={"server.max_connections": 7, "server.cors_origins": ["*"], "server.idle_timeout_seconds": "9"}
    ).settings.server
    assert (server.max_connections, server.cors_origins, server.idle_timeout_seconds) == (7, ("*",), 9)


def test_a_text_in_the_file_is_no_number(tmp_path: Path) -> None:
    (problem,) = problems_of('[server]\n\nmax_connections = "5"', folder=tmp_path)
    assert str(problem) == (
        f'server.max_connections = "5" ({tmp_path}/ticketd.toml:3): '
        "must be a whole number of connections from 1 to 1000000"
    )


def test_all_problems_of_all_sources_are_told_at_once(tmp_path: Path) -> None:
    problems = problems_of(
        "[server]\nbind = 'x'\nbnid = 'x'\n[sever]\n[log]\nlevel = 'loud'",
        {"TICKETD_LOG_FORMAT": "xml"},
        {"storage.batch_max": "many", "server.bind": "127.0.0.1:0"},
        folder=tmp_path,
    )
    assert [(problem.name, problem.source.removeprefix(f"{tmp_path}/")) for problem in problems] == [
        ("server.bind", "ticketd.toml:2"),
        ("server.bnid", "ticketd.toml:3"),
        ("sever", "ticketd.toml:4"),
        ("log.level", "ticketd.toml:6"),
        ("log.format", "TICKETD_LOG_FORMAT"),
        ("storage.batch_max", "command line"),
    ]
    assert problems[1].reason == "there is no such setting; did you mean server.bind?"
    assert problems[2].reason == "there is no such group of settings; did you mean server?"
    assert problems[3].reason == 'must be "debug", "info", "warning" or "error"'


def test_a_group_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (problem,) = problems_of("server = 3", folder=tmp_path)
    assert (
        str(problem) == f"server = 3 ({tmp_path}/ticketd.toml:1): must be a table of settings, under [server]"
    )


def test_a_table_within_a_group_is_refused(tmp_path: Path) -> None:
    (problem,) = problems_of("[server]\n[server.tls]\ncert = 1", folder=tmp_path)
    assert (problem.name, problem.value) == ("server.tls", "{...}")


def test_dotted_keys_and_inline_tables_are_found(tmp_path: Path) -> None:
    problems = problems_of(
        "log = {level = 'x'}\nserver.bind = 'x'\n\"mail\".'smtp_port' = 0", folder=tmp_path
    )
    assert [problem.source[-2:] for problem in problems] == [":1", ":2", ":3"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[server\n", "is not TOML: "),
        (b"a = 1\na = 2\n", "is not TOML: "),
        (b"[server]\n# \xff\n", "is not UTF-8 text: byte 11 cannot be read"),
        (b"a = " + b"[" * 100_000, "is not TOML: "),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "ticketd.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    assert str(caught.value).startswith(f"{file}: {reason}")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path / "none.toml")
    assert str(caught.value) == f"{tmp_path}/none.toml: cannot be read: No such file or directory"


def test_a_folder_instead_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load_settings(tmp_path)


def test_an_unknown_variable_is_refused_with_the_nearest_name() -> None:
    (problem,) = problems_of(environ={"TICKETD_SERVER_BINDD": "127.0.0.1:1"})
    assert str(problem) == (
        'TICKETD_SERVER_BINDD = "127.0.0.1:1" (environment): '
        "there is no such setting; did you mean TICKETD_SERVER_BIND?"
    )


def test_an_unknown_flag_is_refused() -> None:
    assert [problem.name for problem in problems_of(flags={"server.bnd": "x", "colour": "x"})] == [
        "server.bnd",
        "colour",
    ]


def test_two_spellings_of_one_variable_must_agree() -> None:
    same = {"TICKETD_LOG_LEVEL": "debug", "TICKETD_LOG__LEVEL": "debug"}
    assert load_settings(None, same).settings.log.level == "debug"
    (problem,) = problems_of(environ=same | {"TICKETD_LOG__LEVEL": "error"})
    assert problem.name == "log.level"
    assert "must be the same as in TICKETD_LOG" in problem.reason


@pytest.mark.parametrize(
    "variable",
    [
        "TICKETD_SERVICE_HOST",
        "TICKETD_SERVICE_PORT",
        "TICKETD_SERVICE_PORT_HTTP",
        "TICKETD_PORT",
        "TICKETD_PORT_8080_TCP",
        "TICKETD_PORT_8080_TCP_ADDR",
    ],
)
def test_what_kubernetes_sets_for_a_service_of_our_name_is_let_be(variable: str) -> None:
    assert load_settings(None, {variable: "tcp://10.0.0.1:8080"}).settings == Settings()


def test_other_variables_of_our_prefix_are_not_let_be() -> None:
    assert len(problems_of(environ={"TICKETD_SERVICE": "x", "TICKETD_": "x", "TICKETD_PORTS": "1"})) == 3


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("[payments]\nstripe_api_key = 'CANARY 1'", {}),
        ("[payments]\nstripe_api_key = ['CANARY']", {}),
        ("[payments]\nstripe_api_kye = 'CANARY'", {}),
        ("[payment]\nstripe_api_key = 'CANARY'", {}),
        ("[mail]\nsmtp_passwrod = 'CANARY'", {}),
        ("[mail]\npsswd = 'sk_live_CANARY'", {}),
        ("[mail]\nsmtp_password = 'CANARY'", {}),
        ("stripe_api_key = 'CANARY'", {}),
        ("", {"TICKETD_PAYMENTS_STRIPE_API_KEY": "CANARY\n"}),
        ("", {"TICKETD_STRIPE_API_KYE": "CANARY"}),
    ],
)
def test_a_secret_is_never_told_in_a_problem(tmp_path: Path, text: str, environ: dict[str, str]) -> None:
    problems = problems_of(text, environ, folder=tmp_path)
    assert "CANARY" not in repr(problems)
    assert problems[0].value in {"(hidden)", "{...}"}


def test_a_long_or_strange_value_is_told_on_one_line() -> None:
    problems = problems_of(environ={"TICKETD_LOG_LEVEL": "x" * 5000, "TICKETD_LOG_FORMAT": "a\nb\udcff\x1b"})
    assert problems[0].value == '"a\\nb\\udcff\\u001b"'
    assert problems[1].value == '"' + "x" * 99 + "..."
    str(problems).encode()
