"""The command line: every command calls one plain function. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError, XrnnbenchError
from .execution.publish_command import publish
from .gate import commands as gatecommands

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
)
gatecommands.register(app)


app.command()(publish)


class Kinds(StrEnum):
    """What can be listed."""

    tasks = "tasks"
    methods = "methods"
    metrics = "metrics"
    interventions = "interventions"


class Kind(StrEnum):
    """What a plug-in can be."""

    task = "task"
    method = "method"
    metric = "metric"
    intervention = "intervention"


class OutputKind(StrEnum):
    """What a model can return."""

    logits = "logits"
    probabilities = "probabilities"
    values = "values"


def _use_data_dir(folder: Path | None) -> Path | None:
    """For this process and those it starts; the readers of data look there."""
    if folder is not None:
        if not folder.is_dir():
            raise UsageError(f"--data-dir {folder} is not a folder.")
        os.environ["XRNNBENCH_DATA"] = str(folder.resolve())
    return folder


DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Where data sets lie, one folder each.", callback=_use_data_dir),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
OfKind = Annotated[Kind | None, typer.Option("--kind", help="Which kind, where several have that name.")]


def main() -> None:
    """Entry point: errors are one sentence on the standard error stream and exit status 2."""
    try:
        app()
    except XrnnbenchError as error:
        print(f"xrnnbench: {error}", file=sys.stderr)  # noqa: T201  # the command line speaks
        sys.exit(2)


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


@app.command()
def run(
    suite: Annotated[str, typer.Argument(help="A suite's name, or a file ending in .toml.")] = "quick",
    task: Annotated[list[str] | None, typer.Option("-t", "--task", help="Instead of the suite's tasks.")] = None,
    method: Annotated[
        list[str] | None, typer.Option("-m", "--method", help="Run only these; the suite's others are shown beside.")
    ] = None,
    metric: Annotated[list[str] | None, typer.Option("-x", "--metric", help="Instead of its metrics.")] = None,
    seeds: Annotated[str, typer.Option(help="Model seeds, such as 0,1,2, instead of the suite's.")] = "",
    out: Annotated[Path, typer.Option(help="Where runs/ and the boards go.")] = Path("results"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what is kept and compute it again.")] = False,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train the models instead of taking published ones.")
    ] = False,
    beside: Annotated[
        Path | None, typer.Option(help="With -m: an archive or a run that has the suite's other methods.")
    ] = None,
    data_dir: DataDir = None,  # noqa: ARG001  # done by its callback
) -> None:
    """Run a suite, or go on with it: only what is missing is computed.

    With -m only these methods are run; the suite's own are shown beside them as far as they are known: from this
    folder, or the published archive. A suite that is changed by -t, -m, -x or --seeds has boards of its own.

    Exit status: 0 all cells are good, 1 some failed, 2 the command cannot be carried out, 130 interrupted.
    """
    from .execution.reference_rows import results_beside
    from .execution.resume import finished
    from .suites.suite import read_suite

    chosen = read_suite(suite).instead(
        tasks=task or (), methods=method or (), metrics=metric or (), seeds=_numbers(seeds)
    )
    others = results_beside(chosen, out, beside)
    found = None if fresh else finished(chosen, out, retrain=retrain, beside=others)
    if found is not None:
        typer.echo(f"Nothing to do: all {len(found.content['cells'])} cells are kept. Board: {found.boards['md']}")
        return
    _report(_computed(chosen, out, fresh=fresh, retrain=retrain, beside=beside))


@app.command(name="list")
def list_(kind: Annotated[Kinds, typer.Argument(help="What to list.")], json: Json = False) -> None:
    """List the tasks, methods, metrics or interventions there are, each with its first line."""
    from .explore.plugin_facts import inline, listed

    found = listed(kind.value.removesuffix("s"))
    if json:
        _echo_json(found)
        return
    width = max((len(each["name"]) for each in found), default=0)
    for each in found:
        typer.echo(f"{each['name']:<{width}}  {inline(each['summary'])}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Of a task, method, metric or intervention, or path/to/file.py:Class.")],
    kind: OfKind = None,
    json: Json = False,
    instance: Annotated[int | None, typer.Option(help="Of a task: which of its sequences, from 0.")] = None,
    reading: Annotated[str, typer.Option(help="Of a task: which reading of its truth.")] = "",
    train: Annotated[bool, typer.Option("--train", help="Of a task: train the models that are not there.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Of a task: write the picture to this .png, .svg or .pdf.")
    ] = None,
    data_dir: DataDir = None,  # noqa: ARG001  # done by its callback
) -> None:
    """Show the page of a task, method, metric or intervention: what it is, its parameters and its facts.

    Of a task also its data, how good its models are, and a sequence with what is known to be true of it. Where its
    data are missing, the page says how to come by them.
    """
    from .explore.plugin_facts import described, kind_of, page

    of = kind_of(name, kind.value if kind else "")
    found = described(of, name)
    if of == "task":
        _show_task(found, name, instance or 0, reading, output, train=train, json=json)
        return
    if instance is not None or reading or train or output is not None:
        raise UsageError(f"{found['name']!r} is a {of}: --instance, --reading, --train and --output are about tasks.")
    if json:
        _echo_json(found)
    else:
        typer.echo(page(found))


@app.command()
def pages(
    kind: Annotated[Kinds, typer.Argument(help="Of what.")],
    folder: Annotated[Path, typer.Argument(help="Where to; made if it does not exist.")],
) -> None:
    """Write the page of every task, method or metric as Markdown, and a table of them all."""
    from .explore.plugin_pages import write_pages

    try:
        written = write_pages(kind.value.removesuffix("s"), folder)
    except OSError as error:
        raise UsageError(f"The pages cannot be written to {str(folder)!r}: {error.strerror}.") from error
    typer.echo(f"{len(written)} pages: {_relative(folder)}")


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="Of a task, method, metric or intervention, or path/to/file.py:Class.")],
    kind: OfKind = None,
    json: Json = False,
    data_dir: DataDir = None,  # noqa: ARG001  # done by its callback
) -> None:
    """Put a task, method or metric through the conformance kit every built-in is held to.

    Exit status: 0 it keeps every promise, 1 it breaks one.
    """
    from .execution.progress import waiting
    from .explore.check import findings

    with waiting(f"checking {name}"):
        found = findings(name, kind.value if kind else "")
    if json:
        _echo_json([{"check": each.check, "passed": each.passed, "detail": each.detail} for each in found])
    else:
        for each in found:
            typer.echo(str(each))
    if not all(each.passed for each in found):
        raise typer.Exit(1)


@app.command()
def leaderboard(
    run: Annotated[Path, typer.Argument(help="The folder of a run, such as results/runs/quick.")],
    format: Annotated[str, typer.Option(help="Which boards to write.")] = "md,csv,json,tex,html",  # noqa: A002  # the option's name
) -> None:
    """Write the boards of a run again, from its cells."""
    from .execution.reference_rows import RunBeside
    from .results.store import ENDINGS

    endings = tuple(filter(None, format.split(",")))
    if not endings or (unknown := [ending for ending in endings if ending not in ENDINGS]):
        raise UsageError(f"There is no board {unknown[0] if endings else ''!r}: choose among {','.join(ENDINGS)}.")
    for path in RunBeside.load(run).publish(endings):
        typer.echo(_relative(path))


@app.command()
def explain(
    about: Annotated[str, typer.Argument(help="A task, or file.py:NAME of a torch module.", metavar="TASK-OR-MODEL")],
    method: Annotated[str, typer.Option("-m", "--method", help="The method.")] = "deeplift",
    instance: Annotated[int, typer.Option(help="Which sequence, from 0.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the model and of the method.", min=0)] = 0,
    target: Annotated[int | None, typer.Option(help="Which output; by default the predicted class.")] = None,
    data: Annotated[Path | None, typer.Option(help="For a module: .npz with inputs, maybe lengths, targets.")] = None,
    outputs: Annotated[OutputKind, typer.Option(help="For a module: what it returns.")] = OutputKind.logits,
    output: Annotated[Path | None, typer.Option(help="Write the picture to this .png, .svg or .pdf.")] = None,
    data_dir: DataDir = None,  # noqa: ARG001  # done by its callback
) -> None:
    """Explain one sequence: coloured tokens or heat by step in the terminal, and as a picture in a file."""
    from rich.console import Console

    from .execution.progress import waiting
    from .explore.explain_question import Question, answer
    from .explore.pictures import printed

    question = Question(about, method, instance, seed, target, data, outputs.value)
    with waiting(f"explaining {about}"):
        picture = answer(question)
    console = Console(highlight=False)
    console.print(printed(picture, console.width))
    if output is not None:
        _draw(picture, output)
        typer.echo(f"picture: {output}")


@app.command()
def download(
    names: Annotated[
        list[str] | None, typer.Argument(help="Data sets, or tasks that need some.", metavar="NAME")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Where to keep them, not the cache.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Fetch data sets, after saying what they are, their terms and where they go; without a name, list all.

    Exit status: 0 they are there, 1 they were not wanted after all, 2 they cannot be had, 130 interrupted.
    """
    from .explore.download import announced, base_of, fetch, listed, listing, missing, sets_of, total

    if not names:
        _echo_json(listed(data_dir)) if json else typer.echo(listing(data_dir))
        return
    base = base_of(data_dir)
    wanted = missing(sets_of(names), data_dir, typer.echo)
    for each in wanted:
        typer.echo(announced(each, base))
    if not wanted:
        return
    if not yes and not _agreed(f"Download {total(wanted)}?"):
        typer.echo("Nothing was downloaded.")
        raise typer.Exit(1)
    try:
        for line in fetch(wanted, base):
            typer.echo(line)
    except KeyboardInterrupt as error:
        typer.echo("Stopped. What has come is kept; the same command goes on from there.", err=True)
        raise typer.Exit(130) from error


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody can be asked here: say --yes.")
    return typer.confirm(question)


def _show_task(
    found: dict[str, Any], name: str, instance: int, reading: str, output: Path | None, *, train: bool, json: bool
) -> None:
    from rich.console import Console

    from .execution.progress import waiting
    from .explore.pictures import printed
    from .explore.plugin_facts import page
    from .explore.task_portrait import Wanted, portrait
    from .explore.task_text import caption

    with waiting(f"looking at {name}"):
        seen = portrait(name, Wanted(instance, reading, train=train))
    if json:
        _echo_json(found | seen.facts)
    else:
        typer.echo(f"{page(found)}\n\n{caption(seen.facts)}\n")
        console = Console(highlight=False)
        for picture in seen.pictures:
            console.print(printed(picture, console.width), "")
    if output is None:
        return
    if seen.drawn is None:
        raise UsageError(f"There is no picture of {name} to write: {seen.facts['problem']}")
    _draw(seen.drawn, output)
    if not json:
        typer.echo(f"picture: {output}")


def _draw(picture: Picture, output: Path) -> None:
    from .explore.pictures import draw

    try:
        draw(picture, output)
    except (OSError, ValueError) as error:
        raise UsageError(f"The picture cannot be written to {str(output)!r}: {error}.") from error


def _computed(suite: Suite, out: Path, *, fresh: bool, retrain: bool, beside: Path | None) -> Run:
    from .execution.benchmark import Benchmark
    from .execution.progress import reporter

    try:
        benchmark = Benchmark.of(suite)
        return benchmark.run(out, fresh=fresh, retrain=retrain, beside=beside, progress=reporter(), command=sys.argv)
    except KeyboardInterrupt as error:
        kept = len(list((out / "runs" / suite.name / "cells").rglob("*.json")))
        typer.echo(f"Stopped. {kept} cells are kept in {out}; the same command goes on from there.", err=True)
        raise typer.Exit(130) from error


def _report(run: Run) -> None:
    from .reports.terminal import overview

    overview(run.leaderboard())
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
