"""Context in which a metric scores: whatever other metrics read too stays as it was."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING

from ..errors import ContractError, XrnnbenchWarning
from ..tasks.engine.isolation import seed_generators
from ..tasks.engine.snapshot import Snapshot
from ..tasks.subject import Subject
from .base import Probes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .base import Evidence, Metric


@contextlib.contextmanager
def measuring(metric: Metric, evidence: Evidence) -> Iterator[None]:
    """Context in which a metric scores: model, data, evidence and shared results stay; generators are seeded.

    Raises:
        ContractError: the metric has changed one of them.
    """
    with (
        evidence.subject.isolated(f"metric {metric.name!r}"),
        evidence_kept(evidence, metric),
        warnings.catch_warnings(),
    ):
        # methods are called again on other models and inputs; what they warn of is said of the explained ones
        warnings.simplefilter("ignore", XrnnbenchWarning)
        seed_generators(evidence.seed)
        yield


@contextlib.contextmanager
def evidence_kept(evidence: Evidence, metric: Metric) -> Iterator[None]:
    """Context that restores the evidence and the shared results that a metric changes, because others read them too.

    Raises:
        ContractError: the metric has changed one.
    """
    siblings = {f"the attribution of model seed {seed}": each for seed, (each, _) in evidence.siblings.items()}
    known = {"the attribution": evidence.attribution, **siblings, "the evidence": evidence}
    # counts of passes are left out otherwise, because those of a subject go on
    known["the cost"] = vars(evidence.measurement.cost)
    snapshot = Snapshot(known, leave=(Subject, Probes))
    try:
        yield
    finally:
        changed = [str(place) for place in snapshot.changed()]
        if changed:
            snapshot.restore()
        changed += ["a result that other metrics share"] if restore_shared(evidence) else []
    if changed:
        raise ContractError(f"Metric {metric.name!r} changed {changed[0]} it scores; it has been restored.")


def restore_shared(evidence: Evidence) -> bool:
    """Restore what metrics have computed for all, where it was changed; returns whether it was."""
    retraining = evidence.subject.retraining
    derived = retraining is not None and retraining.restore_derived()
    restored = [evidence.cache.restore(), evidence.shared.cache.restore(), derived]
    return any(restored)
