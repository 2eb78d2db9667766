"""The strategies that ship, one file each, by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cift_core.engine import Strategy
from cift_core.strategies import sma_cross

STRATEGIES: Final[Mapping[str, Strategy]] = MappingProxyType({s.name: s for s in (sma_cross.STRATEGY,)})
