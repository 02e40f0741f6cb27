"""Run of one task: its models are built, then explained, then scored, each only where results are missing.

A model is built only if one of its cells is incomplete. The new model may differ from the model of its stored cells.
These cells are then explained again, which changes the attributions that the cells of other models are compared with.
So models are built and explained until no attribution is missing, and only then are cells scored.

Steps of one cell: :mod:`.missing_work` finds what is missing, :mod:`.build_model` builds its model,
:mod:`.explain_cell` explains it, :mod:`.score_cell` scores it. The cell is stored after it was explained, and again
after it was scored.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from ...errors import UsageError
from ...metrics.base import Evidence
from ...tasks.engine.threads import default_threads, intra_op_threads
from ...tasks.models.origins import trained_anew
from ...tasks.trained import TrainedTask
from ..results.cells import Failure
from ..results.samples import read_samples
from ..results.store import ARRAYS
from .build_model import PLUGIN_ERRORS, Model, build_model, data_fingerprint, failure_of, stops
from .explain_cell import explain_cell, explainer_seed, failed_cell, load_attribution
from .missing_work import TaskCells
from .score_cell import failed_record, measurement_of, planned_probes, score_metric, with_records
from .take_samples import samples_of

if TYPE_CHECKING:
    from torch import Tensor

    from ...methods.base import Attribution, Explainer
    from ...metrics.base import Metric
    from ...tasks.base import Task
    from ..results.cells import Cell, Key, PluginInfo
    from ..results.samples import Samples
    from ..results.store import Store
    from .grid import Grid
    from .progress import Reporter
    from .score_cell import ScoredMetric
    from .time_and_memory import Stopwatch


class TaskRun:
    """Run of one task, which computes the missing results of its cells.

    Attributes:
        threads: largest number of intra-op threads that a model of this run was given.
        stored: the cells of the task, see :class:`.missing_work.TaskCells`.
    """

    def __init__(
        self,
        grid: Grid,
        info: PluginInfo,
        task: Task,
        store: Store,
        *,
        fresh: bool = False,
        retrain: bool = False,
        threads: int = 1,
    ) -> None:
        self.stored = TaskCells(grid, info, task, store, fresh=fresh, retrain=retrain)
        self._task_info, self._task, self._store = info, task, store
        self._retrain, self._threads = retrain, threads
        self.threads = default_threads()
        self._models: dict[int, Model | Failure] = {}
        self._attributions: dict[Key, tuple[Attribution, Tensor]] = {}

    def check_data(self, watch: Stopwatch) -> None:
        """Make the data of a task with missing results, so that a usage error ends the run before anything is computed.

        Raises:
            UsageError: an extra is not installed, a parameter does not fit the data, or a published model that is
                needed is damaged.
        """
        seeds = self.stored.seeds_with_work() if isinstance(self._task, TrainedTask) else []
        if not isinstance(self._task, TrainedTask) or not seeds:
            return
        try:
            with watch.phase("training"):
                self._task.data()
                for published in () if self._retrain else map(self._task.published, seeds):
                    if published is not None:
                        published.read()
        except UsageError:
            raise
        except PLUGIN_ERRORS:
            # no usage error: it occurs again when the models are built, and is then stored in the cells of this task
            return

    def run(self, watch: Stopwatch, reporter: Reporter) -> None:
        """Compute the missing results; each cell is stored when it is explained, and again when it is scored."""
        start = time.perf_counter()
        explained: set[Key] = set()
        while (seed := self._next_seed()) is not None:
            explained |= self._explain_model(seed, watch, reporter)
        self._store_samples()
        scored = sum(self._score_model(seed, explained, watch, reporter) for seed in self.stored.keys)
        self._attributions.clear()
        if explained or scored:
            seconds = time.perf_counter() - start
            reporter.line(f"{self._task_info.spec}: {len(explained)} explained, {scored} scored in {seconds:.1f} s")

    def _next_seed(self) -> int | None:
        """Model seed with missing results whose model is not built yet; None if there is none."""
        return next(
            (seed for seed in self.stored.keys if seed not in self._models and self.stored.has_work(seed)), None
        )

    # ---- one model: build it, explain it -------------------------------------------------------------------------

    def _explain_model(self, seed: int, watch: Stopwatch, reporter: Reporter) -> set[Key]:
        """Build the model of a seed and explain its incomplete cells; returns the keys of these cells."""
        reporter.doing(f"{self._task_info.spec}: model of seed {seed}")
        with watch.phase("training"):
            self._models[seed] = model = self._build_model(seed)
        if isinstance(model, Model):
            self.threads = max(self.threads, model.threads)
            self._compare_with_cells(seed, model)
        reporter.done()
        explained = set()
        for key, method in self.stored.keys[seed]:
            if self.stored.unexplained(key):
                reporter.doing(f"{self._task_info.spec}: {key.method.spec}, model seed {seed}")
                with watch.phase("explaining"):
                    self._explain(key, method, model)
                reporter.done()
                explained.add(key)
        return explained

    def _build_model(self, seed: int) -> Model | Failure:
        """Model of a seed, or the failure to build it; a usage error is raised."""
        try:
            with trained_anew() if self._retrain else contextlib.nullcontext():
                return build_model(self._task, seed, self._threads)
        except PLUGIN_ERRORS as error:
            if stops(error):
                raise
            return failure_of(error)

    def _compare_with_cells(self, seed: int, model: Model) -> None:
        """Drop the cells of other models or other data, and update the origin of the model in the others."""
        fingerprints = (model.fingerprints.model, model.fingerprints.data)
        for key, _ in self.stored.keys[seed]:
            cell = self.stored.cells[key]
            if cell is None or cell.status == "failed":
                continue
            if (cell.fingerprints.model, cell.fingerprints.data) != fingerprints:
                self._store.notices.append(f"{key}: the model or the data have changed; computed again.")
                self.stored.cells[key] = None
            elif cell.model_origin != model.subject.model_origin:
                changed = cell.model_copy(update={"model_origin": model.subject.model_origin})
                arrays = self._store.arrays(key, *ARRAYS) if cell.explained else None
                self.stored.cells[key] = self._store.save(key, changed, arrays)

    def _explain(self, key: Key, method: Explainer, model: Model | Failure) -> None:
        """Explain one cell and store it."""
        if isinstance(model, Failure):
            cell, arrays = failed_cell(key, model), None
        else:
            with intra_op_threads(model.threads):
                cell, arrays = explain_cell(key, method, model)
        self.stored.cells[key] = self._store.save(key, cell, arrays)

    # ---- one model: score it ------------------------------------------------------------------------------------

    def _score_model(self, seed: int, explained: set[Key], watch: Stopwatch, reporter: Reporter) -> int:
        """Score the incomplete cells of one model and free the model; returns the number of cells that were scored."""
        scored = 0
        for key, method in self.stored.keys[seed]:
            if metrics := self.stored.unscored_metrics(key):
                reporter.doing(f"{self._task_info.spec}: scores of {key.method.spec}, model seed {seed}")
                with watch.phase("scoring"):
                    self._score(key, method, metrics)
                scored += 1
            if metrics or key in explained:
                reporter.done()
        # frees the model and the probes its methods shared
        self._models.pop(seed, None)
        return scored

    def _score(self, key: Key, method: Explainer, metrics: list[tuple[PluginInfo, Metric]]) -> None:
        """Score one cell by the metrics it lacks, and store it."""
        cell, model = self.stored.cells[key], self._models[key.model_seed]
        if cell is None:
            return
        if isinstance(model, Failure):
            scored: list[ScoredMetric] = [(failed_record(info, model), None) for info, _ in metrics]
        else:
            with intra_op_threads(model.threads):
                evidence = self._evidence(key, cell, method, model, metrics)
                siblings_hash = self.stored.siblings_hash(key)
                scored = [score_metric(info, metric, evidence, siblings_hash) for info, metric in metrics]
        arrays = self._store.arrays(key, *ARRAYS)
        cell, arrays = with_records(cell, arrays, scored)
        self.stored.cells[key] = self._store.save(key, cell, arrays)

    def _evidence(
        self, key: Key, cell: Cell, method: Explainer, model: Model, metrics: list[tuple[PluginInfo, Metric]]
    ) -> Evidence:
        """Evidence of one cell for the metrics that score it."""
        evidence = Evidence(
            subject=model.subject,
            attribution=self._attribution(key)[0],
            explainer=method,
            seed=explainer_seed(key),
            measurement=measurement_of(cell),
            shared=model.shared,
        )
        if any(metric.needs_siblings for _, metric in metrics):
            evidence.siblings = {seed: self._attribution(other) for seed, other in self.stored.siblings(key).items()}
        evidence.planned = planned_probes(metrics, evidence)
        return evidence

    def _attribution(self, key: Key) -> tuple[Attribution, Tensor]:
        """Stored attribution of a cell with its targets, loaded once."""
        if key not in self._attributions:
            cell = self.stored.cells[key]
            if cell is None:
                raise LookupError(key)
            self._attributions[key] = load_attribution(self._store, key, cell)
        return self._attributions[key]

    # ---- samples for the page ------------------------------------------------------------------------------------

    def _store_samples(self) -> None:
        """Store a few sequences for the page, unless those of the same data are stored already."""
        fingerprints = {cell.fingerprints.data for cell in self.stored.cells.values() if cell is not None} - {""}
        stored = read_samples(self._store.folder, self._task_info)
        if not fingerprints or (stored is not None and stored.data in fingerprints):
            return
        samples = None
        with contextlib.suppress(*PLUGIN_ERRORS):  # without samples the page shows less, but no number changes
            samples = self._samples()
        if samples is not None and samples.data in fingerprints:
            self._store.write_samples(self._task_info, samples)

    def _samples(self) -> Samples | None:
        """Samples of the subject of a model, or else of the task's data; None if data exist only with a model."""
        model = next((model for model in self._models.values() if isinstance(model, Model)), None)
        if model is not None:
            return samples_of(model.subject.batch, model.subject.names, model.fingerprints.data)
        if not isinstance(self._task, TrainedTask):
            return None
        data = self._task.data()
        batch = data.explained
        return samples_of(batch, data.names, data_fingerprint(batch, data.reference_of(batch), data.background))
