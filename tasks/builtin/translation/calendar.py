"""Dates as people write them, token by token, each token with the field of the date that it is a part of.

How dates are written is CLDR's knowledge, as Babel has it: patterns such as ``EEEE, MMMM d, y`` and the names of months
and weekdays.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from ...trained import missing_extra

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence
    from types import ModuleType

Width = Literal["full", "long", "medium"]

WIDTHS: Final[tuple[Width, ...]] = ("full", "long", "medium")
# The letters of CLDR's date patterns, and the fields they write.
_FIELDS: Final = {"E": "weekday", "d": "day", "M": "month", "y": "year"}


@dataclass(frozen=True)
class DateToken:
    """A piece of a written date.

    Attributes:
        text: a name, one digit, or what stands between the fields; joined, the texts are the written date.
        field: ``"weekday"``, ``"day"``, ``"month"`` or ``"year"``; empty if it is between the fields.
        place: which digit of its field it is, counted from the last, which is 0; of a name 0.
    """

    text: str
    field: str = ""
    place: int = 0


def written(date: dt.date, width: Width, locale: str) -> list[DateToken]:
    """A date in a language, as tokens: names whole, numbers digit by digit, what is between fields as it stands.

    Args:
        date: in the Gregorian calendar, with a year of four digits.
        width: which of CLDR's patterns.
        locale: of CLDR, such as ``"de"``.

    Raises:
        DataError: Babel is not installed.
    """
    found = []
    for kind, text, apply in _pattern(width, locale):
        if not kind:
            found.append(DateToken(text))
            continue
        value = apply(date, locale)
        parts = list(value) if value.isdecimal() else [value]
        found += [DateToken(part, kind, len(parts) - 1 - place) for place, part in enumerate(parts)]
    return found


def links(source: Sequence[DateToken], target: Sequence[DateToken]) -> list[list[bool]]:
    """bool[U, T]: of which source tokens each target token is the translation.

    A token is linked with those of the same field: a digit with the digit of the same place, where both sides write the
    field in digits and the source has that place, else with all of them. What is between fields is linked with nothing.
    """
    digits = {(token.field, token.place) for token in source if token.text.isdecimal()}
    return [[_linked(there, here, digits) for there in source] for here in target]


def knowledge(locales: Sequence[str]) -> dict[str, Any]:
    """What decides how dates are written: the version of CLDR, and all patterns and names, ready for JSON."""
    babel = _babel()
    found: dict[str, Any] = {"cldr": babel.core.get_cldr_version()}
    for name in locales:
        locale = babel.Locale.parse(name)
        found[name] = {
            "patterns": [locale.date_formats[width].pattern for width in WIDTHS],
            "months": [dict(locale.months["format"][width]) for width in ("wide", "abbreviated")],
            "weekdays": dict(locale.days["format"]["wide"]),
        }
    return found


def _linked(source: DateToken, target: DateToken, digits: set[tuple[str, int]]) -> bool:
    if not target.field or source.field != target.field:
        return False
    matched = target.text.isdecimal() and (target.field, target.place) in digits
    return not matched or source.place == target.place


@functools.cache
def _pattern(width: Width, locale: str) -> tuple[tuple[str, str, Any], ...]:
    """Of each part of a pattern: its field, its text if it is none, and what writes the field."""
    babel = _babel()
    pattern = babel.Locale.parse(locale).date_formats[width].pattern
    found = []
    for kind, value in babel.dates.tokenize_pattern(pattern):
        if kind == "chars":
            found.append(("", value, None))
        else:
            letter, count = value
            found.append((_FIELDS[letter], "", babel.dates.parse_pattern(letter * count).apply))
    return tuple(found)


def _babel() -> ModuleType:
    try:
        import babel.core  # noqa: PLC0415  # an optional extra
        import babel.dates  # noqa: PLC0415  # an optional extra
    except ImportError as error:
        raise missing_extra("dates", "data") from error
    return babel
