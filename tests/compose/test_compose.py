"""docker-compose.yml and its image, held against the specification, the settings and the native stack.

No Docker engine is asked: what only one could show is not tested here.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from cift_core.settings import Settings, load_settings
from cift_web.cli import cift
from deploy.native import kafka, postgres, servers
from deploy.native.apps import API_STOP_TIMEOUT_S, CONSUMER_STOP_TIMEOUT_S, WORKER_STOP_TIMEOUT_S, apps
from deploy.native.environment import CHECKOUT, USUAL_PORTS
from deploy.native.program import Program
from deploy.native.stack import APPS, SERVERS, STORES

TEXT = (CHECKOUT / "docker-compose.yml").read_text()
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = ("migrate", *APPS)
SCHEMA = json.loads(Path(__file__).with_name("compose-spec.json").read_text())
VARIABLE = re.compile(r"\$\$|\$\{(\w+):\?[^}]+\}|(\$)")
SECRETS = {
    "CIFT_POSTGRES_ADMIN_PASSWORD",
    "CIFT_POSTGRES_PASSWORD",
    "CIFT_QUESTDB_PASSWORD",
    "CIFT_BROKER_PASSWORD",
    "CIFT_CACHE_PASSWORD",
    "CIFT_SECRET_KEY",
    "CIFT_ENCRYPTION_KEYS",
    "CIFT_FLOWER_PASSWORD",
}


NATIVE_ENV = {key: f"http://cift:x@127.0.0.1:{number}" for key, number in USUAL_PORTS.items()} | {
    "CIFT_FLOWER_USER": "operator",
    "CIFT_FLOWER_PASSWORD": "x",
}


def program(name: str) -> Program:
    """The process as the native stack's supervisor runs it."""
    (found,) = [one for one in apps(Path("/stack"), NATIVE_ENV) if one.name == name]
    return found


def ours(name: str) -> dict[str, Any]:
    return SERVICES[name]["environment"]


def command(name: str) -> str:
    """The command without the ways to write an option."""
    return " ".join(SERVICES[name]["command"]).replace("=", " ")


def native(name: str) -> str:
    """The native stack's command, as a container has it: its own Python, and other places."""
    words = [word for word in program(name).command if not word.endswith("/python")]
    if words[0].endswith("/cift"):
        words[0] = "cift"
    elif "gunicorn" in words or "celery" in words:
        words.remove("-m")
    else:
        words.insert(0, "python")
    text = " ".join(words).replace("127.0.0.1", "0.0.0.0")  # noqa: S104  inside the container
    return text.replace("/stack/run/beat-schedule", "/var/lib/cift/beat/schedule")


def depends(name: str) -> dict[str, str]:
    return {other: how["condition"] for other, how in SERVICES[name].get("depends_on", {}).items()}


def test_the_file_meets_the_specification() -> None:
    validator = jsonschema_rs.validator_for(SCHEMA)
    assert [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(FILE)] == []
    assert not validator.is_valid(FILE | {"services": {"api": {"imaeg": "x"}}})


def test_every_process_of_the_native_stack_is_a_service() -> None:
    assert set(SERVICES) == {*SERVERS, *APPS, "migrate"}


def test_every_secret_must_be_set_and_nothing_has_a_default() -> None:
    found = list(VARIABLE.finditer(re.sub(r"^\s*#.*$", "", TEXT, flags=re.MULTILINE)))
    assert [match.group() for match in found if match[2]] == []
    assert {match[1] for match in found if match[1]} == SECRETS


def test_what_makes_the_secrets_makes_all_of_them(tmp_path: Path) -> None:
    lines = [line.removeprefix("#") for line in TEXT.splitlines() if line.startswith("#  ")]
    (end,) = [number for number, line in enumerate(lines) if "docker compose up" in line]
    subprocess.run(["sh", "-eu", "-c", "\n".join(lines[:end])], cwd=tmp_path, check=True, timeout=30)
    made = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())
    assert set(made) == SECRETS
    assert min(map(len, made.values())) >= 32
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600


def test_the_settings_of_every_process_are_complete_known_and_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {f"CIFT_{field.name.upper()}" for field in fields(Settings)}
    for name in OURS:
        assert {key for key in ours(name) if key.startswith("CIFT_")} == known, name
    for key, value in ours("api").items():
        monkeypatch.delenv(key, raising=False)
        if value is not None:
            secret = "ZmVybmV0LWtleS1vZi0zMi1yYW5kb20tYnl0ZXMhISE="  # fits each of them
            monkeypatch.setenv(
                key, VARIABLE.sub(secret.replace("=", "%3D") if "://" in value else secret, value)
            )
    settings = load_settings()
    for url, service in (
        (settings.postgres_url, "postgres"),
        (settings.questdb_http_url, "questdb"),
        (settings.broker_url, "redis-broker"),
        (settings.cache_url, "redis-cache"),
    ):
        assert f"@{service}:" in url
    assert settings.kafka_bootstrap_servers == "kafka:9092"


@pytest.mark.parametrize("name", APPS)
def test_a_process_runs_as_in_the_native_stack(name: str) -> None:
    assert command(name) == native(name).replace("=", " ")
    for key, value in program(name).env.items():
        if not key.startswith(("CIFT_", "FLOWER_ADDRESS", "FLOWER_BASIC_AUTH", "PROMETHEUS_")):
            assert ours(name)[key] == value


def test_the_metrics_of_the_api_have_a_folder_that_is_new_at_each_start() -> None:
    folders = [mount.split(":")[0] for mount in SERVICES["api"]["tmpfs"]]
    assert ours("api")["PROMETHEUS_MULTIPROC_DIR"] in folders


def test_migrate_is_a_command() -> None:
    program, *words = SERVICES["migrate"]["command"]
    assert program == "cift"
    assert set(words) <= set(cift.list_commands(None))  # type: ignore[arg-type]


def test_a_worker_has_the_time_to_hand_its_job_back() -> None:
    for name, seconds in (("worker", WORKER_STOP_TIMEOUT_S), ("worker-health", WORKER_STOP_TIMEOUT_S)):
        assert SERVICES[name]["stop_grace_period"] == f"{seconds}s"
    assert SERVICES["api"]["stop_grace_period"] == f"{API_STOP_TIMEOUT_S}s"
    assert SERVICES["consumer"]["stop_grace_period"] == f"{CONSUMER_STOP_TIMEOUT_S}s"


def test_nothing_starts_before_what_it_needs() -> None:
    healthy = dict.fromkeys(STORES, "service_healthy")
    assert depends("migrate") == healthy
    for name in APPS:
        kafka = {"kafka": "service_healthy"} if name == "consumer" else {}
        assert depends(name) == healthy | kafka | {"migrate": "service_completed_successfully"}


def test_every_service_but_the_one_that_ends_is_probed_and_restarted() -> None:
    for name, service in SERVICES.items():
        assert ("healthcheck" in service) == (name != "migrate"), name
        assert service["restart"] == ("no" if name == "migrate" else "unless-stopped"), name


def test_only_the_api_and_flower_are_published_and_only_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        name: [f"127.0.0.1:{USUAL_PORTS[key]}:{USUAL_PORTS[key]}"]
        for name, key in (("api", "CIFT_URL"), ("flower", "CIFT_FLOWER_URL"))
    }
    assert ours("flower")["FLOWER_PORT"] == str(USUAL_PORTS["CIFT_FLOWER_URL"])


def test_our_processes_can_do_little_to_their_machine() -> None:
    for name in OURS:
        service = SERVICES[name]
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "network_mode", "pid", "user"} & set(service), name
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source, target, *mode = volume.split(":")
            assert source in FILE["volumes"] or (source, target, mode) == ("./data", "/data", ["ro"])


def test_the_servers_are_set_as_in_the_native_stack(tmp_path: Path) -> None:
    for name, policy in (("broker", servers.BROKER_POLICY), ("cache", servers.CACHE_POLICY)):
        _, *lines = FILE["configs"][name]["content"].splitlines()
        assert lines == ['save ""', *policy]
    assert FILE["configs"]["questdb-log"]["content"].splitlines() == servers.QUESTDB_LOG
    options = [line.replace("'", "").replace(" ", "") for line in postgres._settings(5432)]
    options = [line for line in options if not line.startswith(("listen_", "port", "unix_"))]
    assert sorted(SERVICES["postgres"]["command"][1:]) == sorted(
        f"-c{line.split('#')[0]}" for line in options
    )
    servers._prepare_questdb(tmp_path, NATIVE_ENV)
    lines = (tmp_path / "conf" / "server.conf").read_text().splitlines()
    conf = {
        f"QDB_{key.replace('.', '_').upper()}": value for key, value in (line.split("=", 1) for line in lines)
    }
    given = SERVICES["questdb"]["environment"]
    for key, value in conf.items():
        if key.endswith("PASSWORD"):
            assert given[key] == "${CIFT_QUESTDB_PASSWORD:?set it in .env}"
        elif not key.endswith("_BIND_TO"):
            assert given[key] == value, key
    assert SERVICES["kafka"]["environment"]["KAFKA_HEAP_OPTS"] == kafka.HEAP
    for key, value in kafka.SETTINGS.items():
        assert SERVICES["kafka"]["environment"][f"KAFKA_{key.replace('.', '_').upper()}"] == value, key
    assert given["JAVA_TOOL_OPTIONS"] in servers._questdb_command(tmp_path)


def test_every_image_is_of_one_version() -> None:
    for name, service in SERVICES.items():
        assert re.fullmatch(r"[a-z/-]+:\d+\.\d+\.?\d*(-[a-z]+)?", service["image"]), name
    images = re.findall(r"^FROM (\S+)", (CHECKOUT / "Dockerfile").read_text(), re.MULTILINE)
    assert len(images) == 2, "the tools that build are not in the image that runs"
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", image) for image in images)


def test_the_image_runs_as_nobody_special_and_holds_what_it_needs_and_nothing_else() -> None:
    text = (CHECKOUT / "Dockerfile").read_text()
    last = text[text.rindex("FROM ") :]
    assert re.findall(r"^USER (.+)$", last, re.MULTILINE) == ["10001:10001"]
    assert "--require-hashes" in text
    allowed = {line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    assert allowed == {word for line in copied for word in shlex.split(line)}
    assert all((CHECKOUT / name).exists() for name in allowed)
    packages = {path.name for path in CHECKOUT.glob("cift_*")} | {"celeryconfig.py", "migrations"}
    assert packages <= allowed
