"""Whether the stores answer: each probed by a real request, side by side, each under its own deadline.

With details also whether the consumer, beat and the workers do their work.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cift_core.clock import utc_now
from cift_core.errors import StoreUnavailable
from cift_core.models import AlertKind
from cift_core.services import workers
from cift_core.services.consumer_lag import ConsumerLag
from cift_core.services.workers import Check
from cift_core.stores import Stores
from cift_core.stores.questdb_batches import Rows

Told = Sequence[Check] | None


@dataclass(frozen=True)
class Probed:
    """The outcome of one probe; `reason` is empty when healthy, `told` what it found behind the store."""

    store: str
    healthy: bool
    latency_ms: float
    reason: str
    told: Told = None


class Probe:
    """One store's probe, of which at most one runs at a time.

    Callers that come while it runs wait for the same answer, so a server that hangs holds one thread of this
    process and no more. A daemon thread: a hung probe must not keep the process from ending.
    """

    def __init__(self, store: str, ask: Callable[[], Told], deadline_s: float) -> None:
        self.store = store
        self._ask = ask
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._running: tuple[Future[Probed], float] | None = None

    def start(self) -> tuple[Future[Probed], float]:
        """The running request and when it began (monotonic seconds)."""
        with self._lock:
            if self._running is None or self._running[0].done():
                answer: Future[Probed] = Future()
                began = time.monotonic()
                self._running = (answer, began)
                threading.Thread(
                    target=self._run, args=(answer, began), name=f"probe-{self.store}", daemon=True
                ).start()
            return self._running

    def outcome(self, running: tuple[Future[Probed], float]) -> Probed:
        """The outcome, at the latest when the deadline that began with the request has passed."""
        answer, began = running
        try:
            return answer.result(timeout=max(0.0, began + self._deadline_s - time.monotonic()))
        except TimeoutError:
            return self._probed(began, f"no answer within {self._deadline_s:g} s")

    def _run(self, answer: Future[Probed], began: float) -> None:
        reason, told = "", None
        try:
            told = self._ask()
        except StoreUnavailable as error:
            reason = error.message
        except BaseException as error:
            answer.set_exception(error)
            raise
        answer.set_result(self._probed(began, reason, told))

    def _probed(self, began: float, reason: str, told: Told = None) -> Probed:
        latency_ms = round((time.monotonic() - began) * 1000, 3)
        return Probed(self.store, not reason, latency_ms, reason, told)


class Health:
    """The probes of one process's stores."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        deadline_s = stores.settings.probe_timeout_s
        asks: dict[str, Callable[[], None]] = {
            "postgres": stores.postgres.probe,
            "questdb": stores.questdb.probe,
            "broker": self._broker,
            "cache": stores.cache.probe,
        }
        self._needed = [Probe(store, ask, deadline_s) for store, ask in asks.items()]
        self._kafka = Probe("kafka", ConsumerLag(stores.kafka).checks, deadline_s)
        self._workers = Probe("workers", lambda: workers.checks(stores), deadline_s)

    def probe(self) -> list[Probed]:
        """The outcome of every store's probe, in the time of the slowest."""
        return _outcomes([*self._needed, self._kafka])

    def readiness(self, *, verbose: bool = False) -> dict[str, Any]:
        """The body of `GET /ready`; the check `redis` covers the broker and the cache.

        Without Kafka the service is ready: what comes by it waits there, and all else goes on.
        """
        behind = self._workers.start() if verbose else None
        outcomes = self.probe() if verbose else _outcomes(self._needed)
        probed = {outcome.store: outcome for outcome in outcomes}
        healthy = {
            "postgres": probed["postgres"].healthy,
            "questdb": probed["questdb"].healthy,
            "redis": probed["broker"].healthy and probed["cache"].healthy,
        }
        body: dict[str, Any] = {
            "ready": all(healthy.values()),
            "checks": {name: "healthy" if fine else "unhealthy" for name, fine in healthy.items()},
        }
        if behind is not None:
            stores = {
                name: _detail(outcome.healthy, outcome.latency_ms, outcome.reason)
                for name, outcome in probed.items()
            }
            stores["consumer"] = _together(told(outcomes))
            body["details"] = stores | _behind_the_broker(self._workers.outcome(behind))
        return body

    def _broker(self) -> None:
        if self._stores.broker.evicts():
            raise StoreUnavailable(
                "broker_evicts", "The broker may evict messages: set its maxmemory-policy to noeviction."
            )


def _outcomes(probes: Sequence[Probe]) -> list[Probed]:
    running = [(probe, probe.start()) for probe in probes]
    return [probe.outcome(request) for probe, request in running]


def told(outcomes: Sequence[Probed]) -> list[Check]:
    """What the probes found behind their stores."""
    return [check for outcome in outcomes for check in outcome.told or ()]


def stores_checked(outcomes: Sequence[Probed]) -> list[Check]:
    """The outcomes as checks, beside those of workers and beat."""
    return [
        Check(AlertKind.STORE_UNHEALTHY, outcome.store, outcome.healthy, outcome.latency_ms, outcome.reason)
        for outcome in outcomes
    ]


def _behind_the_broker(outcome: Probed) -> dict[str, dict[str, Any]]:
    found = outcome.told or ()
    ticks = [check for check in found if check.kind == AlertKind.BEAT_SILENT]
    return {
        name: _together(checks, outcome.reason)
        for name, checks in (("workers", [check for check in found if check not in ticks]), ("beat", ticks))
    }


def _together(checks: Sequence[Check], reason: str = "") -> dict[str, Any]:
    return _detail(
        _all_healthy(checks),
        max((check.latency_ms for check in checks), default=0.0),
        " ".join(filter(None, (reason, *(check.reason for check in checks)))),
    )


def _all_healthy(checks: Sequence[Check]) -> bool | None:
    """True, or False when one is not; None where nothing is known of any."""
    known = [check.healthy for check in checks if check.healthy is not None]
    return all(known) if known else None


def _detail(healthy: bool | None, latency_ms: float, reason: str) -> dict[str, Any]:
    status = "unknown" if healthy is None else "healthy" if healthy else "unhealthy"
    return {"status": status, "latency_ms": latency_ms, "reason": reason or None}


def record(stores: Stores, found: Sequence[Check]) -> None:
    """Append what is known to QuestDB's `health_probes`.

    Raises:
        StoreUnavailable: QuestDB does not answer.
    """
    columns = {"store": "name", "healthy": "healthy", "latency_ms": "latency_ms", "reason": "reason"}
    known = [check for check in found if check.healthy is not None]
    frame = pd.DataFrame(
        {column: [getattr(check, name) for check in known] for column, name in columns.items()}
    )
    stores.questdb.write(Rows("health_probes", frame, at=utc_now(), symbols=("store",)))
