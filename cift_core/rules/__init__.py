"""The rules language: strategies as expressions, closed by construction."""

from cift_core.rules.compile import compile_rules
from cift_core.rules.functions import FUNCTIONS, Function

__all__ = ["FUNCTIONS", "Function", "compile_rules"]
