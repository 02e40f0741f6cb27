r"""Escaping of any text for TeX, as ASCII that pdfTeX, XeTeX and LuaTeX typeset without an error, and its width.

Names come from plug-ins and may hold any character. Special characters of TeX are escaped, symbols of the boards and
Greek letters are typeset as mathematics, and Latin letters with accents as such. Any other character is shown by its
code point, ``U+4E2D``, because the fonts that every TeX has do not contain it, and a board must not fail because of a
name.
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
# The combining accents of Unicode that every encoding of TeX's fonts has.
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u0304": "=", "\u0307": ".",
    "\u0306": "u", "\u030c": "v", "\u030b": "H", "\u0327": "c", "\u0323": "d", "\u0331": "b", "\u030a": "r",
}  # fmt: skip
# Widths in em of Computer Modern at 8 pt; other letters are 0.56 wide if small and 0.79 if capital.
_WIDTHS = dict.fromkeys("iljt.,:;!'|` ", 0.3) | dict.fromkeys("frsz()-/", 0.42) | dict.fromkeys("[]", 0.3)
_WIDTHS |= dict.fromkeys("0123456789acegkovxy", 0.54) | dict.fromkeys("mwMW%&@", 0.91)
_WIDTHS |= dict.fromkeys("+<>=~_^#×−↑↓→", 0.83) | {"…": 1.3, "—": 1.1, "I": 0.4, "J": 0.56}
# Em: a longer piece without a space or punctuation may be broken anywhere.
_WORD = 13.0
_DIGITS = str.maketrans("123456789", "000000000")
_MINUS = re.compile(r"(?<![\w.])-(?=[\d.])")
_EXPONENT = re.compile(r"(?<=\d)e([+-]\d+)")
_NUMBER = re.compile(r"(?<![\w.])(-?)([\d,]*\.?\d+)(?:e([+-]\d+))?(?![\w.])")


def escape(text: str) -> str:
    r"""Return a text for TeX, in ASCII.

    >>> print(escape("50 % of a_b ↑, café, 中"))
    50 \% of a\_b \ensuremath{\uparrow}, caf\'{e}, {\scriptsize U+4E2D}
    """
    parts = []
    for previous, character in pairwise(["", *text]):
        # TeX's fonts have one sign for two of these
        parts += ["{}"] if character == previous and character in "-'," else []
        parts.append(_escape_character(character))
    return "".join(parts)


def after_command(tex: str) -> str:
    r"""Return TeX that may follow ``\\``, ``\midrule`` or ``\item``, which take a bracket or a star for their own.

    >>> after_command("[a]"), after_command("a")
    ('{}[a]', 'a')
    """
    return f"{{}}{tex}" if tex.startswith(("[", "*")) else tex


def escape_breakable(text: str) -> str:
    """Return a text for TeX with break points inside long words."""
    pieces = re.split(r"(?<=[-_/:.,=(])(?=[^\s\d])|(?<=\s)(?=\S)", text)
    short = [part for piece in pieces for part in _cut(piece, _WORD)]
    # TeX breaks lines after a space anyway
    return "".join(escape(part) + ("" if part[-1:].isspace() else r"\allowbreak{}") for part in short[:-1]) + (
        escape(short[-1]) if short else ""
    )


def escape_numbers(text: str) -> str:
    r"""Return a text for TeX with its numbers typeset as mathematics.

    >>> print(escape_numbers("[-0.251, 1.2e-05]"))
    [$-$0.251, $1.2{\cdot}10^{-5}$]
    """
    parts, end = [], 0
    for match in _NUMBER.finditer(text):
        sign, digits, exponent = match.groups()
        minus = "$-$" if sign else ""
        number = rf"${sign}{digits}{{\cdot}}10^{{{int(exponent)}}}$" if exponent else minus + digits
        parts += [escape(text[end : match.start()]), number]
        end = match.end()
    return "".join([*parts, escape(text[end:])])


def text_width(text: str) -> float:
    """Return the largest width of a text, in em of a small upright font, with its numbers typeset as mathematics."""
    # all digits have the same width, so that few different numbers are measured, unless they have an exponent
    return _measure(text if "e" in text else text.translate(_DIGITS))


# This cache and the one below take 2 of the 3 seconds off a LaTeX board of 40 methods and 29 metrics on 23 tasks: the
# layout of a table measures the same few thousand names and numbers again for every part it tries.
@lru_cache(maxsize=2**14)
def _measure(text: str) -> float:
    """Return the width of a text whose digits may have been replaced by 0."""
    # an exponent is smaller: its characters are about as wide as an n
    plain = _EXPONENT.sub(lambda exponent: ".10" + "n" * len(str(int(exponent[1]))), text)
    return sum(map(_character_width, _MINUS.sub("−", plain)))


@lru_cache(maxsize=2**14)
def split_lines(text: str, limit: float) -> tuple[str, ...]:
    """Split a text into lines that end after its punctuation.

    Lines are as wide as the limit in em, or as wide as a word of up to 1.4 times the limit. Longer words are cut.
    """
    # an arrow never starts a line
    joined = re.sub(" (?=[↑↓])", "\u00a0", text)
    lines = [""]
    for piece in re.findall(r"[^-_/:.,+ ]*[-_/:.,+ ]?", joined):
        for part in _cut(piece, 1.4 * limit):
            if lines[-1] and text_width(lines[-1] + part.rstrip()) > limit:
                lines.append("")
            lines[-1] += part
    return tuple(line.rstrip(" ") for line in lines)


def _cut(word: str, limit: float) -> list[str]:
    """Cut a word into pieces no wider than the limit in em."""
    if text_width(word) <= limit:
        return [word]
    pieces = [""]
    for character in word:
        if pieces[-1] and text_width(pieces[-1] + character) > limit:
            pieces.append("")
        pieces[-1] += character
    return pieces


def _escape_character(character: str) -> str:
    """Return a character for TeX."""
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
    return rf"{{\scriptsize {_code_point(character)}}}"


def _dotless(base: str, accent: str) -> str:
    """Return the letter that an accent is put on: i and j lose their dot below an accent."""
    below = accent in {"\u0327", "\u0323", "\u0331"}
    return rf"\{base}" if base in "ij" and not below else base


def _code_point(character: str) -> str:
    """Return the code point of a character as text."""
    return f"U+{ord(character):04X}"


def _character_width(character: str) -> float:
    """Return the largest width of a character in em."""
    known = _WIDTHS.get(character)
    if known is not None:
        return known
    if character in _SPECIAL or character.isascii() or character in _MATHEMATICS or character in _GREEK:
        return 0.79 if character.isupper() or character in _MATHEMATICS else 0.6
    base = unicodedata.normalize("NFD", character)[0]
    return 0.79 if base.isascii() else 0.56 * len(_code_point(character))
