"""One run of a backtest in a worker: read the bars, simulate, record."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cift_core.clock import utc_now
from cift_core.engine import ENGINE_VERSION, Execution, Result, run_backtest, run_portfolio
from cift_core.services import revisions
from cift_core.services.bars import BarsRead, read_bars, summary
from cift_core.services.leases import Lease
from cift_core.services.series import wait_readable, write_series
from cift_core.services.trading_strategies import strategy_of
from cift_core.stores import Stores
from cift_core.strategies import ORIGINS


def run(stores: Stores, lease: Lease) -> dict[str, Any]:
    """The columns of the succeeded backtest; its series are readable in QuestDB when this returns.

    Raises:
        InvalidInput: no bars to run on, or the engine refuses the data.
        StoreUnavailable: a store does not answer.
        JobCancelled, LeaseLost: the job is no longer this worker's.
    """
    claim, request = lease.claim, lease.claim.request
    read, versions = _read(stores, lease)
    result = _simulate(request, read)
    lease.progress = 0.6
    lease.check()
    recorded_at = utc_now()
    write_series(stores.questdb, claim.job_id, claim.attempt, recorded_at, request["symbols"], result)
    columns = {
        "metrics": result.metrics,
        "data": summary(read, versions),
        "engine_version": computed_by(request["strategy"]),
        "result_digest": result.sha256(),
        "result_attempt": claim.attempt,
        "recorded_at": recorded_at,
    }
    wait_readable(stores.questdb)  # QuestDB has applied the series while we computed the digests
    return columns


def _read(stores: Stores, lease: Lease) -> tuple[dict[str, BarsRead], dict[str, int]]:
    """The bars of each symbol, and the versions that what they are from had before it was read."""
    request = lease.claim.request
    range_ = start, end = _moment(request.get("start")), _moment(request.get("end"))
    with stores.postgres.transaction() as session:
        known = revisions.versions(session, request["symbols"])
    read: dict[str, BarsRead] = {}
    for symbol in request["symbols"]:
        read[symbol] = read_bars(
            stores.questdb,
            symbol,
            request["interval"],
            start,
            end,
            request.get("prices"),
            max_bars=stores.settings.max_bars_per_job - sum(len(one.bars) for one in read.values()),
        )
        lease.progress = 0.3 * len(read) / len(request["symbols"])
        lease.check()
    keys = {symbol: (symbol, *one.source.key) for symbol, one in read.items()}
    versions = {symbol: known.get(key, 0) for symbol, key in keys.items()}
    with stores.postgres.transaction() as session:
        reaches = [(keys[symbol], versions[symbol], *one.reach(*range_)) for symbol, one in read.items()]
        revisions.note_reads(session, lease.claim, reaches)
    return read, versions


def computed_by(definition: Mapping[str, Any]) -> str:
    """The engine's version, and the package and version of the strategy where one brings it."""
    package = None if "rules" in definition else ORIGINS.get(definition["name"])
    return ENGINE_VERSION if package is None else f"{ENGINE_VERSION}, {package}"


def _simulate(request: Mapping[str, Any], read: Mapping[str, BarsRead]) -> Result:
    strategy, params = strategy_of(request["strategy"]), request["strategy"]["params"]
    execution, cash = Execution.from_mapping(request["execution"]), request["cash"]
    if len(read) > 1 or strategy.weigh is not None:
        bars = {symbol: one.bars for symbol, one in read.items()}
        return run_portfolio(bars, strategy, params, execution, cash=cash)
    (one,) = read.values()
    return run_backtest(one.bars, strategy, params, execution, cash=cash)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
