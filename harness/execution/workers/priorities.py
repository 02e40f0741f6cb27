"""Order of jobs: the one with the longest chain of work first, that is, with what can start only after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..jobs import ExplainJob, ModelJob

if TYPE_CHECKING:
    from ..forecast.costs import Costs
    from ..grid import Grid
    from ..jobs import Job


class Priorities:
    """Estimates how long a job and what waits for it take, in the units of the forecast.

    Args:
        grid: the grid of the run.
        costs: of its pieces.
    """

    def __init__(self, grid: Grid, costs: Costs) -> None:
        self._grid, self._costs = grid, costs
        self._metrics = [info for info, _ in grid.metrics]

    def __call__(self, job: Job) -> float:
        """The length of the longest chain that begins with a job."""
        if isinstance(job, ModelJob):
            cells = self._grid.keys(job.info, job.seed)
            return (
                self._costs.building(job.info)
                + self._costs.training(job.info, job.seed)
                + max(self._costs.explaining(key) + self._costs.scoring(key, self._metrics) for key, _ in cells)
            )
        if isinstance(job, ExplainJob):
            return self._costs.explaining(job.key) + self._costs.scoring(job.key, self._metrics)
        return self._costs.scoring(job.key, [info for info, _ in job.metrics])
