r"""Text for TeX: any text as ASCII that pdfTeX, XeTeX and LuaTeX typeset without an error, and how wide it will be.

Names come from anybody's plug-ins. Signs of TeX are escaped, signs of the boards and Greek letters are set as
mathematics, Latin letters with accents as such. Any other character is shown by its code point, ``U+4E2D``: the fonts
every TeX has do not have it, and a board must not fail for the sake of a name.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "_": r"\_", "%": r"\%", "#": r"\#", "&": r"\&", "$": r"\$",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "`": r"\`{}", "\u00a0": "~", "–": "--", "—": "---", "\u2018": "`{}", "\u2019": "'{}",
    "“": "``{}", "”": "''{}", "…": r"\dots{}", "ß": r"\ss{}", "ø": r"\o{}", "Ø": r"\O{}", "æ": r"\ae{}",
    "Æ": r"\AE{}", "œ": r"\oe{}", "Œ": r"\OE{}", "ł": r"\l{}", "Ł": r"\L{}", "\u0131": r"\i{}", "§": r"\S{}",
    "\n": " ", "\t": " ",
}  # fmt: skip
_MATHEMATICS = {
    "↑": r"\uparrow", "↓": r"\downarrow", "→": r"\rightarrow", "←": r"\leftarrow", "−": "-", "×": r"\times",
    "·": r"\cdot", "±": r"\pm", "≤": r"\leq", "≥": r"\geq", "≠": r"\neq", "≈": r"\approx", "∞": r"\infty",
    "∈": r"\in", "∂": r"\partial", "√": r"\surd", "∑": r"\sum", "∗": r"\ast", "′": "'", "°": r"^\circ",
    "²": "^2", "³": "^3", "†": r"\dagger", "‖": r"\|", "∅": r"\emptyset",
}  # fmt: skip
_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
    "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma",
    "ς": "varsigma", "τ": "tau", "φ": "varphi", "χ": "chi", "ψ": "psi", "ω": "omega", "Γ": "Gamma", "Δ": "Delta",
    "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega",
}  # fmt: skip
# Of Unicode's combining accents, those that every encoding of TeX's fonts has.
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u0304": "=", "\u0307": ".",
    "\u0306": "u", "\u030c": "v", "\u030b": "H", "\u0327": "c", "\u0323": "d", "\u0331": "b", "\u030a": "r",
}  # fmt: skip
# Widths in em of Computer Modern at 8 pt; letters that are not here are 0.56 wide if small, 0.79 if capital.
_WIDTHS = dict.fromkeys("iljt.,:;!'|` ", 0.3) | dict.fromkeys("frsz()-/", 0.42) | dict.fromkeys("[]", 0.3)
_WIDTHS |= dict.fromkeys("0123456789acegkovxy", 0.54) | dict.fromkeys("mwMW%&@", 0.91)
_WIDTHS |= dict.fromkeys("+<>=~_^#×−↑↓→", 0.83) | {"…": 1.3, "—": 1.1, "I": 0.4, "J": 0.56}
# Em: what is longer than this without a space or punctuation may be parted anywhere.
_WORD = 13.0
_DIGITS = str.maketrans("123456789", "000000000")
_MINUS = re.compile(r"(?<![\w.])-(?=[\d.])")
_EXPONENT = re.compile(r"(?<=\d)e([+-]\d+)")
_NUMBER = re.compile(r"(?<![\w.])(-?)([\d,]*\.?\d+)(?:e([+-]\d+))?(?![\w.])")


@lru_cache(maxsize=2**14)
def escaped(text: str) -> str:
    r"""The text for TeX, in ASCII.

    >>> print(escaped("50 % of a_b ↑, café, 中"))
    50 \% of a\_b \ensuremath{\uparrow}, caf\'{e}, {\scriptsize U+4E2D}
    """
    found = []
    for previous, character in pairwise(["", *text]):
        # a pair of these is one sign to TeX's fonts
        found += ["{}"] if character == previous and character in "-'," else []
        found.append(_escaped(character))
    return "".join(found)


@lru_cache(maxsize=2**14)
def breakable(text: str) -> str:
    """The same, with places at which a line may end inside long words."""
    pieces = re.split(r"(?<=[-_/:.,=(])(?=[^\s\d])|(?<=\s)(?=\S)", text)
    short = [part for piece in pieces for part in _cut(piece, _WORD)]
    # after a space a line may end anyway
    return "".join(escaped(part) + ("" if part[-1:].isspace() else r"\allowbreak{}") for part in short[:-1]) + (
        escaped(short[-1]) if short else ""
    )


@lru_cache(maxsize=2**14)
def mathematical(text: str) -> str:
    r"""The text with its numbers as mathematics sets them.

    >>> print(mathematical("[-0.251, 1.2e-05]"))
    [$-$0.251, $1.2{\cdot}10^{-5}$]
    """
    parts, end = [], 0
    for match in _NUMBER.finditer(text):
        sign, digits, exponent = match.groups()
        minus = "$-$" if sign else ""
        number = rf"${sign}{digits}{{\cdot}}10^{{{int(exponent)}}}$" if exponent else minus + digits
        parts += [escaped(text[end : match.start()]), number]
        end = match.end()
    return "".join([*parts, escaped(text[end:])])


def width(text: str) -> float:
    """How wide it is at most, in em of a small upright font, its numbers set as mathematics."""
    # digits are of one width: of numbers there are few kinds, unless they have an exponent
    return _measured(text if "e" in text else text.translate(_DIGITS))


@lru_cache(maxsize=2**14)
def _measured(text: str) -> float:
    # an exponent is smaller: its signs are about as wide as an n
    plain = _EXPONENT.sub(lambda found: ".10" + "n" * len(str(int(found[1]))), text)
    return sum(map(_width, _MINUS.sub("−", plain)))


def lines(text: str, limit: float) -> list[str]:
    """The text in lines that end after its punctuation: as wide as the limit in em, or as a word of 1.4 times that.

    Longer words are cut.
    """
    return list(_lines(text, limit))


@lru_cache(maxsize=2**14)
def _lines(text: str, limit: float) -> tuple[str, ...]:
    # an arrow never stands at the start of a line
    joined = re.sub(" (?=[↑↓])", "\u00a0", text)
    found = [""]
    for piece in re.findall(r"[^-_/:.,+ ]*[-_/:.,+ ]?", joined):
        for part in _cut(piece, 1.4 * limit):
            if found[-1] and width(found[-1] + part.rstrip()) > limit:
                found.append("")
            found[-1] += part
    return tuple(line.rstrip(" ") for line in found)


def _cut(word: str, limit: float) -> list[str]:
    if width(word) <= limit:
        return [word]
    found = [""]
    for character in word:
        if found[-1] and width(found[-1] + character) > limit:
            found.append("")
        found[-1] += character
    return found


def _escaped(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if " " <= character <= "~":
        return character
    if character in _MATHEMATICS:
        return rf"\ensuremath{{{_MATHEMATICS[character]}}}"
    if character in _GREEK:
        return rf"\ensuremath{{\{_GREEK[character]}}}"
    decomposed = unicodedata.normalize("NFD", character)
    base, accents = decomposed[0], decomposed[1:]
    if base.isascii() and base.isalpha() and len(accents) == 1 and accents[0] in _ACCENTS:
        return rf"\{_ACCENTS[accents[0]]}{{{_dotless(base, accents[0])}}}"
    return rf"{{\scriptsize {_point(character)}}}"


def _dotless(base: str, accent: str) -> str:
    """The letter that an accent above is put on."""
    below = accent in {"\u0327", "\u0323", "\u0331"}
    return rf"\{base}" if base in "ij" and not below else base


def _point(character: str) -> str:
    return f"U+{ord(character):04X}"


def _width(character: str) -> float:
    known = _WIDTHS.get(character)
    if known is not None:
        return known
    if character in _SPECIAL or character.isascii() or character in _MATHEMATICS or character in _GREEK:
        return 0.79 if character.isupper() or character in _MATHEMATICS else 0.6
    base = unicodedata.normalize("NFD", character)[0]
    return 0.79 if base.isascii() else 0.56 * len(_point(character))
