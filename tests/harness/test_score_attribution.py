"""Scores of an attribution that comes from anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import captum.attr
import numpy as np
import pytest
import torch
from torch import nn

import xrnnbench
from xrnnbench import Attribution, Benchmark, DataError, Metric, Truth, UsageError, explain, score, task_from_model
from xrnnbench.harness.execution.run import Run


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(3, 6, batch_first=True)
        self.head = nn.Linear(6, 2)

    def forward(self, x, lengths=None):
        if lengths is None:
            lengths = torch.full(x.shape[:1], x.shape[1])
        states = self.rnn(x)[0]
        return self.head(states[torch.arange(len(x)), lengths - 1])


LENGTHS = torch.tensor([5, 3, 4, 5, 2, 5, 5, 1])
INPUTS = torch.randn(8, 5, 3, generator=torch.Generator().manual_seed(1))
METRICS = ["comprehensiveness", "normalised-deletion", "gini", "completeness-gap"]


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def run(net, tmp_path_factory):
    task = task_from_model(net, INPUTS, LENGTHS, ids=list("abcdefgh"), name="own")
    methods = ["deeplift", "integrated-gradients", "occlusion"]
    return Benchmark([task], methods, [*METRICS, "max-sensitivity:instances=4,samples=3"], name="own").run(
        tmp_path_factory.mktemp("run")
    )


def test_scores_are_those_of_a_run(net, run):
    found = score(METRICS, net, INPUTS, explain(net, INPUTS, LENGTHS), LENGTHS, ids=list("abcdefgh"))
    assert list(found.columns) == METRICS
    assert list(found.index) == list("abcdefgh")
    for metric in METRICS:
        rows = run.scores(method="deeplift", metric=metric)
        np.testing.assert_array_equal(found[metric].to_numpy(), rows["score"].to_numpy())
        assert list(rows["id"]) == list("abcdefgh")


def test_the_table_of_scores_agrees_with_the_means(run):
    table, records = run.scores(), run.records()
    means = table.groupby(["method", "metric"])["score"].mean()
    for _, record in records[records["status"] == "scored"].iterrows():
        assert means[record["method"], record["metric"]] == pytest.approx(record["mean"], rel=1e-12)
    assert len(table) == (3 * 3 + 2 + 3) * 8  # completeness-gap is for two of the methods
    assert table["fit"].all()


def test_the_table_of_an_archive_is_that_of_its_run(run, tmp_path):
    xrnnbench.bless(run, tmp_path / "baseline", force=True)
    kept = xrnnbench.read_results(tmp_path / "baseline").scores()
    table = run.scores()
    np.testing.assert_allclose(kept["score"], table["score"], rtol=1e-6)
    assert kept.drop(columns="score").equals(table.drop(columns="score"))
    assert Run.load(run.folder).scores(metric="gini")["metric"].unique().tolist() == ["gini"]
    with pytest.raises(UsageError, match="no method 'deplift', did you mean 'deeplift'"):
        run.scores(method="deplift")


def test_captums_attributions_are_scored(net):
    """Integrated gradients of captum with many points, beside those of the project."""
    full = INPUTS[:4]
    target = net(full).argmax(1)
    theirs = captum.attr.IntegratedGradients(net).attribute(full, target=target, n_steps=400)
    ours = explain(net, full, method="integrated-gradients:steps=400", target=target)
    found = score("comprehensiveness", net, full, theirs, target=target)
    own = score("comprehensiveness", net, full, ours)
    np.testing.assert_allclose(found["comprehensiveness"], own["comprehensiveness"], atol=1e-4)
    gap = score("completeness-gap", net, full, theirs, target=target, complete=True)
    assert float(gap.iloc[:, 0].max()) < 0.01


def test_an_attribution_brings_its_target(net):
    other = 1 - net(INPUTS, LENGTHS).argmax(1)
    values = explain(net, INPUTS, LENGTHS, target=other)
    found = score("comprehensiveness", net, INPUTS, values, LENGTHS)
    same = score("comprehensiveness", net, INPUTS, values.values, LENGTHS, target=other)
    assert found.equals(same)
    assert not found.equals(score("comprehensiveness", net, INPUTS, values.values, LENGTHS))


def test_the_forms_of_an_attribution(net):
    """Arrays, lists of different lengths, whole numbers, values on padding that are not looked at."""
    values = explain(net, INPUTS, LENGTHS).values
    expected = score(METRICS[:2], net, INPUTS, values, LENGTHS)
    noisy = values.clone()
    noisy[torch.arange(5) >= LENGTHS[:, None]] = torch.nan
    ragged = [row[:length].numpy() for row, length in zip(values, LENGTHS.tolist(), strict=True)]
    for form in (values.numpy(), noisy, ragged, values.tolist()):
        assert score(METRICS[:2], net, INPUTS, form, LENGTHS).equals(expected)
    steps = score("comprehensiveness", net, INPUTS, values.sum(2), LENGTHS, granularity="step")
    assert len(steps) == 8
    ranks = values.flatten(1).argsort(1).argsort(1).view(values.shape)
    assert len(score("comprehensiveness", net, INPUTS, ranks, LENGTHS)) == 8


def test_left_padded_attributions_turn_with_the_inputs(net):
    def left(values):
        return torch.stack([values[row].roll(5 - int(length), 0) for row, length in enumerate(LENGTHS)])

    inputs = left(INPUTS)
    values = explain(net, inputs, LENGTHS, method="occlusion", padding_side="left")
    own = score("comprehensiveness", net, inputs, values, LENGTHS, padding_side="left")
    subject = task_from_model(net, inputs, LENGTHS, padding_side="left", name="left")
    run = Benchmark([subject], ["occlusion"], ["comprehensiveness"])
    assert own.equals(score("comprehensiveness", net, inputs, values.values, LENGTHS, padding_side="left"))
    assert run.grid.tasks[0][1].subject(0).batch.lengths.tolist() == LENGTHS.tolist()


def test_metrics_that_run_the_method_need_it(net):
    values = explain(net, INPUTS, LENGTHS, method="occlusion")
    with pytest.raises(UsageError, match="'max-sensitivity' cannot score this attribution: the method of the attr"):
        score("max-sensitivity:instances=4,samples=3", net, INPUTS, values, LENGTHS)
    found = score("max-sensitivity:instances=4,samples=3", net, INPUTS, values, LENGTHS, method="occlusion")
    assert found.iloc[:, 0].notna().sum() == 4


def test_truth_is_given(net):
    truth = Truth((INPUTS > 1).float() * (torch.arange(5) < LENGTHS[:, None])[..., None], "planted", "the class")
    values = explain(net, INPUTS, LENGTHS)
    assert score("auroc", net, INPUTS, values, LENGTHS, truth=truth).shape == (8, 1)
    with pytest.raises(UsageError, match="'auroc' cannot score this attribution: the truth is not known; give truth"):
        score("auroc", net, INPUTS, values, LENGTHS)


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("forward-passes", "an attribution alone has none"),
        ("model-seed-agreement", "it compares the attributions of several models"),
        ("explainer-seed-agreement", "the method has no seed; give method="),
        ("completeness-gap", "does not claim completeness; say complete=True"),
        ("comprehensivenes", "did you mean 'comprehensiveness'"),
    ],
)
def test_what_cannot_be_scored_is_said(net, metric, said):
    with pytest.raises(UsageError, match=said):
        score(metric, net, INPUTS, torch.zeros(8, 5, 3), LENGTHS)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (torch.zeros(8, 5, 3, 2), r"choose the explained output along its last axis"),
        (torch.zeros(5, 8, 3), "it is time-first: swap its first two axes"),
        (torch.zeros(8, 4, 3), r"has shape \[8, 4, 3\], and \[8, 5, 3\] or \[8, 5\] is expected"),
        (torch.full((8, 5, 3), torch.nan), "The attribution of sequence 0 holds a value that is not finite"),
        (torch.zeros(8, 5, 3, dtype=torch.complex64), "complex"),
        ("values", "The attribution"),
    ],
)
def test_attributions_that_do_not_fit_are_refused(net, values, said):
    with pytest.raises(DataError, match=said):
        score("gini", net, INPUTS, values, LENGTHS)


def test_embeddings_are_to_be_summed():
    model = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(12, 2))
    tokens = torch.randint(0, 5, (3, 4))
    with pytest.raises(DataError, match=r"sum it over its last axis, as by \.sum\(-1\)"):
        score("gini", model, tokens, torch.zeros(3, 4, 3))


def test_a_metric_of_ones_own(net):
    @dataclass(frozen=True)
    class Total(Metric):
        name: ClassVar[str] = "total"
        family: ClassVar[str] = "complexity"

        def score(self, evidence):
            return evidence.attribution.values.flatten(1).sum(1).double()

    values = torch.rand(8, 5, 3)
    found = score(Total(), net, INPUTS, Attribution(values, signed=False), LENGTHS)
    valid = (torch.arange(5) < LENGTHS[:, None])[..., None]
    np.testing.assert_allclose(found["total"], (values * valid).flatten(1).sum(1), rtol=1e-6)
