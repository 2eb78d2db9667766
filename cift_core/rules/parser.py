"""One expression of the rules language into steps of a program, on Python's own `ast`.

The language is closed: what has no branch below is refused, with its place in the text.
"""

import ast
import re
from dataclasses import dataclass
from math import isfinite
from typing import Final, NoReturn

from cift_core.errors import did_you_mean
from cift_core.rules.functions import FUNCTIONS, Argument, Function
from cift_core.rules.program import MAX_STEPS, Kind, Program, TooManySteps

MAX_CHARS: Final = 2_000
MAX_DEPTH: Final = 40
MAX_LOOK_BACK: Final = 10_000
MAX_EXPONENT: Final = 16.0
COLUMNS: Final = ("open", "high", "low", "close", "volume")
ELEMENTWISE: Final = {"abs": 1, "min": 2, "max": 2}
CROSSES: Final = ("crosses_above", "crosses_below")
_PARAMETER = re.compile(r"\$([A-Za-z][A-Za-z0-9_]*)")
_ARITHMETIC: Final = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
_COMPARISONS: Final = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_REFUSED: Final = {
    ast.Attribute: "an attribute (a dot)",
    ast.Lambda: "a lambda",
    ast.NamedExpr: "an assignment",
    ast.IfExp: "if ... else",
    ast.JoinedStr: "a text",
    ast.Starred: "a star",
    ast.Dict: "an object",
    ast.Set: "a set",
    ast.List: "a list",
    ast.Tuple: "a tuple (a comma)",
    ast.ListComp: "a comprehension",
    ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
}


class RuleError(Exception):
    """What is wrong with an expression, in a sentence that says where."""


@dataclass(frozen=True)
class Expression:
    """A text of the language and its syntax tree."""

    text: str
    tree: ast.expr

    def names(self) -> set[str]:
        """Every name in it, whatever it stands for."""
        return {node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name)}


class Parser:
    """Parses the expressions of one strategy into one program.

    `named` has the places of the named indicators that are parsed already; `parameters` collects for each
    `$name` the arguments it is used as.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.named: dict[str, int] = {}
        self.parameters: dict[str, list[Argument]] = {}
        self._text = ""

    def parse(self, expression: Expression, kind: Kind) -> int:
        """The place of the expression's result, which is of this kind (a constant is a series too).

        Raises:
            RuleError: it is none of the language.
        """
        self._text = expression.text
        try:
            place = self._node(expression.tree, 0)
        except TooManySteps:
            raise RuleError(f"the strategy has more than {MAX_STEPS} distinct operations") from None
        found = self.program.steps[place].kind
        if (found == "condition") != (kind == "condition"):
            wanted = "a condition, such as close > open" if kind == "condition" else "a number or a series"
            raise RuleError(f"must be {wanted}, not {_noun(found)}")
        return place

    def _fail(self, node: ast.AST, sentence: str) -> NoReturn:
        column = getattr(node, "col_offset", 0)
        raise RuleError(f"at character {column + 1} ({_excerpt(self._text, column)}): {sentence}")

    def _node(self, node: ast.expr, depth: int) -> int:  # noqa: C901, PLR0911  a branch per part of the language
        if depth > MAX_DEPTH:
            self._fail(node, f"is nested deeper than {MAX_DEPTH} levels")
        match node:
            case ast.Constant():
                return self._number(node)
            case ast.Name():
                return self._name(node)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                place = self._numeric(operand, depth)
                return place if isinstance(node.op, ast.UAdd) else self._elementwise("-x", place)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.program.add("not", (self._condition(operand, depth),), None, "condition")
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                return self._arithmetic(node, depth)
            case ast.BoolOp(values=values):
                op = "and" if isinstance(node.op, ast.And) else "or"
                return self._chain(op, [self._condition(value, depth) for value in values])
            case ast.Compare():
                return self._compare(node, depth)
            case ast.Call():
                return self._call(node, depth)
            case ast.Subscript():
                return self._back(node, depth)
        return self._refuse(node)

    def _refuse(self, node: ast.expr) -> NoReturn:
        what = _REFUSED.get(type(node))
        if what is None and isinstance(node, ast.BinOp | ast.UnaryOp):
            what = "this operator"
        self._fail(node, f"{what or 'this'} is not part of the rules language")

    def _number(self, node: ast.Constant) -> int:
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            self._fail(node, "only numbers may stand here")
        value = float(node.value) if abs(node.value) < 1e300 else float("inf")
        if not isfinite(value):
            self._fail(node, "is too large a number")
        return self.program.add("number", (), value, "constant")

    def _name(self, node: ast.Name) -> int:
        name = node.id
        if name.startswith("_"):  # a parameter: see `read`
            self.parameters.setdefault(name[1:], [])
            return self.program.add("parameter", (), name[1:], "constant")
        if name in self.named:
            return self.named[name]
        if name in COLUMNS:
            return self.program.add("column", (), name, "series")
        if name in FUNCTIONS or name in ELEMENTWISE or name in CROSSES:
            self._fail(node, f"{name} is a function: write {_signature(name)}")
        near = did_you_mean(name, [*COLUMNS, *self.named, *FUNCTIONS, *CROSSES, *ELEMENTWISE])
        return self._fail(node, f'there is no series or indicator "{name}"{near}')

    def _arithmetic(self, node: ast.BinOp, depth: int) -> int:
        left, right = self._numeric(node.left, depth), self._numeric(node.right, depth)
        op = _ARITHMETIC[type(node.op)]
        if op == "**":
            self._check_exponent(node, right)
        return self._elementwise(op, left, right)

    def _check_exponent(self, node: ast.BinOp, place: int) -> None:
        step = self.program.steps[place]
        if step.op == "-x":
            step = self.program.steps[step.args[0]]
        if step.op == "parameter":
            self.parameters[step.value].append(Argument("exponent", "number", -MAX_EXPONENT, MAX_EXPONENT))
        elif step.op != "number" or abs(step.value) > MAX_EXPONENT:
            limit = f"a number or $parameter from -{MAX_EXPONENT:g} to {MAX_EXPONENT:g}"
            self._fail(node.right, f"an exponent must be {limit}")

    def _elementwise(self, op: str, *places: int) -> int:
        constant = all(self.program.steps[place].kind == "constant" for place in places)
        return self.program.add(op, places, None, "constant" if constant else "series")

    def _chain(self, op: str, places: list[int]) -> int:
        result = places[0]
        for place in places[1:]:
            result = self.program.add(op, (result, place), None, "condition")
        return result

    def _compare(self, node: ast.Compare, depth: int) -> int:
        values = [self._numeric(value, depth) for value in (node.left, *node.comparators)]
        conditions = []
        for op, left, right in zip(node.ops, values, values[1:], strict=False):
            if type(op) not in _COMPARISONS:
                self._fail(node, "is and in are not part of the rules language")
            conditions.append(self.program.add(_COMPARISONS[type(op)], (left, right), None, "condition"))
        return self._chain("and", conditions)

    def _call(self, node: ast.Call, depth: int) -> int:
        if not isinstance(node.func, ast.Name):
            self._fail(node, "only the functions of the rules language can be called")
        if node.keywords:
            self._fail(node, "arguments are given by their place, without names")
        name = node.func.id
        if name in ELEMENTWISE or name in CROSSES:
            places = [self._numeric(value, depth) for value in node.args]
            if len(places) != ELEMENTWISE.get(name, 2):
                self._fail(node, f"{name} takes {ELEMENTWISE.get(name, 2)} values: {_signature(name)}")
            if name in CROSSES:
                return self.program.add(name, tuple(places), None, "condition")
            return self._elementwise(name, *places)
        function = FUNCTIONS.get(name)
        if function is None:
            near = did_you_mean(name, [*FUNCTIONS, *CROSSES, *ELEMENTWISE])
            self._fail(node, f'there is no function "{name}"{near}')
        return self._function(node, function, depth)

    def _function(self, node: ast.Call, function: Function, depth: int) -> int:
        written, wanted = len(node.args), function.arguments
        needed = sum(argument.default is None for argument in wanted)
        if not needed <= written <= len(wanted):
            takes = f"{needed}" if needed == len(wanted) else f"{needed} to {len(wanted)}"
            self._fail(node, f"{function.name} takes {takes} arguments, got {written}: {function.signature}")
        places = []
        for argument, value in zip(wanted, node.args, strict=False):
            if argument.kind == "series":
                places.append(self._numeric(value, depth))
            else:
                places.append(self._constant(value, argument))
        left_out = (float(argument.default or 0.0) for argument in wanted[written:])
        places += [self.program.add("number", (), value, "constant") for value in left_out]
        return self.program.add("call", tuple(places), function.name, "series")

    def _back(self, node: ast.Subscript, depth: int) -> int:
        series = self._numeric(node.value, depth)
        bars = self._constant(node.slice, Argument("a look-back", "whole", 0, MAX_LOOK_BACK))
        return self.program.add("back", (series, bars), None, "series")

    def _constant(self, node: ast.expr, argument: Argument) -> int:
        """The place of a number in the argument's bounds, or of a parameter that has to lie in them."""
        whole = " whole" if argument.kind == "whole" else ""
        bounds = f"a{whole} number from {argument.min:g} to {argument.max:g}, or a $parameter"
        place = self._node(node, MAX_DEPTH - 2)
        step, sign = self.program.steps[place], 1.0
        if step.op == "-x":
            step, sign = self.program.steps[step.args[0]], -1.0
        if step.op == "parameter" and sign > 0:
            self.parameters[step.value].append(argument)
        elif step.op != "number":
            self._fail(node, f"{argument.name} must be {bounds}")
        elif not argument.min <= sign * step.value <= argument.max or (whole and step.value % 1):
            self._fail(node, f"{argument.name} must be {bounds}, got {sign * step.value:g}")
        return place

    def _numeric(self, node: ast.expr, depth: int) -> int:
        place = self._node(node, depth + 1)
        if self.program.steps[place].kind == "condition":
            self._fail(node, "is a condition where a number or a series must stand")
        return place

    def _condition(self, node: ast.expr, depth: int) -> int:
        place = self._node(node, depth + 1)
        if self.program.steps[place].kind != "condition":
            self._fail(node, "must be a condition, such as close > open")
        return place


def read(text: object) -> Expression:
    """The syntax tree of an expression, each `$name` in it a name that begins with `_`, at the same place.

    Raises:
        RuleError: it is no text, too long, or can't be read.
    """
    if not isinstance(text, str) or not text.strip():
        raise RuleError("must be an expression, such as sma(close, 10)")
    if len(text) > MAX_CHARS:
        raise RuleError(f"has {len(text)} characters, at most {MAX_CHARS} are read")
    for place, character in enumerate(text):
        if not " " <= character <= "~":
            raise RuleError(f"at character {place + 1}: {character!r} is not part of the rules language")
    if match := re.search(r"(?<![A-Za-z0-9_])_", text):
        raise RuleError(f"at character {match.start() + 1}: a name begins with a letter")
    stripped = text.strip()
    try:
        return Expression(stripped, ast.parse(_PARAMETER.sub(r"_\1", stripped), mode="eval").body)
    except SyntaxError as error:
        place = max((error.offset or 1) - 1, 0)
        where = f"at character {place + 1} ({_excerpt(stripped, place)})"
        raise RuleError(f"{where}: can't be read: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise RuleError("is too deep, or holds a number that is too long") from error


def _excerpt(text: str, place: int) -> str:
    rest = text[place : place + 20]
    return f'"{rest}{"..." if len(text) > place + 20 else ""}"' if rest else "the end"


def _signature(name: str) -> str:
    if name in FUNCTIONS:
        return FUNCTIONS[name].signature
    return f"{name}(x)" if ELEMENTWISE.get(name) == 1 else f"{name}(a, b)"


def _noun(kind: Kind) -> str:
    return {"constant": "a number", "series": "a series", "condition": "a condition"}[kind]
