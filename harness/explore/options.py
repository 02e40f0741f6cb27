"""Options and helpers that several commands of the command line share."""

from __future__ import annotations

import functools
import inspect
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import UsageError
from ...visible_text import visible, visible_json


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
Jobs = Annotated[
    int | None,
    typer.Option(
        "-j",
        "--jobs",
        metavar="N",
        envvar="XRNNBENCH_JOBS",
        help="Processes that compute at the same time; 1 computes in this one.",
        show_default="all cores",
    ),
]
Examples = Annotated[
    bool | None,
    typer.Option(
        "--examples/--no-examples",
        help="Show a few sequences of the data on the HTML page, or none. The run remembers it.",
        show_default="as before; first: show",
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


class SideKind(StrEnum):
    """Sides of the padding."""

    right = "right"
    left = "left"


class ContractKind(StrEnum):
    """Treatments of a model that breaks a promise."""

    refuse = "refuse"
    explain = "explain"


class GranularityKind(StrEnum):
    """Units of an explanation."""

    step = "step"
    cell = "cell"


@dataclass(frozen=True)
class ModelOptions:
    """Options for a user's own model; those that were not given are None."""

    data: str | None = None
    target: str | None = None
    reference: str | None = None
    step: int | None = None
    granularity: GranularityKind | None = None
    layer: str | None = None
    outputs: OutputKind | None = None
    part: str | None = None
    attention: str | None = None
    batch_first: bool | None = None
    time_first_scores: bool | None = None
    padding: PaddingKind | None = None
    padding_side: SideKind | None = None
    along: str | None = None
    batch_size: int | None = None
    contract: ContractKind | None = None
    contract_tolerance: float | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The given options as arguments of :func:`xrnnbench.explain`, without the data."""
        read: dict[str, Callable[[Any], Any]] = {
            "target": _number_or_name,
            "reference": _numbers,
            "part": _number_or_name,
            "attention": _number_or_name,
            "along": lambda words: tuple(filter(None, (word.strip() for word in words.split(",")))),
        }
        given = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "data"}
        return {
            name: read[name](value) if name in read else value.value if isinstance(value, StrEnum) else value
            for name, value in given.items()
            if value is not None
        }

    def refuse_for_task(self, about: str, allowed: tuple[str, ...] = ()) -> None:
        """Refuse options that are for a model of the user's own.

        Args:
            about: the task that is asked for; empty for all tasks of a suite.
            allowed: names of the options that tasks have too.

        Raises:
            UsageError: one is given.
        """
        for field in fields(self):
            if getattr(self, field.name) is not None and field.name not in allowed:
                option = f"--{field.name.replace('_', '-')}"
                if not about:
                    raise UsageError(f"{option} is for a model of yours: name one by -t file.py:NAME, or leave it out.")
                raise UsageError(f"{about} is a task, which brings its own data and model: leave out {option}.")


def _own(annotation: Any, *names: str, help: str, **settings: Any) -> Any:  # noqa: A002, ANN401  # as of typer's
    """Annotation of an option for a user's own model."""
    return Annotated[annotation, typer.Option(*names, help=f"For a model: {help}", show_default=False, **settings)]


_MODEL_OPTIONS: dict[str, Any] = {
    "data": _own(
        str | None,
        "--data",
        metavar="FILE",
        help=".npz file with inputs, and optionally lengths, targets, ids and context; or csv:path=…,… of a table.",
    ),
    "target": Annotated[
        str | None,
        typer.Option("--target", help="Output to explain, its number or name; by default the predicted class."),
    ],
    "reference": _own(str | None, "--reference", help="value of removed features, or one for each: 0,1.5,0."),
    "step": _own(int | None, "--step", help="output step to explain, from 0.", min=0),
    "granularity": _own(GranularityKind | None, "--granularity", help="explain whole steps, or each feature of each."),
    "layer": _own(str | None, "--layer", help="layer whose output sequence is explained in the place of the inputs."),
    "outputs": _own(OutputKind | None, "--outputs", help="kind of its outputs."),
    "part": _own(str | None, "--part", help="position or name of the scores in what it returns."),
    "attention": _own(str | None, "--attention", help="position or name of the attention in what it returns."),
    "batch_first": _own(
        bool | None,
        "--batch-first/--no-batch-first",
        " /--time-first",
        help="whether it takes, and is given, [B, T, …] or [T, B, …].",
    ),
    "time_first_scores": _own(bool | None, "--time-first-scores", help="its scores of several steps are [U, B, K]."),
    "padding": _own(PaddingKind | None, "--padding", help="cut each sequence at its length, or keep the given width."),
    "padding_side": _own(SideKind | None, "--padding-side", help="side of the padding in the given arrays."),
    "along": _own(str | None, "--along", help="names of the context that runs along the steps, with commas."),
    "batch_size": _own(int | None, "--batch-size", help="the only number of sequences it takes at once.", min=1),
    "contract": _own(ContractKind | None, "--contract", help="refuse it if it breaks a promise, or explain it."),
    "contract_tolerance": _own(
        float | None,
        "--contract-tolerance",
        help="accepted difference of scores that must agree, as a share of spread.",
    ),
}


def with_model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options for a user's own model, in the place of its parameter ``own``.

    Args:
        command: has a parameter ``own``, a :class:`ModelOptions`.
    """
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if parameter.name == "own":
            parameters += [
                parameter.replace(name=name, annotation=annotation, default=None)
                for name, annotation in _MODEL_OPTIONS.items()
            ]
        else:
            parameters.append(parameter)

    @functools.wraps(command)
    def with_own(**values: Any) -> None:  # noqa: ANN401  # the command's parameters
        own = ModelOptions(**{name: values.pop(name) for name in _MODEL_OPTIONS})
        command(**values, own=own)

    with_own.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    with_own.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_own


def _number_or_name(word: str) -> int | str:
    """A part or an output: a whole number is a position, anything else a name."""
    return int(word) if re.fullmatch(r"-?[0-9]+", word) else word


def _numbers(text: str) -> float | int | list[float] | list[int]:
    """A number, or several with commas between them; whole ones for tokens.

    Raises:
        UsageError: it is none.
    """
    parts = text.split(",")
    try:
        numbers = [int(part) for part in parts] if "." not in text and "e" not in text else [float(p) for p in parts]
    except ValueError as error:
        raise UsageError(f"--reference {text} is no number: give one such as 0.5, or one for each feature.") from error
    return numbers[0] if len(numbers) == 1 else numbers


PICTURE_HELP = "Write the picture to a .png, .svg or .pdf file."


def relative_path(path: Path) -> str:
    """The path relative to the current folder, if it lies below it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def echo(text: str, *, err: bool = False) -> None:
    """Print text that may hold names and messages from elsewhere, without what a terminal would obey."""
    typer.echo(visible(text), err=err)


def echo_json(content: object) -> None:
    """Print a value as JSON, in ASCII where the output has not all of its characters."""
    text = visible_json(json.dumps(content, indent=1, ensure_ascii=False))
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(content, indent=1)
    typer.echo(text)
