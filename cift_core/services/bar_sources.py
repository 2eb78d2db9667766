"""What there is of a symbol that bars can be read or built from."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cift_core.clock import rfc3339
from cift_core.engine import next_open
from cift_core.errors import FieldError, InvalidInput, did_you_mean
from cift_core.services.market_kinds import BARS, TICKS, Kind
from cift_core.stores.questdb import QuestDBPool

SHOWN = 10
_BARS = (
    "SELECT interval, cast(min(timestamp) AS long), cast(max(timestamp) AS long), count() FROM bars"
    " WHERE symbol = %s AND timestamp >= cast(%s AS timestamp) AND timestamp < cast(%s AS timestamp)"
    " ORDER BY interval"
)
_TICKS = (
    "SELECT cast(min(timestamp) AS long), cast(max(timestamp) AS long), count() FROM ticks WHERE symbol = %s"
    " AND timestamp >= cast(%s AS timestamp_ns) AND timestamp < cast(%s AS timestamp_ns)"
)
_SYMBOLS = "SELECT DISTINCT symbol FROM {table}"
_ALWAYS_NS = (0, 2**63 - 1)


@dataclass(frozen=True)
class Source:
    """Stored rows of one kind (and interval) of a symbol, from the first to the last of them."""

    kind: Kind
    interval: str | None
    first_ns: int
    last_ns: int
    rows: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """The kind and interval (empty of ticks) as the catalog has them."""
        return self.kind.name, self.interval or ""

    @property
    def length_ns(self) -> int:
        """How long one row lasts; nothing for a trade."""
        return 0 if self.interval is None else next_open(self.last_ns, self.interval) - self.last_ns

    @property
    def span_ns(self) -> int:
        """How long the time is that the rows reach over."""
        return self.last_ns - self.first_ns + self.length_ns

    def as_json(self) -> dict[str, Any]:
        """The kind, and the interval of bars."""
        return {"kind": self.kind.name, "interval": self.interval}


def available(
    questdb: QuestDBPool, symbol: str, begin_ns: int = _ALWAYS_NS[0], end_ns: int = _ALWAYS_NS[1]
) -> list[Source]:
    """What is stored of a symbol in [begin, end): bars by their intervals, then ticks."""
    bars = questdb.fetch(_BARS, (symbol, begin_ns // BARS.unit_ns, end_ns // BARS.unit_ns))
    found = [
        Source(BARS, str(interval), first * BARS.unit_ns, last * BARS.unit_ns, rows)
        for interval, first, last, rows in bars
    ]
    ((first, last, rows),) = questdb.fetch(_TICKS, (symbol, begin_ns, end_ns))
    return [*found, Source(TICKS, None, first, last, rows)] if rows else found


def nothing_there(
    questdb: QuestDBPool, symbol: str, interval: str, start: datetime | None, end: datetime | None
) -> InvalidInput:
    """The error for a range without data: what there is instead."""
    wanted = f"{symbol} {interval}{_range(start, end)}"
    stored = available(questdb, symbol)
    if stored:
        listed = "; ".join(
            f"{symbol} {source.interval or source.kind.name} {rfc3339(source.first_ns)} to "
            f"{rfc3339(source.last_ns)} ({source.rows} {source.kind.row}s)"
            for source in stored
        )
        return InvalidInput("no_bars", f"no bars for {wanted}; available: {listed}.")
    return InvalidInput("no_bars", f"no bars for {wanted}{_other_symbols(questdb, symbol, BARS, TICKS)}.")


def none_ever(questdb: QuestDBPool, kind: Kind, symbol: str) -> InvalidInput:
    """The error for a symbol without a row of the kind: the symbols that have some."""
    sentence = f"no {kind.name} of {symbol}{_other_symbols(questdb, symbol, kind)}."
    return InvalidInput(f"no_{kind.name}", sentence, [FieldError("/symbol", sentence)])


def _other_symbols(questdb: QuestDBPool, symbol: str, *kinds: Kind) -> str:
    symbols = sorted(
        {str(name) for kind in kinds for (name,) in questdb.fetch(_SYMBOLS.format(table=kind.name))}
    )
    shown = ", ".join(symbols[:SHOWN]) + (f" and {len(symbols) - SHOWN} more" if len(symbols) > SHOWN else "")
    return f"{did_you_mean(symbol, symbols)}; available symbols: {shown or 'none yet'}"


def _range(start: datetime | None, end: datetime | None) -> str:
    if start is None and end is None:
        return ""
    shown = [
        moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else "…" for moment in (start, end)
    ]
    return f" in [{shown[0]}, {shown[1]})"
