"""Settings: read from the environment, checked as a whole, shown without secrets."""

from __future__ import annotations

import os
import re
from dataclasses import fields
from pathlib import Path

import pytest

from cift_core.settings import Settings, SettingsError, load_settings

CHECKOUT = Path(__file__).parents[1]
SECRET = "q3Vd8_xKz1-Rm7TnY5bLw0sHc6JfA2gE"
KEYS = ("GwR9ye6I-2vDyWbkVqpUu1sGRBWN6lIfIW0bVjOc4mY=", "2Gqh3zS8Jc_q0n7rQk0VdQ5lH6cYtq1uX3o9Wm4bLpE=")
GOOD = {
    "CIFT_POSTGRES_URL": "postgresql://cift:pgpass@db:5432/cift",
    "CIFT_QUESTDB_PG_URL": "postgresql://cift:qdbpass@qdb:8812/qdb",
    "CIFT_QUESTDB_HTTP_URL": "http://cift:qdbpass@qdb:9000",
    "CIFT_BROKER_URL": "redis://:brokerpass@broker:6379/0",
    "CIFT_CACHE_URL": "redis://:cachepass@cache:6379/0",
    "CIFT_KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
    "CIFT_DATA_DIR": "/srv/cift",
    "CIFT_SECRET_KEY": SECRET,
    "CIFT_ENCRYPTION_KEYS": f"{KEYS[0]},{KEYS[1]}",
}
DEFAULTS = {
    "CIFT_QUESTDB_IMPORT_DIR": None,
    "CIFT_UPLOAD_DIR": Path("/srv/cift/.uploads"),
    "CIFT_LOG_LEVEL": "info",
    "CIFT_LOG_FORMAT": "json",
    "CIFT_BCRYPT_ROUNDS": 12,
    "CIFT_LEASE_S": 30.0,
    "CIFT_REQUEUE_INTERVAL_S": 10.0,
    "CIFT_QUEUED_TOO_LONG_S": 30.0,
    "CIFT_PROBE_INTERVAL_S": 5.0,
    "CIFT_PROBE_TIMEOUT_S": 2.0,
    "CIFT_CANARY_TIMEOUT_S": 30.0,
    "CIFT_ALERT_AFTER_FAILURES": 3,
    "CIFT_MAX_UPLOAD_BYTES": 268_435_456,
    "CIFT_MAX_UNPACKED_BYTES": 17_179_869_184,
    "CIFT_MAX_BARS_PER_JOB": 20_000_000,
    "CIFT_READ_CACHE_BYTES": 2**30,
    "CIFT_MAX_JOBS_IN_FLIGHT": 16,
    "CIFT_SERIES_KEPT_DAYS": 365,
    "CIFT_REQUESTS_PER_MINUTE": 6_000,
    "CIFT_SUBMITS_PER_MINUTE": 1_200,
    "CIFT_FAILED_LOGINS_PER_MINUTE": 60,
    "CIFT_TRUSTED_PROXIES": 0,
}
URLS = [name for name in GOOD if name.endswith("_URL")]


@pytest.fixture(autouse=True)
def good_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is required is set and right, and nothing else is."""
    for name in [name for name in os.environ if name.startswith("CIFT_")]:
        monkeypatch.delenv(name)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def field(name: str) -> str:
    return name.removeprefix("CIFT_").lower()


def problems() -> dict[str, list[str]]:
    with pytest.raises(SettingsError) as caught:
        load_settings()
    for name, messages in caught.value.problems.items():
        assert f"  {name}: {' '.join(messages)}" in str(caught.value).splitlines()
    return caught.value.problems


def problem(name: str) -> str:
    """The only problem there is, which must be that of `name`."""
    found = problems()
    assert list(found) == [name]
    return " ".join(found[name])


def test_what_is_required_is_read_and_the_rest_has_its_default() -> None:
    settings = load_settings()
    expected: dict[str, object] = {**GOOD, "CIFT_DATA_DIR": Path(GOOD["CIFT_DATA_DIR"])}
    expected["CIFT_ENCRYPTION_KEYS"] = KEYS
    found = {f.name: getattr(settings, f.name) for f in fields(Settings)}
    assert found == {field(name): value for name, value in (expected | DEFAULTS).items()}


def test_every_value_can_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {
        "CIFT_UPLOAD_DIR": "/tmp/uploads",  # noqa: S108  only a name
        "CIFT_QUESTDB_IMPORT_DIR": "/tmp/import",  # noqa: S108  only a name
        "CIFT_LOG_LEVEL": "debug",
        "CIFT_LOG_FORMAT": "console",
        **{name: str(value - 1) for name, value in DEFAULTS.items() if isinstance(value, int | float)},
        "CIFT_TRUSTED_PROXIES": "2",
    }
    assert changed.keys() == DEFAULTS.keys()
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    for name, value in changed.items():
        assert str(getattr(settings, field(name))).removesuffix(".0") == value.removesuffix(".0")


def test_all_errors_are_reported_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CIFT_POSTGRES_URL")
    monkeypatch.setenv("CIFT_QUESTDB_HTTP_URL", "ftp://qdb")
    monkeypatch.setenv("CIFT_DATA_DIR", "data")
    monkeypatch.setenv("CIFT_LEASE_S", "soon")
    monkeypatch.setenv("CIFT_CACHE_URL", GOOD["CIFT_BROKER_URL"])
    monkeypatch.delenv("CIFT_SECRET_KEY")
    monkeypatch.setenv("CIFT_SECRET_KEY_FILE", str(tmp_path / "none"))
    assert set(problems()) == {
        "CIFT_POSTGRES_URL",
        "CIFT_QUESTDB_HTTP_URL",
        "CIFT_DATA_DIR",
        "CIFT_LEASE_S",
        "CIFT_CACHE_URL",
        "CIFT_SECRET_KEY",
    }


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_variable_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(name)
    assert "not set" in problem(name)


@pytest.mark.parametrize("name", GOOD)
def test_an_empty_variable_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")
    problem(name)


@pytest.mark.parametrize("name", URLS)
def test_a_url_of_another_scheme_is_refused_and_the_right_one_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, GOOD[name].replace("://", "s3://", 1))
    right = GOOD[name].split("://", maxsplit=1)[0]
    assert f"{right}://" in problem(name)


@pytest.mark.parametrize("port", ["port", "0", "65536", "-1", "80a"])
def test_a_bad_port_is_refused(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFT_BROKER_URL", f"redis://:hunter2hunter2@broker:{port}/0")
    assert "port" in problem("CIFT_BROKER_URL")


@pytest.mark.parametrize("url", ["postgresql:///cift", "postgresql://cift:pgpass@/cift", "postgresql:cift"])
def test_a_url_without_a_host_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFT_POSTGRES_URL", url)
    assert "no host" in problem("CIFT_POSTGRES_URL")


@pytest.mark.parametrize("password", ["xy/zz", "xy#zz", "xy?zz", "77/zz", "77#zz", "xy@zz", "xy[zz", "℀"])
def test_a_password_that_is_not_encoded_is_refused_and_not_shown(
    password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFT_POSTGRES_URL", f"postgresql://cift:{password}@db:5432/cift")
    shown = problem("CIFT_POSTGRES_URL")
    assert "%2F" in shown
    assert not any(part in shown for part in (password, "xy", "zz", "77"))


@pytest.mark.parametrize(
    "secret",
    ["q3Vd8_xKz1-Rm7TnY5bLw0sHc6JfA2g", "change-me-" + SECRET, "my-secret-key-" + SECRET, "abcdefgh" * 8],
)
def test_a_short_example_or_monotonous_secret_is_refused_and_not_shown(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFT_SECRET_KEY", secret)
    shown = problem("CIFT_SECRET_KEY")
    assert "token_urlsafe" in shown
    assert secret not in shown


@pytest.mark.parametrize(
    ("broker", "cache"),
    [
        ("redis://:a@redis:6379/0", "redis://:a@redis:6379/1"),
        ("redis://redis/0", "redis://redis:6379/0"),
        ("redis://Redis:7000/0", "rediss://user:b@redis:7000/0"),
    ],
)
def test_broker_and_cache_must_be_two_servers(
    broker: str, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFT_BROKER_URL", broker)
    monkeypatch.setenv("CIFT_CACHE_URL", cache)
    assert "another Redis server" in problem("CIFT_CACHE_URL")


def test_two_redis_servers_of_one_host_are_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFT_BROKER_URL", "redis://redis/0")
    monkeypatch.setenv("CIFT_CACHE_URL", "redis://redis:6380/0")
    load_settings()


@pytest.mark.parametrize("name", ["CIFT_DATA_DIR", "CIFT_UPLOAD_DIR"])
def test_a_folder_must_be_absolute(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "data/sample")
    assert "absolute" in problem(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CIFT_BCRYPT_ROUNDS", "3"),
        ("CIFT_BCRYPT_ROUNDS", "21"),
        ("CIFT_BCRYPT_ROUNDS", "12.5"),
        ("CIFT_LEASE_S", "0"),
        ("CIFT_LEASE_S", "nan"),
        ("CIFT_LEASE_S", "inf"),
        ("CIFT_REQUEUE_INTERVAL_S", "0"),
        ("CIFT_QUEUED_TOO_LONG_S", "90000"),
        ("CIFT_PROBE_INTERVAL_S", ""),
        ("CIFT_PROBE_TIMEOUT_S", "3"),
        ("CIFT_MAX_UPLOAD_BYTES", "0"),
        ("CIFT_MAX_UNPACKED_BYTES", "16GB"),
        ("CIFT_MAX_BARS_PER_JOB", "-1"),
        ("CIFT_MAX_JOBS_IN_FLIGHT", "0"),
        ("CIFT_SERIES_KEPT_DAYS", "0"),
        ("CIFT_REQUESTS_PER_MINUTE", "0"),
        ("CIFT_SUBMITS_PER_MINUTE", "0"),
        ("CIFT_FAILED_LOGINS_PER_MINUTE", "0"),
        ("CIFT_TRUSTED_PROXIES", "-1"),
        ("CIFT_LOG_LEVEL", "loud"),
        ("CIFT_LOG_FORMAT", "xml"),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert problem(name)


@pytest.mark.parametrize("name", [*URLS, "CIFT_SECRET_KEY", "CIFT_LEASE_S"])
def test_a_value_may_come_from_a_file(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    value = GOOD.get(name, "17.0")
    file = tmp_path / "value"
    file.write_text(f"{value}\n")
    monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(f"{name}_FILE", str(file))
    assert str(getattr(load_settings(), field(name))) == value


def test_encryption_keys_may_come_from_a_file_a_line_each(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text(f"{KEYS[1]}\n{KEYS[0]}\n")
    monkeypatch.delenv("CIFT_ENCRYPTION_KEYS")
    monkeypatch.setenv("CIFT_ENCRYPTION_KEYS_FILE", str(tmp_path / "keys"))
    assert load_settings().encryption_keys == KEYS[::-1]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (" , ", "one key"),
        (KEYS[0][:-2] + "==", "Key 1"),
        (f"{KEYS[0]},{KEYS[1][:-1]}", "Key 2"),
        (KEYS[0].replace("-", "+"), "Key 1"),
        ("A" * 43 + "=", "Key 1"),
        (f"{KEYS[0]},{KEYS[0]}", "twice"),
    ],
)
def test_a_bad_encryption_key_is_refused_and_not_shown(
    value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFT_ENCRYPTION_KEYS", value)
    shown = problem("CIFT_ENCRYPTION_KEYS")
    assert says in shown
    assert not [part for part in value.split(",") if part.strip() and part in shown]


@pytest.mark.parametrize("kind", ["missing", "folder", "binary"])
@pytest.mark.parametrize("name", ["CIFT_SECRET_KEY", "CIFT_LEASE_S"])
def test_a_file_that_can_not_be_read_is_named(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = {"missing": tmp_path / "none", "folder": tmp_path, "binary": tmp_path / "binary"}[kind]
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(f"{name}_FILE", str(file))
    shown = problem(name)
    assert f"{name}_FILE" in shown
    assert str(file) in shown


def test_a_value_and_its_file_exclude_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    monkeypatch.setenv("CIFT_SECRET_KEY_FILE", str(file))
    assert "Both" in problem("CIFT_SECRET_KEY")


def test_repr_shows_no_password_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFT_POSTGRES_URL", "postgresql://cift:p%40ss%2Fw%3Ard@db/cift?sslmode=require")
    shown = repr(load_settings())
    for secret in (SECRET, *KEYS, "p%40ss", "p@ss", "qdbpass", "brokerpass", "cachepass"):
        assert secret not in shown
    assert "postgresql://cift:***@db/cift?sslmode=require" in shown
    assert "secret_key='***'" in shown
    assert shown == str(load_settings())


def test_settings_can_not_be_changed() -> None:
    with pytest.raises(AttributeError):
        load_settings().lease_s = 1.0  # type: ignore[misc]


def documented() -> tuple[dict[str, str], dict[str, str]]:
    """Names and values in `.env.example`: those that must be set, and the optional ones."""
    text = (CHECKOUT / ".env.example").read_text()
    found = re.findall(r"^(# )?(CIFT_\w+)=(.*)$", text, re.MULTILINE)
    assert len({name for _, name, _ in found}) == len(found)
    required = {name: value for optional, name, value in found if not optional}
    return required, {name: value for optional, name, value in found if optional}


def test_the_example_names_every_setting_and_no_other() -> None:
    required, optional = documented()
    assert required.keys() == GOOD.keys()
    assert {field(name) for name in required | optional} == {f.name for f in fields(Settings)}


def test_the_example_shows_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    required, optional = documented()
    monkeypatch.setenv("CIFT_DATA_DIR", required["CIFT_DATA_DIR"])
    defaults = load_settings()
    for name, value in optional.items():
        monkeypatch.setenv(name, value)
    assert load_settings() == defaults


def test_the_example_does_not_run_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    required, _ = documented()
    for name, value in required.items():
        monkeypatch.setenv(name, value)
    assert {"CIFT_SECRET_KEY", "CIFT_ENCRYPTION_KEYS"} <= problems().keys()
