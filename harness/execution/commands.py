"""The commands that run a grid and write its results: run, plan, leaderboard, publish."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ... import spec_files
from ...error_lines import one_line
from ...errors import FailedCellsWarning, UsageError
from ..explore.options import (
    DataDir,
    Examples,
    Jobs,
    Json,
    ModelOptions,
    echo,
    echo_json,
    relative_path,
    with_model_options,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ...tasks.base import Task
    from ..suites.suite import Suite
    from .run import Run
    from .workers.places import Workers


@with_model_options
def run(
    own: ModelOptions,
    suite: Annotated[str, typer.Argument(help="Name of a suite, or path of a .toml file.")] = "quick",
    task: Annotated[
        list[str] | None,
        typer.Option(
            "-t",
            "--task",
            help="Task to run instead of the suite's, or file.py:NAME of a model of yours with --data; repeatable.",
        ),
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
    examples: Examples = None,
    jobs: Jobs = None,
    scheduler: Annotated[
        str, typer.Option(metavar="URL", help="Compute on the cluster of this dask scheduler, tcp://HOST:PORT.")
    ] = "",
    tls_ca_file: Annotated[
        str, typer.Option(metavar="FILE", help="Certificate authority of the scheduler, for tls://.")
    ] = "",
    tls_cert: Annotated[str, typer.Option(metavar="FILE", help="Own certificate, for tls://.")] = "",
    tls_key: Annotated[str, typer.Option(metavar="FILE", help="Own private key, for tls://.")] = "",
    dashboard: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Show dask's dashboard at this address, such as 127.0.0.1:8787.")
    ] = "",
    device: Annotated[str, typer.Option(help="Device to run models on, such as cuda; by default where they are.")] = "",
    time_limit: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="Limit of each call of a plug-in, such as '10 min' or none.", show_default="1 h"
        ),
    ] = "",
    memory_limit: Annotated[
        str,
        typer.Option(
            metavar="SIZE",
            help="Limit of a computing process, such as '4 GB' or none.",
            show_default="90 % of all memory",
        ),
    ] = "",
    data_dir: DataDir = None,  # noqa: ARG001  # done by its callback
) -> None:
    """Run a suite, or resume it: only what is missing is computed.

    With -m only these methods are computed. The suite's other methods are shown as reference rows: stored results of an
    earlier run in this folder, or of the published archive. A suite that is changed by -t, -m, -x or --seeds has boards
    of its own, in the folder of the run.

    A model of yours is a torch module in a file, a function that returns one, a function from arrays to scores, or a
    list of trainings of one model; --data gives its sequences, and the task is called by its name. A suite file may
    name it among its tasks. A task that a file makes by task_from_model or task_from_csv is named in the same way.

    Plug-ins run in processes of their own, so that one that crashes, hangs or takes too much memory costs no other
    cell. The numbers do not depend on how many there are.

    A cell is one method on one model of one task. Exit status: 0 no cell failed, 1 some failed, 2 the command cannot be
    carried out, 130 interrupted (143 by SIGTERM).
    """
    from ..suites.suite import read_suite
    from .reference_rows import reference_source
    from .resume import finished
    from .workers.places import Workers

    tls = {"ca_file": tls_ca_file, "cert": tls_cert, "key": tls_key}
    workers = Workers.chosen(jobs, scheduler, dashboard, **tls)
    chosen = read_suite(suite).instead(
        tasks=task or (), methods=method or (), metrics=metric or (), seeds=_numbers(seeds)
    )
    in_files = [spec for spec in chosen.tasks if spec_files.file_spec(spec) is not None]
    if not in_files:
        own.refuse_for_task(task[0] if task else "")
    reference = reference_source(chosen, out, reference_rows)
    done = None if fresh else finished(chosen, out, retrain=retrain, reference=reference, examples=examples)
    if done is not None:
        typer.echo(f"Nothing to do: all {len(done.content['cells'])} cells are stored. Board: {done.boards['md']}")
        return
    _say_whose_code(suite, chosen, (*(task or ()), *(method or ()), *(metric or ())))
    given = _own_tasks(in_files, own)
    _refuse_seeds(seeds, given)
    settings = RunSettings(
        out,
        workers,
        device,
        time_limit,
        memory_limit,
        fresh=fresh,
        retrain=retrain,
        examples=examples,
        reference_rows=reference_rows,
    )
    _report(_computed(chosen, given, settings), workers.jobs)


@with_model_options
def plan(
    own: ModelOptions,
    suite: Annotated[str, typer.Argument(help="Name of a suite, or path of a .toml file.")] = "quick",
    task: Annotated[list[str] | None, typer.Option("-t", "--task", help="As for run; repeatable.")] = None,
    method: Annotated[list[str] | None, typer.Option("-m", "--method", help="As for run; repeatable.")] = None,
    metric: Annotated[list[str] | None, typer.Option("-x", "--metric", help="As for run; repeatable.")] = None,
    seeds: Annotated[str, typer.Option(help="Model seeds, such as 0,1,2, instead of the suite's.")] = "",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the run and its boards.")] = Path("results"),
    jobs: Jobs = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Plan everything, also what is stored.")] = False,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train the models instead of taking published ones.")
    ] = False,
    check: Annotated[
        Path | None,
        typer.Option("--check", metavar="RUN", help="Compare a finished run with its forecast, instead of planning."),
    ] = None,
    json: Json = False,
    data_dir: DataDir = None,  # noqa: ARG001  # done by its callback
) -> None:
    """Say what a run would compute and cost, before it runs: passes, time on this machine, memory, disk.

    The arguments are those of run. Only what is missing in the folder is counted, and nothing is written into it. The
    figures come from a calibration that is part of the package, and from timing this machine for a second; methods of
    yours explain a few sequences for it.

    With --check RUN: predicted and actual seconds of the cells of a finished run.
    """
    from .forecast.plan_report import print_check, print_plan

    if check is not None:
        from .forecast.check import check_forecast
        from .run import Run
        from .said_notices import saying_notices

        results = Run.load(check)
        with saying_notices(results):
            checked = check_forecast(results)
        echo_json(checked.as_json()) if json else print_check(checked)
        return
    from ..suites.suite import read_suite
    from .workers.places import Workers

    workers = Workers.chosen(jobs)
    chosen = read_suite(suite).instead(
        tasks=task or (), methods=method or (), metrics=metric or (), seeds=_numbers(seeds)
    )
    in_files = [spec for spec in chosen.tasks if spec_files.file_spec(spec) is not None]
    if not in_files:
        own.refuse_for_task(task[0] if task else "")
    _say_whose_code(suite, chosen, (*(task or ()), *(method or ()), *(metric or ())))
    given = _own_tasks(in_files, own)
    _refuse_seeds(seeds, given)
    from .benchmark import Benchmark

    planned = Benchmark.of(chosen, given).plan(out, jobs=workers.jobs, fresh=fresh, retrain=retrain)
    echo_json(planned.as_json()) if json else print_plan(planned)


def leaderboard(
    run: Annotated[Path, typer.Argument(help="Folder of a run, such as results/runs/quick.")],
    format: Annotated[  # noqa: A002  # the option's name
        str, typer.Option(help="Formats to write, separated by commas.")
    ] = "md,csv,json,tex,html",
    examples: Examples = None,
    jobs: Jobs = None,
) -> None:
    """Write the boards of a run again, from its stored cells.

    Nothing of a run is executed, so that it may be somebody else's. What is missing, damaged or changed is left out and
    said.
    """
    from ..results.store import ENDINGS
    from .reference_rows import RunWithReferences
    from .said_notices import saying_notices
    from .workers.places import Workers

    endings = tuple(filter(None, format.split(",")))
    if not endings or (unknown := [ending for ending in endings if ending not in ENDINGS]):
        raise UsageError(f"There is no board {unknown[0] if endings else ''!r}: choose among {','.join(ENDINGS)}.")
    loaded = RunWithReferences.load(run)
    if examples is not None:
        loaded.keep_examples(wanted=examples)
        endings = tuple(dict.fromkeys((*endings, "html")))  # the page before may be another
    with saying_notices(loaded):
        for path in loaded.publish(endings, Workers.chosen(jobs).jobs):
            typer.echo(relative_path(path))


def merge(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folder or run file of each run.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the merged run, without a run yet.")],
    allow_mixed: Annotated[
        bool, typer.Option("--allow-mixed", help="Even if other code or other versions of libraries computed them.")
    ] = False,
) -> None:
    """Merge runs of one suite, computed on several machines, into one run.

    The runs may be of other tasks, methods, metrics or seeds, or interrupted ones of the same suite. What several of
    them have must be the same to the bit. The runs are not changed, and the merged run is resumed like any other.

    Exit status: 0 merged, also if cells are missing or failed; 2 the runs do not belong together, or the command cannot
    be carried out.
    """
    from ..results.notices import few
    from .merging.merge import merge as merge_runs

    merged = merge_runs(runs, out, allow_mixed=allow_mixed)
    for notice in few(merged.store.notices, str(relative_path(merged.folder))):
        echo(notice, err=True)
    if not merged.complete:
        typer.echo(f"'xrnnbench run' with the suite and --out {out} computes what is missing or failed.", err=True)
    typer.echo(f"{len(runs)} runs, {len(merged.content['cells'])} cells. Board: {relative_path(merged.boards['md'])}")


def publish(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run, such as results/runs/core.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write to, such as tasks/models/weights of the repository.")],
    task: Annotated[
        list[str] | None,
        typer.Option(
            "-t", "--task", help="Task of the run that is in a file, file.py:CLASS, whose code is run; repeatable."
        ),
    ] = None,
) -> None:
    """Publish the models of a run: one safetensors file for each, and a manifest with their SHA-256.

    Models in the folder tasks/models/weights of the repository are part of the package and used by everybody. To use
    the models of another folder, set XRNNBENCH_PUBLISHED to that folder.

    A run may be somebody else's: the code of Python files is run only if you name them.
    """
    from .publish_models import publish as publish_models
    from .run import Run
    from .said_notices import saying_notices

    results = Run.load(run)
    with saying_notices(results):
        manifest = publish_models(results, folder, task or ())
    size = sum((folder / model.file).stat().st_size for model in manifest.models)
    unfit = sum(model.competence.score < model.competence.gate for model in manifest.models)
    under_gate = f", {unfit} of them below their competence gate" if unfit else ""
    typer.echo(f"{len(manifest.models)} models{under_gate}, {size / 1e6:.2f} MB: {folder}")


@dataclass(frozen=True)
class RunSettings:
    """Settings of a run on the command line; see :meth:`xrnnbench.Benchmark.run`."""

    out: Path
    workers: Workers
    device: str
    time_limit: str
    memory_limit: str
    fresh: bool
    retrain: bool
    examples: bool | None
    reference_rows: Path | None


def _say_whose_code(name: str, suite: Suite, typed: Collection[str]) -> None:
    """Say before any code runs which Python files a suite names, since the suite may be somebody else's.

    Args:
        name: of the suite, as it was typed.
        suite: the suite as it is run.
        typed: specs of the command line, of which the user knows.
    """
    specs = (*suite.tasks, *suite.methods, *suite.metrics, *suite.skipped)
    files = dict.fromkeys(file for spec in specs if spec not in typed for file in spec_files.code_files(spec))
    if files:
        echo(f"xrnnbench: {name} names Python files, whose code now runs: {', '.join(files)}.", err=True)


def _own_tasks(specs: Sequence[str], own: ModelOptions) -> dict[str, Task]:
    """Tasks of the specs that name a model or a task that a file has made, by spec.

    Args:
        specs: specs of things in files.
        own: options for a model.

    Raises:
        UsageError: options for a model are given, and none is named; or its data do not fit.
    """
    if not specs:
        return {}
    from ..explore.own_model import own_task

    tasks = {spec: own_task(spec, own) for spec in specs}
    given: dict[str, Task] = {spec: task for spec, task in tasks.items() if task is not None}
    if not given:
        own.refuse_for_task(specs[0])
    return given


def _refuse_seeds(seeds: str, given: Mapping[str, Task]) -> None:
    """Refuse --seeds for tasks that bring their models along.

    Raises:
        UsageError: such a task is given, and seeds are.
    """
    for spec, task in given.items():
        if seeds and task.model_seeds:
            raise UsageError(
                f"{spec} brings its {len(task.model_seeds)} models along, all of which are run: leave out --seeds."
            )


def _computed(suite: Suite, given: Mapping[str, Task], settings: RunSettings) -> Run:
    workers = settings.workers.starting()
    from .benchmark import Benchmark
    from .progress import reporter

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FailedCellsWarning)  # the report has its sentence
            return Benchmark.of(suite, given).run(
                settings.out,
                fresh=settings.fresh,
                retrain=settings.retrain,
                examples=settings.examples,
                reference_rows=settings.reference_rows,
                workers=workers,
                device=settings.device,
                time_limit=settings.time_limit,
                memory_limit=settings.memory_limit,
                progress=reporter(),
                command=sys.argv,
            )
    except KeyboardInterrupt as error:
        stored = len(list((settings.out / "runs" / suite.name / "cells").rglob("*.json")))
        sentence = f"Stopped. {stored} cells are stored in {settings.out}; the same command resumes."
        raise KeyboardInterrupt(sentence) from error


def _report(run: Run, jobs: int) -> None:
    from ..reports.terminal import print_overview
    from .failed_cells import failed_cells

    print_overview(run.board or run.leaderboard(jobs))
    times = run.times
    shares = ", ".join(f"{name} {times[name]:.1f} s" for name in ("training", "explaining", "scoring", "rest"))
    forecast = run.content.get("forecast")
    predicted = f" (predicted {forecast['total']:.0f} s)" if forecast else ""
    typer.echo(f"{times['total']:.1f} s{predicted}: {shares}. Board: {run.boards['md']}")
    if sentence := failed_cells(run):
        echo(sentence, err=True)
        raise typer.Exit(1)
    if not run.complete:
        typer.echo("Cells were damaged during the run; the same command computes them again.", err=True)
        raise typer.Exit(1)


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")] if text else []
    # a seed has 32 bits, and longer numbers than any are not even read
    if not all(part.isdecimal() and len(part) < 20 for part in parts):
        raise UsageError(f"--seeds {one_line(text)} is not a list of whole numbers such as 0,1,2.")
    return [int(part) for part in parts]
