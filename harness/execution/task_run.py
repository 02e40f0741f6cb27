"""Run of one task: its models are made, then explained, then scored, each only where results are missing.

A model is made only if one of its cells is incomplete. The new model may differ from the model of its stored cells.
These cells are then explained again, which changes the attributions that the cells of other models are compared with.
So models are made and explained until no attribution is missing, and only then are cells scored.

The run hands out jobs (:mod:`.jobs`) and takes their results in whatever order they come; it alone writes the store.
:mod:`.missing_work` finds what is missing. A cell is stored after it was explained, and again after it was scored.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from ...errors import ContractError, UsageError
from ...tasks.trained import TrainedTask
from ..results.cell_checks import ARRAYS
from ..results.cells import Failure
from .guard.plugin_call import PluginCall
from .jobs import Explained, ExplainJob, ModelFacts, ModelJob, ScoreJob, StoredAttribution, StoredEvidence
from .missing_work import TaskCells
from .steps.build_model import data_fingerprint, failure_of
from .steps.explain_cell import failed_cell
from .steps.score_cell import failed_record, measurement_of, with_records
from .steps.take_samples import samples_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...tasks.base import Task
    from ..results.cells import Cell, Fingerprints, Key, PluginInfo
    from ..results.samples import Samples
    from ..results.store import Store
    from .grid import Grid
    from .guard.limits import Limits
    from .jobs import Arrays, Job
    from .progress import Reporter
    from .steps.score_cell import ScoredMetric
    from .steps.time_and_memory import Stopwatch


_ANOTHER_MODEL: Final = (
    "It was explained on another model than the rest: a worker that was lost had trained the model, and another one "
    "trained other weights from the same seed; run again, with workers of one kind of processor."
)


class TaskRun:
    """Run of one task: what is still to be done, as jobs, and the way of their results to the store.

    Attributes:
        info: the task as it is stored in results.
        stored: the cells of the task, see :class:`.missing_work.TaskCells`.
    """

    def __init__(  # noqa: PLR0913  # the settings of a run
        self,
        grid: Grid,
        info: PluginInfo,
        task: Task,
        store: Store,
        report: Reporter,
        *,
        fresh: bool = False,
        retrain: bool = False,
        device: str = "",
        examples: bool = True,
    ) -> None:
        self.info = info
        self.stored = TaskCells(grid, info, task, store, fresh=fresh, retrain=retrain)
        self._task, self._store, self._report = task, store, report
        self._retrain, self._device, self._examples = retrain, device, examples
        self._models: dict[int, ModelFacts | Failure] = {}
        self._asked: set[int] = set()
        self._waiting: list[Job] = []
        self._out = 0
        self._scoring = False
        self._explained: set[Key] = set()
        self._scored = 0
        self._start: float | None = None

    def check_data(self, watch: Stopwatch, limits: Limits) -> None:
        """Make the data of a task with missing results, so that a usage error ends the run before anything is computed.

        Raises:
            UsageError: an extra is not installed, a parameter does not fit the data, or a published model that is
                needed is damaged.
        """
        seeds = self.stored.seeds_with_work() if isinstance(self._task, TrainedTask) else []
        if not isinstance(self._task, TrainedTask) or not seeds:
            return
        try:
            with watch.phase("training"), PluginCall(f"Task {self._task.name!r}", limits):
                self._task.data()
                for published in () if self._retrain else map(self._task.published, seeds):
                    if published is not None:
                        published.read()
        except UsageError:
            raise
        except Exception:  # noqa: BLE001  # whatever a task raises
            # no usage error: it occurs again when the models are built, and is then stored in the cells of this task
            return

    # ---- jobs and their results ----------------------------------------------------------------------------------

    def jobs(self) -> list[Job]:
        """Jobs that can start now; each is handed out once."""
        if self._start is None:
            self._start = time.perf_counter()
            self._next_round()
        jobs, self._waiting = self._waiting, []
        self._out += len(jobs)
        return jobs

    @property
    def done(self) -> bool:
        """Whether every job was handed out and came back."""
        return self._scoring and not self._waiting and not self._out

    def give_back(self, job: Job) -> None:
        """Take a job back that was handed out and not done; it is handed out again."""
        self._out -= 1
        self._waiting.append(job)

    def model_job(self, seed: int) -> ModelJob:
        """The job to make the model of a seed."""
        return ModelJob(self.info, self._task, seed, self._retrain, self._device)

    def take_model(self, job: ModelJob, result: ModelFacts | Failure) -> None:
        """Take a model that was made, or the failure to make it."""
        self._out -= 1
        self._models[job.seed] = result
        if isinstance(result, ModelFacts):
            self._compare_with_cells(job.seed, result)
        self._report.done()
        for key, method in self.stored.keys[job.seed]:
            if not self.stored.unexplained(key):
                continue
            if isinstance(result, Failure):
                self._keep(key, failed_cell(key, result))
            else:
                self._waiting.append(ExplainJob(key, method))
        self._next_round()

    def take_explained(self, job: ExplainJob, result: Explained | Failure) -> None:
        """Take a cell that was explained, or the failure of whatever should have explained it."""
        self._out -= 1
        facts = self._models[job.key.model_seed]
        fingerprints = facts.fingerprints if isinstance(facts, ModelFacts) else None
        if isinstance(result, Explained) and fingerprints is not None and _of_another(result.cell, fingerprints):
            result = failure_of(ContractError(_ANOTHER_MODEL))
        if isinstance(result, Failure):
            self._keep(job.key, failed_cell(job.key, result, fingerprints=fingerprints))
        else:
            self._keep(job.key, result.cell, result.arrays)
        self._next_round()

    def take_scored(self, job: ScoreJob, result: Sequence[ScoredMetric]) -> None:
        """Take the records of a cell that was scored."""
        self._out -= 1
        self._keep_records(job.key, result)
        self._next_round()

    def _next_round(self) -> None:
        """Find new jobs if none is waiting or out: models first, then scores; in the end nothing is left to do."""
        if self._waiting or self._out:
            return
        if not self._scoring:
            self._waiting += self._model_jobs()
            if not self._waiting:
                self._scoring = True
                self._store_samples()
                self._waiting += self._score_jobs()
        if self.done:
            self._end()

    def _model_jobs(self) -> list[ModelJob]:
        """Jobs for the models that have missing results and are not made yet."""
        seeds = [seed for seed in self.stored.keys if seed not in self._asked and self.stored.has_work(seed)]
        self._asked.update(seeds)
        return [self.model_job(seed) for seed in seeds]

    def _compare_with_cells(self, seed: int, model: ModelFacts) -> None:
        """Drop the cells of other models or other data, and update the origin of the model in the others."""
        fingerprints = (model.fingerprints.model, model.fingerprints.data)
        for key, _ in self.stored.keys[seed]:
            cell = self.stored.cells[key]
            if cell is None or cell.status == "failed":
                continue
            if (cell.fingerprints.model, cell.fingerprints.data) != fingerprints:
                self._store.notices.append(f"{key}: the model or the data have changed; computed again.")
                self.stored.cells[key] = None
            elif cell.model_origin != model.origin:
                changed = cell.model_copy(update={"model_origin": model.origin})
                arrays = self._store.arrays(key, cell, *ARRAYS) if cell.explained else None
                self.stored.cells[key] = self._store.save(key, changed, arrays)

    def _keep(self, key: Key, cell: Cell, arrays: Arrays | None = None) -> None:
        """Store a cell that was explained."""
        self.stored.cells[key] = self._store.save(key, cell, arrays)
        self._explained.add(key)
        self._report.done()

    # ---- scores --------------------------------------------------------------------------------------------------

    def _score_jobs(self) -> list[ScoreJob]:
        """Jobs for the cells that lack records; where the model could not be made, the records fail at once."""
        jobs = []
        for seed, pairs in self.stored.keys.items():
            for key, method in pairs:
                metrics, cell = tuple(self.stored.unscored_metrics(key)), self.stored.cells[key]
                if not metrics or cell is None:
                    if key in self._explained:
                        self._report.done()
                    continue
                model = self._models[seed]
                if isinstance(model, Failure):
                    self._keep_records(key, [(failed_record(info, model), None) for info, _ in metrics])
                    continue
                jobs.append(ScoreJob(key, method, metrics))
        return jobs

    def evidence(self, job: ScoreJob) -> StoredEvidence:
        """Stored evidence for the scoring of a cell, loaded now."""
        cell = self.stored.cells[job.key]
        if cell is None:
            raise LookupError(job.key)
        compared = any(metric.needs_siblings for _, metric in job.metrics)
        siblings = self.stored.siblings(job.key) if compared else {}
        return StoredEvidence(
            self._attribution(job.key),
            measurement_of(cell),
            {seed: self._attribution(sibling) for seed, sibling in siblings.items()},
            self.stored.siblings_hash(job.key),
        )

    def _attribution(self, key: Key) -> StoredAttribution:
        """Stored attribution of a cell."""
        cell = self.stored.cells[key]
        if cell is None:
            raise LookupError(key)
        return StoredAttribution(
            self._store.arrays(key, cell, "attribution", "target", "lengths"), cell.signed, cell.complete
        )

    def _keep_records(self, key: Key, scored: Sequence[ScoredMetric]) -> None:
        """Store the records of a cell."""
        cell = self.stored.cells[key]
        if cell is None:
            raise LookupError(key)
        cell, arrays = with_records(cell, self._store.arrays(key, cell, *ARRAYS), scored)
        self.stored.cells[key] = self._store.save(key, cell, arrays)
        self._scored += 1
        self._report.done()

    def _end(self) -> None:
        """Say what was done, and forget what is needed no longer."""
        self._models.clear()
        for notice in self._store.new_notices():
            self._report.line(notice)
        if self._explained or self._scored:
            seconds = time.perf_counter() - (self._start or 0.0)
            self._report.line(
                f"{self.info.spec}: {len(self._explained)} explained, {self._scored} scored in {seconds:.1f} s"
            )

    # ---- samples for the page ------------------------------------------------------------------------------------

    def _store_samples(self) -> None:
        """Store a few sequences for the page, unless those of the same data are stored already; or delete them."""
        if not self._examples:
            self._store.discard_samples(self.info)
            return
        fingerprints = {cell.fingerprints.data for cell in self.stored.cells.values() if cell is not None} - {""}
        stored = self._store.read_samples(self.info)
        if not fingerprints or (stored is not None and stored.data in fingerprints):
            return
        samples = self._samples()
        if samples is not None and samples.data in fingerprints:
            self._store.write_samples(self.info, samples)

    def _samples(self) -> Samples | None:
        """Samples of a model that was made, or else of the task's data; None if data exist only with a model."""
        for model in self._models.values():
            if isinstance(model, ModelFacts):
                return model.samples
        if not isinstance(self._task, TrainedTask):
            return None
        try:
            with PluginCall(f"Task {self._task.name!r}"):
                data = self._task.data()
            batch = data.explained
            return samples_of(batch, data.names, data_fingerprint(batch, data.reference_of(batch), data.background))
        except Exception:  # noqa: BLE001  # without samples the page shows less, but no number changes
            return None


def _of_another(cell: Cell, fingerprints: Fingerprints) -> bool:
    """Whether a cell is of another model or other data."""
    own = cell.fingerprints
    return bool(own.model) and (own.model, own.data) != (fingerprints.model, fingerprints.data)
