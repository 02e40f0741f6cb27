"""Attribution of a subject by a method that is named, or refused with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ...errors import UsageError
from ...plugins import Plugin, build

if TYPE_CHECKING:
    from ...methods.base import Attribution, Explainer
    from ...tasks.subject import Subject


def explain_subject(subject: Subject, method: str | Explainer, seed: int) -> Attribution:
    """Attribution of a subject by one method.

    Args:
        subject: the subject to explain.
        method: a method or its spec.
        seed: seed of methods that draw random numbers.

    Raises:
        UsageError: there is no such method, or it cannot explain this subject.
    """
    if not isinstance(method, (str, Plugin)):
        raise UsageError(
            f"The method is a {type(method).__name__}: give its name, such as 'occlusion', or an instance."
        )
    explainer = cast("Explainer", build("method", method))
    if "targets" in explainer.needs and not subject.targets_known:
        raise UsageError(
            f"{explainer.name!r} measures the quality of the model, which needs the correct outputs: give targets."
        )
    if reason := explainer.applicable(subject):
        way = "" if subject.differentiable else "; use one that only runs it, such as occlusion or lime"
        raise UsageError(f"{explainer.name!r} cannot explain {subject.label}: {reason}{way}.")
    return explainer.explain(subject, seed)
