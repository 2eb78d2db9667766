"""Every setting of every process, read once from the environment and checked as a whole."""

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from environs import Env, EnvValidationError
from marshmallow import ValidationError
from marshmallow.validate import OneOf, Range

SECRET_MIN_CHARS = 32
MAKE_ENCRYPTION_KEY = (
    "python -c 'import base64, secrets; print(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())'"
)
_ENCRYPTION_KEY = re.compile(r"[A-Za-z0-9_-]{43}=")
_EXAMPLE_SECRET = re.compile(r"change.?me|example|secret|password|your.?key|\.\.\.", re.IGNORECASE)
_ENCODED = "in a user or password write / ? # @ : % as %2F %3F %23 %40 %3A %25"
_QUERY_PASSWORD = re.compile(r"((?:^|&)[^=&]*password=)[^&]*", re.IGNORECASE)


class SettingsError(Exception):
    """The environment is unusable; `problems` maps each bad variable to what would be right."""

    def __init__(self, problems: dict[str, list[str]]) -> None:
        self.problems = problems
        lines = [f"  {name}: {' '.join(messages)}" for name, messages in sorted(problems.items())]
        super().__init__("the environment is not usable:\n" + "\n".join(lines))


@dataclass(frozen=True, repr=False)
class Settings:
    """The settings of one process. `repr` shows no secret; the README and `.env.example` describe each."""

    postgres_url: str
    questdb_pg_url: str
    questdb_http_url: str
    questdb_import_dir: Path | None
    broker_url: str
    cache_url: str
    kafka_bootstrap_servers: str
    data_dir: Path
    upload_dir: Path
    secret_key: str
    encryption_keys: tuple[str, ...]
    log_level: str
    log_format: str
    bcrypt_rounds: int
    lease_s: float
    requeue_interval_s: float
    queued_too_long_s: float
    probe_interval_s: float
    probe_timeout_s: float
    canary_timeout_s: float
    alert_after_failures: int
    max_upload_bytes: int
    max_unpacked_bytes: int
    max_bars_per_job: int
    read_cache_bytes: int
    max_jobs_in_flight: int
    series_kept_days: int
    requests_per_minute: int
    submits_per_minute: int
    failed_logins_per_minute: int
    trusted_proxies: int

    def __repr__(self) -> str:
        shown = []
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("secret_key", "encryption_keys"):
                value = "***"
            elif field.name.endswith("_url"):
                value = masked(value)
            shown.append(f"{field.name}={value!r}")
        return f"Settings({', '.join(shown)})"


def masked(url: str) -> str:
    """The URL with its passwords, before the host or in the query, replaced by `***`."""
    parts = urlsplit(url)
    netloc = parts.netloc
    if parts.password is not None:
        netloc = f"{parts.username or ''}:***@{netloc.rpartition('@')[2]}"
    return parts._replace(netloc=netloc, query=_QUERY_PASSWORD.sub(r"\1***", parts.query)).geturl()


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, built at the first call."""
    return load_settings()


def load_settings() -> Settings:
    """Settings from the environment: `NAME`, or what the file that `NAME_FILE` names holds.

    Raises:
        SettingsError: with every bad variable, not only the first.
    """
    env = _Environment()
    values = _read(env)
    problems: dict[str, list[str]] = {}
    try:
        env.seal()
    except EnvValidationError as error:
        found: Any = error.error_messages
        problems = {name: _sentences(messages) for name, messages in found.items()}
    problems |= env.file_problems
    for name, message in _cross_checks(values, set(problems)):
        problems.setdefault(name, []).append(message)
    if problems:
        raise SettingsError(problems)
    values["encryption_keys"] = tuple(_listed(values["encryption_keys"]))
    import_dir = values["questdb_import_dir"]
    values["questdb_import_dir"] = Path(import_dir) if import_dir else None
    values["upload_dir"] = values["upload_dir"] or values["data_dir"] / ".uploads"
    return Settings(**values)


class _Environment(Env):
    """The environment, with `NAME_FILE` in place of `NAME`; what is wrong with a file is kept, not raised."""

    def __init__(self) -> None:
        super().__init__(eager=False)
        self.file_problems: dict[str, list[str]] = {}

    def _get_value(self, env_key: str, default: Any) -> Any:
        path = os.environ.get(f"{env_key}_FILE")
        if not path:
            return super()._get_value(env_key, default)
        if env_key in os.environ:
            self.file_problems[env_key] = [f"Both {env_key} and {env_key}_FILE are set; set one."]
            return default
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError):
            self.file_problems[env_key] = [f"{env_key}_FILE: {path!r} is not a readable text file."]
            return default


def _read(env: Env) -> dict[str, Any]:
    postgres = {"postgresql", "postgres"}
    return {
        "postgres_url": env.str("CIFT_POSTGRES_URL", validate=_url(postgres)),
        "questdb_pg_url": env.str("CIFT_QUESTDB_PG_URL", validate=_url(postgres)),
        "questdb_http_url": env.str("CIFT_QUESTDB_HTTP_URL", validate=_url({"http", "https"})),
        "questdb_import_dir": env.str("CIFT_QUESTDB_IMPORT_DIR", "", validate=_absolute_if_any),
        "broker_url": env.str("CIFT_BROKER_URL", validate=_url({"redis", "rediss"})),
        "cache_url": env.str("CIFT_CACHE_URL", validate=_url({"redis", "rediss"})),
        "kafka_bootstrap_servers": env.str("CIFT_KAFKA_BOOTSTRAP_SERVERS", validate=_addresses),
        "data_dir": env.path("CIFT_DATA_DIR", validate=_absolute),
        "upload_dir": env.path("CIFT_UPLOAD_DIR", None, validate=_absolute),
        "secret_key": env.str("CIFT_SECRET_KEY", validate=_secret),
        "encryption_keys": env.str("CIFT_ENCRYPTION_KEYS", validate=_encryption_keys),
        "log_level": env.str("CIFT_LOG_LEVEL", "info", validate=OneOf(["debug", "info", "warning", "error"])),
        "log_format": env.str("CIFT_LOG_FORMAT", "json", validate=OneOf(["json", "console"])),
        "bcrypt_rounds": env.int("CIFT_BCRYPT_ROUNDS", 12, validate=Range(4, 20)),
        "lease_s": env.float("CIFT_LEASE_S", 30.0, validate=Range(1, 3600)),
        "requeue_interval_s": env.float("CIFT_REQUEUE_INTERVAL_S", 10.0, validate=Range(0.5, 3600)),
        "queued_too_long_s": env.float("CIFT_QUEUED_TOO_LONG_S", 30.0, validate=Range(1, 86_400)),
        "probe_interval_s": env.float("CIFT_PROBE_INTERVAL_S", 5.0, validate=Range(1, 3600)),
        "probe_timeout_s": env.float("CIFT_PROBE_TIMEOUT_S", 2.0, validate=Range(0.1, 2.5)),
        "canary_timeout_s": env.float("CIFT_CANARY_TIMEOUT_S", 30.0, validate=Range(1, 3600)),
        "alert_after_failures": env.int("CIFT_ALERT_AFTER_FAILURES", 3, validate=Range(1, 100)),
        "max_upload_bytes": env.int("CIFT_MAX_UPLOAD_BYTES", 256 * 2**20, validate=Range(1)),
        "max_unpacked_bytes": env.int("CIFT_MAX_UNPACKED_BYTES", 16 * 2**30, validate=Range(1)),
        "max_bars_per_job": env.int("CIFT_MAX_BARS_PER_JOB", 20_000_000, validate=Range(1)),
        "read_cache_bytes": env.int("CIFT_READ_CACHE_BYTES", 2**30, validate=Range(0)),
        "max_jobs_in_flight": env.int("CIFT_MAX_JOBS_IN_FLIGHT", 16, validate=Range(1, 10_000)),
        "series_kept_days": env.int("CIFT_SERIES_KEPT_DAYS", 365, validate=Range(1, 36_500)),
        "requests_per_minute": env.int("CIFT_REQUESTS_PER_MINUTE", 6_000, validate=Range(1)),
        "submits_per_minute": env.int("CIFT_SUBMITS_PER_MINUTE", 1_200, validate=Range(1)),
        "failed_logins_per_minute": env.int("CIFT_FAILED_LOGINS_PER_MINUTE", 60, validate=Range(1)),
        "trusted_proxies": env.int("CIFT_TRUSTED_PROXIES", 0, validate=Range(0, 10)),
    }


def _cross_checks(values: dict[str, Any], bad: set[str]) -> Iterable[tuple[str, str]]:
    if not {"CIFT_BROKER_URL", "CIFT_CACHE_URL"} & bad:
        broker, cache = urlsplit(values["broker_url"]), urlsplit(values["cache_url"])
        if (broker.hostname, broker.port or 6379) == (cache.hostname, cache.port or 6379):
            yield (
                "CIFT_CACHE_URL",
                "Must be another Redis server than CIFT_BROKER_URL: a cache evicts, a broker must not.",
            )


def _url(schemes: set[str]) -> Callable[[str], None]:
    def check(value: str) -> None:
        try:
            parts = urlsplit(value)
            host, port = parts.hostname, parts.port
        except ValueError:
            # the error's own text quotes the part that is wrong, which may be of the password
            raise ValidationError(f"Its host or port can't be read; {_ENCODED}.") from None
        if parts.scheme not in schemes:
            names = " or ".join(f"{scheme}://" for scheme in sorted(schemes))
            raise ValidationError(f"Must start with {names}, got {parts.scheme or 'no scheme'!r}.")
        if not host:
            raise ValidationError("Names no host; the form is scheme://user:password@host:port/name.")
        if port == 0:
            raise ValidationError("Its port must be 1 to 65535.")
        if value.count("@") > 1 or "@" in f"{parts.path}{parts.query}{parts.fragment}":
            raise ValidationError(f"Has an @ beside the one before the host; {_ENCODED}.")

    return check


def _addresses(value: str) -> None:
    for address in _listed(value) or [""]:
        host, _, port = address.rpartition(":")
        if not host or "/" in host or "@" in host or not port.isdecimal() or not 1 <= int(port) <= 65_535:
            raise ValidationError(f"Must be host:port, or several with commas between them, got {address!r}.")


def _absolute(value: Path) -> None:
    if not value.is_absolute():
        raise ValidationError(f"Must be an absolute path, got {str(value)!r}.")


def _absolute_if_any(value: str) -> None:
    if value:
        _absolute(Path(value))


def _secret(value: str) -> None:
    how = "make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'"
    if len(value) < SECRET_MIN_CHARS:
        raise ValidationError(f"Must have at least {SECRET_MIN_CHARS} characters, has {len(value)}; {how}.")
    if _EXAMPLE_SECRET.search(value) or len(set(value)) < 10:
        raise ValidationError(f"Looks like an example; {how}.")


def _encryption_keys(value: str) -> None:
    keys = _listed(value)
    how = f"make one with: {MAKE_ENCRYPTION_KEY}"
    if not keys:
        raise ValidationError(
            f"Must hold one key, or several with commas between them, the newest first; {how}."
        )
    for place, key in enumerate(keys, 1):
        if not _ENCRYPTION_KEY.fullmatch(key) or len(set(key)) < 10:
            raise ValidationError(f"Key {place} is not 32 random bytes in URL-safe base64; {how}.")
    if len(set(keys)) < len(keys):
        raise ValidationError("Holds the same key twice.")


def _listed(value: str) -> list[str]:
    return value.replace(",", " ").split()


def _sentences(messages: Any) -> list[str]:
    return [str(message) for message in (messages if isinstance(messages, list) else [messages])]
