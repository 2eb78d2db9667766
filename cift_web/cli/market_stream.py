"""`cift produce` and `cift consume`: market data onto the topic, and off it."""

import signal
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from cift_core.errors import InvalidInput
from cift_core.logs import configure_logs
from cift_core.services.ingestion_requests import full_request
from cift_core.services.market_replay import replay
from cift_core.services.market_stream import Stream
from cift_core.services.stall_guard import StallGuard, end_process
from cift_core.settings import Settings, load_settings
from cift_core.stores import open_stores
from cift_core.stores.kafka_producer import Producer
from cift_web.cli.ingestions import file_options, file_request
from cift_web.cli.operator import operator_stores
from cift_web.cli.output import json_option, show


@click.command()
def consume() -> None:
    """Take the market data on Kafka's topic market-data into QuestDB until told to stop (SIGTERM).

    Runs under a supervisor. What is refused goes to market-data.dlq with the reason. Ends with 75 when it
    makes no progress while messages wait, and with 3 when Kafka does not answer: to be started again.
    """
    settings, stop = load_settings(), threading.Event()
    configure_logs(settings.log_level, settings.log_format)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with closing(open_stores(settings, "worker")) as stores:
        stream = Stream(stores, stop)
        with StallGuard(stores.kafka, stream, end_process):
            stream.run()


class Speed(click.ParamType[float]):
    """`10x`: how many times faster than it was recorded."""

    name = "10x"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The factor."""
        try:
            speed = float(str(value).removesuffix("x"))
        except ValueError:
            speed = 0.0
        if not 0 < speed < float("inf"):
            self.fail(f"{value!r} is not like 10x", param, ctx)
        return speed


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@file_options
@click.option("--speed", type=Speed(), help="A multiple of the recorded time; left out: as fast as it goes.")
@json_option
def produce(file: Path, speed: float | None, as_json: bool, **given: Any) -> None:
    """Send the market data in FILE to Kafka's topic market-data, whence `cift consume` takes it.

    Speaks to Kafka with the settings of the service. FILE is read and checked as `cift ingest` reads it; what
    is refused is told and not sent.

    \b
      cift produce trades.csv.gz --kind ticks --timestamp-unit ms --speed 10x
    """
    with operator_stores() as stores:
        settings = replace(stores.settings, data_dir=file.resolve().parent)
        request = _full(settings, file_request(given), file.name)
        stores.kafka.create_topics()
        with Producer(stores.kafka.bootstrap_servers) as producer:
            done = replay(settings, producer, request, speed)
    lines = [f"line {reject.place}: {reject.reason}" for reject in done.rejects]
    lines += ["..."] * (done.rejected > len(lines))
    sent = f"{done.rows:,} rows sent in {done.messages:,} messages, {done.rejected:,} refused"
    shown = {"rows": done.rows, "messages": done.messages, "rejected": done.rejected}
    show(shown, "\n".join([sent, *lines]), as_json)


def _full(settings: Settings, request: dict[str, Any], name: str) -> dict[str, Any]:
    request["source"]["path"] = name
    try:
        return full_request(settings, request, None)
    except InvalidInput as error:
        wrong = "; ".join(f"{each.pointer}: {each.detail}" for each in error.errors)
        raise InvalidInput(error.code, wrong or error.message, error.errors) from error
