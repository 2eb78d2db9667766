"""The probes: asked for by beat in a worker, and by each web process, which needs neither, by itself."""

import threading
from collections.abc import Sequence
from functools import lru_cache

from celery import Task
from kombu.exceptions import OperationalError

from cift_core.errors import StoreUnavailable
from cift_core.logs import logger
from cift_core.services import workers
from cift_core.services.health import Health, record
from cift_core.services.watch import Watch, answers
from cift_core.services.workers import Check
from cift_core.stores import Stores
from cift_tasks.app import app, stores

log = logger(__name__)
UNSETTLED_INTERVAL_S = 1.0


@app.task(name="cift.health.probe", bind=True)  # type: ignore[untyped-decorator]
def probe(self: Task) -> None:
    """Probe everything once, log what is unhealthy, and keep the outcomes in QuestDB while that answers."""
    opened = stores()
    found = _round(_watch(opened))
    for check in found:
        if check.healthy is False:
            log.error("check.unhealthy", check=check.name, reason=check.reason, task_id=self.request.id)
    if not answers("questdb", found):
        return  # a write to a QuestDB that hangs would hold this worker, and requeue_stale with it
    try:
        record(opened, found)
    except StoreUnavailable:
        log.warning("probes.not_recorded", exc_info=True)


@app.task(name="cift.health.canary", throws=StoreUnavailable)  # type: ignore[untyped-decorator]
def canary(queue: str, sent: float) -> None:
    """Note that a worker has taken a task from this queue."""
    workers.note_return(stores().broker, queue, sent)


def start_watching(opened: Stores, health: Health) -> None:
    """Probe everything from now on in a thread of this process, which needs no broker, beat or worker."""
    watch = Watch(opened, health)
    threading.Thread(target=_keep_watching, args=(watch,), name="watch", daemon=True).start()


def _keep_watching(watch: Watch) -> None:
    pause = threading.Event()
    interval_s = watch.stores.settings.probe_interval_s
    while True:
        try:
            _round(watch)
        except Exception:  # the edge of this thread, which must go on
            log.exception("watch.failed")
        pause.wait(interval_s if watch.settled else min(interval_s, UNSETTLED_INTERVAL_S))


def _round(watch: Watch) -> list[Check]:
    found = watch.round()
    if answers("broker", found):
        try:
            _send(workers.take_due(watch.stores.broker, watch.stores.settings))
        except (StoreUnavailable, OperationalError):
            log.warning("canaries.not_sent", exc_info=True)
    return found


def _send(due: Sequence[tuple[str, float]]) -> None:
    if not due:
        return
    with app.connection_for_write() as connection:  # not one of those that submits are sent over
        for queue, sent in due:
            canary.apply_async((queue, sent), queue=queue, connection=connection)


@lru_cache(maxsize=1)
def _watch(opened: Stores) -> Watch:
    return Watch(opened, Health(opened))  # kept: a hung server holds one thread, and not one more each time
