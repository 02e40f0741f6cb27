"""Command line: each command calls one plain function and imports what it needs only then, so that help is fast."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError, XrnnbenchError
from .execution.publish_command import publish
from .gate import commands as gate

if TYPE_CHECKING:
    from .execution.run import Run
    from .explore.pictures import Picture
    from .suites.suite import Suite

app = typer.Typer(
    name="xrnnbench",
    help="Measure whether explanations of recurrent networks are true.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# Options of earlier versions, and what they are called now.
RENAMED = {"--output": "--save", "--beside": "--reference-rows"}


class Listable(StrEnum):
    """Kinds that ``xrnnbench list`` knows."""

    suites = "suites"
    tasks = "tasks"
    methods = "methods"
    metrics = "metrics"
    interventions = "interventions"


class PluginKinds(StrEnum):
    """Kinds of plug-ins, in the plural."""

    tasks = "tasks"
    methods = "methods"
    metrics = "metrics"
    interventions = "interventions"


class PluginKind(StrEnum):
    """Kinds of plug-ins."""

    task = "task"
    method = "method"
    metric = "metric"
    intervention = "intervention"


class Showable(StrEnum):
    """Kinds that ``xrnnbench show`` knows."""

    suite = "suite"
    task = "task"
    method = "method"
    metric = "metric"
    intervention = "intervention"


class OutputKind(StrEnum):
    """Kinds of model outputs."""

    logits = "logits"
    probabilities = "probabilities"
    values = "values"


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
PICTURE = "Write the picture to a .png, .svg or .pdf file."


def main() -> None:
    """Entry point: an error is one sentence on the standard error stream and exit status 2."""
    try:
        _refuse_renamed(sys.argv[1:])
        app()
    except XrnnbenchError as error:
        print(f"xrnnbench: {error}", file=sys.stderr)  # noqa: T201  # the command line's own output
        sys.exit(2)


def _refuse_renamed(words: list[str]) -> None:
    """Name the new option where a command line has one of an earlier version.

    Raises:
        UsageError: it has.
    """
    for word in words:
        option = word.partition("=")[0]
        if option in RENAMED:
            raise UsageError(f"The option {option} is now {RENAMED[option]}: write {RENAMED[option]} in its place.")


def _print_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Measure whether explanations of recurrent networks are true."""


# ---- run and read: the order of the commands is the order of work ----------------------------------------------------


@app.command()
def run(
    suite: Annotated[str, typer.Argument(help="Name of a suite, or path of a .toml file.")] = "quick",
    task: Annotated[
        list[str] | None, typer.Option("-t", "--task", help="Task to run instead of the suite's; repeatable.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "-m",
            "--method",
            help="Compute only this method; the suite's others are shown from stored results; repeatable.",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option("-x", "--metric", help="Metric to score instead of the suite's; repeatable.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Model seeds, such as 0,1,2, instead of the suite's.")] = "",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the run and its boards.")] = Path("results"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Compute everything again.")] = False,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train the models instead of taking published ones.")
    ] = False,
    reference_rows: Annotated[
        Path | None,
        typer.Option(
            "--reference-rows",
            metavar="DIR",
            help="Run or archive with stored results of the other methods.",
        ),
    ] = None,
    data_dir: DataDir = None,  # noqa: ARG001  # done by its callback
) -> None:
    """Run a suite, or resume it: only what is missing is computed.

    With -m only these methods are computed. The suite's other methods are shown as reference rows: stored results of an
    earlier run in this folder, or of the published archive. A suite that is changed by -t, -m, -x or --seeds has boards
    of its own, in the folder of the run.

    A cell is one method on one model of one task. Exit status: 0 no cell failed, 1 some failed, 2 the command cannot be
    carried out, 130 interrupted.
    """
    from .execution.reference_rows import reference_source
    from .execution.resume import finished
    from .suites.suite import read_suite

    chosen = read_suite(suite).instead(
        tasks=task or (), methods=method or (), metrics=metric or (), seeds=_numbers(seeds)
    )
    reference = reference_source(chosen, out, reference_rows)
    done = None if fresh else finished(chosen, out, retrain=retrain, reference=reference)
    if done is not None:
        typer.echo(f"Nothing to do: all {len(done.content['cells'])} cells are stored. Board: {done.boards['md']}")
        return
    _report(_computed(chosen, out, fresh=fresh, retrain=retrain, reference_rows=reference_rows))


@app.command()
def leaderboard(
    run: Annotated[Path, typer.Argument(help="Folder of a run, such as results/runs/quick.")],
    format: Annotated[  # noqa: A002  # the option's name
        str, typer.Option(help="Formats to write, separated by commas.")
    ] = "md,csv,json,tex,html",
) -> None:
    """Write the boards of a run again, from its stored cells."""
    from .execution.reference_rows import RunWithReferences
    from .results.store import ENDINGS

    endings = tuple(filter(None, format.split(",")))
    if not endings or (unknown := [ending for ending in endings if ending not in ENDINGS]):
        raise UsageError(f"There is no board {unknown[0] if endings else ''!r}: choose among {','.join(ENDINGS)}.")
    for path in RunWithReferences.load(run).publish(endings):
        typer.echo(_relative(path))


@app.command()
def explain(
    about: Annotated[
        str,
        typer.Argument(help="Task, or file.py:NAME of a torch module.", metavar="TASK-OR-MODEL"),
    ],
    method: Annotated[
        list[str] | None, typer.Option("-m", "--method", help="Method; repeatable.", show_default="deeplift")
    ] = None,
    instance: Annotated[int, typer.Option(help="Sequence to explain, from 0.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the model and of the method.", min=0)] = 0,
    target: Annotated[int | None, typer.Option(help="Output to explain; by default the predicted class.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For a module: .npz file with inputs, optionally lengths and targets."),
    ] = None,
    outputs: Annotated[OutputKind, typer.Option(help="For a module: kind of its outputs.")] = OutputKind.logits,
    save: Annotated[Path | None, typer.Option("--save", metavar="FILE", help=PICTURE)] = None,
    data_dir: DataDir = None,  # noqa: ARG001  # done by its callback
) -> None:
    """Explain one sequence: coloured tokens or a heat map by step in the terminal, and as a picture in a file."""
    from rich.console import Console

    from .execution.progress import waiting
    from .explore.explain_question import ExplainRequest, explain_sequence
    from .explore.pictures import terminal_picture

    methods = method or ["deeplift"]
    if save is not None and len(methods) > 1:
        raise UsageError(f"--save writes one picture, and {len(methods)} methods are named: name one.")
    console = Console(highlight=False)
    for spec in methods:
        with waiting(f"explaining {about} by {spec}"):
            picture = explain_sequence(ExplainRequest(about, spec, instance, seed, target, data, outputs.value))
        console.print(terminal_picture(picture, console.width))
        if save is not None:
            _draw(picture, save)
            typer.echo(f"picture: {save}")


gate.register(app)


# ---- look at what there is -------------------------------------------------------------------------------------------


@app.command(name="list")
def list_(kind: Annotated[Listable, typer.Argument(help="Kind to list.")], json: Json = False) -> None:
    """List the suites, tasks, methods, metrics or interventions, each with its first line."""
    from .explore.plugin_facts import inline, list_plugins
    from .explore.suite_facts import list_suites

    rows = list_suites() if kind is Listable.suites else list_plugins(kind.value.removesuffix("s"))
    if json:
        _echo_json(rows)
        return
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        typer.echo(f"{row['name']:<{width}}  {inline(row['summary'])}")


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(help="Name of a suite, task, method, metric or intervention, or path/to/file.py:Class."),
    ],
    kind: Annotated[Showable | None, typer.Option("--kind", help="Kind, where several have that name.")] = None,
    json: Json = False,
    instance: Annotated[int | None, typer.Option(help="For a task: sequence to show, from 0.")] = None,
    reading: Annotated[str, typer.Option(help="For a task: which of its truths, such as change.")] = "",
    train: Annotated[bool, typer.Option("--train", help="For a task: train models that are missing.")] = False,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help=f"For a task: {PICTURE[0].lower()}{PICTURE[1:]}")
    ] = None,
    data_dir: DataDir = None,  # noqa: ARG001  # done by its callback
) -> None:
    """Show the page of a suite, task, method, metric or intervention: description, parameters and facts.

    The page of a task also shows its data, the quality of its models, and a sequence with its truth. Where the data are
    missing, the page says how to get them.
    """
    from .explore.plugin_facts import describe_plugin, kind_of, page
    from .explore.suite_facts import describe_suite, is_suite, suite_page

    if kind is Showable.suite or (kind is None and is_suite(name)):
        of, facts = "suite", describe_suite(name)
    else:
        of = kind_of(name, kind.value if kind else "")
        facts = describe_plugin(of, name)
    if of == "task":
        _show_task(facts, name, instance or 0, reading, save, train=train, json=json)
        return
    if instance is not None or reading or train or save is not None:
        raise UsageError(f"{facts['name']!r} is a {of}: --instance, --reading, --train and --save are for tasks.")
    if json:
        _echo_json(facts)
    else:
        typer.echo(suite_page(facts) if of == "suite" else page(facts))


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="Task, method, metric or intervention, or path/to/file.py:Class.")],
    kind: Annotated[PluginKind | None, typer.Option("--kind", help="Kind, where several have that name.")] = None,
    json: Json = False,
    data_dir: DataDir = None,  # noqa: ARG001  # done by its callback
) -> None:
    """Test whether a plug-in keeps the contract of its kind: shapes, determinism, no side effects, and more.

    Exit status: 0 it keeps the contract, 1 it does not.
    """
    from .execution.progress import waiting
    from .explore.check import check_plugin

    with waiting(f"checking {name}"):
        results = check_plugin(name, kind.value if kind else "")
    if json:
        _echo_json([{"check": each.check, "passed": each.passed, "detail": each.detail} for each in results])
    else:
        for each in results:
            typer.echo(str(each))
    if not all(each.passed for each in results):
        raise typer.Exit(1)


@app.command()
def download(
    names: Annotated[
        list[str] | None, typer.Argument(help="Data sets, or tasks that need some.", metavar="NAME")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="Folder to keep them in, instead of the cache.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Download data sets, after showing their size, licence and place; without a name, list all of them.

    Exit status: 0 they are there, 1 declined, 2 unavailable, 130 interrupted.
    """
    from .explore.download import (
        data_set_table,
        data_sets_of,
        download_folder,
        download_notice,
        fetch,
        list_data_sets,
        missing_data_sets,
        total_size,
    )

    if not names:
        _echo_json(list_data_sets(data_dir)) if json else typer.echo(data_set_table(data_dir))
        return
    folder = download_folder(data_dir)
    wanted = missing_data_sets(data_sets_of(names), data_dir, typer.echo)
    for each in wanted:
        typer.echo(download_notice(each, folder))
    if not wanted:
        return
    if not yes and not _agreed(f"Download {total_size(wanted)}?"):
        typer.echo("Nothing was downloaded.")
        raise typer.Exit(1)
    try:
        for line in fetch(wanted, folder):
            typer.echo(line)
    except KeyboardInterrupt as error:
        typer.echo("Stopped. What has been downloaded is kept; the same command resumes.", err=True)
        raise typer.Exit(130) from error


# ---- publish ---------------------------------------------------------------------------------------------------------


@app.command()
def pages(
    kind: Annotated[PluginKinds, typer.Argument(help="Kind of plug-in.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write to; made if it does not exist.")],
) -> None:
    """Write the page of every task, method, metric or intervention as Markdown, and a table of them all."""
    from .explore.plugin_pages import write_pages

    try:
        written = write_pages(kind.value.removesuffix("s"), folder)
    except OSError as error:
        raise UsageError(f"The pages cannot be written to {str(folder)!r}: {error.strerror}.") from error
    typer.echo(f"{len(written)} pages: {_relative(folder)}")


app.command()(publish)


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(f"{question} There is no terminal to answer on: add --yes.")
    return typer.confirm(question)


def _show_task(
    facts: dict[str, Any], name: str, instance: int, reading: str, save: Path | None, *, train: bool, json: bool
) -> None:
    from rich.console import Console

    from .execution.progress import waiting
    from .explore.pictures import terminal_picture
    from .explore.plugin_facts import page
    from .explore.task_portrait import PortraitRequest, portrait
    from .explore.task_text import caption

    with waiting(f"looking at {name}"):
        seen = portrait(name, PortraitRequest(instance, reading, train=train))
    if json:
        _echo_json(facts | seen.facts)
    else:
        typer.echo(f"{page(facts)}\n\n{caption(seen.facts)}\n")
        console = Console(highlight=False)
        for picture in seen.pictures:
            console.print(terminal_picture(picture, console.width), "")
    if save is None:
        return
    if seen.drawn is None:
        raise UsageError(f"There is no picture of {name} to write: {seen.facts['problem']}")
    _draw(seen.drawn, save)
    if not json:
        typer.echo(f"picture: {save}")


def _draw(picture: Picture, path: Path) -> None:
    from .explore.pictures import save_picture

    try:
        save_picture(picture, path)
    except (OSError, ValueError) as error:
        raise UsageError(f"The picture cannot be written to {str(path)!r}: {error}.") from error


def _computed(suite: Suite, out: Path, *, fresh: bool, retrain: bool, reference_rows: Path | None) -> Run:
    from .execution.benchmark import Benchmark
    from .execution.progress import reporter

    try:
        return Benchmark.of(suite).run(
            out,
            fresh=fresh,
            retrain=retrain,
            reference_rows=reference_rows,
            progress=reporter(),
            command=sys.argv,
        )
    except KeyboardInterrupt as error:
        stored = len(list((out / "runs" / suite.name / "cells").rglob("*.json")))
        typer.echo(f"Stopped. {stored} cells are stored in {out}; the same command resumes.", err=True)
        raise typer.Exit(130) from error


def _report(run: Run) -> None:
    from .reports.terminal import print_overview

    print_overview(run.leaderboard())
    times = run.times
    shares = ", ".join(f"{name} {times[name]:.1f} s" for name in ("training", "explaining", "scoring", "rest"))
    typer.echo(f"{times['total']:.1f} s: {shares}. Board: {run.boards['md']}")
    if run.failed:
        failed = f"{run.failed} of {len(run.cells)} cells failed; the board says why, and the same command tries again."
        typer.echo(failed, err=True)
        raise typer.Exit(1)


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"--seeds {text} is not a list of whole numbers such as 0,1,2.")
    return [int(part) for part in parts]


def _relative(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _echo_json(content: object) -> None:
    import json

    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
