"""Files: what may be read from where, and how much of it."""

import gzip
import hashlib
import io
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import pytest

from cift_core.errors import InvalidInput
from cift_core.settings import Settings
from cift_core.stores import files
from cift_core.stores.files import DataFile, open_data_file, open_upload, remove_upload, store_upload


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with a data folder of this test's own, the uploads hidden in it."""
    data = tmp_path / "data"
    (data / "sub" / "deep").mkdir(parents=True)
    (data / "sub" / "bars.csv").write_text("inside\n")
    (tmp_path / "outside.csv").write_text("outside\n")
    return replace(settings, data_dir=data, upload_dir=data / ".uploads", max_upload_bytes=3_000_000)


def content(stream: BinaryIO) -> bytes:
    with stream:
        return stream.read()


def refusal(folder: Settings, path: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        content(open_data_file(folder, path))
    (error,) = caught.value.errors
    assert error.pointer == "/source/path"
    assert str(folder.data_dir.parent) not in error.detail  # nothing of the server's own paths
    return error.detail


def test_a_file_below_the_folder_is_read(folder: Settings) -> None:
    assert content(open_data_file(folder, "sub/bars.csv")) == b"inside\n"


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/etc/passwd", "relative"),
        ("../outside.csv", "'..'"),
        ("sub/../../outside.csv", "'..'"),
        ("sub//bars.csv", "plain path"),
        ("sub/", "plain path"),
        ("", "plain path"),
        ("sub\\bars.csv", "plain path"),
        ("sub/bars.csv\0.txt", "plain path"),
        ("a" * 2000, "plain path"),
        ("a" * 500, "can't be read"),
        (".uploads/x", "hidden"),
        ("./sub/bars.csv", "hidden"),
        ("sub/.git/config", "hidden"),
        ("sub", "not a regular file"),
        ("sub/bars.csv/x", "no file"),
        ("sub/bar.csv", "no file 'sub/bar.csv' below the data folder (did you mean \"sub/bars.csv\"?)"),
    ],
)
def test_paths_that_are_refused(folder: Settings, path: str, detail: str) -> None:
    assert detail in refusal(folder, path)


def test_links_are_followed_only_inside(folder: Settings) -> None:
    data = folder.data_dir
    secret = store_upload(folder, io.BytesIO(b"another tenant's"))
    (data / "inside.csv").symlink_to(data / "sub" / "bars.csv")
    (data / "alias").symlink_to(data / "sub")
    (data / "file.csv").symlink_to(data.parent / "outside.csv")
    (data / "up").symlink_to(data.parent)
    (data / "upload.csv").symlink_to(secret.path)
    (data / "uploads").symlink_to(folder.upload_dir)
    (data / "circle.csv").symlink_to(data / "circle.csv")
    assert content(open_data_file(folder, "inside.csv")) == b"inside\n"
    assert content(open_data_file(folder, "alias/bars.csv")) == b"inside\n"
    for path in ("file.csv", "up/outside.csv", "upload.csv", f"uploads/{secret.path.name}"):
        assert "leads out" in refusal(folder, path)
    assert "can't be read" in refusal(folder, "circle.csv")
    for path in ("up/outsid.csv", "uploads/x.upload"):  # nothing there is named as a near miss
        assert "did you mean" not in refusal(folder, path)


def test_uploads_outside_a_hidden_folder_are_out_of_reach_too(folder: Settings) -> None:
    folder = replace(folder, upload_dir=folder.data_dir / "received")
    upload = store_upload(folder, io.BytesIO(b"x"))
    assert "leads out" in refusal(folder, f"received/{upload.path.name}")
    assert "did you mean" not in refusal(folder, f"received/{uuid4()}.upload")


def test_what_is_no_regular_file_is_refused_without_waiting(folder: Settings) -> None:
    os.mkfifo(folder.data_dir / "pipe.csv")
    assert "not a regular file" in refusal(folder, "pipe.csv")


def test_an_upload_is_private_and_complete(folder: Settings) -> None:
    data = os.urandom(2_500_000)
    upload = store_upload(folder, io.BytesIO(data))
    assert (upload.sha256, upload.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert stat.S_IMODE(upload.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(upload.path.parent.stat().st_mode) == 0o700
    assert content(open_upload(folder, upload.id)) == data
    assert list(files.list_uploads(folder)) == [upload.id]
    remove_upload(folder, upload.id)
    remove_upload(folder, upload.id)
    with pytest.raises(InvalidInput, match="gone"):
        open_upload(folder, upload.id)


def test_an_upload_above_the_cap_leaves_nothing(folder: Settings) -> None:
    with pytest.raises(InvalidInput) as caught:
        store_upload(folder, io.BytesIO(bytes(folder.max_upload_bytes + 1)))
    assert caught.value.code == "upload_too_large"
    assert files.list_uploads(folder) == {}
    assert store_upload(folder, io.BytesIO(bytes(folder.max_upload_bytes))).size_bytes == 3_000_000


def test_an_upload_that_breaks_off_leaves_nothing(folder: Settings) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise ConnectionResetError
            return super().read(size)

    with pytest.raises(Exception, match="disk refuses"):
        store_upload(folder, Broken(bytes(2_000_000)))
    assert files.list_uploads(folder) == {}


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "file"


def blocks(path: Path, data: bytes, size: int, *, cap: int = 2**40) -> list[tuple[int, bytes]]:
    path.write_bytes(data)
    with DataFile(path.open("rb"), max_unpacked_bytes=cap) as file:
        return [(block.first_line, block.data) for block in file.blocks(size)]


def code(path: Path, data: bytes, *, cap: int = 2**40, size: int = 2**20) -> str:
    with pytest.raises(InvalidInput) as caught:
        blocks(path, data, size, cap=cap)
    return caught.value.code


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 100])
def test_blocks_are_whole_lines_with_their_numbers(scratch: Path, size: int) -> None:
    found = blocks(scratch, b"\xef\xbb\xbfab\n\ncdef\r\ng", size)
    line = 1
    for first_line, data in found:
        assert first_line == line
        assert data.endswith(b"\n")
        line += data.count(b"\n")
    assert b"".join(data for _, data in found).removeprefix(b"\xef\xbb\xbf") == b"ab\n\ncdef\r\ng\n"
    if size >= 3:
        assert found[0][1].startswith(b"ab\n")  # the byte order mark is gone


def test_an_empty_file_has_no_block(scratch: Path) -> None:
    assert blocks(scratch, b"", 10) == []


def test_gzip_of_several_members_is_one_file(scratch: Path) -> None:
    data = gzip.compress(b"a\nb") + gzip.compress(b"c\n")
    assert blocks(scratch, data, 100) == [(1, b"a\nbc\n")]


def test_damaged_gzip(scratch: Path) -> None:
    lines = gzip.compress(b"\n".join(os.urandom(20).hex().encode() for _ in range(10_000)))
    for cut in (5, 1000, len(lines) // 2, len(lines) - 1):
        assert code(scratch, lines[:cut]) == "gzip_truncated"
    assert code(scratch, lines[:1000] + bytes(200) + lines[1200:]) == "gzip_corrupt"
    assert code(scratch, lines[:-8] + bytes(8)) == "gzip_corrupt"  # the check sum
    assert code(scratch, lines + b"garbage") == "gzip_corrupt"


def test_bombs_end_early(scratch: Path) -> None:
    line = b"2020-01-01,1,1,1,1,1\n"
    assert code(scratch, gzip.compress(line * (2**25 // len(line)))) == "compression_bomb"
    assert code(scratch, gzip.compress(bytes(2**25))) == "line_too_long"
    assert code(scratch, gzip.compress(line * 1000), cap=10_000, size=1000) == "unpacked_too_large"
    assert code(scratch, line * 1000, cap=10_000, size=1000) == "unpacked_too_large"


def test_a_long_line_is_not_read_to_its_end(scratch: Path) -> None:
    assert code(scratch, b"a\n" + b"x" * 70_000, size=1000) == "line_too_long"
