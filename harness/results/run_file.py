"""What stands in ``run.json``, and whether it does: a file that can be read is a whole one."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...errors import DataError
from ..suites.suite import Suite
from .cells import Source

if TYPE_CHECKING:
    from pathlib import Path

CELL = re.compile(r"cells/(?P<task>[^/]+)/(?P<method>[^/]+)/seed-(?P<model>\d+)-(?P<explainer>\d+)")
RUN_FILE = re.compile(r"run(-(?P<variant>[0-9a-f]+))?\.json")
_Axis = Annotated[tuple[Source, ...], Field(min_length=1)]


class Strict(BaseModel):
    """Numbers are numbers and text is text."""

    model_config = ConfigDict(strict=True)


class KeptGrid(BaseModel):
    """The axes of a grid."""

    tasks: _Axis
    methods: _Axis
    metrics: _Axis

    @model_validator(mode="after")
    def _named(self) -> Self:
        """A board looks plug-ins up by their names and specs."""
        for sources in (self.tasks, self.methods, self.metrics):
            if any("name" not in source.identity for source in sources):
                raise ValueError("a plug-in without a name")
            if len({source.spec for source in sources}) < len(sources):
                raise ValueError("a plug-in twice")
        return self


class KeptProvenance(Strict):
    """What a board prints of the origin; see :func:`xrnnbench.harness.results.provenance.provenance`."""

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


class Beside(Strict):
    """Methods that were not run, and are shown beside those that were.

    Attributes:
        cells: their cells in the run's own folder, with their state; "" for those that are not there.
        results: the archive or the run from which others are taken, from the folder of the run on; empty if none.
        state: sha256 of that one's JSON.
        taken: the cells that are taken from it.
    """

    cells: dict[str, str] = {}
    results: str = ""
    state: str = ""
    taken: tuple[str, ...] = Field((), strict=False)


class _RunFile(Strict):
    format: Literal[1]
    suite: Annotated[Suite, Field(strict=False)]
    plan: str
    complete: bool
    grid: Annotated[KeptGrid, Field(strict=False)]
    cells: dict[str, str]
    boards: dict[str, str]
    provenance: KeptProvenance
    times: dict[str, float] = {}
    beside: Beside | None = None
    retrain: bool = False
    models: dict[str, int] = {}

    @model_validator(mode="after")
    def _in_the_grid(self) -> Self:
        """Every cell is one of a task and a method of the grid."""
        tasks = {source.folder for source in self.grid.tasks}
        methods = {source.folder for source in self.grid.methods}
        beside = () if self.beside is None else (*self.beside.cells, *self.beside.taken)
        for path in (*self.cells, *beside):
            match = CELL.fullmatch(path)
            if match is None or match["task"] not in tasks or match["method"] not in methods:
                raise ValueError("a cell that is not of its grid")
        return self


def read(path: Path) -> dict[str, Any] | None:
    """The content of a ``run.json``; None if there is no such file.

    Raises:
        DataError: it cannot be read, or is not what a run writes.
    """
    try:
        found = json.loads(path.read_bytes())
        _RunFile.model_validate(found)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(_damaged(path, error.strerror or type(error).__name__)) from error
    except ValidationError as error:
        raise DataError(_damaged(path, where(error.errors()[0]))) from error
    except (ValueError, RecursionError) as error:
        raise DataError(_damaged(path, "it is not JSON")) from error
    return dict(found)


def _damaged(path: Path, reason: str) -> str:
    return (
        f"{path} is damaged ({reason}): 'xrnnbench run' with the same suite looks into every cell and writes it anew."
    )


def where(error: Any) -> str:  # noqa: ANN401  # pydantic's own dictionary
    """What one error of pydantic's is about, and what it says."""
    place = ".".join(map(str, error["loc"]))
    said = error["msg"].removeprefix("Value error, ")
    return f"{place}: {said}" if place else said
