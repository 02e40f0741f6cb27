"""Samples of a task: a few of its sequences as they are kept with a run, to be shown beside what methods said of them.

``sequences/<task>-<hash8>.json`` has them: reading a run needs neither the task nor its data. They are the same for
every method and every model of the task, and few and short enough for a page to carry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

if TYPE_CHECKING:
    from pathlib import Path

    from .cells import Source

# How many sequences of a task are kept, and at most how many steps times features of each, or how many tokens.
COUNT: Final = 3
CELLS: Final = 1800
TOKENS: Final = 400


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Sample(_Frozen):
    """One sequence.

    Attributes:
        place: which of the explained sequences, from 0.
        length: how many steps it has, of which the first are kept.
        steps: what the kept steps are called: the tokens, or their numbers.
        inputs: float[T, D], one row for each kept step; empty for tokens.
        target: what is right for it, in words.
        truth: float[T, D], or float[T, 1] of steps; empty if it is not known.
    """

    place: int
    length: int
    steps: tuple[str, ...]
    inputs: tuple[tuple[float, ...], ...] = ()
    target: str = ""
    truth: tuple[tuple[float, ...], ...] = ()


class Reading(_Frozen):
    """What the truth of the samples is; see :class:`xrnnbench.tasks.data.batch.Truth`."""

    name: str
    semantics: str
    output: str
    signed: bool
    toward: int | None


class Samples(_Frozen):
    """Some sequences of a task.

    Attributes:
        data: fingerprint of the data they are of, as cells carry it.
        features: what the features are called; empty for tokens.
        outputs: what the outputs are called, as far as they have names.
        reading: of the truth; None if it is not known.
        sequences: the samples.
    """

    format: Literal[1] = 1
    data: str
    features: tuple[str, ...]
    outputs: tuple[str, ...]
    reading: Reading | None
    sequences: tuple[Sample, ...]


def samples_path(folder: Path, task: Source) -> Path:
    """Where the samples of a task are in the folder of a run."""
    return folder / "sequences" / f"{task.folder}.json"


def read_samples(folder: Path, task: Source) -> Samples | None:
    """The samples of a task; None where none are kept, or the file is damaged, which a run that goes on mends."""
    try:
        return Samples.model_validate_json(samples_path(folder, task).read_bytes())
    except (OSError, ValidationError):
        return None
