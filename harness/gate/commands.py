"""The commands of the gate: bless, compare, costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .gate import Comparison

_Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run or of an archive of one.")]
_Only = list[str] | None


def register(app: typer.Typer) -> None:
    """Make the commands known."""
    for command in (bless, compare, costs):
        app.command()(command)


def bless(
    run: _Run,
    baseline: Annotated[
        Path | None, typer.Argument(help="Where to; by default results/baseline/<suite>.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also if cells are missing or failed.")] = False,
) -> None:
    """Make a run the baseline of later ones: keep its scores, without its attributions, in a small folder to commit."""
    from ..execution.archive import read_results
    from .gate import bless as keep

    found = read_results(run)
    for path in keep(found, baseline or Path("results/baseline") / found.name, force=force):
        typer.echo(f"{path} ({path.stat().st_size / 1000:,.0f} kB)")


def compare(
    run: _Run,
    baseline: Annotated[Path, typer.Argument(metavar="BASELINE", help="What 'xrnnbench bless' wrote, or a run.")],
    task: Annotated[_Only, typer.Option("-t", "--task", help="These only; spec or name.")] = None,
    method: Annotated[_Only, typer.Option("-m", "--method", help="These only; spec or name.")] = None,
    metric: Annotated[_Only, typer.Option("-x", "--metric", help="These only; spec or name.")] = None,
    margin: Annotated[float, typer.Option(help="How large a change must be, as a share of the metric's scale.")] = 0.02,
    alpha: Annotated[float, typer.Option(help="Probability of a false alarm, in all comparisons together.")] = 0.01,
    format: Annotated[str, typer.Option(help="What is printed: text, md, junit or json.")] = "text",  # noqa: A002  # the option's name
    output: Annotated[
        list[Path] | None, typer.Option(help="Also write it to this .txt, .md, .xml (JUnit) or .json; repeatable.")
    ] = None,
) -> None:
    """Say whether the explanations of a run are worse than those of its baseline.

    Exit status: 0 no worse, 1 worse, 2 the command cannot be carried out, 3 nothing is comparable.
    """
    from ..execution.archive import read_results
    from .changes import Rule
    from .gate import compare as compared
    from .gate_report import ENDINGS, FORMS, report
    from .match_cells import Selection

    _check_one_of(format, tuple(FORMS), "--format")
    for path in output or ():
        _check_one_of(path.suffix, tuple(ENDINGS), f"--output {path}")
    only = Selection(tuple(task or ()), tuple(method or ()), tuple(metric or ()))
    found = compared(read_results(run), read_results(baseline), Rule(margin, alpha), only)
    typer.echo(report(found, format), nl=False)
    _write(found, output or ())
    if found.status:
        raise typer.Exit(found.status)


def costs(
    run: _Run,
    output: Annotated[Path | None, typer.Option(help="Write it to this .json instead of printing it.")] = None,
) -> None:
    """Give what explaining cost, as 'pytest-benchmark compare' reads it.

    A record for each method on each task: seconds for one explanation, and its passes in extra_info.
    """
    from ..execution.archive import read_results
    from ..reports.benchmark_json import cost_records

    text = cost_records(read_results(run))
    if output is None:
        typer.echo(text, nl=False)
    else:
        _write_text(output, text)


def _check_one_of(given: str, known: Sequence[str], option: str) -> None:
    if given not in known:
        raise UsageError(f"{option}: there is no {given!r}; choose among {', '.join(known)}.")


def _write(found: Comparison, paths: Sequence[Path]) -> None:
    from .gate_report import ENDINGS, report

    for path in paths:
        _write_text(path, report(found, ENDINGS[path.suffix]))


def _write_text(path: Path, text: str) -> None:
    from ...atomic import write_atomically

    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error
