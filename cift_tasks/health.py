"""The periodic probes."""

from functools import lru_cache

from celery import Task

from cift_core.errors import StoreUnavailable
from cift_core.logs import logger
from cift_core.services.health import Health, record
from cift_core.stores import Stores
from cift_tasks.app import app, stores

log = logger(__name__)


@app.task(name="cift.health.probe", bind=True)  # type: ignore[untyped-decorator]
def probe(self: Task) -> None:
    """Probe every store, log what is unhealthy and keep the outcomes in QuestDB while that answers."""
    opened = stores()
    outcomes = _health(opened).probe()
    for outcome in outcomes:
        if not outcome.healthy:
            log.error("store.unhealthy", store=outcome.store, reason=outcome.reason, task_id=self.request.id)
    if not all(outcome.healthy for outcome in outcomes if outcome.store == "questdb"):
        return  # a write to a QuestDB that hangs would hold this worker, and requeue_stale with it
    try:
        record(opened, outcomes)
    except StoreUnavailable:
        log.warning("probes.not_recorded", exc_info=True)


@lru_cache(maxsize=1)
def _health(opened: Stores) -> Health:
    return Health(opened)  # kept, so that a hung server holds one thread and not one more each time
