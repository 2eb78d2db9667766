"""Watched folders: what is new is submitted, once, when it is whole, for the owner that the folder names."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from cift_core.models import Alert, AuditLog, Ingestion, User, WatchedContent
from cift_core.services import watched_folders
from tests.services.desk import Desk, counts

CSV = "timestamp,open,high,low,close\n2020-01-{:02},1,2,1,1.5\n"


@pytest.fixture
def folder(desk: Desk) -> Path:
    """A watched folder of daily bars."""
    folder = desk.settings.data_dir / desk.symbol / "daily"  # all tests share one database
    folder.mkdir(parents=True)
    template(desk, folder)
    return folder


def template(desk: Desk, folder: Path, **changes: Any) -> None:
    with desk.stores.postgres.transaction() as session:
        owner = session.scalars(select(User.email).where(User.id == desk.owner_id)).one()
    content = {
        "owner": owner,
        "files": "*.csv",
        "request": {"kind": "bars", "symbol": desk.symbol, "interval": "1d"},
    }
    (folder / watched_folders.TEMPLATE).write_text(json.dumps(content | changes))


def tick(desk: Desk) -> list[Ingestion]:
    """What one look submits."""
    submitted = []
    for new in watched_folders.new_files(desk.stores):
        with desk.stores.postgres.transaction() as session:
            ingestion = watched_folders.submit(session, desk.settings, new)
            submitted += [ingestion] if ingestion is not None else []
    return submitted


def test_a_new_file_is_submitted_once_it_stays_as_it_is(desk: Desk, folder: Path) -> None:
    file = folder / "a.csv"
    file.write_text(CSV.format(1))
    assert tick(desk) == []
    with file.open("a") as more:
        more.write("2020-01-02,1,2,1,1.5\n")
    assert tick(desk) == [], "it has grown since"
    (submitted,) = tick(desk)
    assert submitted.request["source"]["path"] == f"{desk.symbol}/daily/a.csv"
    assert submitted.owner_id == desk.owner_id
    assert counts(desk.run(submitted)) == (2, 2, 0, 0)
    assert tick(desk) == tick(desk) == []
    with desk.stores.postgres.transaction() as session:
        trail = session.scalars(select(AuditLog).where(AuditLog.resource_id == str(submitted.id))).one()
    assert (trail.user_id, trail.action, trail.result) == (desk.owner_id, "submit_watched_file", "done")


def test_a_content_is_submitted_once_whatever_its_file_is_called(desk: Desk, folder: Path) -> None:
    (folder / "a.csv").write_text(CSV.format(1))
    assert len(tick(desk) + tick(desk)) == 1
    (folder / "a.csv").rename(folder / "b.csv")
    (folder / "c.csv").write_text(CSV.format(1))
    assert tick(desk) + tick(desk) + tick(desk) == []
    (folder / "c.csv").write_text(CSV.format(2))
    assert len(tick(desk) + tick(desk)) == 1, "the file has another content"
    os.utime(folder / "c.csv", (1, 1))
    assert tick(desk) + tick(desk) == []


def test_two_looks_at_once_submit_a_file_once(desk: Desk, folder: Path) -> None:
    (folder / "a.csv").write_text(CSV.format(1))
    tick(desk)
    found = [*watched_folders.new_files(desk.stores), *watched_folders.new_files(desk.stores)]
    assert len(found) == 2
    submitted = []
    for new in found:
        with desk.stores.postgres.transaction() as session:
            submitted.append(watched_folders.submit(session, desk.settings, new))
    assert [ingestion is None for ingestion in submitted] == [False, True]


def test_only_what_the_pattern_names_and_never_the_template(desk: Desk, folder: Path) -> None:
    (folder / "a.txt").write_text(CSV.format(1))
    assert tick(desk) + tick(desk) == []
    template(desk, folder, files="*")
    (submitted,) = tick(desk) + tick(desk)
    assert submitted.request["source"]["path"] == f"{desk.symbol}/daily/a.txt"


def test_the_data_folder_itself_may_be_watched(desk: Desk) -> None:
    desk.write(CSV.format(1), f"{desk.symbol}.csv")
    template(desk, desk.settings.data_dir, request={"kind": "bars", "symbol": desk.symbol, "interval": "1w"})
    (submitted,) = tick(desk) + tick(desk)
    assert submitted.request["source"]["path"] == f"{desk.symbol}.csv"


def test_a_file_that_does_not_fit_fails_at_once_and_alerts_its_owner(desk: Desk, folder: Path) -> None:
    (folder / "a.csv").write_text("when,o\n1,2\n")
    (failed,) = tick(desk) + tick(desk)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error["code"] == "invalid_ingestion"
    assert failed.error["detail"].startswith(
        f"{desk.symbol}/daily/a.csv can't be ingested as cift-watch.json says: /"
    )
    with desk.stores.postgres.transaction() as session:
        alert = session.scalars(select(Alert).where(Alert.subject == f"ingestions/{failed.id}")).one()
        known = session.scalars(
            select(WatchedContent).where(WatchedContent.folder == f"{desk.symbol}/daily")
        ).all()
    assert alert.owner_id == desk.owner_id
    assert known == []
    assert tick(desk) == []
    template(desk, folder, request={"kind": "bars", "symbol": desk.symbol, "interval": "1d", "source": {}})
    (folder / "a.csv").write_text(CSV.format(1))
    (submitted,) = tick(desk) + tick(desk)
    assert submitted.status == "queued"


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"owner": "a@example.com", "request": []}',
        '{"owner": "a@example.com", "request": {}, "files": "../*"}',
        '{"owner": "a@example.com", "request": {}, "files": ".*"}',
        '{"owner": "a@example.com", "request": {"source": 3}}',
        '{"owner": "a@example.com", "request": {}, "more": 1}',
        '{"owner": 3, "request": {}}',
        '{"owner": "nobody@example.com", "request": {}}',
    ],
)
def test_a_template_that_can_t_be_used_is_logged_and_submits_nothing(
    desk: Desk, folder: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.csv").write_text(CSV.format(1))
    (folder / watched_folders.TEMPLATE).write_text(content)
    assert tick(desk) + tick(desk) == []
    template(desk, folder)
    assert len(tick(desk) + tick(desk)) == 1, "as soon as the template is right"


def test_hidden_folders_and_links_that_lead_out_are_not_watched(desk: Desk, folder: Path) -> None:
    outside = desk.settings.data_dir.parent / f"{desk.settings.data_dir.name}-outside"
    hidden = desk.settings.data_dir / ".hidden"
    for other in (outside, hidden):
        other.mkdir()
        template(desk, other)
        (other / "a.csv").write_text(CSV.format(1))
    os.symlink(outside, desk.settings.data_dir / "link")
    os.symlink(outside / "a.csv", folder / "b.csv")
    assert tick(desk) + tick(desk) == []
