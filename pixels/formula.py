"""Formulas of bands, as people write them: `(nir - red) / (nir + red)`, from a text that anybody may have sent.

The grammar is below, and has nothing in it but arithmetic. Its parser keeps a stack of its own, so that no text can
exhaust Python's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedToken, v_args
from numpy.typing import NDArray

from kartotek.errors import BadRequest
from kartotek.indices import Index
from pixels import arithmetic
from pixels.arithmetic import Call, Step

MAX_LENGTH = 2048
"""Characters."""
MAX_NODES = 200
"""Bands, numbers, operators and functions."""
MAX_DEPTH = 64
MAX_EXPONENT = 16

FUNCTIONS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "abs": (1, 1),
        "sqrt": (1, 1),
        "log": (1, 1),
        "log10": (1, 1),
        "exp": (1, 1),
        "min": (2, MAX_NODES),
        "max": (2, MAX_NODES),
        "where": (3, 3),
    }
)
"""Name → the fewest and the most values that the function takes."""

_GRAMMAR = r"""
    ?comparison: sum | sum COMPARISON sum -> binary
    ?sum: product | sum (PLUS | MINUS) product -> binary
    ?product: sign | product (STAR | SLASH) sign -> binary
    ?sign: power | MINUS sign -> negative
    ?power: value | value POWER exponent
    exponent: MINUS? NUMBER | "(" MINUS? NUMBER ")"
    ?value: NUMBER -> number | NAME -> band | NAME "(" comparison ("," comparison)* ")" -> call
        | "(" comparison ")" -> group

    NAME: /[A-Za-z][A-Za-z0-9_]*/
    NUMBER: /([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?/
    COMPARISON: "<=" | ">=" | "==" | "!=" | "<" | ">"
    PLUS: "+"
    MINUS: "-"
    STAR: "*"
    SLASH: "/"
    POWER: "**"
    %ignore /[ \t\r\n]+/
"""

_SIGNS = {"COMPARISON": "< <= > >= == !=", "PLUS": "+", "MINUS": "-", "STAR": "*", "SLASH": "/", "POWER": "**"}
# How tightly each holds together what it stands between; values that need no parentheses hold tightest.
_TIGHTNESS = dict.fromkeys(_SIGNS["COMPARISON"].split(), 0) | {"+": 1, "-": 1, "*": 2, "/": 2, "negative": 3, "**": 4}
_VALUE = 5


@dataclass(frozen=True, slots=True)
class Formula:
    """Arithmetic of bands, ready to be run; formulas of the same text are the same."""

    text: str
    """As `parse` writes it, however it was written: the same spaces, and no parentheses but those that are needed."""
    names: tuple[str, ...]
    """Of the bands, each once, in the order in which they first stand."""
    program: tuple[Step, ...] = field(repr=False, compare=False)

    def evaluate(self, values: Mapping[str, NDArray[np.float64]], *, floor: float | None = None) -> NDArray[np.float64]:
        """The formula of arrays of one shape, of which what is below `floor` counts as it.

        NaN where one of the bands is NaN or infinite, and where there is no finite result, such as that of a division
        by zero. Raises KeyError where one of `names` is not among the values.

        >>> parse("nir / red").evaluate({"nir": np.array([0.3, 0.3]), "red": np.array([0.1, 0.0])}).round(3).tolist()
        [3.0, nan]
        """
        return arithmetic.evaluate(self.program, values, floor)


def compute(index: Index, values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """An index of reflectances by common name; those below zero count as zero (see `Index`).

    >>> from kartotek.indices import INDICES
    >>> compute(INDICES["ndvi"], {"nir": np.array([0.3, -0.01]), "red": np.array([0.1, -0.02])}).round(3).tolist()
    [0.5, nan]
    """
    return parse(index.formula).evaluate(values, floor=0.0)


@lru_cache(maxsize=256)
def parse(text: str) -> Formula:
    """The formula that a text says. Raises BadRequest, which tells where it is wrong and what would do.

    >>> parse("(nir-red)/(nir+red)")
    Formula(text='(nir - red) / (nir + red)', names=('nir', 'red'))
    """
    if len(text) > MAX_LENGTH:
        raise BadRequest(f"formula of {len(text)} characters; at most {MAX_LENGTH} will do")
    try:
        part: _Part = _PARSER.parse(text)  # type: ignore[assignment]
    except UnexpectedCharacters as error:
        raise _wrong(
            error.pos_in_stream or 0,
            f"{text[error.pos_in_stream or 0]!r} is found",
            f"a formula is made of names, numbers, ( ) , and {' '.join(_SIGNS.values())}",
        ) from None
    except UnexpectedToken as error:
        ends = error.token.type == "$END"
        position = len(text) if ends else error.token.start_pos or 0
        found = "the formula ends" if ends else f"{_short(error.token)} is found"
        raise _wrong(position, found, _would_do(text[:position])) from None
    if len(part.text) > MAX_LENGTH:
        raise BadRequest(f"formula of {len(part.text)} characters when written out; at most {MAX_LENGTH} will do")
    names = tuple(dict.fromkeys(step for step in part.program if isinstance(step, str)))
    if not names:
        raise BadRequest(f"formula {_short(part.text)} names no band; such as nir / red would do")
    return Formula(part.text, names, part.program)


@dataclass(frozen=True, slots=True)
class _Part:
    """Some of a formula, from a position in the text on."""

    start: int
    text: str
    tightness: int
    program: tuple[Step, ...]
    nodes: int = 1
    depth: int = 1

    def within(self, tightness: int) -> str:
        """The text as it stands beside an operator that holds so tightly."""
        return self.text if self.tightness >= tightness else f"({self.text})"


@v_args(inline=True)
class _Builder(Transformer[Token, _Part]):
    """Puts parts together while the text is read, so that a limit ends the reading where it is passed."""

    def number(self, token: Token) -> _Part:
        value = float(token)
        if not math.isfinite(value):
            raise _wrong(token.start_pos or 0, f"{_short(token)} is too large", f"at most {np.finfo(float).max:.4g}")
        return _Part(token.start_pos or 0, _numeral(value), _VALUE, (value,))

    def band(self, token: Token) -> _Part:
        return _Part(token.start_pos or 0, str(token), _VALUE, (str(token),))

    def group(self, part: _Part) -> _Part:
        # Parentheses that change nothing count too: they are what a hostile text has most of.
        return _checked(_Part(part.start, part.text, part.tightness, part.program, part.nodes, part.depth + 1))

    def negative(self, sign: Token, part: _Part) -> _Part:
        tightness = _TIGHTNESS["negative"]
        return _joined(sign.start_pos or 0, f"-{part.within(tightness)}", tightness, "negative", [part])

    def binary(self, left: _Part, sign: Token, right: _Part) -> _Part:
        tightness = _TIGHTNESS[sign]
        # a - (b - c) needs its parentheses, (a - b) - c does not; comparisons stand in no row.
        text = f"{left.within(max(tightness, 1))} {sign} {right.within(tightness + 1)}"
        return _joined(left.start, text, tightness, str(sign), [left, right])

    def exponent(self, *tokens: Token) -> _Part:
        value = float("".join(tokens))
        if abs(value) > MAX_EXPONENT:
            found = f"the exponent {_short(''.join(tokens))} is found"
            raise _wrong(tokens[0].start_pos or 0, found, f"one from -{MAX_EXPONENT} to {MAX_EXPONENT} would do")
        return _Part(tokens[0].start_pos or 0, _numeral(value), _VALUE, (value,))

    def power(self, base: _Part, sign: Token, exponent: _Part) -> _Part:
        return _joined(base.start, f"{base.within(_VALUE)} {sign} {exponent.text}", _TIGHTNESS["**"], "**",
                       [base, exponent])  # fmt: skip

    def call(self, name: Token, *parts: _Part) -> _Part:
        start = name.start_pos or 0
        if name not in FUNCTIONS:
            raise _wrong(start, f"{_short(name)} is no function", f"there are {', '.join(FUNCTIONS)}")
        fewest, most = FUNCTIONS[name]
        if not fewest <= len(parts) <= most:
            takes = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            raise _wrong(start, f"{name} is given {len(parts)} values", f"it takes {takes}")
        return _joined(start, f"{name}({', '.join(part.text for part in parts)})", _VALUE, str(name), parts)


def _joined(start: int, text: str, tightness: int, operation: str, parts: Sequence[_Part]) -> _Part:
    """An operation on parts; computed at once where all of them are numbers."""
    call = Call(operation, len(parts))
    program: tuple[Step, ...] = (*(step for part in parts for step in part.program), call)
    numbers = [step for step in program[:-1] if isinstance(step, float)]
    if len(numbers) == len(program) - 1 == len(parts):
        value = arithmetic.fold(call, numbers)
        if not math.isfinite(value):
            raise _wrong(start, f"{_short(text)} has no finite value", "a number that has one would do")
        program = (value,)
    nodes = 1 + sum(part.nodes for part in parts)
    # A row of equals, a + b + c, is not nested, however long.
    first, *others = parts
    depth = max(first.depth if others else first.depth + 1, *(part.depth + 1 for part in others), 2)
    return _checked(_Part(start, text, tightness, program, nodes, depth))


def _checked(part: _Part) -> _Part:
    if part.nodes > MAX_NODES:
        raise _wrong(part.start, "too much is found", f"at most {MAX_NODES} bands, numbers and operators would do")
    if part.depth > MAX_DEPTH:
        raise _wrong(part.start, "too much stands within each other", f"at most {MAX_DEPTH} levels would do")
    return part


def _numeral(value: float) -> str:
    """A number as short as it can be told: 2.5, 10000, 1e-05."""
    return repr(value).removesuffix(".0")


def _short(text: str) -> str:
    return repr(str(text) if len(text) <= 40 else f"{text[:37]}...")


def _would_do(before: str) -> str:
    """What may follow the start of a formula."""
    parser = _PARSER.parse_interactive(before)
    parser.exhaust_lexer()
    terminals = parser.accepts()  # type: ignore[no-untyped-call]
    if "NAME" in terminals:
        return "a band, a number or ( would do"
    if terminals <= {"MINUS", "NUMBER", "LPAR"}:
        return "a number would do"
    words = {**_SIGNS, "COMMA": ",", "RPAR": ")", "$END": "the end of it"}
    listed = " ".join(word for terminal, word in words.items() if terminal in terminals)
    return f"what may follow: {listed} (in an address + is written %2B)"


def _wrong(position: int, found: str, instead: str) -> BadRequest:
    return BadRequest(f"formula: at character {position + 1}, {found}; {instead}")


_PARSER = Lark(_GRAMMAR, start="comparison", parser="lalr", lexer="basic", transformer=_Builder())
