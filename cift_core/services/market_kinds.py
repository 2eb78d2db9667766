"""The kinds of market data: what a record of each holds, what it is called in files, and where it is kept."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

INTERVALS: Final = ("1s", "5s", "15s", "1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w", "1M")
SYMBOL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,31}")
SIDES: Final = {"buy": 1.0, "sell": -1.0}  # as numbers: who took, the other side's order stood in the book


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind: `required` and `optional` are the columns a file may have, `usual_names` what they are called
    there (lower case, without blanks, `_` and `-`).

    `values` are the table's columns of numbers, in order; of those `prices` are above 0 and needed, `amounts`
    at least 0, or above 0 where `amounts_positive`, and may be missing. The table is named as the kind is;
    `unit_ns` is how fine its time is. `number` tells records of one symbol and time apart: the table's
    column of it, or None where there is one record for each.
    """

    name: str
    row: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    values: tuple[str, ...]
    prices: tuple[str, ...]
    amounts: tuple[str, ...]
    amounts_positive: bool
    unit_ns: int
    number: str | None
    usual_names: Mapping[str, frozenset[str]]

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column a file may have."""
        return (*self.required, *self.optional)

    @property
    def time_type(self) -> str:
        """The type of the table's timestamp."""
        return "timestamp" if self.unit_ns == 1_000 else "timestamp_ns"


_ALWAYS = {"timestamp": "timestamp time date datetime", "symbol": "symbol ticker"}


def _named(**names: str) -> dict[str, frozenset[str]]:
    return {ours: frozenset(usual.split()) for ours, usual in (_ALWAYS | names).items()}


BARS: Final = Kind(
    name="bars",
    row="bar",
    required=("timestamp", "open", "high", "low", "close"),
    optional=("volume", "adjusted_close", "symbol"),
    values=("open", "high", "low", "close", "volume", "adjusted_close"),
    prices=("open", "high", "low", "close"),
    amounts=("volume",),
    amounts_positive=False,
    unit_ns=1_000,
    number=None,
    usual_names=_named(
        open="open",
        high="high",
        low="low",
        close="close",
        volume="volume",
        adjusted_close="adjclose adjustedclose",
    ),
)
TICKS: Final = Kind(
    name="ticks",
    row="trade",
    required=("timestamp", "price"),
    optional=("size", "side", "buyer_is_maker", "trade_id", "symbol"),
    values=("price", "size", "side"),
    prices=("price",),
    amounts=("size",),
    amounts_positive=True,
    unit_ns=1,
    number="trade_id",
    usual_names=_named(
        price="price",
        size="size quantity qty amount volume",
        side="side takerside",
        buyer_is_maker="buyerismaker isbuyermaker",
        trade_id="tradeid id",
    ),
)
QUOTES: Final = Kind(
    name="quotes",
    row="quote",
    required=("timestamp", "bid", "ask"),
    optional=("bid_size", "ask_size", "symbol"),
    values=("bid", "ask", "bid_size", "ask_size"),
    prices=("bid", "ask"),
    amounts=("bid_size", "ask_size"),
    amounts_positive=False,
    unit_ns=1,
    number="ordinal",
    usual_names=_named(
        bid="bid bidprice",
        ask="ask askprice offer",
        bid_size="bidsize bidvolume bidqty bidquantity",
        ask_size="asksize askvolume askqty askquantity",
    ),
)
KINDS: Final = {kind.name: kind for kind in (BARS, TICKS, QUOTES)}
