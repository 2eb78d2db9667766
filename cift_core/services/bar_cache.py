"""Bars read for backtests, kept in local files under the versions of all that they could be read from.

What is kept is named by a digest of what was asked for and of every revision that touches the range, of any
series of the symbol. A revision is told of before its rows are written: while one is not settled nothing is
taken or kept, and what is read while one came is not kept. So what is taken is what QuestDB would answer.
"""

import hashlib
import json
from datetime import datetime
from typing import Final

import numpy as np

from cift_core.engine import Bars
from cift_core.services import revisions
from cift_core.services.bar_sources import Source
from cift_core.services.bars import BarsRead, Prices, ceil_time, range_ns, read_bars
from cift_core.services.market_kinds import KINDS
from cift_core.stores import Stores

FEWEST_BARS: Final = 20_000  # fewer are read from QuestDB about as soon
_FORM: Final = 1  # of what is kept; raise it when reading or building bars changes


def read_kept_bars(
    stores: Stores,
    symbol: str,
    interval: str,
    start: datetime | None,
    end: datetime | None,
    prices: Prices | None,
    *,
    max_bars: int,
) -> BarsRead:
    """What `read_bars` reads, from the file where it is kept.

    Raises what `read_bars` raises.
    """
    name = _name(stores, symbol, interval, start, end, prices)
    kept = None if name is None else _kept(stores, name, interval)
    if kept is not None and len(kept.bars) <= max_bars:
        return kept
    read = read_bars(stores.questdb, symbol, interval, start, end, prices, max_bars=max_bars)
    large = len(read.bars) >= FEWEST_BARS
    if name is not None and large and name == _name(stores, symbol, interval, start, end, prices):
        _keep(stores, name, read)
    return read


def _name(
    stores: Stores,
    symbol: str,
    interval: str,
    start: datetime | None,
    end: datetime | None,
    prices: Prices | None,
) -> str | None:
    """The name of what is asked for as the data stands; None while it is being written."""
    begin_ns, end_ns = range_ns(start, end)
    with stores.postgres.transaction() as session:
        touching = revisions.touching(session, symbol, begin_ns, ceil_time(end_ns, interval))
    if touching is None:
        return None
    asked = json.dumps([_FORM, symbol, interval, begin_ns, end_ns, prices, touching])
    return hashlib.sha256(asked.encode()).hexdigest()


def _kept(stores: Stores, name: str, interval: str) -> BarsRead | None:
    found = stores.arrays.get(name)
    if found is None:
        return None
    about, (time, open_, high, low, close, *volume) = found
    bars = Bars(
        time=time,
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume[0] if volume else None,
        interval=interval,
    )
    figures = (about[name] for name in ("first_ns", "last_ns", "rows"))
    return BarsRead(bars, about["prices"], Source(KINDS[about["kind"]], about["interval"], *figures))


def _keep(stores: Stores, name: str, read: BarsRead) -> None:
    bars, source = read.bars, read.source
    about = {
        "kind": source.kind.name,
        "interval": source.interval,
        "first_ns": source.first_ns,
        "last_ns": source.last_ns,
        "rows": source.rows,
        "prices": read.prices,
    }
    columns: list[np.ndarray] = [bars.time, bars.open, bars.high, bars.low, bars.close]
    stores.arrays.put(name, about, columns if bars.volume is None else [*columns, bars.volume])
