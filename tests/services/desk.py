"""One owner's desk: ingestions submitted, run in this process as a worker would, and looked at."""

import io
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from cift_core.models import Ingestion, IngestionReject, JobStatus
from cift_core.services import ingestion_runs, ingestions, jobs
from cift_core.services.jobs import Claim
from cift_core.services.leases import Lease
from cift_core.stores import Stores
from cift_core.stores.files import store_upload

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
Row = tuple[Any, ...]
COUNT = "SELECT count() FROM {table} WHERE ingestion_id = %s"


class Desk:
    """One owner's ingestions, run in this process as a worker would run them."""

    def __init__(self, stores: Stores, owner_id: UUID) -> None:
        self.stores = stores
        self.settings = stores.settings
        self.owner_id = owner_id
        self.symbol = f"T{uuid4().hex[:12]}"

    def write(self, text: str | bytes, name: str = "bars.csv") -> None:
        path = self.settings.data_dir / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def submit(self, path: str | None = "bars.csv", upload: bytes | None = None, **changes: Any) -> Ingestion:
        source = {"type": "file", "path": path, **changes.get("source", {})}
        request = {"kind": "bars", "symbol": self.symbol, **changes, "source": source}
        if request["kind"] == "bars":
            request.setdefault("interval", "1d")
        stored = None if upload is None else store_upload(self.settings, io.BytesIO(upload))
        with self.stores.postgres.transaction() as session:
            return ingestions.submit(session, self.settings, self.owner_id, request, stored)

    def claim(self, ingestion: Ingestion, lease_s: float = 60) -> Claim:
        with self.stores.postgres.transaction() as session:
            claim = jobs.claim(session, Ingestion, ingestion.id, lease_s=lease_s, task_id=str(uuid4()))
        assert claim is not None
        return claim

    def run(self, ingestion: Ingestion, **options: Any) -> Ingestion:
        claim = self.claim(ingestion)
        with Lease(self.stores.postgres, claim, 60) as lease:
            values = ingestion_runs.run(self.stores, lease, **options)
        with self.stores.postgres.transaction() as session:
            assert jobs.finish(session, claim, JobStatus.SUCCEEDED, **values)
        return self.get(ingestion)

    def get(self, ingestion: Ingestion) -> Ingestion:
        with self.stores.postgres.transaction() as session:
            return ingestions.get(session, self.owner_id, ingestion.id)

    def ingest(
        self, text: str | bytes | None = None, *, options: dict[str, Any] | None = None, **request: Any
    ) -> Ingestion:
        if text is not None:
            self.write(text, request.get("path", "bars.csv"))
        return self.run(self.submit(**request), **(options or {}))

    def rejects(self, ingestion: Ingestion) -> list[tuple[int, str, str]]:
        found: list[IngestionReject] = []
        cursor = None
        while True:
            with self.stores.postgres.transaction() as session:
                page, cursor = ingestions.list_rejects(
                    session, self.owner_id, ingestion.id, cursor=cursor, limit=100
                )
            found += page
            if cursor is None:
                return [(reject.line, reject.reason, reject.raw) for reject in found]

    def bars(self, symbol: str | None = None, interval: str = "1d") -> list[Row]:
        return self.stores.questdb.fetch(
            "SELECT timestamp, open, high, low, close, volume, adjusted_close FROM bars"
            " WHERE symbol = %s AND interval = %s ORDER BY timestamp",
            (symbol or self.symbol, interval),
        )

    def ticks(self, symbol: str | None = None) -> list[Row]:
        return self.stores.questdb.fetch(
            "SELECT cast(timestamp AS long), trade_id, price, size, side FROM ticks WHERE symbol = %s"
            " ORDER BY timestamp, trade_id",
            (symbol or self.symbol,),
        )

    def quotes(self) -> list[Row]:
        return self.stores.questdb.fetch(
            "SELECT cast(timestamp AS long), ordinal, bid, ask, bid_size, ask_size FROM quotes"
            " WHERE symbol = %s ORDER BY timestamp, ordinal",
            (self.symbol,),
        )

    def count_of(self, ingestion: Ingestion) -> int:
        sql = COUNT.format(table=ingestion.request["kind"])
        return int(self.stores.questdb.fetch(sql, (str(ingestion.id),))[0][0])


def counts(ingestion: Ingestion) -> tuple[int, int, int, int]:
    return ingestion.rows_read, ingestion.rows_written, ingestion.rows_duplicate, ingestion.rows_rejected
