"""Samples of a task: a few of its sequences that are stored with a run, to be shown together with their attributions.

Their file is ``sequences/<task>-<hash8>.json``. Because of it, reading a run needs neither the task nor its data. They
are the same for every method and every model of the task, and few and short enough to be part of a page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict

from ...ordinary_files import read_ordinary
from .seals import SealError, opened, sealed
from .shown_inputs import ShownInputs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .cells import PluginInfo

# Number of sequences of a task, and the largest number of steps times features, or of tokens, of each.
COUNT: Final = 3
CELLS: Final = 1800
TOKENS: Final = 400


def name_of(names: Sequence[str], number: int, prefix: str = "") -> str:
    """Name of a token, feature or output; a prefix and its number if it has no name.

    >>> name_of(("rain", "sun"), 1, "output "), name_of((), 1, "output ")
    ('sun', 'output 1')
    """
    return names[number] if number < len(names) else f"{prefix}{number}"


class _Frozen(BaseModel):
    """Immutable model that refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Sample(_Frozen):
    """One sequence, of which the first steps are stored.

    Attributes:
        place: its index among the explained sequences, from 0.
        length: its number of steps.
        steps: names of the stored steps: the tokens, or their numbers.
        inputs: float[T, D], one row for each stored step; empty for tokens. Of several inputs, rows and columns are
            those of :class:`xrnnbench.harness.results.shown_inputs.ShownInputs`, None where there is no value.
        target: its correct output, as text.
        truth: float[T, D], or float[T, 1] if the truth is about steps; empty if it is not known.
    """

    place: int
    length: int
    steps: tuple[str, ...]
    inputs: tuple[tuple[float | None, ...], ...] = ()
    target: str = ""
    truth: tuple[tuple[float | None, ...], ...] = ()


class Reading(_Frozen):
    """Meaning of the truth of the samples; see :class:`xrnnbench.tasks.data.batch.Truth`."""

    name: str
    semantics: str
    output: str
    signed: bool
    toward: int | None


class Samples(_Frozen):
    """A few sequences of a task with the names of features and outputs.

    Attributes:
        data: fingerprint of the data, as in cells.
        features: names of the features; empty for tokens.
        outputs: names of the outputs; fewer than outputs, or empty, if they have no names.
        reading: meaning of the truth; None if it is not known.
        sequences: the samples.
        layout: the inputs of a model of several; None if there is one.
    """

    format: Literal[1, 2] = 2
    data: str
    features: tuple[str, ...]
    outputs: tuple[str, ...]
    reading: Reading | None
    sequences: tuple[Sample, ...]
    layout: ShownInputs | None = None


def samples_path(folder: Path, task: PluginInfo) -> Path:
    """Path of the samples of a task in the folder of a run."""
    return folder / "sequences" / f"{task.folder}.json"


def samples_text(samples: Samples) -> bytes:
    """Content of the file of samples, with its seal."""
    return sealed(_content(samples.model_copy(update={"format": 2})))


def _content(samples: Samples) -> bytes:
    """Samples as JSON; what only several inputs have is left out elsewhere, so that seals of earlier files hold."""
    return samples.model_dump_json(exclude=None if samples.layout else {"layout"}).encode()


def read_samples(folder: Path, task: PluginInfo) -> Samples | None:
    """Read the samples of a task; None if there are none, or the file is damaged. The next run writes it again."""
    try:
        return samples_of_text(read_ordinary(samples_path(folder, task)))[0]
    except (OSError, ValueError):
        return None


def samples_of_text(text: bytes) -> tuple[Samples, bool]:
    """Samples of the bytes of a file, and whether it has a seal; those of earlier versions have none.

    Raises:
        ValueError: it is damaged, or was changed.
    """
    content, is_sealed = opened(text, lambda values: _content(Samples.model_validate(values)))
    samples = Samples.model_validate_json(content)
    if is_sealed != (samples.format >= 2):
        raise SealError("it has lost its checksum")
    return samples, is_sealed
