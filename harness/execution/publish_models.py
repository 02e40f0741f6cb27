"""Publishing of the models of a run, so that everybody who runs the same tasks explains the same models."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import safetensors.torch

from ...atomic import write_all_atomically
from ...errors import UnknownNameError, UsageError
from ...fingerprints import fingerprint
from ...plugins import build
from ...spec_files import code_files
from ...tasks.models.published import MANIFEST, Manifest, Published, Score
from ...tasks.trained import TrainedTask

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from ...tasks.base import Task
    from .run import Run


def publish(run: Run, folder: str | os.PathLike[str], tasks: Sequence[str] = ()) -> Manifest:
    """Publish the trained models of a run, also those that were published before, with a manifest.

    Tasks with a given model have nothing to publish. Files that only an earlier manifest lists are removed.

    Args:
        run: a finished run; its tasks must be those of the running code.
        folder: the folder to write to; made if it does not exist.
        tasks: specs of its tasks that are in Python files, whose code is run; the code of no other file is.

    Returns:
        the manifest.

    Raises:
        UsageError: the run is not finished, it names Python files, an explained model is not stored on this machine, or
            the folder cannot be written.
    """
    unfinished = [key for key, cell in run.cells.items() if cell is None]
    if unfinished:
        raise UsageError(
            f"{len(unfinished)} cells of {run.name!r} are not computed yet, the first of them {unfinished[0]}: finish "
            "the run, then publish its models."
        )
    by_task = _model_fingerprints(run)
    _refuse_code(by_task, tasks, run.name)
    for task in tasks:
        build("task", task)  # from now on it is known by its name, which runs store
    # two specs of a task that differ only in the explained sequences have the same models
    files = {
        entry.file: (entry, data)
        for spec, fingerprints in by_task.items()
        for entry, data in _models_of_task(spec, fingerprints)
    }
    if not files:
        raise UsageError(f"{run.name!r} has no model that was trained: there is nothing to publish.")
    models = sorted((entry for entry, _ in files.values()), key=lambda entry: (entry.task, entry.seed))
    manifest = Manifest(origin=dict(run.content["provenance"]), models=tuple(models))
    try:
        _write(Path(folder), manifest, {name: data for name, (_, data) in files.items()})
    except OSError as error:
        raise UsageError(f"The models cannot be written to {str(folder)!r}: {error.strerror}.") from error
    return manifest


def _refuse_code(specs: Iterable[str], allowed: Sequence[str], name: str) -> None:
    """Refuse to run code of files that a run names and its reader does not.

    Args:
        specs: specs that the run names.
        allowed: specs that the reader names.
        name: of the run.

    Raises:
        UsageError: a spec names a Python file.
    """
    known = {file for spec in allowed for file in code_files(spec)}
    if files := [file for spec in specs for file in code_files(spec) if file not in known]:
        raise UsageError(
            f"The run {name!r} names {', '.join(dict.fromkeys(files))}, and the code of a file that a run names is not "
            f"run: if you trust it, name it yourself by --task {files[0]}:CLASS."
        )


def _model_fingerprints(run: Run) -> dict[str, dict[int, str]]:
    """Fingerprint of each explained model by spec of the task and by model seed.

    Raises:
        UsageError: cells of one seed have different models.
    """
    fingerprints: dict[str, dict[int, str]] = {}
    for key, cell in run.cells.items():
        if cell is None or not cell.fingerprints.model:
            continue
        seeds = fingerprints.setdefault(key.task.spec, {})
        if seeds.setdefault(key.model_seed, cell.fingerprints.model) != cell.fingerprints.model:
            raise UsageError(
                f"Cells of {key.task.spec}, seed {key.model_seed}, have different models: run the suite again, which "
                "explains one of them, then publish."
            )
    return fingerprints


def _models_of_task(spec: str, fingerprints: dict[int, str]) -> list[tuple[Published, bytes]]:
    """Manifest entries of a task's models with the content of their files."""
    try:
        task = cast("Task", build("task", spec))
    except UnknownNameError as error:
        raise UsageError(
            f"There is no task {spec.partition(':')[0]!r}: if it is in a file, name it by --task path/to/file.py:CLASS."
        ) from error
    if not isinstance(task, TrainedTask):
        return []
    return [_model_of_seed(task, seed, weights) for seed, weights in fingerprints.items()]


def _model_of_seed(task: TrainedTask, seed: int, weights: str) -> tuple[Published, bytes]:
    """Manifest entry of one model with the content of its file; ``weights`` is the fingerprint of its weights."""
    stored = task.weights(seed, weights)
    if stored is None:
        raise UsageError(
            f"The explained model of {task.spec}, seed {seed}, is not stored on this machine: run the suite here with "
            "--fresh --retrain, then publish."
        )
    tensors, training = stored
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


def _write(folder: Path, manifest: Manifest, files: dict[str, bytes]) -> None:
    """Write the models and then the manifest; then remove the files that only the earlier manifest lists."""
    before = _listed_files(folder / MANIFEST)
    content = files | {MANIFEST: _json_text(manifest).encode()}
    write_all_atomically((folder / name, data) for name, data in content.items())
    for name in before - set(files):
        (folder / name).unlink(missing_ok=True)


def _listed_files(path: Path) -> set[str]:
    """Files that a manifest lists; none if it cannot be read, so that no unknown file is removed."""
    try:
        return {model.file for model in Manifest.model_validate_json(path.read_bytes()).models}
    except (OSError, ValueError):
        return set()


def _json_text(manifest: Manifest) -> str:
    """JSON of a manifest with a line for each model."""
    content: dict[str, Any] = manifest.model_dump(mode="json")
    models = ",\n".join(f" {json.dumps(model, ensure_ascii=False)}" for model in content["models"])
    origin = json.dumps(content["origin"], ensure_ascii=False)
    return f'{{\n"format": {manifest.format},\n"origin": {origin},\n"models": [\n{models}\n]\n}}\n'
