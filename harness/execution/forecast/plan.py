"""Plan of a run: what is missing, and what it will cost in passes, time, memory and disk, before anything runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import psutil

from ....tasks.models.origins import ANEW, GIVEN
from .schedule import Work, simulate, urgencies

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...results.cells import Key, PluginInfo
    from ..grid import Grid
    from ..missing_work import TaskCells
    from .costs import Costs, Estimate
    from .schedule import Schedule

# Seconds on the machine of the calibration, beside what methods and metrics take: of a cell that is explained or scored
# (its evidence, its files), and of each record for the boards. Measured on `quick`.
EXPLAINING: Final = 0.012
SCORING: Final = 0.025
RECORD: Final = 0.0008
# With several processes: the start of one, and what the driver does with a result.
START: Final = 4.0
HANDLING: Final = 0.004
# Bytes of a cell: of its JSON by record, of its arrays by record and sequence, of the boards by record; and what cells
# and boards have besides.
_JSON, _ROWS, _BOARDS = 800, 16, 1200
_CELL, _PAGE = 2500, 60_000
LONGEST: Final = 5


@dataclass(frozen=True)
class Piece:
    """Piece of work of a run.

    Attributes:
        phase: ``"training"``, ``"explaining"`` or ``"scoring"``; the first is also to load a model that is there.
        name: what it is about, for readers.
        task: spec of the task.
        seconds: on one core of this machine.
        equivalents: sequence-equivalents.
        mebibytes: rise of the memory.
        after: numbers of the pieces it waits for.
        trained: whether it trains a model.
    """

    phase: str
    name: str
    task: str
    seconds: float
    equivalents: float
    mebibytes: float = 0.0
    after: tuple[int, ...] = ()
    trained: bool = False


@dataclass(frozen=True)
class TaskPlan:
    """Missing results of one task: their numbers, sequence-equivalents, and seconds of one process by phase."""

    task: str
    models: int
    explained: int
    scored: int
    equivalents: float
    training: float
    explaining: float
    scoring: float

    @property
    def seconds(self) -> float:
        """Seconds of one process."""
        return self.training + self.explaining + self.scoring


@dataclass(frozen=True)
class LongCell:
    """A cell that takes long: its name, and the seconds of explaining and of scoring it."""

    name: str
    explaining: float
    scoring: float


@dataclass(frozen=True)
class Plan:
    """Plan of a run.

    Attributes:
        suite: name of the suite.
        jobs: number of processes.
        speed: seconds of this machine for a second of that of the calibration.
        tasks: those with missing results.
        longest: the cells that take longest, the first the longest.
        phases: seconds of one process by phase, of the rest, and the predicted wall time as ``total``.
        path: the longest chain of pieces that wait for each other, with the seconds of each.
        limit: what limits the wall time, in words.
        process_bytes: memory of one process that explains and scores.
        total_bytes: of all processes.
        disk_bytes: of the new files.
        notes: sentences about what could not be predicted from the calibration.
    """

    suite: str
    jobs: int
    speed: float
    tasks: tuple[TaskPlan, ...]
    longest: tuple[LongCell, ...]
    phases: dict[str, float]
    path: tuple[tuple[str, float], ...]
    limit: str
    process_bytes: int
    total_bytes: int
    disk_bytes: int
    notes: tuple[str, ...] = field(default=())

    @property
    def nothing_to_do(self) -> bool:
        """Whether nothing is missing."""
        return not self.tasks

    @property
    def seconds(self) -> float:
        """Predicted wall time."""
        return self.phases["total"]

    def as_json(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return asdict(self)


def plan_work(
    suite: str,
    grid: Grid,
    stored: Sequence[TaskCells],
    costs: Costs,
    *,
    jobs: int,
    speed: float,
    retrain: bool = False,
    notes: Sequence[str] = (),
) -> Plan:
    """Plan what is missing.

    Args:
        suite: name of the suite.
        grid: the grid.
        stored: the stored cells of each task, in the order of the grid.
        costs: costs of its pieces.
        jobs: number of processes; one process means the run's own.
        speed: seconds of this machine for a second of that of the calibration.
        retrain: whether models are trained anew.
        notes: sentences for the reader.
    """
    pieces: list[Piece] = []
    for (info, _), cells in zip(grid.tasks, stored, strict=True):
        pieces += _pieces(grid, info, cells, costs, speed, len(pieces), retrain=retrain)
    work = _work(pieces)
    schedule = _schedule(work, jobs, speed)
    phases = {phase: sum(piece.seconds for piece in pieces if piece.phase == phase) for phase in _PHASES}
    rest = RECORD * speed * len(list(grid.all_keys())) * len(grid.metrics) if pieces else 0.0
    process = psutil.Process().memory_info().rss + int(max((piece.mebibytes for piece in pieces), default=0) * 2**20)
    explained = sum(piece.phase == "explaining" for piece in pieces)
    return Plan(
        suite,
        jobs,
        speed,
        tuple(_task_plans(pieces)),
        tuple(_longest(pieces)),
        {**phases, "rest": rest, "total": schedule.seconds + rest},
        tuple(_longest_path(pieces, work)),
        _LIMITS[schedule.limit] if pieces else "",
        process,
        process * (jobs + 1 if jobs > 1 else 1),
        _disk_bytes(grid, explained, costs) if pieces else 0,
        tuple(notes),
    )


_PHASES: Final = ("training", "explaining", "scoring")
_LIMITS: Final = {
    "work": "the amount of work; more processes help",
    "longest chain": "the longest chain of pieces that wait for each other; more processes do not help",
    "driver": "the process that hands out the work and writes the results; more processes do not help",
    "start-up": "the start of the processes; fewer would do",
}


def _pieces(
    grid: Grid, info: PluginInfo, cells: TaskCells, costs: Costs, speed: float, first: int, *, retrain: bool
) -> list[Piece]:
    """Pieces of one task, whose numbers begin with ``first``."""
    pieces: list[Piece] = []
    metrics = [metric for metric, _ in grid.metrics]
    explaining: dict[Key, int] = {}
    scoring: list[tuple[Key, list[PluginInfo], int]] = []
    for seed in cells.seeds_with_work():
        model = first + len(pieces)
        training = costs.training_estimate(info, seed)
        seconds = (training.seconds + costs.building(info)) * speed
        name = f"{'training' if training.seconds else 'loading'} {info.spec}, seed {seed}"
        trained = training.seconds > 0
        pieces.append(Piece("training", name, info.spec, seconds, training.equivalents, trained=trained))
        for key, _ in cells.keys[seed]:
            missing = [metric for metric, _ in cells.unscored_metrics(key)]
            if cells.unexplained(key) or _of_another_model(cells, key, retrain=retrain):
                explaining[key], missing = first + len(pieces), metrics
                pieces.append(_piece("explaining", key, costs.explaining_estimate(key), EXPLAINING, speed, (model,)))
            if missing and costs.attributes(key):
                scoring.append((key, missing, explaining.get(key, model)))
    shared = costs.model_scoring(info, metrics) / max(1, len(scoring)) * len(cells.seeds_with_work())
    together: dict[object, list[int]] = {}
    for key, number in explaining.items():
        together.setdefault(_alike(key), []).append(number)
    compared = any(metric.facts.get("needs_siblings") for metric in metrics)
    for key, missing, own in scoring:
        estimate = costs.scoring_estimate(key, missing)
        siblings = together.get(_alike(key), ()) if compared else ()
        overhead = SCORING + (shared if estimate.seconds else 0.0)
        pieces.append(_piece("scoring", key, estimate, overhead, speed, tuple({own, *siblings})))
    return pieces


def _piece(phase: str, key: Key, estimate: Estimate, overhead: float, speed: float, after: tuple[int, ...]) -> Piece:
    """Piece of a cell."""
    seconds = (estimate.seconds + overhead) * speed
    return Piece(phase, str(key), key.task.spec, seconds, estimate.equivalents, estimate.mebibytes, after)


def _alike(key: Key) -> tuple[str, int]:
    """What a cell has in common with those of the same method on other models."""
    return key.method.spec, key.explainer_seed


def _of_another_model(cells: TaskCells, key: Key, *, retrain: bool) -> bool:
    """Whether a stored cell is of a model that was trained anew, or of one that was not and now shall be."""
    cell = cells.cells[key]
    return cell is not None and cell.model_origin != GIVEN and retrain != (cell.model_origin == ANEW)


def _work(pieces: Sequence[Piece]) -> Work:
    """Pieces for the simulation."""
    frees: list[list[int]] = [[] for _ in pieces]
    for number, piece in enumerate(pieces):
        for earlier in piece.after:
            frees[earlier].append(number)
    return Work([piece.seconds for piece in pieces], [len(piece.after) for piece in pieces], frees)


def _schedule(work: Work, jobs: int, speed: float) -> Schedule:
    """Simulated schedule of a run."""
    if jobs == 1:
        return simulate(work, 1)
    return simulate(work, jobs, handling=HANDLING * speed, startup=START * speed)


def _task_plans(pieces: Sequence[Piece]) -> Iterator[TaskPlan]:
    """Plans of the tasks with missing results."""
    for task in dict.fromkeys(piece.task for piece in pieces):
        own = [piece for piece in pieces if piece.task == task]
        training, explaining, scoring = (
            sum(piece.seconds for piece in own if piece.phase == phase) for phase in _PHASES
        )
        yield TaskPlan(
            task,
            sum(piece.trained for piece in own),
            sum(piece.phase == "explaining" for piece in own),
            sum(piece.phase == "scoring" for piece in own),
            sum(piece.equivalents for piece in own),
            training,
            explaining,
            scoring,
        )


def _longest(pieces: Sequence[Piece]) -> list[LongCell]:
    """The cells that take longest, explaining and scoring together."""
    cells: dict[str, dict[str, float]] = {}
    for piece in pieces:
        if piece.phase != "training":
            cells.setdefault(piece.name, {})[piece.phase] = piece.seconds
    long = [LongCell(name, each.get("explaining", 0.0), each.get("scoring", 0.0)) for name, each in cells.items()]
    return sorted(long, key=lambda cell: -(cell.explaining + cell.scoring))[:LONGEST]


def _longest_path(pieces: Sequence[Piece], work: Work) -> Iterator[tuple[str, float]]:
    """The longest chain of pieces: their names and seconds."""
    tails = urgencies(work)
    ahead: Sequence[int] = [number for number, piece in enumerate(pieces) if not piece.after]
    while ahead:
        number = max(ahead, key=tails.__getitem__)
        piece = pieces[number]
        yield (piece.name if piece.phase == "training" else f"{piece.phase} {piece.name}"), piece.seconds
        ahead = work.frees[number]


def _disk_bytes(grid: Grid, explained: int, costs: Costs) -> int:
    """Bytes of the files of new cells, and of the boards."""
    keys, records = list(grid.all_keys()), len(grid.metrics)
    cell = 0.0
    for info, task in grid.tasks:
        shape = costs.shape_of(info)
        arrays = shape.instances * (4 * shape.features + _ROWS * records)
        cell += (_CELL + _JSON * records + arrays) * len(grid.seeds_of(task))
    models = sum(len(grid.seeds_of(task)) for _, task in grid.tasks)
    return int(explained * cell / models + _BOARDS * len(keys) * records + _PAGE)
