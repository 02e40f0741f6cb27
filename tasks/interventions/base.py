"""Base class of the interventions: the meaning of "absent" where a method or a metric removes features.

The choice decides the result. A word can be replaced by a zero vector, the padding token or a word drawn from another
text, or it can be deleted, and these give different outputs. So every method and metric that removes features names
its intervention, every board shows it, and interventions are plug-ins.

Most interventions replace a feature by a value. Removal is then the same operation with another reference:
:meth:`Intervention.views` returns subjects with that reference, one for each draw where the value is random. Deletion
takes steps out of the sequence, which is another kind of variant. Mask training replaces the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, cast

from ...errors import UnsupportedModelError
from ...plugins import Plugin, configure, find, used_plugin
from ...spec_files import file_spec

if TYPE_CHECKING:
    from ..engine.variants import Removal, Variants
    from ..subject import Subject

# Interventions by class and parameters, built once, since metrics look theirs up again and again.
_cache: Final[dict[tuple[type[Plugin], str], Intervention]] = {}
# Interventions from files, by the spec under which the metrics and methods in use name them.
_from_files: Final[dict[str, Intervention]] = {}


@dataclass(frozen=True)
class Intervention(Plugin):
    """A way to remove features. Write one by deriving from this class and defining ``views``.

    Class attributes:
        whole_steps: whether only whole steps can be removed, even where other interventions remove cells.
        source: paper and equation.
    """

    kind: ClassVar[str] = "intervention"
    whole_steps: ClassVar[bool] = False
    source: ClassVar[str] = ""

    def unfit(self, subject: Subject) -> str:  # noqa: ARG002  # read by interventions that do not fit every subject
        """Return the reason why features of a subject cannot be removed in this way; empty if they can."""
        return ""

    def views(self, subject: Subject) -> tuple[Subject, ...]:
        """The subjects to evaluate, each with the reference that replaces removed features; scores are means over them.

        Every view has the same sequences in the same order, the same targets, and the same counter of passes. Its
        inputs may be embeddings, and its model may be another one. Random draws depend on the row of an instance and
        on nothing else.
        """
        raise NotImplementedError

    def variants(self, removal: Removal) -> Variants:
        """The perturbed inputs of a view for a removal, as variants."""
        return removal


def intervention(spec: str) -> Intervention:
    """Build an intervention from its spec, in which semicolons separate its parameters.

    Raises:
        UsageError: no intervention has that name, or a parameter does not fit.

    >>> intervention("marginal:draws=2").spec
    'marginal:draws=2'
    """
    if file_spec(spec) is not None:
        return _from_files.get(spec) or cast("Intervention", used_plugin("intervention", spec))
    name, _, parameters = spec.partition(":")
    key = find("intervention", name), parameters.replace(";", ",")
    if key not in _cache:
        _cache[key] = cast("Intervention", configure(*key))
    return _cache[key]


def intervention_of(user: Plugin) -> Intervention:
    """The intervention that the parameter ``by`` of a metric or method names; called when the user is made.

    One from a file is that of the file as it is now: an edit during a run has no effect before the next run, whose
    plug-ins are made again.
    """
    by = cast("Intervention", user.used("by"))
    spec: str = user.parameters["by"]
    if file_spec(spec) is not None:
        _from_files[spec] = by
    return by


def views_of(subject: Subject, by: Intervention) -> tuple[Subject, ...]:
    """The views of a subject under an intervention, see :meth:`Intervention.views`.

    Raises:
        UnsupportedModelError: features of this subject cannot be removed in that way.
    """
    if reason := by.unfit(subject):
        raise UnsupportedModelError(
            f"{subject.label} cannot be explained or judged by removing features by {by.spec}: {reason}."
        )
    return by.views(subject)
