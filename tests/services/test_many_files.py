"""Many files in one ingestion: by pattern or by list, in order of their names, each with its balance."""

import gzip
import os
from typing import Any

import pytest

from cift_core.errors import InvalidInput
from cift_core.models import Ingestion
from cift_core.services import ingestion_paths, ingestion_runs, ingestions, jobs
from cift_core.services.leases import Lease
from tests.services.desk import Desk, counts

HEADER = "timestamp,open,high,low,close,volume\n"


def day(number: int, close: float = 1.5) -> str:
    return f"2020-01-{number:02d},1,2,1,{close},10\n"


def put(desk: Desk, **texts: str) -> None:
    """Files `broker/NAME.csv`."""
    (desk.settings.data_dir / "broker").mkdir(exist_ok=True)
    for name, text in texts.items():
        desk.write(HEADER + text, f"broker/{name}.csv")


def files(desk: Desk, ingestion: Ingestion) -> list[tuple[str | None, int, int, int, int]]:
    found, cursor = [], None
    while True:
        with desk.stores.postgres.transaction() as session:
            page, cursor = ingestions.list_files(session, desk.owner_id, ingestion.id, cursor=cursor, limit=2)
        found += page
        if cursor is None:
            return [
                (file.path, file.rows_read, file.rows_written, file.rows_duplicate, file.rows_rejected)
                for file in found
            ]


@pytest.mark.parametrize("chunk_bytes", [60, 1 << 20])
@pytest.mark.parametrize("max_reject_share", [None, 0.5])
def test_a_pattern_is_all_files_by_name_as_if_they_were_one(
    desk: Desk, chunk_bytes: int, max_reject_share: float | None
) -> None:
    put(
        desk,
        b=day(3) + day(1) + day(2, close=1.25) + "x\n",
        a=day(1) + day(2),
        c="",
        d=day(4) + "2020-01-05,3,2,1,1,1\n",
    )
    done = desk.ingest(
        path="broker/*.csv", options={"chunk_bytes": chunk_bytes}, max_reject_share=max_reject_share
    )
    assert counts(done) == (8, 4, 1, 3)
    assert done.request["source"]["path"] == "broker/*.csv"
    assert files(desk, done) == [
        ("broker/a.csv", 2, 2, 0, 0),
        ("broker/b.csv", 4, 1, 1, 2),
        ("broker/c.csv", 0, 0, 0, 0),
        ("broker/d.csv", 2, 1, 0, 1),
    ]
    with desk.stores.postgres.transaction() as session:
        rejects, _ = ingestions.list_rejects(session, desk.owner_id, done.id)
    assert [(reject.file, reject.line) for reject in rejects] == [
        ("broker/b.csv", 4),  # contradicts the day in a.csv
        ("broker/b.csv", 5),
        ("broker/d.csv", 3),
    ]
    assert [row[4] for row in desk.bars()] == [1.5] * 4
    again = desk.ingest(path="broker/*.csv")
    assert counts(again) == (8, 0, 5, 3)


def test_a_list_of_paths_and_patterns(desk: Desk) -> None:
    put(desk, a=day(1), b=day(2), ab=day(3))
    desk.write(HEADER + day(4), "other.csv")
    source = {"paths": ["other.csv", "broker/b.csv", "broker/a*.csv", "broker/a.csv"]}
    done = desk.ingest(path=None, source=source)
    assert counts(done) == (4, 4, 0, 0)
    assert [path for path, *_ in files(desk, done)] == [
        "broker/a.csv",
        "broker/ab.csv",
        "broker/b.csv",
        "other.csv",
    ]


def test_one_file_and_one_sent_along_have_their_balance_too(desk: Desk) -> None:
    assert files(desk, desk.ingest(HEADER + day(1))) == [("bars.csv", 1, 1, 0, 0)]
    sent = desk.run(desk.submit(None, upload=(HEADER + day(1) + "x\n").encode()))
    assert files(desk, sent) == [(None, 2, 0, 1, 1)]


def test_a_name_with_brackets_is_itself(desk: Desk) -> None:
    put(desk, **{"a[1]": day(1), "a1": day(2)})
    assert counts(desk.ingest(path="broker/a[1].csv")) == (1, 1, 0, 0)
    assert desk.bars()[0][0].day == 1


def test_trades_of_one_time_may_go_on_in_the_next_file(desk: Desk) -> None:
    for name, text in (("t1.csv", "1,5\n2,5\n"), ("t2.csv", "2,5\n2,6\n3,5\n")):
        desk.write("time,price\n" + text, name)
    request: dict[str, Any] = {"kind": "ticks", "source": {"timestamp_unit": "ms"}}
    assert counts(desk.ingest(path="t?.csv", **request)) == (5, 5, 0, 0)
    assert [row[1:3] for row in desk.ticks()] == [(0, 5.0), (0, 5.0), (1, 5.0), (2, 6.0), (0, 5.0)]


def refused(desk: Desk, **request: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        desk.submit(**request)
    return {error.pointer: error.detail for error in caught.value.errors}


def test_what_does_not_fit_is_refused_at_submit_with_the_files_name(desk: Desk) -> None:
    put(desk, a=day(1), b=day(2))
    desk.write("when,o,h,l,c\n", "broker/c.csv")
    desk.write(gzip.compress((HEADER + day(1)).encode()), "broker/d.csv")
    desk.write("", "broker/e.csv")
    found = refused(desk, path="broker/*.csv")
    assert found["/source/columns/close"].startswith('broker/c.csv: the file has no column "close"')
    assert found["/source/format"] == "broker/d.csv: is csv, but the file is csv.gz"
    assert found["/source/path"] == "broker/e.csv: The file is empty."


@pytest.mark.parametrize(
    ("source", "pointer", "part"),
    [
        ({"path": "none/*.csv"}, "/source/path", "there is no file 'none/*.csv'"),
        ({"path": "../*.csv"}, "/source/path", "'..'"),
        ({"path": "/etc/*"}, "/source/path", "relative"),
        ({"path": ".uploads/*"}, "/source/path", "hidden"),
        ({"path": "bars.csv", "paths": ["bars.csv"]}, "/source/paths", "leave it out"),
        ({"path": None, "paths": []}, "/source/paths", "list of paths"),
        ({"path": None, "paths": "bars.csv"}, "/source/paths", "list of paths"),
        ({"path": None, "paths": ["bars.csv", 3]}, "/source/paths/1", "must be a string"),
        ({"path": None, "paths": ["bars.csv", "none.csv"]}, "/source/paths/1", "there is no file"),
    ],
)
def test_patterns_that_are_refused(desk: Desk, source: dict[str, Any], pointer: str, part: str) -> None:
    desk.write(HEADER + day(1))
    assert part in refused(desk, source=source)[pointer]


def test_no_pattern_leads_out_of_the_folder_or_to_what_is_hidden(desk: Desk) -> None:
    folder = desk.settings.data_dir
    outside = folder.parent / f"{folder.name}-outside"
    outside.mkdir()
    (outside / "x.csv").write_text(HEADER + day(9))
    os.symlink(outside, folder / "link")
    os.symlink(outside / "x.csv", folder / "y.csv")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "x.csv").write_text(HEADER + day(9))
    (folder / "folder.csv").mkdir()
    desk.write(HEADER + day(1), "z.csv")
    assert desk.submit(path="*.csv").request["source"]["paths"] == ["z.csv"]
    assert "there is no file" in refused(desk, path="*/x.csv")["/source/path"]


def test_so_many_files_go_into_one_ingestion(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    put(desk, a=day(1), b=day(2), c=day(3))
    monkeypatch.setattr(ingestion_paths, "MAX_FILES", 2)
    assert refused(desk, path="broker/*.csv") == {"/source": "names 3 files, at most 2 go into one ingestion"}


def test_a_file_that_breaks_off_is_named(desk: Desk) -> None:
    lines = [f"{60 * number},1,2,1,1.5,{number}\n" for number in range(10_000)]
    whole = gzip.compress((HEADER + "".join(lines)).encode())
    desk.write(whole, "a.csv.gz")
    desk.write(whole[:-9], "b.csv.gz")
    ingestion = desk.submit(path="?.csv.gz", interval="1m", source={"timestamp_unit": "s"})
    with pytest.raises(InvalidInput, match=r"^b\.csv\.gz: The gzip file ends in the middle") as caught:
        desk.run(ingestion)
    assert caught.value.code == "gzip_truncated"
    assert files(desk, ingestion)[0] == ("a.csv.gz", 10_000, 10_000, 0, 0)


class Killed(Exception):
    """Stands for the worker's end: nothing after it runs."""


def test_a_killed_attempts_rows_in_many_files_are_its_own(desk: Desk) -> None:
    put(desk, **{f"f{number:02}": day(number) + day(number) for number in range(1, 21)})
    ingestion = desk.submit(path="broker/f*.csv")
    claim = desk.claim(ingestion)

    class Dying(Lease):
        chunks = 0

        def check(self) -> None:
            self.chunks += 1
            if self.chunks > 10:
                raise Killed

    lease = Dying(desk.stores.postgres, claim, 60)
    with pytest.raises(Killed):
        ingestion_runs.run(desk.stores, lease)
    assert 0.3 < lease.progress < 0.7
    with desk.stores.postgres.transaction() as session:
        assert jobs.release(session, claim)
    done = desk.run(ingestion)
    assert counts(done) == (40, 20, 20, 0)
    assert {file[1:] for file in files(desk, done)} == {(2, 1, 1, 0)}
    assert desk.count_of(done) == 20
