"""Strategies that other installed packages bring, by entry points of the group `cift.strategies`."""

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from math import inf
from typing import Final

from cift_core.engine import Param, Strategy

GROUP: Final = "cift.strategies"


class StrategyPackageError(Exception):
    """An installed package brings no usable strategy; says which, what is wrong and what to do."""


def installed(shipped: Iterable[str]) -> dict[str, Strategy]:
    """The strategies of all installed packages, by name, none of them one of the `shipped`.

    Raises:
        StrategyPackageError: an entry point can't be loaded, names no Strategy, one of another name or one
            with a parameter that can't be given, or its name is taken: a catalog that lacks what was deployed
            would fail jobs later, and elsewhere.
    """
    found: dict[str, Strategy] = {}
    taken = dict.fromkeys(shipped, "is one that ships")
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, _origin(entry))):
        strategy = _load(entry)
        if entry.name in taken:
            raise _unusable(entry, f"the name {entry.name} {taken[entry.name]}: choose another")
        found[entry.name] = strategy
        taken[entry.name] = f"is taken by {_origin(entry)}"
    return found


def origins() -> dict[str, str]:
    """For each strategy that a package brings: the package and its version."""
    return {entry.name: _origin(entry) for entry in entry_points(group=GROUP)}


def _load(entry: EntryPoint) -> Strategy:
    try:
        strategy = entry.load()
    except Exception as error:
        raise _unusable(entry, f"it can't be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(strategy, Strategy):
        raise _unusable(entry, f"that is {type(strategy).__name__}, not cift_core.engine.Strategy")
    if strategy.name != entry.name:
        raise _unusable(entry, f"that strategy's name is {strategy.name}: give both the same")
    for param in strategy.params:
        problem = _problem(param)
        if problem:
            raise _unusable(entry, f"its parameter {param.name} is wrong: {problem}")
    return strategy


def _problem(param: Param) -> str | None:
    if param.kind not in ("int", "float"):
        return f'the kind must be "int" or "float", not {param.kind!r}'
    if not -inf < param.min <= param.max < inf:
        return f"the bounds must be finite and in order, not {param.min} and {param.max}"
    return None if param.default is None else param.problem(param.default)


def _unusable(entry: EntryPoint, why: str) -> StrategyPackageError:
    return StrategyPackageError(
        f"the strategy {entry.name} = {entry.value} of {_origin(entry)} is unusable: {why}."
        f" Mend or uninstall that package."
    )


def _origin(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"
