"""One run of a backtest in a worker: read the bars, simulate, record."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from cift_core.clock import utc_now
from cift_core.engine import ENGINE_VERSION, Execution, Result, run_backtest, run_portfolio
from cift_core.services import data_reads, quality, quality_checks, revisions
from cift_core.services.bar_cache import read_kept_bars
from cift_core.services.bars import BarsRead, summary
from cift_core.services.data_reads import Read
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
    read, versions, reads, qualities = _read(stores, lease)
    result = _simulate(request, read)
    lease.progress = 0.6
    lease.check()
    recorded_at = utc_now()
    write_series(stores.questdb, claim.job_id, claim.attempt, recorded_at, request["symbols"], result)
    columns = {
        "metrics": result.metrics,
        "data": _data(summary(read, versions), reads, qualities, result),
        "engine_version": computed_by(request["strategy"]),
        "result_digest": result.sha256(),
        "result_attempt": claim.attempt,
        "recorded_at": recorded_at,
    }
    wait_readable(stores.questdb)  # QuestDB has applied the series while we computed the digests
    return columns


def _read(
    stores: Stores, lease: Lease
) -> tuple[dict[str, BarsRead], dict[str, int], list[Read], list[quality.Quality]]:
    """The bars of each symbol, the versions that what they are from had before, what of it was read, and of
    which quality that is."""
    request = lease.claim.request
    range_ = start, end = _moment(request.get("start")), _moment(request.get("end"))
    with stores.postgres.transaction() as session:
        known = revisions.versions(session, request["symbols"])
    read: dict[str, BarsRead] = {}
    for symbol in request["symbols"]:
        read[symbol] = read_kept_bars(
            stores,
            symbol,
            request["interval"],
            start,
            end,
            request.get("prices"),
            max_bars=stores.settings.max_bars_per_job - sum(len(one.bars) for one in read.values()),
        )
        lease.progress = 0.3 * len(read) / len(request["symbols"])
        lease.check()
    reads = [Read((symbol, *one.source.key), *one.reach(*range_)) for symbol, one in read.items()]
    versions = {one.key[0]: known.get(one.key, 0) for one in reads}
    strict = request.get("data_policy") == "strict"
    for one in reads if strict else ():
        quality_checks.check_series(stores, one.key, lease.check)
    with stores.postgres.transaction() as session:
        data_reads.note_reads(session, lease.claim, [(one, versions[one.key[0]]) for one in reads])
        if strict:
            quality.refuse_degraded(session, reads)
        qualities = [quality.of_read(session, one) for one in reads]
    return read, versions, reads, qualities


def _data(
    seen: dict[str, Any], reads: Sequence[Read], each: Sequence[quality.Quality], result: Result
) -> dict[str, Any]:
    """The `data` of a backtest, with the quality of what it read: together, and of each of several."""
    trades = result.trades
    spanned = np.zeros(len(trades), dtype=bool)
    for place, one in enumerate(each):
        of_symbol = trades["symbol"] == place
        held = trades[of_symbol]
        spanned[of_symbol] = one.spanned(held["entry_time"], held["exit_time"])
        if len(each) > 1:
            of_it = quality.summary(one, held["pnl"], spanned[of_symbol])
            seen["symbols"][reads[place].key[0]]["quality"] = of_it
    return {**seen, "quality": quality.summary(quality.together(each), trades["pnl"], spanned)}


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
