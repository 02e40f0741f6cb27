"""Publishing the models of a run, so that whoever runs the same tasks judges the same models."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import safetensors.torch

from ...atomic import write_atomically
from ...errors import UsageError
from ...fingerprints import fingerprint
from ...plugins import build
from ...tasks.models.published import MANIFEST, Manifest, Published, Score
from ...tasks.trained import TrainedTask

if TYPE_CHECKING:
    import os

    from ...tasks.base import Task
    from .run import Run


def publish(run: Run, folder: str | os.PathLike[str]) -> Manifest:
    """Keep the models that a run explained, those it trained or found published, with a manifest.

    Of tasks whose models are given there is nothing to keep. Files of an earlier manifest that are in the new one no
    more are removed.

    Args:
        run: a finished one; its tasks must be those of the code that is running.
        folder: where to; made if it does not exist.

    Raises:
        UsageError: the run is not finished, a model is kept nowhere or is another than the one that was explained, or
            the folder cannot be written.
    """
    unfinished = [key for key, cell in run.cells.items() if cell is None]
    if unfinished:
        raise UsageError(
            f"{len(unfinished)} cells of {run.name!r} are not computed yet, the first of them {unfinished[0]}: finish "
            "the run, then publish its models."
        )
    # a task that is there twice, with other sequences to explain, has the same models
    found = {one.file: (one, data) for spec, prints in _explained(run).items() for one, data in _of_task(spec, prints)}
    if not found:
        raise UsageError(f"{run.name!r} has no model that was trained: there is nothing to publish.")
    models = sorted((one for one, _ in found.values()), key=lambda one: (one.task, one.seed))
    made = Manifest(origin=dict(run.content["provenance"]), models=tuple(models))
    try:
        _write(Path(folder), made, {name: data for name, (_, data) in found.items()})
    except OSError as error:
        raise UsageError(f"The models cannot be written to {str(folder)!r}: {error.strerror}.") from error
    return made


def _explained(run: Run) -> dict[str, dict[int, str]]:
    """The fingerprint of each model by task and seed.

    Raises:
        UsageError: cells of one seed speak of different models.
    """
    found: dict[str, dict[int, str]] = {}
    for key, cell in run.cells.items():
        if cell is None or not cell.fingerprints.model:
            continue
        seeds = found.setdefault(key.task.spec, {})
        if seeds.setdefault(key.model_seed, cell.fingerprints.model) != cell.fingerprints.model:
            raise UsageError(
                f"Cells of {key.task.spec}, seed {key.model_seed}, speak of different models: run the suite again, "
                "which explains one of them, then publish."
            )
    return found


def _of_task(spec: str, prints: dict[int, str]) -> list[tuple[Published, bytes]]:
    """The entries of a task's models and the content of their files."""
    task = cast("Task", build("task", spec))
    if not isinstance(task, TrainedTask):
        return []
    return [_of_seed(task, seed, weights) for seed, weights in prints.items()]


def _of_seed(task: TrainedTask, seed: int, weights: str) -> tuple[Published, bytes]:
    found = task.weights(seed, weights)
    if found is None:
        raise UsageError(
            f"The model of {task.spec}, seed {seed}, that was explained is not kept on this machine: run the suite "
            "here with --fresh --retrain, then publish."
        )
    tensors, training = found
    data = safetensors.torch.save(tensors)
    basis = task.basis()
    score = training.competence
    entry = Published(
        task=task.name,
        seed=seed,
        file=f"{task.name}-{fingerprint(basis.model_dump())[:8]}-{seed}.safetensors",
        sha256=hashlib.sha256(data).hexdigest(),
        basis=basis,
        weights=weights,
        competence=Score(measure=score.measure, score=score.score, gate=score.gate, baseline=score.baseline),
        seconds=round(training.seconds, 3),
        peak_bytes=training.peak_bytes,
        versions=training.versions,
    )
    return entry, data


def _write(folder: Path, made: Manifest, files: dict[str, bytes]) -> None:
    """Models first, the manifest after them, and then what it does not list any more goes."""
    for name, data in files.items():
        write_atomically(folder / name, data)
    before = _listed(folder / MANIFEST)
    write_atomically(folder / MANIFEST, _laid_out(made).encode())
    for name in before - set(files):
        (folder / name).unlink(missing_ok=True)


def _listed(path: Path) -> set[str]:
    """The files an earlier manifest lists; of one that cannot be read none, so that nothing unknown is removed."""
    try:
        return {each.file for each in Manifest.model_validate_json(path.read_bytes()).models}
    except (OSError, ValueError):
        return set()


def _laid_out(made: Manifest) -> str:
    """JSON with a line for each model."""
    content: dict[str, Any] = made.model_dump(mode="json")
    models = ",\n".join(f" {json.dumps(each, ensure_ascii=False)}" for each in content["models"])
    origin = json.dumps(content["origin"], ensure_ascii=False)
    return f'{{\n"format": {made.format},\n"origin": {origin},\n"models": [\n{models}\n]\n}}\n'
