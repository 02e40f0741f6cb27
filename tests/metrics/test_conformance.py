"""Every registered metric keeps its promises, and the kit notices one that does not."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from xrnnbench.errors import ContractError
from xrnnbench.metrics.base import Metric
from xrnnbench.metrics.conformance.kit import check_metric
from xrnnbench.metrics.conformance.specimens import StandIn, evidence, specimen
from xrnnbench.metrics.truth.retrieval import AveragePrecision
from xrnnbench.plugins import build, find, names


@pytest.mark.no_cover  # see pyproject.toml
@pytest.mark.parametrize("name", names("metric"))
@pytest.mark.full_except(
    *("comprehensiveness", "infidelity", "completeness-gap", "auroc", "mass-accuracy"),
    *("explainer-seed-agreement", "parameter-randomisation", "gini", "wall-time"),
)
@pytest.mark.full_except(
    "comprehensiveness",
    "infidelity",
    "completeness-gap",
    "auroc",
    "mass-accuracy",
    "explainer-seed-agreement",
    "parameter-randomisation",
    "gini",
    "wall-time",
)
def test_every_metric_keeps_its_promises(name):
    findings = check_metric(build("metric", name))
    assert [str(found) for found in findings if found.failed] == []
    assert len(findings) >= 13


@pytest.mark.parametrize(
    "spec",
    [
        *("comprehensiveness:by=mean", "normalised-deletion:by=delete", "infidelity:by=marginal:draws=2"),
        *("deletion-auc:by=mask-trained", "faithfulness-estimate:by=zero", "abpc:by=pad"),
    ],
)
@pytest.mark.full
def test_promises_hold_under_every_kind_of_intervention(spec):
    findings = check_metric(build("metric", spec))
    assert [str(found) for found in findings if found.failed] == []


@pytest.mark.parametrize("name", names("metric"))
def test_every_metric_says_what_it_is(name):
    metric = find("metric", name)
    page = metric.page()
    assert "Source:" in page or metric.family == "cost"
    assert "NaN" in page or "Always defined" in page


@dataclass(frozen=True)
class Broken(Metric):
    """A metric that breaks one promise at a time."""

    name: ClassVar[str] = "broken"
    family: ClassVar[str] = "truth"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    ideal: ClassVar[float] = 1.0
    source: ClassVar[str] = "nowhere"
    how: str = "direction"

    def score(self, cell):  # noqa: PLR0911  # one return for each promise
        values = AveragePrecision().score(cell)
        match self.how:
            case "direction":
                return 1 - values
            case "range":
                return values * 2
            case "defined":
                return values * torch.nan
            case "batch mates":
                return values / len(values)
            case "padding":
                return (values + cell.subject.batch.inputs.double().flatten(1).mean(1)).sigmoid()
            case "repeatable" | "trace":
                return values * torch.rand(1).double()
            case "ties":
                lead = cell.attribution.values.abs().flatten(1).argsort(dim=1, descending=True, stable=True)[:, 0]
                return (lead == 0).double()
            case "error":
                raise ZeroDivisionError("a mistake")
            case "shape":
                return values[:1]
        return values

    def measure(self, cell):
        if self.how == "non finite":
            return self.score(cell)
        if self.how == "anonymous" and not torch.isfinite(cell.attribution.values).all():
            raise ContractError("Something is wrong.")
        return super().measure(cell)


@pytest.mark.parametrize(
    ("how", "check", "detail"),
    [
        ("direction", "direction", "higher is better"),
        ("range", "range", "outside its range"),
        ("defined", "defined", "NaN for every sequence"),
        ("padding", "padding", "with other padding"),
        ("batch mates", "batch mates", "with other sequences in the batch"),
        ("non finite", "non finite", "an attribution that holds nan is scored"),
        ("anonymous", "non finite", "does not name 'broken'"),
        ("repeatable", "repeatable", "became"),
        ("trace", "no trace", "torch's random state changed"),
        ("ties", "ties", "a constant map scores 1"),
        ("error", "range", "ZeroDivisionError: a mistake"),
        ("shape", "range", "one value for each sequence"),
    ],
)
def test_a_broken_promise_is_found(how, check, detail):
    failed = [found for found in check_metric(Broken(how=how)) if found.failed]
    assert any(found.check.startswith(check) and detail in found.detail for found in failed), failed


def test_a_metric_that_declares_nothing_is_found():
    @dataclass(frozen=True)
    class Bare(Metric):
        name: ClassVar[str] = "bare"
        direction: ClassVar[str] = "sideways"
        low: ClassVar[float] = 1.0
        high: ClassVar[float] = 0.0
        ideal: ClassVar[float] = 2.0
        needs_truth: ClassVar[bool] = True

        def applicable(self, explainer, subject):
            return "never"

    declared, _, applicable = check_metric(Bare())
    for part in ("family", "direction", "range", "ideal", "source", "docstring"):
        assert part in declared.detail
    assert applicable.failed


def test_an_attribution_that_is_not_finite_never_reaches_a_metric():
    with pytest.raises(ContractError, match="not finite"):
        evidence(specimen(), StandIn("constant", scale=float("inf")))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_an_attribution_that_became_not_finite_is_refused(wrong):
    cell = evidence(specimen(), StandIn("truth"))
    cell.attribution.values[2, 1, 0] = wrong
    with pytest.raises(ContractError, match=r"'average-precision' was given an attribution of 'stand-in' that is not"):
        AveragePrecision().measure(cell)


def test_only_metrics_that_read_a_truth_are_judged_on_links():
    assert not any("alignment specimen" in found.check for found in check_metric(build("metric", "gini")))
    _, _, applicable, *_ = check_metric(build("metric", "alignment-error-rate"))
    assert applicable.detail == "to the alignment specimen"


def test_the_sparse_stand_in_names_one_feature_of_each_sequence():
    for name in ("regression", "tokens", "alignment"):
        values = evidence(specimen(name), StandIn("sparse")).attribution.values.flatten(1)
        assert values.sum(1).tolist() == [1.0] * 7
        assert (values != 0).sum(1).tolist() == [1] * 7


@pytest.mark.parametrize("name", ["regression", "classification", "tokens"])
def test_specimens_are_what_they_claim(name):
    subject = specimen(name)
    parts = subject.batch.truth.values.flatten(1).sum(1)
    assert torch.allclose(parts, subject.score - subject.reference_score, rtol=1e-3, atol=1e-3)
