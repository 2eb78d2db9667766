"""Price bars as the engine sees them: validated once, then read-only."""

import hashlib
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cift_core.engine.kernel import kernel
from cift_core.errors import FieldError, InvalidInput, did_you_mean

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

DAY_NS: Final = 86_400_000_000_000
YEAR_NS: Final = 365.25 * DAY_NS

# A month has no fixed length; its yearly count is fixed instead, and so is a week's.
INTERVAL_NS: Final[dict[str, int]] = {
    "1s": 1_000_000_000,
    "5s": 5_000_000_000,
    "15s": 15_000_000_000,
    "1m": 60_000_000_000,
    "5m": 300_000_000_000,
    "15m": 900_000_000_000,
    "30m": 1_800_000_000_000,
    "1h": 3_600_000_000_000,
    "4h": 14_400_000_000_000,
    "1d": DAY_NS,
}
FIXED_PERIODS_PER_YEAR: Final = {"1w": 52.0, "1M": 12.0}
INTERVALS: Final = (*INTERVAL_NS, *FIXED_PERIODS_PER_YEAR, "tick")

_TIME_ORDER, _NOT_A_PRICE, _HIGH_TOO_LOW, _LOW_TOO_HIGH, _BAD_VOLUME = range(5)


class Bars:
    """Bars of one symbol, in time order: `time` int64[n] (ns since 1970 UTC, the open time of each bar),
    `open`, `high`, `low`, `close` and `volume` float64[n] (`volume` may be None).

    The arrays are read-only views of the caller's (copied only where they are no contiguous float64 yet):
    whoever writes to the originals afterwards breaks the guarantee. `interval` is one of `INTERVALS` or None.

    Raises InvalidInput, naming the first bar, unless times strictly increase, prices are finite, positive and
    `low <= open, close <= high`, and a volume is NaN or not negative.
    """

    __slots__ = ("close", "high", "interval", "low", "open", "time", "volume")

    def __init__(
        self,
        *,
        time: ArrayLike,
        open: ArrayLike,  # noqa: A002 - the field's name everywhere
        high: ArrayLike,
        low: ArrayLike,
        close: ArrayLike,
        volume: ArrayLike | None = None,
        interval: str | None = None,
    ) -> None:
        if interval is not None and interval not in INTERVALS:
            raise _invalid(
                f'interval must be one of {", ".join(INTERVALS)}, got "{interval}"'
                f"{did_you_mean(interval, INTERVALS)}"
            )
        self.time: IntArray = _times(time)
        self.open = _column("open", open, len(self.time))
        self.high = _column("high", high, len(self.time))
        self.low = _column("low", low, len(self.time))
        self.close = _column("close", close, len(self.time))
        self.volume = None if volume is None else _column("volume", volume, len(self.time))
        self.interval = interval
        self._check()

    def __len__(self) -> int:
        return len(self.time)

    def adjusted(self, adjusted_close: ArrayLike) -> "Bars":
        """These bars with every price scaled by `adjusted_close / close` (splits and dividends taken out).

        Volume is left as traded. Raises InvalidInput where an adjusted close is not finite and positive.
        """
        column = _column("adjusted_close", adjusted_close, len(self))
        bad = np.flatnonzero(~(np.isfinite(column) & (column > 0)))
        if len(bad):
            i = int(bad[0])
            raise _invalid(f"{self._name(i)}: adjusted_close must be finite and positive, got {column[i]}")
        factor = column / self.close
        # One factor for all four: multiplication rounds monotonically, so low <= open, close <= high
        # survives.
        return Bars(
            time=self.time,
            open=self.open * factor,
            high=self.high * factor,
            low=self.low * factor,
            close=self.close * factor,
            volume=self.volume,
            interval=self.interval,
        )

    def sha256(self) -> str:
        """SHA-256 (hex) of what the engine sees: the bytes of time (little-endian int64), then open,
        high, low, close and, where there is one, volume (little-endian float64), each column whole."""
        digest = hashlib.sha256(self.time.astype("<i8", copy=False).data)
        for column in (self.open, self.high, self.low, self.close, self.volume):
            if column is not None:
                digest.update(column.astype("<f8", copy=False).data)
        return digest.hexdigest()

    def _check(self) -> None:
        volume = self.close if self.volume is None else self.volume
        first, fault, count = _first_fault(self.time, self.open, self.high, self.low, self.close, volume)
        if count == 0:
            return
        i = int(first)
        o, h, lo, c = (float(x[i]) for x in (self.open, self.high, self.low, self.close))
        sentence = {
            _TIME_ORDER: f"its time is not after that of bar {i - 1} ({rfc3339(int(self.time[i - 1]))})",
            _NOT_A_PRICE: f"prices must be finite and positive, got open {o}, high {h}, low {lo}, close {c}",
            _HIGH_TOO_LOW: f"high {h} is below open {o}, low {lo} or close {c}",
            _LOW_TOO_HIGH: f"low {lo} is above open {o} or close {c}",
            _BAD_VOLUME: f"volume must be NaN or at least 0, got {float(volume[i])}",
        }[int(fault)]
        more = f" ({count} bad bars in all)" if count > 1 else ""
        raise _invalid(f"{self._name(i)}: {sentence}{more}")

    def _name(self, i: int) -> str:
        return f"bar {i} ({rfc3339(int(self.time[i]))})"


def periods_per_year(time: IntArray, interval: str | None) -> float | None:
    """Bars in a year, for annualising; None where there is no such figure (ticks, or a span under 60 days
    of an unnamed interval).

    Weeks 52, months 12. Else counted over the span from the first to the last bar and snapped to 252 or
    365 within 5 %; under 60 days, the nominal count of the interval in 365.25 days.
    """
    if interval == "tick":
        return None
    if interval in FIXED_PERIODS_PER_YEAR:
        return FIXED_PERIODS_PER_YEAR[interval]
    span_ns = int(time[-1]) - int(time[0])
    if span_ns < 60 * DAY_NS:
        return None if interval is None else YEAR_NS / INTERVAL_NS[interval]
    measured = (len(time) - 1) / (span_ns / YEAR_NS)
    for convention in (252.0, 365.0):
        if abs(measured - convention) <= 0.05 * convention:
            return convention
    return measured


def rfc3339(time_ns: int) -> str:
    """`time_ns` (ns since 1970 UTC) as RFC 3339 with `Z`, with as many decimals of a second as it has."""
    text = str(np.datetime64(time_ns, "ns"))
    return text.rstrip("0").rstrip(".") + "Z" if "." in text else text + "Z"


@kernel
def _first_fault(
    time: IntArray,
    open_: FloatArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
) -> tuple[int, int, int]:
    """Index and kind of the first bar that breaks a rule, and how many do."""
    first, first_fault, count = -1, -1, 0
    for i in range(len(time)):
        o, h, lo, c, v = open_[i], high[i], low[i], close[i], volume[i]
        fault = -1
        if i > 0 and time[i] <= time[i - 1]:
            fault = _TIME_ORDER
        elif not (0.0 < o < np.inf and 0.0 < h < np.inf and 0.0 < lo < np.inf and 0.0 < c < np.inf):
            fault = _NOT_A_PRICE
        elif h < o or h < c or h < lo:
            fault = _HIGH_TOO_LOW
        elif lo > o or lo > c:
            fault = _LOW_TOO_HIGH
        elif v < 0.0 or v == np.inf:
            fault = _BAD_VOLUME
        if fault >= 0:
            count += 1
            if first < 0:
                first, first_fault = i, fault
    return first, first_fault, count


def _times(values: ArrayLike) -> IntArray:
    array = np.asarray(values)
    if array.dtype != np.int64:
        raise _invalid(f"time must be int64 (ns since 1970 UTC), got {array.dtype}")
    if array.ndim != 1 or len(array) == 0:
        raise _invalid(f"time must hold at least one bar in one dimension, got shape {array.shape}")
    return read_only(array)


def _column(name: str, values: ArrayLike, n: int) -> FloatArray:
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise _invalid(f"{name} must be float64, got {array.dtype}")
    if array.shape != (n,):
        raise _invalid(f"{name} must have one value for each of the {n} times, got shape {array.shape}")
    return read_only(array.astype(np.float64, copy=False))


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A contiguous view that can't be written to: what all kernels take, or they would be compiled twice."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def _invalid(detail: str) -> InvalidInput:
    return InvalidInput("invalid_bars", detail, [FieldError("/bars", detail)])
