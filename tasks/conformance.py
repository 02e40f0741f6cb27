"""Conformance kit for tasks: checks which rules of the contract a task keeps, for its author."""

from __future__ import annotations

import os
import random
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from ..conformance import Finding, checked_spec
from ..errors import XrnnbenchError
from ..fingerprints import tensors_fingerprint
from .contract import check_contract
from .custom.file_task import FileTask
from .custom.given import GivenTask
from .models import cache, published
from .models.origins import PUBLISHED, trained_anew
from .trained import TrainedTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .base import Task
    from .data.batch import Batch
    from .subject import Subject

T = TypeVar("T")
_FACTS = ("application", "source", "licence", "citation")


def check_task(task: Task) -> list[Finding]:
    """Run all checks on a task; this trains its models, and one of them twice.

    Args:
        task: the task, with the parameters to check it with.

    Returns:
        A finding for each rule. A check that raises has failed, with the error as its detail; checks that depend on
        it are left out.
    """
    before = _randomness()
    # a task made from a module, a frame or with a name of its own has no spec that could be built again
    made = isinstance(task, GivenTask) or (isinstance(task, FileTask) and not task.rebuildable)
    findings = [*([] if made else [checked_spec(task)]), _metadata(task)]
    subjects = _guarded("gives a subject", lambda: _subjects(task), findings)
    if subjects is not None:
        first, again, other = subjects
        findings += [
            _competence(first, task),
            _targets(first),
            *(_guarded("keeps the contract of a subject", lambda: [_contract(first)], findings) or []),
            *_truths(first.batch),
            _finding(
                "the same subject twice", _weights(first) == _weights(again) and _data_hash(first) == _data_hash(again)
            ),
            _finding("the same batch for all model seeds", _data_hash(first) == _data_hash(other)),
        ]
        if isinstance(task, TrainedTask):
            findings += _guarded("trains and loads its models", lambda: _training(task, first, other), findings) or []
    findings.append(_finding("leaves the global random states alone", before == _randomness()))
    return findings


def _subjects(task: Task) -> tuple[Subject, Subject, Subject]:
    """Subjects of seed 0, of seed 0 again, and of seed 1."""
    return task.subject(0), task.subject(0), task.subject(1)


def _guarded(check: str, run: Callable[[], T], findings: list[Finding]) -> T | None:
    """The result of a function; None if it raises an error of xrnnbench, which becomes a finding."""
    try:
        return run()
    except XrnnbenchError as error:
        findings.append(Finding(check, passed=False, detail=str(error)))
    return None


def _contract(subject: Subject) -> Finding:
    """Finding about the promises of the model; see :mod:`xrnnbench.tasks.contract`."""
    contract = check_contract(subject)
    return Finding("keeps the contract of a subject", contract.kept, " ".join(p.sentence for p in contract.broken))


def _metadata(task: Task) -> Finding:
    missing = [fact for fact in _FACTS if not getattr(task, fact)] + ([] if task.page() else ["a docstring"])
    return _finding("says what it is", not missing, f"missing: {', '.join(missing)}" if missing else "")


def _competence(subject: Subject, task: Task) -> Finding:
    competence = subject.competence
    if competence is None:
        return _finding("its model passes the gate", not task.trainable, "its competence was not measured")
    detail = f"{competence.measure} {competence.score:.4f}, gate {competence.gate}, baseline {competence.baseline:.4f}"
    return _finding("its model passes the gate", competence.fit and competence.gate > competence.baseline, detail)


def _targets(subject: Subject) -> Finding:
    """Targets must be classes below K, or values [B, K]."""
    targets, count = subject.batch.targets, subject.batch_outputs.shape[1]
    detail = f"targets {targets.dtype}{list(targets.shape)}, {count} outputs"
    if subject.classification:
        fits = targets.dtype == torch.int64 and targets.dim() == 1 and bool(((targets >= 0) & (targets < count)).all())
        return _finding("targets fit the outputs", fits, detail)
    return _finding("targets fit the outputs", targets.shape == subject.batch_outputs.shape, detail)


def _truths(batch: Batch) -> Iterator[Finding]:
    for name, truth in batch.truths.items():
        yield _finding(f"truth {name!r}: shape", truth.values.shape in {batch.inputs.shape, batch.inputs.shape[:2]})
        yield _finding(f"truth {name!r}: finite", bool(torch.isfinite(truth.values).all()))
        yield _finding(f"truth {name!r}: 0 on padding", not truth.values[~batch.valid].any())
        yield _finding(
            f"truth {name!r}: no negative value unless signed", truth.signed or bool((truth.values >= 0).all())
        )
        relevant = truth.relevant.any(tuple(range(1, truth.values.dim())))
        yield _finding(f"truth {name!r}: something is relevant", bool(relevant.any()))


def _training(task: TrainedTask, first: Subject, other: Subject) -> list[Finding]:
    """Findings on the data and the training of a task that trains its models."""
    data, again = task.dataset(), task.dataset()
    parts = ("train", "test", "explained", "background")
    same = all(_batch_hash(getattr(data, part)) == _batch_hash(getattr(again, part)) for part in parts)
    with _temporary_cache():
        fresh, loaded = task.training(0), task.training(0)
        earlier = tensors_fingerprint(first.model.state_dict())
        if first.model_origin == PUBLISHED:  # trained on another machine, so its last bits may differ
            with trained_anew():
                earlier = task.training(0).fingerprint
    shared = _sequences(data.train) & _sequences(data.explained)
    return [
        _finding("the same data twice", same and torch.equal(data.reference, again.reference)),
        _finding(
            "trained twice to the bit", fresh.fingerprint == earlier, f"{fresh.fingerprint[:8]} and {earlier[:8]}"
        ),
        _finding("loaded as it was trained", loaded.cached and loaded.fingerprint == fresh.fingerprint),
        _finding("another seed gives another model", not task.trainable or _weights(first) != _weights(other)),
        _finding("explains nothing it was trained on", not shared, f"{len(shared)} sequences in common"),
    ]


def _finding(check: str, passed: object, detail: str = "") -> Finding:
    return Finding(check, bool(passed), detail)


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
