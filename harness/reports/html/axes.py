"""Axes of pictures: where a value lies, and the ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..number_format import number

if TYPE_CHECKING:
    from collections.abc import Iterable

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# What a 0 takes up at the start of a logarithmic axis, which has no place for it.
_ZERO = 0.07
# What lies beyond the least and the largest value, as a share of what lies between.
_MARGIN = 0.04


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: from 0, its start, to 1, its end."""

    at: float
    text: str


@dataclass(frozen=True)
class Scale:
    """An axis.

    Attributes:
        low, high: its ends; of a logarithmic one, exponents of 10.
        ticks: its marks.
        logarithmic: whether it is.
        zero: whether a logarithmic one has a place for 0.
    """

    low: float
    high: float
    ticks: tuple[Tick, ...] = ()
    logarithmic: bool = False
    zero: bool = False

    def at(self, value: float) -> float:
        """Where a value lies, 0 to 1; one beyond an end lies there."""
        if self.logarithmic and value <= 0:
            return 0.0
        place = math.log10(value) if self.logarithmic else value
        found = (place - self.low) / (self.high - self.low)
        start = _ZERO if self.zero else 0.0
        return start + (1 - start) * min(max(found, 0.0), 1.0)


def linear(values: Iterable[float], most: int = 6) -> Scale:
    """An axis that holds all values and little else, with round ticks.

    >>> [tick.text for tick in linear([0.03, 0.97]).ticks]
    ['0.0', '0.2', '0.4', '0.6', '0.8', '1.0']
    """
    known = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    span = high - low or abs(high) or 1.0
    low, high = low - _MARGIN * span, high + _MARGIN * span
    step = 10.0 ** math.floor(math.log10(span / most))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (factor * step) <= most)
    places = range(math.ceil(low / step), math.floor(high / step) + 1)
    return Scale(low, high, tuple(Tick((at * step - low) / (high - low), _short(at * step, step)) for at in places))


def whole(low: int, high: int, most: int = 7) -> Scale:
    """An axis of whole numbers from one to another.

    >>> [tick.text for tick in whole(1, 13).ticks]
    ['1', '3', '5', '7', '9', '11', '13']
    """
    every = -(-(high - low) // most)
    places = range(low, high + 1, every)
    return Scale(low, high, tuple(Tick((place - low) / (high - low), str(place)) for place in places))


def logarithmic(values: Iterable[float], most: int = 7) -> Scale:
    """An axis of powers of ten that holds all values; 0, which has no logarithm, lies before it.

    >>> [tick.text for tick in logarithmic([0.0, 2.0, 3e4]).ticks]
    ['0', '1', '10', '100', '1,000', '10⁴', '10⁵']
    """
    known = [value for value in values if math.isfinite(value)]
    positive = [value for value in known if value > 0] or [1.0]
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    high = max(high, low + 1)
    zero = any(value <= 0 for value in known)
    bare = Scale(low, high, (), logarithmic=True, zero=zero)
    every = -(-(high - low) // most)
    ticks = [Tick(bare.at(10.0**power), _power(power)) for power in range(low, high + 1, every)]
    return Scale(low, high, (*([Tick(0.0, "0")] if zero else []), *ticks), logarithmic=True, zero=zero)


def _short(value: float, step: float) -> str:
    """A round number with the decimals its step needs."""
    if abs(value) >= 1000 or (value and step < 0.001):
        return number(value)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value + 0.0:.{decimals}f}".replace("-", "−")


def _power(power: int) -> str:
    return f"{10.0**power:,.0f}" if 0 <= power <= 3 else "10" + str(power).translate(_SUPERSCRIPTS)
