"""A task as it is: how much data of what kind, how good its models are, and one of its sequences as a picture."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, cast, runtime_checkable

import torch

from ...errors import DataError, ParameterError, UsageError, XrnnbenchError
from ...plugins import build, nearest
from ...tasks.downloads.locate import located
from ...tasks.engine.signature import OUTPUT_STEP
from ...tasks.models.training import minibatches, train
from ...tasks.trained import Dataset, TrainedTask
from ..results.samples import name_of
from .data_summary import summarise_data, target_text
from .pictures import Picture, sequence_picture

if TYPE_CHECKING:
    from ...tasks.base import Task
    from ...tasks.data.batch import Batch, Competence, Names, Truth

# The model seeds that suites run unless they say otherwise.
_SEEDS: Final = (0, 1, 2)
# Minibatches from which it is estimated how long a training takes.
_TRIED: Final = 2


@runtime_checkable
class HasData(Protocol):
    """A task that can say what its data are without a model."""

    def data(self) -> Dataset:
        """The data, made once in a process."""


@dataclass(frozen=True)
class PortraitRequest:
    """What is to be seen of a task.

    Attributes:
        instance: which of the explained sequences.
        reading: which reading of its truth; the main one where it is empty.
        train: whether models that are not there yet are trained.
    """

    instance: int = 0
    reading: str = ""
    train: bool = False


@dataclass(frozen=True)
class Portrait:
    """What is known of a task.

    Attributes:
        facts: ready for JSON: ``spec``, ``problem`` (why the rest is missing, or ""), ``data_sets``, ``data``,
            ``model`` and ``example``; None where it is not known.
        pictures: of one sequence: its inputs, where they are numbers, and its truth, where it is known.
        drawn: all of it in one picture, for a file.
    """

    facts: dict[str, Any]
    pictures: tuple[Picture, ...] = ()
    drawn: Picture | None = None


def portrait(name: str, wanted: PortraitRequest) -> Portrait:
    """What a task is; where its data are missing, what can be said without them and the reason.

    Args:
        name: its spec.
        wanted: which sequence and reading, and whether models are trained.

    Raises:
        UsageError: no such task, parameter, sequence or reading, or the task's own code failed.
    """
    try:
        task = cast("Task", build("task", name))
    except ParameterError as error:
        if "=" in name.rpartition(".py:")[2]:  # a value that was given does not fit
            raise
        return Portrait(_facts(name, ()) | {"problem": str(error)})
    facts = _facts(name, task.data_sets)
    try:
        data, batch, names = _sequences(task, train_missing=wanted.train)
        reading = _reading(task.spec, batch, wanted) if batch is not None else None
        model = _model(task, train_missing=wanted.train)
    except DataError as error:
        return Portrait(facts | {"problem": str(error)})
    except XrnnbenchError:
        raise
    except Exception as error:
        raise UsageError(f"{name} failed with {type(error).__name__}: {error}") from error
    facts |= {"model": model, "data": summarise_data(data) if data is not None else None}
    if batch is None:
        problem = f"it makes its sequences together with its models: 'xrnnbench show {name} --train' does."
        return Portrait(facts | {"problem": problem})
    example, pictures = _example(task.spec, batch, names, wanted, reading)
    title = "\n".join([pictures[0].title, *(each.title for each in pictures[1:])])
    return Portrait(facts | {"example": example}, pictures, dataclasses.replace(pictures[-1], title=title))


def _facts(name: str, data_sets: tuple[str, ...]) -> dict[str, Any]:
    """What is known without data."""
    unknown = dict.fromkeys(("data", "model", "example"))
    return {"spec": name, "problem": "", "data_sets": [_data_set(each) for each in data_sets], **unknown}


def _data_set(name: str) -> dict[str, str]:
    """Where a data set is, or how to come by it."""
    try:
        return {"name": name, "place": str(located(name)), "problem": ""}
    except XrnnbenchError as error:
        return {"name": name, "place": "", "problem": str(error)}


def _sequences(task: Task, *, train_missing: bool) -> tuple[Dataset | None, Batch | None, Names | None]:
    """All data if the task says what they are, the explained sequences and what things are called."""
    if isinstance(task, HasData):
        data = task.data()
        return data, data.explained, data.names
    if train_missing or not task.trainable:
        subject = task.subject(0)
        return None, subject.batch, subject.names
    return None, None, None


# ---- models ---------------------------------------------------------------------------------------------------------


def _model(task: Task, *, train_missing: bool) -> dict[str, Any] | None:
    """Gate, baseline and the held-out scores of the models that are there."""
    seeds = _SEEDS if task.trainable else _SEEDS[:1]
    if not isinstance(task, TrainedTask):
        if task.trainable and not train_missing:
            return None
        scores = {seed: task.subject(seed).competence for seed in seeds}
        return _scored({seed: (found, None, "") for seed, found in scores.items() if found is not None})
    trainings = {seed: task.training(seed) if train_missing else task.trained(seed) for seed in seeds}
    found = _scored(
        {seed: (each.competence, each.seconds, each.origin) for seed, each in trainings.items() if each is not None}
    )
    missing = [seed for seed, each in trainings.items() if each is None]
    known = [each.seconds for each in trainings.values() if each is not None]
    more = {
        "missing": missing,
        "seconds": max(known) if known else _estimated(task) if missing else None,
        "recipe": dataclasses.asdict(task.recipe),
    }
    return (found or _yardsticks(task.before_training())) | more


def _scored(found: dict[int, tuple[Competence, float | None, str]]) -> dict[str, Any] | None:
    if not found:
        return None
    scores = [
        {"seed": seed, "score": each.score, "fit": each.fit, "seconds": seconds, "origin": origin}
        for seed, (each, seconds, origin) in found.items()
    ]
    return _yardsticks(next(iter(found.values()))[0]) | {"scores": scores}


def _yardsticks(competence: Competence) -> dict[str, Any]:
    known = {name: getattr(competence, name) for name in ("measure", "gate", "baseline")}
    return known | {"scores": [], "missing": [], "seconds": None}


def _estimated(task: TrainedTask) -> float:
    """Seconds that training a model takes, at most, from how long a few of its minibatches take."""
    data, recipe = task.data(), dataclasses.replace(task.recipe, epochs=1, enough=0.0)
    reference_of = data.reference_of if data.portable else None
    batches = minibatches(data.train.lengths, recipe.batch_size, torch.Generator().manual_seed(0))
    taken = []
    for rows in batches[:1], batches[:_TRIED]:  # the first time is longer: much is made ready
        some = data.train.select(torch.cat(rows))
        start = time.perf_counter()
        train(task.network, some, recipe, 0, task.interpretability, reference_of)
        taken.append((time.perf_counter() - start) / len(rows))
    return taken[-1] * len(batches) * task.recipe.epochs


# ---- one sequence ---------------------------------------------------------------------------------------------------


def _reading(spec: str, batch: Batch, wanted: PortraitRequest) -> tuple[str, Truth] | None:
    """The reading that is to be seen, by its name; None if the truth is not known.

    Raises:
        UsageError: there is no such sequence or reading.
    """
    if not 0 <= wanted.instance < len(batch):
        raise UsageError(f"There is no sequence {wanted.instance}: they go from 0 to {len(batch) - 1}.")
    if not wanted.reading:
        return next(iter(batch.truths.items()), None)
    if not batch.truths:
        raise UsageError(f"The truth of {spec} is not known, so it has no reading {wanted.reading!r}.")
    if wanted.reading not in batch.truths:
        near = nearest(wanted.reading, batch.truths)
        raise UsageError(f"{spec} has no reading {wanted.reading!r}{near}; it has {', '.join(batch.truths)}.")
    return wanted.reading, batch.truths[wanted.reading]


def _example(
    spec: str, batch: Batch, names: Names | None, wanted: PortraitRequest, reading: tuple[str, Truth] | None
) -> tuple[dict[str, Any], tuple[Picture, ...]]:
    """One sequence ready for JSON, and as pictures."""
    instance = wanted.instance
    length = int(batch.lengths[instance])
    outputs = names.outputs if names is not None else ()
    target = target_text(batch.targets[instance], outputs)
    step = f", output step {int(batch.context[OUTPUT_STEP][instance])}" if OUTPUT_STEP in batch.context else ""
    title = f"{spec}, sequence {instance}{step}: {target}"
    if produced := _context(batch, instance, outputs):
        title += f"\n{produced}"
    inputs = sequence_picture(batch, names, None, instance, title)
    found = {
        "instance": instance,
        "target": batch.targets[instance].tolist(),
        "said": target,
        "steps": list(inputs.steps),
        "inputs": batch.inputs[instance, :length].tolist(),
        "reading": None,
        "truth": None,
    }
    if reading is None:
        return found, (inputs,)
    name, truth = reading
    title = f"truth {name!r} ({truth.semantics}) of {truth.output}"
    if batch.tokens:
        title = f"{inputs.title}\n{title}"
    shown = sequence_picture(batch, names, truth.values, instance, title, quantity=f"truth: {name}")
    found |= {"reading": name, "truth": truth.values[instance, :length].tolist()}
    return found, ((shown,) if batch.tokens else (inputs, shown))


def _context(batch: Batch, instance: int, outputs: tuple[str, ...]) -> str:
    """The context that is tokens, in words: what a decoder has said so far."""
    said = []
    for name, value in batch.context.items():
        if value.dim() == 2 and not value.is_floating_point() and value.dtype != torch.bool and outputs:
            tokens = [name_of(outputs, token, "token ") for token in value[instance].tolist() if token]
            said.append(f"{name}: {' '.join(tokens)}")
    return "; ".join(said)
