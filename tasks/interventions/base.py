"""What an intervention is: what "absent" means where a method or a metric removes features.

It decides the result: a word is not absent in the same way when it is a zero vector, the padding token, a word drawn
from another text, or taken out. So whoever removes says by what, every board names it, and the kinds are plug-ins.

Most are values, and then removing is one and the same act with another reference: :meth:`Intervention.views` gives the
subjects whose reference is what removes, one for each draw where it is random. Deletion takes steps out and is a kind
of variant; mask training changes the model that is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, cast

from ...errors import UnsupportedModelError
from ...plugins import Plugin, build, configure, find

if TYPE_CHECKING:
    from ..engine.variants import Removal, Variants
    from ..subject import Subject

# Made once: metrics ask for theirs again and again.
_made: Final[dict[tuple[type[Plugin], str], Intervention]] = {}


@dataclass(frozen=True)
class Intervention(Plugin):
    """A kind of absence. Write one by deriving from this class and giving it ``views``.

    Class attributes:
        whole_steps: whether only whole steps can be removed, also where others remove cells.
        source: paper and equation.
    """

    kind: ClassVar[str] = "intervention"
    whole_steps: ClassVar[bool] = False
    source: ClassVar[str] = ""

    def unfit(self, subject: Subject) -> str:  # noqa: ARG002  # for those that need something of it
        """Why features of a subject cannot be removed in this way, in a few words; empty if they can."""
        return ""

    def views(self, subject: Subject) -> tuple[Subject, ...]:
        """The subjects to ask, each with the reference that takes a removed feature's place; the mean over them counts.

        The same sequences in the same order with the same targets, and the same count of passes; the inputs may be
        embeddings, the model another one. Random draws follow from an instance's number and nothing else.
        """
        raise NotImplementedError

    def variants(self, removal: Removal) -> Variants:
        """The variants of a view that lack what a removal says."""
        return removal


def intervention(spec: str) -> Intervention:
    """An intervention from its spec; its own parameters, where it has several, are parted by semicolons.

    Raises:
        UsageError: there is none of that name, or a parameter does not fit.

    >>> intervention("marginal:draws=2").spec
    'marginal:draws=2'
    """
    name, _, parameters = spec.partition(":")
    if name.endswith(".py"):
        return cast("Intervention", build("intervention", spec.replace(";", ",")))
    key = find("intervention", name), parameters.replace(";", ",")
    if key not in _made:
        _made[key] = cast("Intervention", configure(*key))
    return _made[key]


def views_of(subject: Subject, by: Intervention) -> tuple[Subject, ...]:
    """The views of an intervention.

    Raises:
        UnsupportedModelError: features of this subject cannot be removed in that way.
    """
    if reason := by.unfit(subject):
        raise UnsupportedModelError(
            f"{subject.label} cannot be explained or judged by removing features by {by.spec}: {reason}."
        )
    return by.views(subject)
