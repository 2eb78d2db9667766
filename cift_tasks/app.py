"""The Celery application and what a worker process does at its beginning and end."""

import signal
from types import FrameType
from typing import Any

from celery import Celery
from celery.signals import (
    after_task_publish,
    beat_init,
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
)

from cift_core.errors import StoreUnavailable
from cift_core.logs import configure_logs, logger
from cift_core.services import workers
from cift_core.settings import SettingsError, settings
from cift_core.stores import Stores, open_stores
from cift_core.strategies import warm_up

log = logger(__name__)

app = Celery(
    "cift",
    include=[
        f"cift_tasks.{name}" for name in ("backtests", "health", "ingestions", "maintenance", "quality")
    ],
)
app.config_from_object("celeryconfig")

_process: dict[str, Stores] = {}


def stores() -> Stores:
    """The stores of this worker process, opened after the fork."""
    if "stores" not in _process:
        _process["stores"] = open_stores(settings(), "worker")
    return _process["stores"]


@setup_logging.connect  # type: ignore[untyped-decorator]
def _configure_logs(**_: Any) -> None:
    configure_logs(settings().log_level, settings().log_format)


@worker_init.connect  # type: ignore[untyped-decorator]
def _start_worker(**_: Any) -> None:
    _check_broker()
    if "backtests" in app.amqp.queues.consume_from:
        warm_up()  # before the fork: a child must be up within worker_proc_alive_timeout, also if all is busy


def _check_broker() -> None:
    opened = open_stores(settings(), "worker")
    try:
        if opened.broker.evicts():
            raise SettingsError(
                {
                    "CIFT_BROKER_URL": [
                        "Its maxmemory-policy is not noeviction: the broker would drop messages."
                    ]
                }
            )
    except StoreUnavailable:
        log.warning("broker.not_checked", exc_info=True)
    finally:
        opened.close()


@beat_init.connect  # type: ignore[untyped-decorator]
def _start_beat(**_: Any) -> None:
    after_task_publish.connect(_note_tick, weak=False)


def _note_tick(**_: Any) -> None:
    try:
        workers.note_tick(stores().broker)
    except StoreUnavailable:
        log.warning("tick.not_noted", exc_info=True)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _start_process(**_: Any) -> None:
    _process.clear()
    signal.signal(signal.SIGTERM, _leave)


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _end_process(**_: Any) -> None:
    for opened in _process.values():
        opened.close()
    _process.clear()


def _leave(_signum: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)  # through the job's release, back to the queue
