"""The work of a run: for each task its models, then their explanations, then the scores; only what is missing."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from ...errors import UsageError
from ...fingerprints import fingerprint
from ...metrics.base import Evidence
from ...tasks.models.origins import ANEW, PUBLISHED, TRAINED, trained_anew
from ...tasks.trained import TrainedTask
from ..results.cells import Cell, Failure
from ..results.samples import read_samples
from ..results.store import ARRAYS
from .build_model import PLUGIN_ERRORS, Model, build_model, data_fingerprint, failure_of, stops
from .explain_cell import explain_cell, explainer_seed, failed_cell, load_attribution
from .score_cell import failed_record, judge, lacking, measurement_of, planned, with_records
from .take_samples import samples_of

if TYPE_CHECKING:
    from torch import Tensor

    from ...methods.base import Attribution, Explainer
    from ...metrics.base import Metric
    from ...tasks.base import Task
    from ...tasks.models.published import Published
    from ..results.cells import Key, Source
    from ..results.samples import Samples
    from ..results.store import Store
    from .grid import Grid
    from .progress import Reporter
    from .score_cell import Judged
    from .time_and_memory import Stopwatch


class TaskRun:
    """One task of a run.

    A model is made only if one of its cells lacks something. Making it may show that it is another model than the one
    the cells speak of; they then are explained again, which changes what the other models' cells are compared with:
    so models are made, and what they lack explained, until nothing is missing, and only then is anything scored.

    Attributes:
        cells: what is kept, by place; None where there is nothing good.
    """

    def __init__(
        self, grid: Grid, source: Source, task: Task, store: Store, *, fresh: bool = False, retrain: bool = False
    ) -> None:
        self._grid, self._source, self._task, self._store = grid, source, task, store
        self._retrain = retrain
        self._keys = {seed: list(grid.keys(source, seed)) for seed in grid.seeds_of(task)}
        self.cells: dict[Key, Cell | None] = {key: None if fresh else store.load(key) for key, _ in self._all()}
        self._models: dict[int, Model | Failure] = {}
        self._attributions: dict[Key, tuple[Attribution, Tensor]] = {}

    def foresee(self, watch: Stopwatch) -> None:
        """Make the data of a task that has work, so that what its user must mend is said before anything is run.

        Raises:
            UsageError: an extra is not installed, a parameter does not fit the data, or a published model that is
                needed is damaged.
        """
        if not isinstance(self._task, TrainedTask) or not any(map(self._has_work, self._keys)):
            return
        try:
            with watch.phase("training"):
                self._task.data()
                for entry in () if self._retrain else map(self._task.published, filter(self._has_work, self._keys)):
                    if entry is not None:
                        entry.read()
        except UsageError:
            raise
        except PLUGIN_ERRORS:
            # not the user's to mend: making the models meets it again, and keeps it in the cells of this task
            return

    def steps(self) -> int:
        """How many models, explanations and scorings are ahead, as far as can be told now."""
        seeds = [seed for seed in self._keys if self._has_work(seed)]
        missing = sum(_unexplained(cell) for cell in self.cells.values())
        unscored = sum(bool(self._lacking(key)) for key, cell in self.cells.items() if not _unexplained(cell))
        return len(seeds) + 2 * missing + unscored

    def run(self, watch: Stopwatch, reporter: Reporter) -> None:
        """Do what is ahead."""
        start = time.perf_counter()
        explained = self._explain_all(watch, reporter)
        self._keep_samples()
        scored = self._score_all(watch, reporter, explained)
        self._attributions.clear()
        if explained or scored:
            seconds = time.perf_counter() - start
            reporter.line(f"{self._source.spec}: {len(explained)} explained, {scored} scored in {seconds:.1f} s")

    def _explain_all(self, watch: Stopwatch, reporter: Reporter) -> set[Key]:
        explained = set()
        while (seed := self._next()) is not None:
            reporter.doing(f"{self._source.spec}: model of seed {seed}")
            with watch.phase("training"):
                self._build(seed)
            reporter.done()
            for key, method in self._keys[seed]:
                if _unexplained(self.cells[key]):
                    reporter.doing(f"{self._source.spec}: {key.method.spec}, model seed {seed}")
                    with watch.phase("explaining"):
                        self._explain(key, method)
                    reporter.done()
                    explained.add(key)
        return explained

    def _score_all(self, watch: Stopwatch, reporter: Reporter, explained: set[Key]) -> int:
        scored = 0
        for seed, pairs in self._keys.items():
            for key, method in pairs:
                if metrics := self._lacking(key):
                    reporter.doing(f"{self._source.spec}: scores of {key.method.spec}, model seed {seed}")
                    with watch.phase("scoring"):
                        self._score(key, method, metrics)
                    scored += 1
                if metrics or key in explained:
                    reporter.done()
            # frees the model and the probes its methods shared
            self._models.pop(seed, None)
        return scored

    def _keep_samples(self) -> None:
        """Keep a few sequences to be shown, unless those of these data are kept."""
        known = {cell.fingerprints.data for cell in self.cells.values() if cell is not None} - {""}
        kept = read_samples(self._store.folder, self._source)
        if not known or (kept is not None and kept.data in known):
            return
        found = None
        with contextlib.suppress(*PLUGIN_ERRORS):  # without them a page shows less, and no number is another
            found = self._samples()
        if found is not None and found.data in known:
            self._store.write_samples(self._source, found)

    def _samples(self) -> Samples | None:
        """Samples of a model's subject; of the task's data if none was made; None if there are none without one."""
        model = next((each for each in self._models.values() if isinstance(each, Model)), None)
        if model is not None:
            return samples_of(model.subject.batch, model.subject.names, model.fingerprints.data)
        if not isinstance(self._task, TrainedTask):
            return None
        data = self._task.data()
        batch = data.explained
        return samples_of(batch, data.names, data_fingerprint(batch, data.reference_of(batch), data.background))

    # ---- what is missing ----------------------------------------------------------------------------------------

    def _all(self) -> list[tuple[Key, Explainer]]:
        return [pair for pairs in self._keys.values() for pair in pairs]

    def _next(self) -> int | None:
        """A seed whose model has not been made in this run and is needed."""
        return next((seed for seed in self._keys if seed not in self._models and self._has_work(seed)), None)

    def _has_work(self, seed: int) -> bool:
        listed = self._task.listed(seed) if isinstance(self._task, TrainedTask) else None
        return any(
            _unexplained(self.cells[key]) or self._lacking(key) or self._of_another(self.cells[key], listed)
            for key, _ in self._keys[seed]
        )

    def _of_another(self, cell: Cell | None, listed: Published | None) -> bool:
        """Whether a cell is of another model than the one that now counts: published, trained, or trained anew."""
        if cell is None or not isinstance(self._task, TrainedTask):
            return False
        if self._retrain or cell.model_origin == ANEW:
            return self._retrain != (cell.model_origin == ANEW)
        if listed is None:
            return cell.model_origin == PUBLISHED
        if cell.model_origin == PUBLISHED:
            return cell.fingerprints.model != listed.weights
        # where one is published, a cell says why it is not of that one
        return cell.model_origin in {"", TRAINED}

    def judged(self, key: Key) -> bool:
        """Whether a cell is kept, and every metric has judged it as it would now, if only by failing."""
        cell = self.cells[key]
        if cell is None:
            return False
        records = [cell.record(source) for source, _ in self._lacking(key)]
        return all(record is not None and record.status == "failed" for record in records)

    def covered(self, cell: Cell) -> bool:
        """Whether every metric of the grid has judged a cell, if there is something to judge."""
        return not cell.explained or all(cell.record(source) is not None for source, _ in self._grid.metrics)

    def _lacking(self, key: Key) -> list[tuple[Source, Metric]]:
        return lacking(self.cells[key], self._grid.metrics, self._siblings_hash(key))

    def _siblings(self, key: Key) -> dict[int, Key]:
        """The same method's explanations of the other models, by seed; models under their gate are no standard."""
        found = {}
        for other, cell in self.cells.items():
            alike = other.method is key.method and other.explainer_seed == key.explainer_seed
            if alike and other.model_seed != key.model_seed and cell is not None and cell.explained and cell.fit:
                found[other.model_seed] = other
        return found

    def _siblings_hash(self, key: Key) -> str:
        found = {seed: self.cells[other] for seed, other in self._siblings(key).items()}
        hashes = {
            str(seed): [cell.fingerprints.model, cell.fingerprints.attribution]
            for seed, cell in found.items()
            if cell is not None
        }
        return fingerprint(hashes)

    # ---- doing it -----------------------------------------------------------------------------------------------

    def _build(self, seed: int) -> None:
        try:
            with trained_anew() if self._retrain else contextlib.nullcontext():
                model = build_model(self._task, seed)
        except PLUGIN_ERRORS as error:
            if stops(error):
                raise
            self._models[seed] = failure_of(error)
            return
        self._models[seed] = model
        made = (model.fingerprints.model, model.fingerprints.data)
        for key, _ in self._keys[seed]:
            cell = self.cells[key]
            if cell is None or cell.status == "failed":
                continue
            if (cell.fingerprints.model, cell.fingerprints.data) != made:
                self._store.notices.append(f"{key}: the model or the data are not what they were; computed again.")
                self.cells[key] = None
            elif cell.model_origin != model.subject.model_origin:
                changed = cell.model_copy(update={"model_origin": model.subject.model_origin})
                arrays = self._store.arrays(key, *ARRAYS) if cell.explained else None
                self.cells[key] = self._store.save(key, changed, arrays)

    def _explain(self, key: Key, method: Explainer) -> None:
        model = self._models[key.model_seed]
        if isinstance(model, Failure):
            cell, arrays = failed_cell(key, model), None
        else:
            cell, arrays = explain_cell(key, method, model)
        self.cells[key] = self._store.save(key, cell, arrays)

    def _score(self, key: Key, method: Explainer, metrics: list[tuple[Source, Metric]]) -> None:
        cell, model = self.cells[key], self._models[key.model_seed]
        if cell is None:
            return
        if isinstance(model, Failure):
            judged: list[Judged] = [(failed_record(source, model), None) for source, _ in metrics]
        else:
            evidence = self._evidence(key, cell, method, model)
            if any(metric.needs_siblings for _, metric in metrics):
                evidence.siblings = {seed: self._attribution(other) for seed, other in self._siblings(key).items()}
            evidence.planned = planned(metrics, evidence)
            siblings = self._siblings_hash(key)
            judged = [judge(source, metric, evidence, siblings) for source, metric in metrics]
        arrays = self._store.arrays(key, *ARRAYS)
        cell, arrays = with_records(cell, arrays, judged)
        self.cells[key] = self._store.save(key, cell, arrays)

    def _evidence(self, key: Key, cell: Cell, method: Explainer, model: Model) -> Evidence:
        return Evidence(
            subject=model.subject,
            attribution=self._attribution(key)[0],
            explainer=method,
            seed=explainer_seed(key),
            measurement=measurement_of(cell),
            shared=model.shared,
        )

    def _attribution(self, key: Key) -> tuple[Attribution, Tensor]:
        if key not in self._attributions:
            cell = self.cells[key]
            if cell is None:
                raise LookupError(key)
            self._attributions[key] = load_attribution(self._store, key, cell)
        return self._attributions[key]


def _unexplained(cell: Cell | None) -> bool:
    """Whether there is nothing good: no cell, or one that failed and is tried again."""
    return cell is None or cell.status == "failed"
