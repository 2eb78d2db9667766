"""A worker's hold on the job it runs: a thread renews the lease while the job computes."""

import threading
from types import TracebackType
from typing import Self

from cift_core.errors import JobCancelled, LeaseLost, StoreUnavailable
from cift_core.logs import logger
from cift_core.services import jobs
from cift_core.services.jobs import Claim
from cift_core.stores.postgres import PostgresPool

log = logger(__name__)
MAX_INTERVAL_S = 2.0


class Lease:
    """Renews a claim until the block ends; the job reports `progress` and asks `check` where it can stop.

    A store that is briefly away does not end the lease: only its own row can say that it is lost.
    """

    def __init__(self, postgres: PostgresPool, claim: Claim, lease_s: float) -> None:
        self.claim = claim
        self.progress = 0.0
        self._postgres = postgres
        self._lease_s = lease_s
        self._ended = threading.Event()
        self._cancelled = False
        self._lost = False
        self._thread = threading.Thread(target=self._keep, name=f"lease-{claim.job_id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def check(self) -> None:
        """Return while the job is still this worker's to do.

        Raises:
            JobCancelled: its owner asked for that.
            LeaseLost: it is another worker's by now.
        """
        if self._lost:
            raise LeaseLost("lease_lost", "Another worker has this job by now.")
        if self._cancelled:
            raise JobCancelled("cancelled", "The job was cancelled by its owner.")

    def _keep(self) -> None:
        interval_s = min(self._lease_s / 3, MAX_INTERVAL_S)
        while not self._ended.wait(interval_s):
            try:
                with self._postgres.transaction() as session:
                    cancelled = jobs.heartbeat(
                        session, self.claim, lease_s=self._lease_s, progress=self.progress
                    )
            except StoreUnavailable:
                log.warning("lease.not_renewed", job_id=str(self.claim.job_id), exc_info=True)
                continue
            if cancelled is None:
                self._lost = True
                return
            self._cancelled = cancelled
