"""``xrnnbench publish``: the command that keeps the models of a run for everybody."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def publish(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run, such as results/runs/core.")],
    folder: Annotated[Path, typer.Argument(help="Where to, such as tasks/models/weights of the repository.")],
) -> None:
    """Publish the models of a run: one safetensors file for each, and a manifest with their SHA-256.

    Models in the folder tasks/models/weights of the repository come with the package and are used by everybody. For
    those of a group of one's own, set XRNNBENCH_PUBLISHED to their folder.
    """
    from .publish_models import publish as keep
    from .run import Run

    made = keep(Run.load(run), folder)
    size = sum((folder / each.file).stat().st_size for each in made.models)
    unfit = sum(each.competence.score < each.competence.gate for each in made.models)
    said = f", {unfit} of them under their gate" if unfit else ""
    typer.echo(f"{len(made.models)} models{said}, {size / 1e6:.2f} MB: {folder}")
