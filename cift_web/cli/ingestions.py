"""`cift ingest FILE`: bring market data in."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import click

from cift_web.cli.api import Api, Json
from cift_web.cli.jobs import described
from cift_web.cli.output import REFUSED, json_option, show

PIECE_BYTES = 2**20
REJECTS_SHOWN = 10
Command = Callable[..., None]
_TOP = ("kind", "symbol", "interval", "crossed_quotes", "max_reject_share")


_FILE_OPTIONS = (
    click.option("--kind", type=click.Choice(["bars", "ticks", "quotes"]), default="bars", show_default=True),
    click.option("--symbol", help="Left out when a column of the file holds it."),
    click.option("--interval", help="Of bars: 1m, 1h, 1d, ..."),
    click.option(
        "--format", "format_", help="csv, csv.gz, csv.zip, parquet or jsonl; found out unless given."
    ),
    click.option(
        "--column", "columns", multiple=True, help="OURS=THEIRS for each column; by name unless given."
    ),
    click.option("--header", help="The columns of a file without a header line, with commas between."),
    click.option("--timestamp-unit", help="iso (the default), s, ms, us, ns, or a strptime pattern."),
    click.option("--timezone", help="Of times without one; UTC unless given."),
)


def file_options(command: Command) -> Command:
    """Adds what a file holds and how it is to be read; `file_request` takes these options."""
    for option in reversed(_FILE_OPTIONS):
        command = option(command)
    return command


@click.command()
@click.argument("file")
@file_options
@click.option("--crossed-quotes", type=click.Choice(["keep", "reject"]), help="Of quotes; keep unless given.")
@click.option("--max-reject-share", type=float, help="Fail, and write nothing, when more is refused; 0 to 1.")
@click.option("--on-server", is_flag=True, help="FILE is below the server's CIFT_DATA_DIR: nothing is sent.")
@click.option("--no-wait", is_flag=True, help="Print the job's id and leave.")
@json_option
def ingest(file: str, on_server: bool, no_wait: bool, as_json: bool, **given: Any) -> None:
    """Bring the market data in FILE in, and print how many records were read, written, known and refused.

    Ends with 1 when the ingestion failed.

    \b
      cift ingest AAPL-1d.csv --symbol AAPL --interval 1d
      cift ingest ticks.csv.gz --kind ticks --symbol ETHUSDT --column timestamp=ts --column size=quantity \\
          --timestamp-unit ms
    """
    api, request = Api(), file_request(given)
    if on_server:
        request["source"]["path"] = file
        accepted = api.post("/api/v1/ingestions", request)
    else:
        accepted = _send(api, Path(file), request, quiet=as_json)
    if no_wait:
        show(accepted, str(accepted["id"]), as_json)
        return
    job = api.wait(accepted["links"]["self"], "ingest", quiet=as_json)
    show(job, lambda: described(job) + _rejects(api, accepted["links"]["rejects"], job), as_json)
    if job["status"] != "succeeded":
        sys.exit(REFUSED)


def file_request(given: dict[str, Any]) -> Json:
    """The body of an ingestion's request, without a path."""
    source: Json = {"type": "file", "format": given["format_"]}
    source |= {name: given[name] for name in ("timestamp_unit", "timezone")}
    if given["header"]:
        source["header"] = given["header"].split(",")
    if given["columns"]:
        source["columns"] = dict(_column(text) for text in given["columns"])
    return {
        "source": {name: value for name, value in source.items() if value is not None},
        **{name: given[name] for name in _TOP if given.get(name) is not None},
    }


def _column(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is not like timestamp=ts", param_hint="--column")
    return ours, theirs


def _send(api: Api, path: Path, request: Json, *, quiet: bool) -> Json:
    """What the API answers to a multipart body with the file, which is never whole in memory."""
    boundary = uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="request"\r\n\r\n{json.dumps(request)}\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            body = _pieces(head, file, size, tail, quiet=quiet)
            whole = len(head) + size + len(tail)
            return api.upload("/api/v1/ingestions", body, whole, f"multipart/form-data; boundary={boundary}")
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}", param_hint="FILE") from error


def _pieces(head: bytes, file: BinaryIO, size: int, tail: bytes, *, quiet: bool) -> Iterator[bytes]:
    yield head
    with click.progressbar(length=size, label="upload", file=sys.stderr, hidden=quiet) as bar:
        while piece := file.read(PIECE_BYTES):
            yield piece
            bar.update(len(piece))
    yield tail


def _rejects(api: Api, location: str, job: Json) -> str:
    if not job["rows_rejected"]:
        return ""
    items = api.get(f"{location}?limit={REJECTS_SHOWN}")["items"]
    lines = [f"line {item['line']}: {item['reason']}" for item in items]
    return "\n" + "\n".join(lines + ["..."] * (job["rows_rejected"] > len(items)))
