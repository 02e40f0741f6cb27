"""Options and helpers that several commands of the command line share."""

from __future__ import annotations

import json
import os
import re
from enum import StrEnum
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


class OutputKind(StrEnum):
    """Kinds of model outputs."""

    logits = "logits"
    probabilities = "probabilities"
    values = "values"
    binary_logit = "binary-logit"
    binary_probability = "binary-probability"


class PaddingKind(StrEnum):
    """Treatments of the padding."""

    cut = "cut"
    keep = "keep"


class ContractKind(StrEnum):
    """Treatments of a model that breaks a promise."""

    refuse = "refuse"
    explain = "explain"


OutputsOption = Annotated[OutputKind | None, typer.Option("--outputs", help="For a module: kind of its outputs.")]
PartOption = Annotated[
    str | None, typer.Option("--part", help="For a module: position or name of the scores in what it returns.")
]
AttentionOption = Annotated[
    str | None, typer.Option("--attention", help="For a module: position or name of the attention in what it returns.")
]
StepOption = Annotated[int | None, typer.Option("--step", help="For a module: output step to explain, from 0.", min=0)]
TimeFirst = Annotated[
    bool, typer.Option("--time-first", help="For a module: it takes, and is given, [T, B, …] (batch_first=False).")
]
TimeFirstScores = Annotated[
    bool, typer.Option("--time-first-scores", help="For a module: its scores of several steps are [U, B, K].")
]
PaddingOption = Annotated[
    PaddingKind | None,
    typer.Option("--padding", help="For a module: cut each sequence at its length, or keep the given width."),
]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", help="For a module: the only number of sequences it takes.", min=1)
]
ContractOption = Annotated[
    ContractKind, typer.Option("--contract", help="For a module that breaks a promise: refuse or explain it.")
]


def position_or_name(word: str | None) -> int | str | None:
    """A part of a model's output: a number is a position, anything else a name."""
    return int(word) if word is not None and re.fullmatch(r"-?[0-9]+", word) else word


PICTURE_HELP = "Write the picture to a .png, .svg or .pdf file."


def relative_path(path: Path) -> str:
    """The path relative to the current folder, if it lies below it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def echo_json(content: object) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
