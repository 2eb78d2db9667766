"""MACD crossing its signal line."""

from cift_core.engine.indicators import band, ema_seeded_at, macd_signal
from cift_core.engine.signals import Signals, crosses
from cift_core.engine.strategy import Param, Params, Series, Strategy


def _compute(series: Series, params: Params) -> Signals:
    fast, slow, window = params["fast"], params["slow"], params["signal"]
    bar = max(fast, slow) - 1
    fast_mean = series.indicator(ema_seeded_at, "close", fast, bar)
    slow_mean = series.indicator(ema_seeded_at, "close", slow, bar)
    line = series.derived(
        (macd_signal, fast, slow, window), lambda: macd_signal(fast_mean, slow_mean, window, bar)
    )
    # fast - slow over the line, on the scale of prices: there the tie rule knows what noise is
    up, down = crosses(fast_mean, band(slow_mean, line, 1.0))
    return Signals(long_entry=up, long_exit=down, short_entry=down, short_exit=up)


STRATEGY = Strategy(
    name="macd_cross",
    title="MACD crossing its signal line",
    rule="Long when EMA(fast) less EMA(slow) of the close crosses above its own EMA(signal); exit and short "
    "when it crosses below.",
    source="Appel (2005), Technical Analysis: Power Tools for Active Investors",
    params=(
        Param("fast", "int", 12, 2, 100_000, "span in bars of the fast mean"),
        Param("slow", "int", 26, 2, 100_000, "span in bars of the slow mean"),
        Param("signal", "int", 9, 2, 100_000, "span in bars of the signal line"),
    ),
    compute=_compute,
)
