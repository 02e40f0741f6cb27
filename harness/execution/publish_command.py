"""Command ``xrnnbench publish``, which publishes the models of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def publish(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run, such as results/runs/core.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write to, such as tasks/models/weights of the repository.")],
) -> None:
    """Publish the models of a run: one safetensors file for each, and a manifest with their SHA-256.

    Models in the folder tasks/models/weights of the repository are part of the package and used by everybody. To use
    the models of another folder, set XRNNBENCH_PUBLISHED to that folder.
    """
    from .publish_models import publish as publish_models
    from .run import Run

    manifest = publish_models(Run.load(run), folder)
    size = sum((folder / model.file).stat().st_size for model in manifest.models)
    unfit = sum(model.competence.score < model.competence.gate for model in manifest.models)
    under_gate = f", {unfit} of them below their competence gate" if unfit else ""
    typer.echo(f"{len(manifest.models)} models{under_gate}, {size / 1e6:.2f} MB: {folder}")
