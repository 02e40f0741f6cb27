"""How far each method is from exact Shapley values: ``python tests/benchmarks/shapley_distance.py``.

Sequences of at most 12 features of two built-in tasks, one model each; the reference and the raw score are those of the
task. Distance is ‖Φ − Φ*‖₂ / ‖Φ*‖₂, its mean over the sequences; values of a method that has its own scale are first
multiplied by the one number that brings them closest, so that only their proportions are judged. Rank is the mean
Spearman correlation with |Φ*| of an unsigned method's values, with Φ* of a signed one's.
"""

from __future__ import annotations

import argparse
import dataclasses
import warnings
from typing import TYPE_CHECKING

import torch
from scipy.stats import spearmanr

from xrnnbench.errors import XrnnbenchError
from xrnnbench.plugins import build, names

if TYPE_CHECKING:
    from xrnnbench.methods.base import Attribution, Explainer
    from xrnnbench.tasks.subject import Subject

MOST = 12
TASKS = ("adding:instances=400", "valence:instances=400")
SPECS = {"lime": "lime:scale=raw"}


def short(spec: str, count: int) -> Subject:
    """The first ``count`` sequences of a task that have at most 12 features."""
    subject = build("task", spec).subject(0)
    fits = subject.valid.flatten(1).sum(1) <= MOST
    return subject.select(fits.nonzero().squeeze(1)[:count])


def distance(found: Attribution, truth: torch.Tensor, row: int, valid: torch.Tensor) -> float:
    """Of one sequence; nan where the method is unsigned."""
    if not found.signed:
        return float("nan")
    values, true = found.values[row][valid].double(), truth[row][valid].double()
    scale = float(values @ true / (values @ values).clamp_min(1e-300))
    return min(float((values * factor - true).norm() / true.norm()) for factor in (1.0, scale))


def rounded(values: torch.Tensor) -> torch.Tensor:
    """Values to a ten-thousandth of the largest: what differs by rounding is a tie."""
    return (values / values.abs().max().clamp_min(1e-30) * 1e4).round()


def rank(found: Attribution, truth: torch.Tensor, row: int, valid: torch.Tensor) -> float:
    """Of one sequence; 0 where a ranking says nothing."""
    values, true = rounded(found.values[row][valid]), rounded(truth[row][valid])
    if len(values) < 2 or len(values.unique()) < 2:
        return 0.0
    return float(spearmanr(values, true if found.signed else true.abs()).statistic)


def line(method: Explainer, subject: Subject, truth: torch.Tensor) -> str:
    """One row of the table."""
    if reason := method.applicable(subject):
        return f"| {method.spec} | – | – | {reason} |"
    try:
        found = method.explain(subject)
    except XrnnbenchError as error:
        return f"| {method.spec} | – | – | {error} |"
    if found.values.shape != truth.shape:
        found = dataclasses.replace(found, values=found.values[..., None].expand(truth.shape))
    rows = range(len(subject))
    far = torch.tensor([distance(found, truth, row, subject.valid[row]) for row in rows])
    close = torch.tensor([rank(found, truth, row, subject.valid[row]) for row in rows])
    said = "–" if far.isnan().all() else f"{float(far.nanmean()):.3g}"
    return f"| {method.spec} | {said} | {float(close.mean()):.3f} | |"


def main() -> None:
    """Print a table for each task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=50)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    for spec in TASKS:
        subject = short(spec, chosen.sequences)
        truth = build("method", "exact-shapley").explain(subject).values
        print(f"\n## {spec}: {len(subject)} sequences of at most {MOST} features\n")  # noqa: T201  # its output
        print("| method | distance | rank | |\n|---|---|---|---|")  # noqa: T201  # its output
        for name in names("method"):
            print(line(build("method", SPECS.get(name, name)), subject, truth), flush=True)  # noqa: T201  # its output


if __name__ == "__main__":
    main()
