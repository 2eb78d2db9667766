"""The runbook: a section for each kind of alert, and commands, settings and programs that exist."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from cift_core.models import AlertKind
from cift_core.services.watch import SEVERITY
from cift_core.settings import Settings
from deploy.native.stack import APPS, SERVERS

CHECKOUT = Path(__file__).parents[1]
RUNBOOK = (CHECKOUT / "docs" / "runbook.md").read_text()
SECTIONS = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))


def test_every_kind_of_alert_has_its_section_and_no_other_has_one() -> None:
    assert list(SECTIONS) == [str(kind) for kind in AlertKind]


@pytest.mark.parametrize("kind", AlertKind)
def test_a_section_says_how_bad_it_is_and_what_to_do(kind: AlertKind) -> None:
    section = SECTIONS[kind]
    assert section.strip().lower().startswith(f"**{SEVERITY.get(kind, 'warning')}")
    assert "\n1. " in section


def test_what_it_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)`", RUNBOOK)) <= targets
    names = {f"CIFT_{field.name.upper()}" for field in fields(Settings)} | {"CIFT_URL", "CIFT_API_KEY"}
    assert set(re.findall(r"CIFT_\w+", RUNBOOK)) <= names
    logs = set(re.findall(r"`(?:\.cift/log/)?([a-z-]+)\.log`", RUNBOOK))
    assert logs
    assert logs <= {*SERVERS, *APPS}
