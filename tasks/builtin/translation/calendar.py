"""Localised dates as tokens, each with the field of the date that it belongs to.

The formats are those of Unicode CLDR, from the package Babel: patterns such as ``EEEE, MMMM d, y`` and the names of
months and weekdays.
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
# The letters of CLDR's date patterns, and the fields they format.
_FIELDS: Final = {"E": "weekday", "d": "day", "M": "month", "y": "year"}


@dataclass(frozen=True)
class DateToken:
    """A token of a formatted date.

    Attributes:
        text: a name, one digit, or the text between two fields; joined, the texts are the formatted date.
        field: ``"weekday"``, ``"day"``, ``"month"`` or ``"year"``; empty for text between fields.
        place: position of a digit in its field, counted from the last, which is 0; 0 for a name.
    """

    text: str
    field: str = ""
    place: int = 0


def date_tokens(date: dt.date, width: Width, locale: str) -> list[DateToken]:
    """A date formatted in a language, as tokens: names, single digits, and the text between fields.

    Args:
        date: a date in the Gregorian calendar, with a year of four digits.
        width: one of CLDR's patterns.
        locale: a locale of CLDR, such as ``"de"``.

    Raises:
        DataError: Babel is not installed.
    """
    tokens = []
    for field, text, apply in _pattern(width, locale):
        if not field:
            tokens.append(DateToken(text))
            continue
        value = apply(date, locale)
        parts = list(value) if value.isdecimal() else [value]
        tokens += [DateToken(part, field, len(parts) - 1 - place) for place, part in enumerate(parts)]
    return tokens


def links(source: Sequence[DateToken], target: Sequence[DateToken]) -> list[list[bool]]:
    """The alignment bool[U, T] of the tokens of a date in two languages.

    Tokens are linked within the same field: a digit with the digit of the same place, if both sides format the field in
    digits and the source has that place, else with all tokens of the field. Text between fields has no link.
    """
    digits = {(token.field, token.place) for token in source if token.text.isdecimal()}
    return [[_linked(source_token, token, digits) for source_token in source] for token in target]


def cldr_data(locales: Sequence[str]) -> dict[str, Any]:
    """All data that decide the format of dates: the version of CLDR, and its patterns and names, ready for JSON."""
    babel = _babel()
    data: dict[str, Any] = {"cldr": babel.core.get_cldr_version()}
    for name in locales:
        locale = babel.Locale.parse(name)
        data[name] = {
            "patterns": [locale.date_formats[width].pattern for width in WIDTHS],
            "months": [dict(locale.months["format"][width]) for width in ("wide", "abbreviated")],
            "weekdays": dict(locale.days["format"]["wide"]),
        }
    return data


def _linked(source: DateToken, target: DateToken, digits: set[tuple[str, int]]) -> bool:
    """Whether two tokens are linked; ``digits`` has the fields and places of all digits of the source."""
    if not target.field or source.field != target.field:
        return False
    matched = target.text.isdecimal() and (target.field, target.place) in digits
    return not matched or source.place == target.place


@functools.cache
def _pattern(width: Width, locale: str) -> tuple[tuple[str, str, Any], ...]:
    """The parts of a pattern: for each its field and the field's formatter, or its text if it is no field."""
    babel = _babel()
    pattern = babel.Locale.parse(locale).date_formats[width].pattern
    parts = []
    for kind, value in babel.dates.tokenize_pattern(pattern):
        if kind == "chars":
            parts.append(("", value, None))
        else:
            letter, count = value
            parts.append((_FIELDS[letter], "", babel.dates.parse_pattern(letter * count).apply))
    return tuple(parts)


def _babel() -> ModuleType:
    """The package Babel with its modules core and dates."""
    try:
        import babel.core  # noqa: PLC0415  # an optional extra
        import babel.dates  # noqa: PLC0415  # an optional extra
    except ImportError as error:
        raise missing_extra("dates", "data") from error
    return babel
