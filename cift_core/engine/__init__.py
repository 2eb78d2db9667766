"""The backtest engine: arrays in, arrays out. This is the whole surface."""

from cift_core.engine.account import EXIT_REASONS, SIDES, TRADE
from cift_core.engine.bars import INTERVALS, Bars
from cift_core.engine.candles import Candles, builds, floor_time, next_open
from cift_core.engine.execution import Execution
from cift_core.engine.panel import Panel
from cift_core.engine.portfolio import run_portfolio
from cift_core.engine.run import ENGINE_VERSION, Result, run_backtest
from cift_core.engine.signals import EntryOrder, Signals
from cift_core.engine.strategy import Param, Params, Series, Strategy
from cift_core.engine.sweep import run_sweep

__all__ = [
    "ENGINE_VERSION",
    "EXIT_REASONS",
    "INTERVALS",
    "SIDES",
    "TRADE",
    "Bars",
    "Candles",
    "EntryOrder",
    "Execution",
    "Panel",
    "Param",
    "Params",
    "Result",
    "Series",
    "Signals",
    "Strategy",
    "builds",
    "floor_time",
    "next_open",
    "run_backtest",
    "run_portfolio",
    "run_sweep",
]
