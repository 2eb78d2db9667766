"""Rules as a program: a list of operations on earlier ones, each distinct one once."""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

Kind = Literal["constant", "series", "condition"]
MAX_STEPS: Final = 500


@dataclass(frozen=True)
class Step:
    """One operation; `args` are places of earlier steps.

    op            args            value                     kind
    number                        a float                   constant
    parameter                     its name                  constant
    column                        open, high, ...           series
    + - * / ** -x abs min max     operands                  constant or series
    back          x, a constant                             series
    call          operands        the function's name       series
    < <= > >= == !=               operands                  condition
    crosses_above crosses_below   a, b                      condition
    and or not    conditions                                condition
    """

    op: str
    args: tuple[int, ...]
    value: Any
    kind: Kind


class TooManySteps(Exception):
    """More operations than a strategy may have."""


@dataclass
class Program:
    """The steps of a whole strategy, and which of them have a name: their undefined start delays the first
    signal, as that of calls and look-backs does."""

    steps: list[Step] = field(default_factory=list)
    named: set[int] = field(default_factory=set)
    _places: dict[Step, int] = field(default_factory=dict)

    def add(self, op: str, args: tuple[int, ...], value: Any, kind: Kind) -> int:
        """The place of this step; one that is there already serves again.

        Raises:
            TooManySteps: there are 500.
        """
        step = Step(op, args, value, kind)
        place = self._places.get(step)
        if place is None:
            if len(self.steps) >= MAX_STEPS:
                raise TooManySteps
            place = self._places[step] = len(self.steps)
            self.steps.append(step)
        return place
