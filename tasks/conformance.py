"""Conformance kit for tasks: checks which rules of the contract a task keeps, for its author."""

from __future__ import annotations

import functools
import os
import random
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import torch

from ..conformance import Examination, Finding, NotTested, Observation, Result, checked_spec, hidden
from ..fingerprints import tensors_fingerprint
from .contract import check_contract
from .custom.file_task import FileTask
from .custom.given import GivenTask
from .models import cache, published
from .models.origins import PUBLISHED, trained_anew
from .subject import Subject
from .trained import TrainedTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .base import Task
    from .data.batch import Batch, Truth
    from .trained import Dataset, Training

MadeT = TypeVar("MadeT")
_FACTS = ("application", "source", "licence", "citation")
_PARTS = ("train", "test", "explained", "background")
_GIVES, _TRAINS = "gives a subject", "trains and loads its models"


class _Subjects(NamedTuple):
    """Subjects of seed 0, of seed 0 again, and of seed 1."""

    first: Subject
    again: Subject
    other: Subject


class _Trained(NamedTuple):
    """What a task that trains its models has made twice.

    Attributes:
        subjects: the subjects.
        data: the data.
        again: the data, made again.
        fresh: a model of seed 0, trained again.
        loaded: the same, from the cache.
        earlier: fingerprint of the model that ``fresh`` has to equal.
    """

    subjects: _Subjects
    data: Dataset
    again: Dataset
    fresh: Training
    loaded: Training
    earlier: str


def check_task(task: Task) -> list[Finding]:
    """Run all checks on a task; this trains its models, and one of them twice.

    Args:
        task: the task, with the parameters to check it with.

    Returns:
        a finding for each rule. A check that raises has failed, with the error as its detail; rules that depend on it
        were not tested.
    """
    before = _randomness()
    examination = Examination(task)
    # a task made from a module, a frame or with a name of its own has no spec that could be built again
    unbuildable = isinstance(task, GivenTask) or (isinstance(task, FileTask) and not task.rebuildable)
    examination.add(*([] if unbuildable else [checked_spec(task)]), _metadata(task))
    made: list[_Subjects] = []
    examination.check(_GIVES, lambda: _find_subjects(task, made))
    if made:
        _check_rules(examination, _SUBJECT_RULES, task, made[0])
        examination.add(*_truths(made[0].first.batch))
    else:
        examination.add(*(hidden(rule, _GIVES) for rule in (*_SUBJECT_RULES, "truths")))
    if isinstance(task, TrainedTask):
        _check_training(examination, task, made)
    examination.add(_randomness_kept(before, ran=bool(made)))
    return examination.findings


def _check_training(examination: Examination, task: TrainedTask, made: list[_Subjects]) -> None:
    """Check the data and the training of a task that trains its models."""
    trained: list[_Trained] = []
    if made:
        examination.check(_TRAINS, lambda: _find_trained(task, made[0], trained))
    else:
        examination.add(hidden(_TRAINS, _GIVES))
    if trained:
        _check_rules(examination, _TRAINING_RULES, task, trained[0])
    else:
        examination.add(*(hidden(rule, _TRAINS if made else _GIVES) for rule in _TRAINING_RULES))


def _check_rules(
    examination: Examination, rules: Mapping[str, Callable[[Task, MadeT], Result]], task: Task, made: MadeT
) -> None:
    """Check each rule of a table on what a task has made."""
    for rule, check in rules.items():
        examination.check(rule, functools.partial(check, task, made))


def _find_subjects(task: Task, made: list[_Subjects]) -> str:
    """Add the subjects of a task; a complaint if it gives something else."""
    found = _Subjects(task.subject(0), task.subject(0), task.subject(1))
    for subject in found:
        if not isinstance(subject, Subject):
            return f"it gave a {type(subject).__name__}, not a Subject"
    made.append(found)
    return ""


def _find_trained(task: TrainedTask, subjects: _Subjects, trained: list[_Trained]) -> str:
    """Add the data and the models of a task, made again in an empty cache."""
    data, again = task.dataset(), task.dataset()
    with _temporary_cache():
        fresh, loaded = task.training(0), task.training(0)
        earlier = tensors_fingerprint(subjects.first.model.state_dict())
        if subjects.first.model_origin == PUBLISHED:  # trained on another machine, so its last bits may differ
            with trained_anew():
                earlier = task.training(0).fingerprint
    trained.append(_Trained(subjects, data, again, fresh, loaded, earlier))
    return ""


def _randomness_kept(before: tuple[object, ...], *, ran: bool) -> Finding:
    """Finding about the global random states, which says nothing if the task did not run."""
    rule, same = "leaves the global random states alone", before == _randomness()
    return Finding(rule, same) if ran or not same else hidden(rule, _GIVES)


def _metadata(task: Task) -> Finding:
    missing = [fact for fact in _FACTS if not getattr(task, fact)] + ([] if task.page() else ["a docstring"])
    return Finding("says what it is", not missing, f"missing: {', '.join(missing)}" if missing else "")


def _competence(task: Task, made: _Subjects) -> Result:
    competence = made.first.competence
    if competence is None:
        unmeasured = "its competence was not measured"
        return unmeasured if task.trainable else NotTested(unmeasured)
    detail = f"{competence.measure} {competence.score:.4f}, gate {competence.gate}, baseline {competence.baseline:.4f}"
    return Observation(competence.fit and competence.gate > competence.baseline, detail)


def _targets(task: Task, made: _Subjects) -> Observation:  # noqa: ARG001  # a check of the table
    """Targets must be classes below K, or values [B, K]."""
    subject = made.first
    targets, count = subject.batch.targets, subject.batch_outputs.shape[1]
    detail = f"targets {targets.dtype}{list(targets.shape)}, {count} outputs"
    if subject.classification:
        fits = targets.dtype == torch.int64 and targets.dim() == 1 and bool(((targets >= 0) & (targets < count)).all())
        return Observation(fits, detail)
    return Observation(targets.shape == subject.batch_outputs.shape, detail)


def _contract(task: Task, made: _Subjects) -> str:  # noqa: ARG001  # a check of the table
    """Sentences about the promises that the model breaks; see :mod:`xrnnbench.tasks.contract`."""
    return " ".join(promise.sentence for promise in check_contract(made.first).broken)


def _same_subject(task: Task, made: _Subjects) -> str:  # noqa: ARG001  # a check of the table
    same = _weights(made.first) == _weights(made.again) and _data_hash(made.first) == _data_hash(made.again)
    return "" if same else "seed 0 gave another model or other data the second time"


def _same_batch(task: Task, made: _Subjects) -> str:  # noqa: ARG001  # a check of the table
    return "" if _data_hash(made.first) == _data_hash(made.other) else "seeds 0 and 1 gave other data"


_SUBJECT_RULES: dict[str, Callable[[Task, _Subjects], Result]] = {
    "its model passes the gate": _competence,
    "targets fit the outputs": _targets,
    "keeps the contract of a subject": _contract,
    "the same subject twice": _same_subject,
    "the same batch for all model seeds": _same_batch,
}


def _truths(batch: Batch) -> Iterator[Finding]:
    if not batch.truths:
        yield Finding("truths", passed=None, detail="the truth is not known")
    for name, truth in batch.truths.items():
        yield Finding(f"truth {name!r}: shape", truth.values.shape in {batch.inputs.shape, batch.inputs.shape[:2]})
        yield Finding(f"truth {name!r}: finite", bool(torch.isfinite(truth.values).all()))
        yield Finding(f"truth {name!r}: 0 on padding", not truth.values[~batch.valid].any())
        yield _sign(name, truth)
        relevant = truth.relevant.any(tuple(range(1, truth.values.dim())))
        yield Finding(f"truth {name!r}: something is relevant", bool(relevant.any()))


def _sign(name: str, truth: Truth) -> Finding:
    rule = f"truth {name!r}: no negative value unless signed"
    return Finding(rule, None, "it is signed") if truth.signed else Finding(rule, bool((truth.values >= 0).all()))


def _same_data(task: Task, made: _Trained) -> str:  # noqa: ARG001  # a check of the table
    same = all(_batch_hash(getattr(made.data, part)) == _batch_hash(getattr(made.again, part)) for part in _PARTS)
    return "" if same and torch.equal(made.data.reference, made.again.reference) else "a second call gave other data"


def _trained_twice(task: Task, made: _Trained) -> Observation:  # noqa: ARG001  # a check of the table
    return Observation(made.fresh.fingerprint == made.earlier, f"{made.fresh.fingerprint[:8]} and {made.earlier[:8]}")


def _loaded(task: Task, made: _Trained) -> str:  # noqa: ARG001  # a check of the table
    if not made.loaded.cached:
        return "the second training was not taken from the cache"
    return "" if made.loaded.fingerprint == made.fresh.fingerprint else "the cache gave another model"


def _seeds_matter(task: Task, made: _Trained) -> Result:
    if not task.trainable:
        return NotTested("its model is given")
    return "" if _weights(made.subjects.first) != _weights(made.subjects.other) else "seeds 0 and 1 gave one model"


def _held_out(task: Task, made: _Trained) -> Observation:  # noqa: ARG001  # a check of the table
    shared = _sequences(made.data.train) & _sequences(made.data.explained)
    return Observation(not shared, f"{len(shared)} sequences in common")


_TRAINING_RULES: dict[str, Callable[[Task, _Trained], Result]] = {
    "the same data twice": _same_data,
    "trained twice to the bit": _trained_twice,
    "loaded as it was trained": _loaded,
    "another seed gives another model": _seeds_matter,
    "explains nothing it was trained on": _held_out,
}


def _weights(subject: Subject) -> str:
    return tensors_fingerprint(subject.model.state_dict())


def _data_hash(subject: Subject) -> str:
    """Fingerprint of a subject's data, which do not depend on the model: batch, truths and reference."""
    return _batch_hash(subject.batch) + tensors_fingerprint({"reference": subject.reference})


def _batch_hash(batch: Batch) -> str:
    tensors = {"inputs": batch.inputs, "lengths": batch.lengths, "targets": batch.targets}
    return tensors_fingerprint(tensors | {f"truth {name}": truth.values for name, truth in batch.truths.items()})


def _sequences(batch: Batch) -> set[bytes]:
    """The bytes of every sequence, without its padding."""
    pairs = zip(batch.inputs, batch.lengths.tolist(), strict=True)
    return {inputs[:length].contiguous().numpy().tobytes() for inputs, length in pairs}


def _randomness() -> tuple[object, ...]:
    state = np.random.get_state()  # noqa: NPY002  # the global state is compared
    return torch.get_rng_state().numpy().tobytes(), str(state), random.getstate()


@contextmanager
def _temporary_cache() -> Iterator[None]:
    """Context with an empty cache in a temporary folder, and without published models."""
    before = {name: os.environ.get(name) for name in (cache.VARIABLE, published.VARIABLE)}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / published.MANIFEST).write_text(published.Manifest().model_dump_json(), encoding="utf-8")
        os.environ.update(dict.fromkeys(before, folder))
        try:
            yield
        finally:
            for name, value in before.items():
                del os.environ[name]
                if value is not None:
                    os.environ[name] = value
