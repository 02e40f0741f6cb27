"""Options and helpers that several commands of the command line share."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from ...errors import UsageError


def _use_data_dir(folder: Path | None) -> Path | None:
    """Set the folder of data sets for this process and those it starts."""
    if folder is not None:
        if not folder.is_dir():
            raise UsageError(f"--data-dir {folder} is not a folder: name the folder that holds the data sets.")
        os.environ["XRNNBENCH_DATA"] = str(folder.resolve())
    return folder


DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", metavar="DIR", help="Folder with data sets, one sub-folder each.", callback=_use_data_dir
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PICTURE_HELP = "Write the picture to a .png, .svg or .pdf file."


def relative_path(path: Path) -> str:
    """The path relative to the current folder, if it lies below it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def echo_json(content: object) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
