"""Options that say how a user's model is called and read: one set of them for every entry of the package."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from ...errors import DataError
from ...plugins import nearest
from ..contract import Handling
from ..data.batch import Outputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# What other libraries call an argument.
_OTHER_WORDS: Final = {
    "baseline": "reference", "label": "targets", "y": "targets", "mask": "lengths", "seq_len": "lengths",
    "class": "target", "feature_name": "names", "class_name": "names", "x": "inputs",
}  # fmt: skip
Padding = Literal["cut", "keep"]
PaddingSide = Literal["right", "left"]


@dataclass(frozen=True)
class Calling:
    """Options that say how a user's model is called and read; None where the trial calls decide.

    Attributes:
        part: position or name of the scores, for a model that returns a tuple or a mapping.
        attention: position or name of the attention weights in what the model returns; by default they are found.
        batch_first: whether the model takes [B, T, …]; if not, it takes [T, B, …].
        time_first_scores: whether a model that takes [B, T, …] returns scores of several steps as [U, B, K].
        padding: ``"cut"`` to run sequences of one length at a time, so that the model never sees padding; ``"keep"`` to
            run all at the given width with the given padding. By default a model that takes lengths is given padded
            batches, and must not read the padding; one that takes none never sees padding.
        padding_side: side of the padding in the given arrays, ``"right"`` or ``"left"``. A model of left-padded
            sequences is given every one at the end of the given width, unless ``padding="cut"`` lets it see no padding.
        along: names of the context that run along the steps, [B, T, …]: they are cut with the inputs, and moved where
            steps are deleted. By default the trial calls tell.
        batch_size: the only number of sequences that the model takes at once.
        outputs: kind of the outputs.
        contract: ``"refuse"`` a model that breaks a promise of :mod:`xrnnbench.tasks.contract`, or ``"explain"`` it all
            the same; results then show the broken promise.
        contract_tolerance: accepted difference of two scores that must agree, as a share of the spread of the scores.
    """

    part: int | str | None = None
    attention: int | str | None = None
    batch_first: bool = True
    time_first_scores: bool = False
    padding: Padding | None = None
    padding_side: PaddingSide = "right"
    along: tuple[str, ...] | None = None
    batch_size: int | None = None
    outputs: Outputs | None = None
    contract: Handling = "refuse"
    contract_tolerance: float | None = None

    def __post_init__(self) -> None:
        for name in ("part", "attention"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | str)):
                raise DataError(f"{name}={value!r} names no part of what the model returns: give a position or a name.")
        size = self.batch_size
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise DataError(f"batch_size={size!r} does not fit: give the only number of sequences the model takes.")
        kinds = {"outputs": Outputs, "padding": Padding, "padding_side": PaddingSide, "contract": Handling}
        for name, kind in kinds.items():
            value = getattr(self, name)
            if value not in get_args(kind) and (value is not None or name in {"contract", "padding_side"}):
                listed = ", ".join(map(repr, get_args(kind)))
                raise DataError(f"{name}={value!r} is none of {listed}: choose one of them.")
        names = self.along if isinstance(self.along, tuple | list | set | frozenset) else (None,)
        if self.along is not None and not all(isinstance(name, str) for name in names):
            raise DataError(f"along={self.along!r} names no context: give a tuple of names, such as along=('gaps',).")
        share = self.contract_tolerance
        if share is not None and (isinstance(share, bool) or not isinstance(share, int | float) or not share >= 0):
            raise DataError(f"contract_tolerance={share!r} does not fit: give a share of the spread of scores, from 0.")

    @property
    def keeps_width(self) -> bool:
        """Whether every run has the given width, with the given padding."""
        return self.padding == "keep" or (self.padding_side == "left" and self.padding is None)


def calling_of(options: Mapping[str, Any], others: Iterable[str] = ()) -> Calling:
    """Options of a user by name.

    Args:
        options: the options.
        others: names of the other arguments that the user may have meant.

    Raises:
        DataError: there is no such option, or its value does not fit.
    """
    known = [option.name for option in fields(Calling)]
    for name in options:
        if name not in known:
            other = _OTHER_WORDS.get(name.rstrip("s"))
            suggestion = f", which is called {other!r} here." if other in [*known, *others] else ""
            suggestion = (
                suggestion or nearest(name, [*known, *others]) or f": the options are {', '.join([*known, *others])}."
            )
            raise DataError(f"There is no option {name!r}{suggestion}")
    return Calling(**options)
