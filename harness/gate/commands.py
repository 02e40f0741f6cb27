"""Commands of the regression gate: bless, compare and costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import UsageError
from ..explore.options import Jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .comparison import Comparison

_Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder or run file of a run, or an archive.")]
_Only = list[str] | None


def bless(
    run: _Run,
    baseline: Annotated[
        Path | None, typer.Argument(help="Folder to write; by default results/baseline/<suite>.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Even if cells are missing or failed.")] = False,
) -> None:
    """Store the scores of a run as the baseline of the gate: a small folder to commit, without attributions."""
    from ..execution.archive import read_results
    from ..execution.said_notices import saying_notices
    from .gate import bless as write_baseline
    from .gate import lacking

    results = read_results(run)
    variant = results.content["suite"].get("variant", "")
    name = f"{results.name}-{variant}" if variant else results.name
    with saying_notices(results):
        paths = write_baseline(results, baseline or Path("results/baseline") / name, force=force)
        if force and (wrong := lacking(results)):
            typer.echo(f"The baseline is incomplete: {wrong}.", err=True)
    for path in paths:
        typer.echo(f"{path} ({path.stat().st_size / 1000:,.0f} kB)")


def compare(
    run: _Run,
    baseline: Annotated[
        Path, typer.Argument(metavar="BASELINE", help="Folder that 'xrnnbench bless' wrote, or a run.")
    ],
    task: Annotated[
        _Only, typer.Option("-t", "--task", help="Task to compare, with or without its parameters; repeatable.")
    ] = None,
    method: Annotated[
        _Only, typer.Option("-m", "--method", help="Method to compare, with or without parameters; repeatable.")
    ] = None,
    metric: Annotated[
        _Only, typer.Option("-x", "--metric", help="Metric to compare, with or without parameters; repeatable.")
    ] = None,
    margin: Annotated[
        float,
        typer.Option(
            help="Smallest change that counts, as a share of the metric's range, or of its value if the range is open."
        ),
    ] = 0.02,
    alpha: Annotated[float, typer.Option(help="Probability of a false alarm over all comparisons.")] = 0.01,
    max_accuracy_loss: Annotated[
        float | None,
        typer.Option(
            "--max-accuracy-loss", help="Largest loss of a model's accuracy that is accepted.", show_default="any"
        ),
    ] = None,
    format: Annotated[str, typer.Option(help="Format to print: text, md, junit or json.")] = "text",  # noqa: A002  # the option's name
    save: Annotated[
        list[Path] | None,
        typer.Option(
            "--save",
            metavar="FILE",
            help="Also write the report to a .txt, .md, .xml (JUnit) or .json file; repeatable.",
        ),
    ] = None,
    jobs: Jobs = None,
) -> None:
    """Compare a run with its baseline: are its explanations worse?

    Exit status: 0 no worse, 1 worse, 2 the command cannot be carried out, 3 nothing is comparable.
    """
    from ..execution.archive import read_results
    from ..execution.said_notices import saying_notices
    from ..execution.workers.places import Workers
    from .changes import GateSettings
    from .gate import compare as compare_results
    from .gate_report import ENDINGS, FORMS, report
    from .match_cells import Selection

    _check_one_of(format, tuple(FORMS), "--format")
    for path in save or ():
        _check_one_of(path.suffix, tuple(ENDINGS), f"--save {path}")
    only = Selection(tuple(task or ()), tuple(method or ()), tuple(metric or ()))
    sides = read_results(run), read_results(baseline)
    with saying_notices(*sides):
        comparison = compare_results(
            *sides, GateSettings(margin, alpha, max_accuracy_loss), only, Workers.chosen(jobs).jobs
        )
    typer.echo(report(comparison, format), nl=False)
    _write(comparison, save or ())
    if comparison.status:
        raise typer.Exit(comparison.status)


def costs(
    run: _Run,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Write it to a .json file instead of printing it.")
    ] = None,
) -> None:
    """Export the cost of explaining in the format of pytest-benchmark, for 'pytest-benchmark compare'.

    One record for each method on each task: seconds for one explanation, with its forward and backward passes in
    extra_info.
    """
    from ..execution.archive import read_results
    from ..execution.said_notices import saying_notices
    from ..reports.benchmark_json import cost_records

    results = read_results(run)
    with saying_notices(results):
        text = cost_records(results)
    if save is None:
        typer.echo(text, nl=False)
    else:
        _write_text(save, text)


def _check_one_of(value: str, known: Sequence[str], option: str) -> None:
    """Raise if the value of an option is not among the known ones."""
    if value not in known:
        raise UsageError(f"{option}: there is no {value!r}; choose among {', '.join(known)}.")


def _write(comparison: Comparison, paths: Sequence[Path]) -> None:
    """Write reports of a comparison, each in the format of its file name's ending."""
    from .gate_report import ENDINGS, report

    for path in paths:
        _write_text(path, report(comparison, ENDINGS[path.suffix]))


def _write_text(path: Path, text: str) -> None:
    """Write a text file; an error becomes a UsageError."""
    from ...atomic import write_atomically

    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error
