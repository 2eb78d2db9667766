"""The backtest engine: arrays in, arrays out. This is the whole surface."""

from cift_core.engine.account import EXIT_REASONS, SIDES, TRADE
from cift_core.engine.bars import INTERVALS, Bars
from cift_core.engine.execution import Execution
from cift_core.engine.run import ENGINE_VERSION, Result, run_backtest, run_sweep
from cift_core.engine.signals import Signals
from cift_core.engine.strategy import Param, Params, Series, Strategy

__all__ = [
    "ENGINE_VERSION",
    "EXIT_REASONS",
    "INTERVALS",
    "SIDES",
    "TRADE",
    "Bars",
    "Execution",
    "Param",
    "Params",
    "Result",
    "Series",
    "Signals",
    "Strategy",
    "run_backtest",
    "run_sweep",
]
