"""What a log line looks like, whoever wrote it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog

from cift_core.logs import bind_context, clear_context, configure_logs, logger

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Leaves the process's logging as it found it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    clear_context()


def lines(capsys: Capsys) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_event_is_one_json_line_with_its_fields(capsys: Capsys) -> None:
    configure_logs("info", "json")
    logger("cift.shop").info("order.filled", symbol="AAPL", price=1.5, note="two\nlines, ünï")
    (line,) = lines(capsys)
    moment = datetime.fromisoformat(line.pop("timestamp"))
    assert moment.utcoffset() == timedelta(0)
    assert line == {
        "event": "order.filled",
        "level": "info",
        "logger": "cift.shop",
        "symbol": "AAPL",
        "price": 1.5,
        "note": "two\nlines, ünï",
    }


def test_the_standard_library_writes_the_same_lines(capsys: Capsys) -> None:
    configure_logs("info", "json")
    logging.getLogger("some.driver").warning("lost %s after %d s", "the server", 3)
    (line,) = lines(capsys)
    assert (line["event"], line["level"], line["logger"]) == (
        "lost the server after 3 s",
        "warning",
        "some.driver",
    )


def test_what_is_bound_is_on_every_line_until_it_is_cleared(capsys: Capsys) -> None:
    configure_logs("info", "json")
    bind_context(request_id="r1")
    bind_context(job_id="j1")
    logger("cift.context").info("one")
    logging.getLogger("some.driver").info("two")
    clear_context()
    logger("cift.context").info("three")
    one, two, three = lines(capsys)
    assert (one["request_id"], one["job_id"]) == ("r1", "j1")
    assert (two["request_id"], two["job_id"]) == ("r1", "j1")
    assert not {"request_id", "job_id"} & three.keys()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_only_the_level_and_above_is_written(capsys: Capsys, log_format: str) -> None:
    configure_logs("warning", log_format)
    logger("cift.level").info("quiet")
    logging.getLogger("some.driver").info("quiet")
    logger("cift.level").warning("loud")
    written = capsys.readouterr().err
    assert "quiet" not in written
    assert "loud" in written


def test_an_exception_is_in_its_line(capsys: Capsys) -> None:
    configure_logs("info", "json")
    try:
        raise ValueError("broken")  # noqa: TRY301  the line is about this very error
    except ValueError:
        logger("cift.exception").exception("job.failed", job_id="j1")
        logging.getLogger("some.driver").exception("driver failed")
    for line in lines(capsys):
        assert line["level"] == "error"
        assert "ValueError: broken" in line["exception"]
        assert "Traceback" in line["exception"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_exception_shows_no_local_variable(capsys: Capsys, log_format: str) -> None:
    configure_logs("info", log_format)
    password = "".join(["hun", "ter", "2"])
    try:
        raise ValueError(len(password))  # noqa: TRY301  the line is about this very error
    except ValueError:
        logger("cift.exception").exception("job.failed")
    written = capsys.readouterr().err
    assert "Traceback" in written
    assert "hunter2" not in written


def test_the_console_shows_the_event_and_its_fields(capsys: Capsys) -> None:
    configure_logs("info", "console")
    logger("cift.console").info("order.filled", symbol="AAPL")
    (line,) = capsys.readouterr().err.splitlines()
    for part in ("order.filled", "AAPL", "info"):
        assert part in line


def test_configuring_twice_writes_each_line_once(capsys: Capsys) -> None:
    configure_logs("info", "json")
    configure_logs("info", "json")
    logger("cift.twice").info("once")
    assert len(lines(capsys)) == 1
