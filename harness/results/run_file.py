"""Run file ``run.json``: its schema, which is checked on reading, and the search for run files."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...error_lines import one_line
from ...errors import DataError, UsageError
from ...ordinary_files import read_ordinary
from ..suites.suite import Suite
from .cells import PluginInfo
from .seals import SealError, opened

if TYPE_CHECKING:
    from pathlib import Path

CELL = re.compile(r"cells/(?P<task>[^/]+)/(?P<method>[^/]+)/seed-(?P<model>\d+)-(?P<explainer>\d+)")
_RUN_FILE = re.compile(r"run(-(?P<variant>[0-9a-f]+))?\.json")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
# As the metrics have them; a literal, because reading a run loads no metric.
STATISTICS = frozenset({"mean", "median", "p95"})
_Axis = Annotated[tuple[PluginInfo, ...], Field(min_length=1)]


class Strict(BaseModel):
    """Model without type conversion: text is never read as a number, nor a number as text."""

    model_config = ConfigDict(strict=True)


class KeptGrid(BaseModel):
    """Axes of a stored grid."""

    tasks: _Axis
    methods: _Axis
    metrics: _Axis

    @model_validator(mode="after")
    def _unique_names(self) -> Self:
        """Check that plug-ins have names and different specs, by which boards look them up."""
        for plugins in (self.tasks, self.methods, self.metrics):
            if any(not isinstance(info.identity.get("name"), str) for info in plugins):
                raise ValueError("a plug-in without a name")
            if any(not isinstance(info.identity.get("parameters", {}), dict) for info in plugins):
                raise ValueError("a plug-in whose parameters are no names with values")
            if len({info.spec for info in plugins}) < len(plugins):
                raise ValueError("a plug-in twice")
        return self

    @model_validator(mode="after")
    def _facts_that_are_used(self) -> Self:
        """Check what paths are made of, and what statistics are computed by: the file may be somebody else's."""
        for info in (*self.tasks, *self.methods, *self.metrics):
            if not _NAME.fullmatch(str(info.identity["name"])):
                raise ValueError("a plug-in whose name is no name")
        for metric in self.metrics:
            if metric.facts.get("statistic", "mean") not in STATISTICS:
                raise ValueError("a metric with an unknown statistic")
            if any(not _is_number(metric.facts[bound]) for bound in ("low", "high") if bound in metric.facts):
                raise ValueError("a metric with a bound that is no number")
        return self


class KeptProvenance(Strict):
    """Stored provenance; see :func:`xrnnbench.harness.results.provenance.provenance`."""

    model_config = ConfigDict(strict=True, extra="allow")

    xrnnbench: str
    commit: str
    code: str
    python: str
    libraries: dict[str, str]
    system: str
    device: str
    threads: int
    command: str
    date: str
    plugins: Annotated[dict[str, str], Field(alias="plug-ins")] = {}


class ReferenceRows(Strict):
    """Reference rows of a run: stored cells of methods that it did not run; ``beside`` in the run file.

    Attributes:
        cells: cells in the run's own folder, with their state; "" for missing cells.
        results: archive or run from which other cells are taken, relative to the folder of the run; empty if none.
        state: sha256 of the JSON of that archive or run.
        taken: the cells that are taken from it.
    """

    cells: dict[str, str] = {}
    results: str = ""
    state: str = ""
    taken: tuple[str, ...] = Field((), strict=False)


class MergedPart(Strict):
    """A run that was merged with others into one; an entry of ``merged`` in the run file.

    Attributes:
        cells: the number of cells in its grid.
        suite: what it ran.
        complete: whether all of them were computed and none failed.
        provenance: where and how it ran.
        times: seconds that it took, by phase.
    """

    cells: int
    suite: Annotated[Suite, Field(strict=False)]
    complete: bool
    provenance: KeptProvenance
    times: dict[str, float] = {}


class _RunFile(Strict):
    """Schema of the run file; files of format 1, of earlier versions, have no seal.

    ``sealed_cells`` says that all its cells had one, so that one without has lost it.
    """

    format: Literal[1, 2]
    suite: Annotated[Suite, Field(strict=False)]
    plan: str
    complete: bool
    grid: Annotated[KeptGrid, Field(strict=False)]
    cells: dict[str, str]
    boards: dict[str, str]
    provenance: KeptProvenance
    times: dict[str, float] = {}
    forecast: dict[str, float] = {}
    reference_rows: Annotated[ReferenceRows | None, Field(alias="beside")] = None
    retrain: bool = False
    examples: bool = True
    sealed_cells: bool = False
    models: dict[str, int] = {}
    merged: Annotated[tuple[MergedPart, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _in_the_grid(self) -> Self:
        """Check that every cell is of a task and a method of the grid."""
        tasks = {info.folder for info in self.grid.tasks}
        methods = {info.folder for info in self.grid.methods}
        rows = self.reference_rows
        reference = () if rows is None else (*rows.cells, *rows.taken)
        for path in (*self.cells, *reference):
            match = CELL.fullmatch(path)
            if match is None or match["task"] not in tasks or match["method"] not in methods:
                raise ValueError("a cell that is not in the grid")
        return self


def _is_number(text: str) -> bool:
    """Whether a text is a number, infinity included."""
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False


def variant_of(path: Path) -> str:
    """Variant in the name of a run file: ``"1a2b3c4d"`` in ``run-1a2b3c4d.json``, ``""`` in ``run.json``."""
    match = _RUN_FILE.fullmatch(path.name)
    return (match["variant"] or "") if match else ""


def is_run_file(path: Path) -> bool:
    """Whether a path has the name of a run file."""
    return _RUN_FILE.fullmatch(path.name) is not None


def find(path: Path) -> Path | None:
    """Find the run file of a path; None if there is none.

    Args:
        path: a run file, the folder of a run, or an ``--out`` folder that holds one run.

    Raises:
        UsageError: there are several runs; the message names them.
    """
    if _RUN_FILE.fullmatch(path.name):
        return path if path.is_file() else None
    runs = _run_files(path) or [file for folder in sorted(path.glob("runs/*")) for file in _run_files(folder)]
    if len(runs) > 1:
        names = ", ".join(str(file.relative_to(path)) for file in runs)
        raise UsageError(f"There are several runs in {str(path)!r}: name one of {names} in it.")
    return runs[0] if runs else None


def _run_files(folder: Path) -> list[Path]:
    """The run file of the suite as it is, or else those of its changed versions."""
    if (folder / "run.json").is_file():
        return [folder / "run.json"]
    """Run files in a folder, sorted by name."""
    return sorted(file for file in folder.glob("run*.json") if _RUN_FILE.fullmatch(file.name))


def read(path: Path) -> dict[str, Any] | None:
    """Read a run file; None if there is no such file.

    Raises:
        DataError: the file cannot be read, or does not fit the schema.
    """
    try:
        text, is_sealed = opened(read_ordinary(path))
        content = json.loads(text)
        _RunFile.model_validate(content)
        if is_sealed != (content["format"] >= 2):
            raise SealError("it was changed after it was written: it has lost its checksum")  # noqa: TRY301  # as damage
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(_damaged(path, error.strerror or type(error).__name__)) from error
    except ValidationError as error:
        raise DataError(_damaged(path, validation_problem(error.errors()[0]))) from error
    except SealError as error:
        raise DataError(_damaged(path, str(error))) from error
    except (ValueError, RecursionError) as error:
        raise DataError(_damaged(path, "it is not JSON")) from error
    return dict(content)


def shows_examples(path: Path) -> bool:
    """Whether boards of a run show sequences of its data; so they do if its file says nothing or cannot be read."""
    try:
        return bool((read(path) or {}).get("examples", True))
    except DataError:
        return True


def _damaged(path: Path, reason: str) -> str:
    """Message about a damaged run file."""
    return f"{path} is damaged ({reason}): 'xrnnbench run' with the same suite checks every cell and writes it again."


def validation_problem(error: Any) -> str:  # noqa: ANN401  # pydantic's own dictionary
    """Field and message of one validation error of pydantic."""
    # keys of the file are in it, which may be anything
    place = one_line(".".join(map(str, error["loc"])))
    message = one_line(error["msg"].removeprefix("Value error, "))
    return f"{place}: {message}" if place else message
