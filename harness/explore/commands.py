"""The commands that look at single things: explain, inspect, list, show, check, download, pages."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import UsageError
from .options import PICTURE_HELP, DataDir, Json, ModelOptions, echo, echo_json, relative_path, with_model_options

if TYPE_CHECKING:
    from .pictures import Picture


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


@with_model_options
def explain(
    about: Annotated[
        str,
        typer.Argument(help="Task, or file.py:NAME of a model of yours.", metavar="TASK-OR-MODEL"),
    ],
    own: ModelOptions,
    method: Annotated[
        list[str] | None, typer.Option("-m", "--method", help="Method; repeatable.", show_default="deeplift")
    ] = None,
    instance: Annotated[int, typer.Option(help="Sequence to explain, from 0.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the model and of the method.", min=0)] = 0,
    save: Annotated[Path | None, typer.Option("--save", metavar="FILE", help=PICTURE_HELP)] = None,
    data_dir: DataDir = None,  # noqa: ARG001  # done by its callback
) -> None:
    """Explain one sequence: coloured tokens or a heat map by step in the terminal, and as a picture in a file.

    A model of yours is a torch module in a file, a function that returns one, or a function from arrays to scores.
    """
    from rich.console import Console

    from .explain_question import ExplainRequest, explain_sequence
    from .pictures import terminal_picture
    from .waiting import waiting

    methods = method or ["deeplift"]
    if save is not None and len(methods) > 1:
        raise UsageError(f"--save writes one picture, and {len(methods)} methods are named: name one.")
    console = Console(highlight=False)
    for spec in methods:
        with waiting(f"explaining {about} by {spec}"):
            picture = explain_sequence(ExplainRequest(about, spec, instance, seed, own))
        console.print(terminal_picture(picture, console.width))
        if save is not None:
            _draw(picture, save)
            typer.echo(f"picture: {save}")


@with_model_options
def inspect(
    about: Annotated[
        str,
        typer.Argument(help="Task, or file.py:NAME of a model of yours.", metavar="TASK-OR-MODEL"),
    ],
    own: ModelOptions,
    seed: Annotated[int, typer.Option(help="Seed of the model of a task.", min=0)] = 0,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write it as an HTML page too.")] = None,
    json: Json = False,
    data_dir: DataDir = None,  # noqa: ARG001  # done by its callback
) -> None:
    """Inspect a model before it is explained: the promises it keeps, its outputs, the methods that apply, the defaults.

    Exit status: 0 every promise is kept, 1 one is broken.
    """
    from .explain_question import ExplainRequest, inspect_request
    from .waiting import waiting

    with waiting(f"inspecting {about}"):
        inspection = inspect_request(ExplainRequest(about, seed=seed, own=own))
    if json:
        echo_json(inspection.as_json())
    else:
        echo(str(inspection))
    if html is not None:
        _write_page(html, inspection.page())
        typer.echo(f"page: {relative_path(html)}", err=json)
    if not inspection.kept:
        raise typer.Exit(1)


def list_(kind: Annotated[Listable, typer.Argument(help="Kind to list.")], json: Json = False) -> None:
    """List the suites, tasks, methods, metrics or interventions, each with its first line."""
    from .plugin_facts import inline, list_plugins
    from .suite_facts import list_suites

    rows = list_suites() if kind is Listable.suites else list_plugins(kind.value.removesuffix("s"))
    if json:
        echo_json(rows)
        return
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        echo(f"{row['name']:<{width}}  {inline(row['summary'])}")


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
        Path | None,
        typer.Option("--save", metavar="FILE", help=f"For a task: {PICTURE_HELP[0].lower()}{PICTURE_HELP[1:]}"),
    ] = None,
    data_dir: DataDir = None,  # noqa: ARG001  # done by its callback
) -> None:
    """Show the page of a suite, task, method, metric or intervention: description, parameters and facts.

    The page of a task also shows its data, the quality of its models, and a sequence with its truth. Where the data are
    missing, the page says how to get them.
    """
    from .plugin_facts import describe_plugin, kind_of, page
    from .suite_facts import describe_suite, is_suite, suite_page

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
        echo_json(facts)
    else:
        echo(suite_page(facts) if of == "suite" else page(facts))


def check(
    name: Annotated[str, typer.Argument(help="Task, method, metric or intervention, or path/to/file.py:Class.")],
    kind: Annotated[PluginKind | None, typer.Option("--kind", help="Kind, where several have that name.")] = None,
    json: Json = False,
    data_dir: DataDir = None,  # noqa: ARG001  # done by its callback
) -> None:
    """Test whether a plug-in keeps the contract of its kind: shapes, determinism, no side effects, and more.

    A rule that does not apply, or that an error leaves open, is "not tested". An error is shown once. Exit status: 0
    nothing failed, 1 a rule is broken, or nothing that the plug-in computes could be tested.
    """
    from ...conformance import report
    from .check import check_plugin
    from .waiting import waiting

    with waiting(f"checking {name}"):
        results = check_plugin(name, kind.value if kind else "")
    if json:
        echo_json(
            [
                {"check": each.check, "passed": each.passed, "status": each.status, "detail": each.detail}
                for each in results
            ]
        )
    else:
        for line in report(results):
            echo(line)
    if any(each.failed for each in results):
        raise typer.Exit(1)


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
    from .download import (
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
        echo_json(list_data_sets(data_dir)) if json else typer.echo(data_set_table(data_dir))
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
        raise KeyboardInterrupt("Stopped. What has been downloaded is kept; the same command resumes.") from error


def pages(
    kind: Annotated[PluginKinds, typer.Argument(help="Kind of plug-in.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write to; made if it does not exist.")],
) -> None:
    """Write the page of every task, method, metric or intervention as Markdown, and a table of them all."""
    from .plugin_pages import write_pages

    try:
        written = write_pages(kind.value.removesuffix("s"), folder)
    except OSError as error:
        raise UsageError(f"The pages cannot be written to {str(folder)!r}: {error.strerror}.") from error
    typer.echo(f"{len(written)} pages: {relative_path(folder)}")


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(f"{question} There is no terminal to answer on: add --yes.")
    return typer.confirm(question)


def _show_task(
    facts: dict[str, Any], name: str, instance: int, reading: str, save: Path | None, *, train: bool, json: bool
) -> None:
    from rich.console import Console

    from .pictures import terminal_picture
    from .plugin_facts import page
    from .task_portrait import PortraitRequest, portrait
    from .task_text import caption
    from .waiting import waiting

    with waiting(f"looking at {name}"):
        seen = portrait(name, PortraitRequest(instance, reading, train=train))
    if json:
        echo_json(facts | seen.facts)
    else:
        echo(f"{page(facts)}\n\n{caption(seen.facts)}\n")
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


def _write_page(path: Path, text: str) -> None:
    from ...atomic import write_atomically

    try:
        write_atomically(path, text.encode(), make_folder=False)
    except OSError as error:
        raise UsageError(f"The page cannot be written to {str(path)!r}: {error.strerror}.") from error


def _draw(picture: Picture, path: Path) -> None:
    from .pictures import save_picture

    try:
        save_picture(picture, path)
    except OSError as error:
        raise UsageError(f"The picture cannot be written to {str(path)!r}: {error.strerror}.") from error
    except ValueError as error:
        raise UsageError(f"The picture cannot be written to {str(path)!r}: {error}.") from error
