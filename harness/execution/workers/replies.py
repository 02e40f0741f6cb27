"""Results and failures in the replies of workers."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from ...results.cells import Failure
from ..steps.score_cell import failed_record
from .supervision import NOWHERE

if TYPE_CHECKING:
    from ..jobs import ScoreJob
    from ..steps.score_cell import ScoredMetric
    from .supervision import Reply


def result_of(reply: Reply) -> Any:  # noqa: ANN401  # of a model job or an explain job
    """Result of a job that is done whole, or the failure of whatever should have done it."""
    return failure_of_reply(reply) or pickle.loads(reply.result)  # noqa: S301  # of the run's own workers


def failure_of_reply(reply: Reply) -> Failure | None:
    """Failure of whatever should have done a job; None if it was done."""
    if reply.kind != "failed":
        return None
    return Failure.model_validate_json(next(iter(reply.failures.values())))


def records_of(job: ScoreJob, reply: Reply) -> list[ScoredMetric]:
    """Records of a cell, with failed ones for the metrics with which a process ended."""
    failures = {place: Failure.model_validate_json(text) for place, text in reply.failures.items()}
    records = []
    for place, (info, _) in enumerate(job.metrics):
        if place in reply.parts:
            records.append(pickle.loads(reply.parts[place]))  # noqa: S301  # of the run's own workers
        else:
            records.append((failed_record(info, failures.get(place) or failures[NOWHERE]), None))
    return records
