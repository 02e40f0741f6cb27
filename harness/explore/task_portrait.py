"""Portrait of a task: a summary of its data, the quality of its models, and a picture of one sequence."""

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

# Model seeds whose models a portrait shows.
_SEEDS: Final = (0, 1, 2)
# Number of minibatches from which the training time is estimated.
_TRIED: Final = 2


@runtime_checkable
class HasData(Protocol):
    """Protocol of a task whose data exist without a model."""

    def data(self) -> Dataset:
        """Data of the task, made once in a process."""


@dataclass(frozen=True)
class PortraitRequest:
    """Request for a portrait: the sequence, the reading of its truth, and whether models are trained.

    Attributes:
        instance: index of the explained sequence.
        reading: name of the reading of its truth; empty for the main reading.
        train: whether missing models are trained.
    """

    instance: int = 0
    reading: str = ""
    train: bool = False


@dataclass(frozen=True)
class Portrait:
    """Portrait of a task: facts, and pictures of one sequence.

    Attributes:
        facts: JSON values: ``spec``, ``problem`` (why the rest is missing, or ""), ``data_sets``, ``data``, ``model``
            and ``example``; None for what is not known.
        pictures: pictures of the inputs of the sequence, if they are numbers, and of its truth, if it is known.
        drawn: inputs and truth in one picture, for a file.
    """

    facts: dict[str, Any]
    pictures: tuple[Picture, ...] = ()
    drawn: Picture | None = None


def portrait(name: str, request: PortraitRequest) -> Portrait:
    """Portrait of a task; if its data are missing, it has only the facts that need no data, and the reason.

    Args:
        name: spec of the task.
        request: the sequence and the reading, and whether models are trained.

    Raises:
        UsageError: there is no such task, parameter, sequence or reading, or the task's own code failed.
    """
    try:
        task = cast("Task", build("task", name))
    except ParameterError as error:
        if "=" in name.rpartition(".py:")[2]:  # a value in the spec does not fit
            raise
        return Portrait(_facts(name, ()) | {"problem": str(error)})
    facts = _facts(name, task.data_sets)
    try:
        data, batch, names = _sequences(task, train_missing=request.train)
        reading = _reading(task.spec, batch, request) if batch is not None else None
        model = _model(task, train_missing=request.train)
    except DataError as error:
        return Portrait(facts | {"problem": str(error)})
    except XrnnbenchError:
        raise
    except Exception as error:
        raise UsageError(f"{name} failed with {type(error).__name__}: {error}") from error
    facts |= {"model": model, "data": summarise_data(data) if data is not None else None}
    if batch is None:
        problem = f"its sequences exist only with its models: run 'xrnnbench show {name} --train'."
        return Portrait(facts | {"problem": problem})
    example, pictures = _example(task.spec, batch, names, request, reading)
    title = "\n".join([pictures[0].title, *(picture.title for picture in pictures[1:])])
    return Portrait(facts | {"example": example}, pictures, dataclasses.replace(pictures[-1], title=title))


def _facts(name: str, data_sets: tuple[str, ...]) -> dict[str, Any]:
    """Facts of a task that are known without its data."""
    unknown = dict.fromkeys(("data", "model", "example"))
    return {"spec": name, "problem": "", "data_sets": [_data_set(data_set) for data_set in data_sets], **unknown}


def _data_set(name: str) -> dict[str, str]:
    """Place of a data set, or the message on how to get it."""
    try:
        return {"name": name, "place": str(located(name)), "problem": ""}
    except XrnnbenchError as error:
        return {"name": name, "place": "", "problem": str(error)}


def _sequences(task: Task, *, train_missing: bool) -> tuple[Dataset | None, Batch | None, Names | None]:
    """Data of a task, if they exist without a model, the explained sequences, and the names of features and outputs."""
    if isinstance(task, HasData):
        data = task.data()
        return data, data.explained, data.names
    if train_missing or not task.trainable:
        subject = task.subject(0)
        return None, subject.batch, subject.names
    return None, None, None


# ---- models ---------------------------------------------------------------------------------------------------------


def _model(task: Task, *, train_missing: bool) -> dict[str, Any] | None:
    """Gate, baseline and held-out scores of the models that exist; None if nothing is known."""
    seeds = _SEEDS if task.trainable else _SEEDS[:1]
    if not isinstance(task, TrainedTask):
        if task.trainable and not train_missing:
            return None
        scores = {seed: task.subject(seed).competence for seed in seeds}
        return _scored({seed: (score, None, "") for seed, score in scores.items() if score is not None})
    trainings = {seed: task.training(seed) if train_missing else task.trained(seed) for seed in seeds}
    known = {seed: training for seed, training in trainings.items() if training is not None}
    facts = _scored(
        {seed: (training.competence, training.seconds, training.origin) for seed, training in known.items()}
    )
    missing = [seed for seed in trainings if seed not in known]
    times = [training.seconds for training in known.values()]
    more = {
        "missing": missing,
        "seconds": max(times) if times else _training_time(task) if missing else None,
        "recipe": task.recipe.parameters(),
    }
    return (facts or _gate_and_baseline(task.before_training())) | more


def _scored(models: dict[int, tuple[Competence, float | None, str]]) -> dict[str, Any] | None:
    """Gate, baseline and scores of models, given as competence, training time and origin by seed."""
    if not models:
        return None
    scores = [
        {"seed": seed, "score": competence.score, "fit": competence.fit, "seconds": seconds, "origin": origin}
        for seed, (competence, seconds, origin) in models.items()
    ]
    return _gate_and_baseline(next(iter(models.values()))[0]) | {"scores": scores}


def _gate_and_baseline(competence: Competence) -> dict[str, Any]:
    """Measure, gate and baseline of a task, without scores."""
    gate = {name: getattr(competence, name) for name in ("measure", "gate", "baseline")}
    return gate | {"scores": [], "missing": [], "seconds": None}


def _training_time(task: TrainedTask) -> float:
    """Upper estimate of the seconds that training a model takes, from the time of a few minibatches."""
    data, recipe = task.data(), dataclasses.replace(task.recipe, epochs=1, enough=0.0)
    reference_of = data.reference_of if data.portable else None
    batches = minibatches(data.train.lengths, recipe.batch_size, torch.Generator().manual_seed(0))
    times = []
    for rows in batches[:1], batches[:_TRIED]:  # the first call takes longer, because of initialisation
        subset = data.train.select(torch.cat(rows))
        start = time.perf_counter()
        train(task.network, subset, recipe, 0, task.interpretability, reference_of)
        times.append((time.perf_counter() - start) / len(rows))
    return times[-1] * len(batches) * task.recipe.epochs


# ---- one sequence ---------------------------------------------------------------------------------------------------


def _reading(spec: str, batch: Batch, request: PortraitRequest) -> tuple[str, Truth] | None:
    """Requested reading of the truth with its name; None if the truth is not known.

    Raises:
        UsageError: there is no such sequence or reading.
    """
    if not 0 <= request.instance < len(batch):
        raise UsageError(f"There is no sequence {request.instance}: they go from 0 to {len(batch) - 1}.")
    if not request.reading:
        return next(iter(batch.truths.items()), None)
    if not batch.truths:
        raise UsageError(f"The truth of {spec} is not known, so it has no reading {request.reading!r}.")
    if request.reading not in batch.truths:
        near = nearest(request.reading, batch.truths)
        raise UsageError(f"{spec} has no reading {request.reading!r}{near}; it has {', '.join(batch.truths)}.")
    return request.reading, batch.truths[request.reading]


def _example(
    spec: str, batch: Batch, names: Names | None, request: PortraitRequest, reading: tuple[str, Truth] | None
) -> tuple[dict[str, Any], tuple[Picture, ...]]:
    """One sequence as JSON values and as pictures."""
    instance = request.instance
    length = int(batch.lengths[instance])
    outputs = names.outputs if names is not None else ()
    target = target_text(batch.targets[instance], outputs)
    step = f", output step {int(batch.context[OUTPUT_STEP][instance])}" if OUTPUT_STEP in batch.context else ""
    title = f"{spec}, sequence {instance}{step}: {target}"
    if produced := _context(batch, instance, outputs):
        title += f"\n{produced}"
    inputs = sequence_picture(batch, names, None, instance, title)
    example = {
        "instance": instance,
        "target": batch.targets[instance].tolist(),
        "said": target,
        "steps": list(inputs.steps),
        "inputs": batch.inputs[instance, :length].tolist(),
        "reading": None,
        "truth": None,
    }
    if reading is None:
        return example, (inputs,)
    name, truth = reading
    title = f"truth {name!r} ({truth.semantics}) of {truth.output}"
    if batch.tokens:
        title = f"{inputs.title}\n{title}"
    shown = sequence_picture(batch, names, truth.values, instance, title, quantity=f"truth: {name}")
    example |= {"reading": name, "truth": truth.values[instance, :length].tolist()}
    return example, ((shown,) if batch.tokens else (inputs, shown))


def _context(batch: Batch, instance: int, outputs: tuple[str, ...]) -> str:
    """Context of a sequence that is tokens, such as the output of a decoder so far, as text."""
    parts = []
    for name, value in batch.context.items():
        if value.dim() == 2 and not value.is_floating_point() and value.dtype != torch.bool and outputs:
            tokens = [name_of(outputs, token, "token ") for token in value[instance].tolist() if token]
            parts.append(f"{name}: {' '.join(tokens)}")
    return "; ".join(parts)
