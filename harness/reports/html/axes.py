"""Axes of figures: the position of a value, and the ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from ..number_format import format_number

if TYPE_CHECKING:
    from collections.abc import Iterable

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# The share of a logarithmic axis that is reserved for 0 at its start, since 0 has no logarithm.
_ZERO = 0.07
# The margin beyond the smallest and the largest value, as a share of the span between them.
_MARGIN = 0.04


@dataclass(frozen=True)
class Tick:
    """A tick of an axis; its position is 0 at the start of the axis and 1 at its end."""

    position: float
    text: str


@dataclass(frozen=True)
class Axis:
    """An axis of a figure.

    Attributes:
        low, high: its ends; of a logarithmic axis, exponents of 10.
        ticks: its ticks.
        logarithmic: whether it is logarithmic.
        zero: whether a logarithmic axis has a position for 0.
    """

    low: float
    high: float
    ticks: tuple[Tick, ...] = ()
    logarithmic: bool = False
    zero: bool = False

    def position(self, value: float) -> float:
        """Return the position of a value, 0 to 1; a value beyond an end has the position of that end."""
        if self.logarithmic and value <= 0:
            return 0.0
        number = math.log10(value) if self.logarithmic else value
        share = (number - self.low) / (self.high - self.low)
        start = _ZERO if self.zero else 0.0
        return start + (1 - start) * min(max(share, 0.0), 1.0)


def linear_axis(values: Iterable[float], most: int = 6) -> Axis:
    """Return an axis from the smallest to the largest value, with a margin and at most ``most`` intervals of ticks.

    >>> [tick.text for tick in linear_axis([0.03, 0.97]).ticks]
    ['0.0', '0.2', '0.4', '0.6', '0.8', '1.0']
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    span = high - low or abs(high) or 1.0
    low, high = low - _MARGIN * span, high + _MARGIN * span
    numbers = _round_numbers(low, high, most)
    step = min((other - one for one, other in pairwise(numbers)), default=span)
    return Axis(low, high, tuple(Tick((number - low) / (high - low), _decimal(number, step)) for number in numbers))


def integer_axis(low: int, high: int, most: int = 7) -> Axis:
    """Return an axis of whole numbers between two ends, whose first tick is its start.

    >>> [tick.text for tick in integer_axis(1, 13).ticks]
    ['1', '3', '5', '7', '9', '11', '13']
    """
    numbers = [low + round(number) for number in _round_numbers(0, high - low, most, integer=True)]
    return Axis(low, high, tuple(Tick((number - low) / (high - low), str(number)) for number in numbers))


def logarithmic_axis(values: Iterable[float], most: int = 7) -> Axis:
    """Return an axis from a power of ten to another that holds all values; 0 has a position before the first of them.

    >>> [tick.text for tick in logarithmic_axis([0.0, 2.0, 3e4]).ticks]
    ['0', '1', '10', '100', '1,000', '10⁴', '10⁵']
    """
    finite = [value for value in values if math.isfinite(value)]
    positive = [value for value in finite if value > 0] or [1.0]
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    high = max(high, low + 1)
    zero = any(value <= 0 for value in finite)
    start = _ZERO if zero else 0.0
    exponents = [round(exponent) for exponent in _round_numbers(low, high, most, integer=True)]
    ticks = [Tick(start + (1 - start) * (power - low) / (high - low), _power_of_ten(power)) for power in exponents]
    return Axis(low, high, (*([Tick(0.0, "0")] if zero else []), *ticks), logarithmic=True, zero=zero)


def _round_numbers(low: float, high: float, most: int, *, integer: bool = False) -> list[float]:
    """Return the round numbers between two ends at which matplotlib puts ticks, at most ``most`` intervals of them."""
    # late: it takes 0.4 s to load, and only figures need it
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    locator = MaxNLocator(nbins=most, steps=[1, 2, 5, 10], integer=integer)
    return [float(number) for number in locator.tick_values(low, high) if low <= number <= high]


def _decimal(value: float, step: float) -> str:
    """Return a round number with the decimals that the step between ticks needs."""
    if abs(value) >= 1000 or (value and step < 0.001):
        return format_number(value)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value + 0.0:.{decimals}f}".replace("-", "−")


def _power_of_ten(exponent: int) -> str:
    """Return a power of ten as text, in digits up to 1,000."""
    return f"{10.0**exponent:,.0f}" if 0 <= exponent <= 3 else "10" + str(exponent).translate(_SUPERSCRIPTS)
