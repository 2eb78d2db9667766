"""One run of a backtest in a worker: read the bars, simulate, record."""

from datetime import datetime
from typing import Any

from cift_core.clock import utc_now
from cift_core.engine import ENGINE_VERSION, Execution, run_backtest
from cift_core.services.bars import read_bars
from cift_core.services.leases import Lease
from cift_core.services.series import write_series
from cift_core.stores import Stores
from cift_core.strategies import STRATEGIES


def run(stores: Stores, lease: Lease) -> dict[str, Any]:
    """The columns of the succeeded backtest; its series are readable in QuestDB when this returns.

    Raises:
        InvalidInput: no bars to run on, or the engine refuses the data.
        StoreUnavailable: a store does not answer.
        JobCancelled, LeaseLost: the job is no longer this worker's.
    """
    claim, request = lease.claim, lease.claim.request
    (symbol,) = request["symbols"]
    read = read_bars(
        stores.questdb,
        symbol,
        request["interval"],
        _moment(request.get("start")),
        _moment(request.get("end")),
        request.get("prices"),
        max_bars=stores.settings.max_bars_per_job,
    )
    lease.progress = 0.3
    lease.check()
    strategy = STRATEGIES[request["strategy"]["name"]]
    execution = Execution.from_mapping(request["execution"])
    result = run_backtest(read.bars, strategy, request["strategy"]["params"], execution, cash=request["cash"])
    lease.progress = 0.6
    lease.check()
    recorded_at = utc_now()
    write_series(stores.questdb, claim.job_id, claim.attempt, recorded_at, symbol, read.bars.time, result)
    return {
        "metrics": result.metrics,
        "data": read.summary(),
        "engine_version": ENGINE_VERSION,
        "result_digest": result.sha256(),
        "result_attempt": claim.attempt,
        "recorded_at": recorded_at,
    }


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
