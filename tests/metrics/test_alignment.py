"""The alignment error rate against its literal definition and over all orders of what is tied."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xrnnbench.errors import DataError
from xrnnbench.methods.base import Attribution
from xrnnbench.metrics.conformance.specimens import StandIn, evidence, specimen
from xrnnbench.metrics.truth.alignment_error import AlignmentErrorRate
from xrnnbench.metrics.truth.retrieval import AveragePrecision, TruthCorrelation
from xrnnbench.tasks.data.batch import Truth


def told(subject, values, *, signed=True):
    return replace(evidence(subject, StandIn("constant")), attribution=Attribution(values, signed))


def marked(subject, values, semantics="planted", **options):
    truth = Truth(torch.as_tensor(values), semantics, "the output", **options)
    return replace(subject, batch=replace(subject.batch, truths={"main": truth}))


def literal_error(order, values):
    """Return the alignment error rate of one order without ties."""
    sure = {step for step, value in enumerate(values) if value == 1}
    possible = {step for step, value in enumerate(values) if value > 0}
    proposed = set(order[: max(1, len(sure))])
    return 1 - (len(proposed & sure) + len(proposed & possible)) / (len(proposed) + len(sure))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=6))
def test_the_error_of_tied_steps_is_the_mean_over_all_their_orders(steps):
    said, links = [float(v) for v, _ in steps], [link for _, link in steps]
    falls = [
        literal_error(order, links)
        for order in itertools.permutations(range(len(said)))
        if all(said[i] >= said[j] for i, j in itertools.pairwise(order))
    ]
    subject = marked(specimen("tokens", (len(said),)), [links], "alignment")
    measured = float(AlignmentErrorRate().measure(told(subject, torch.tensor([said]))))
    assert measured == pytest.approx(np.mean(falls) if any(links) else np.nan, abs=1e-12, nan_ok=True)


def test_alignment_error_by_hand():
    links = [[1, 0, 0.5, 1, 0], [0, 0.5, 0, 0, 0], [0.0] * 5, [1, 1, 0, 0, 0]]
    subject = marked(specimen("tokens", (5, 3, 2, 2)), links, "alignment")
    values = torch.tensor([[5.0, -4, 3, 2, 1], [1, -7, 3, 0, 0], [1, 2, 0, 0, 0], [2, 1, 0, 0, 0]])
    # {0, 1} of sure {0, 3}; one possible step; no link; every step is linked and proposed
    expected = [1 - 2 / 4, 0.0, float("nan"), 0.0]
    assert AlignmentErrorRate().measure(told(subject, values)).tolist() == pytest.approx(expected, nan_ok=True)
    # an unsigned method ranks its negative numbers last: {0, 2}, and steps of which none is linked
    unsigned = AlignmentErrorRate().measure(told(subject, values, signed=False)).tolist()
    assert unsigned[:2] == pytest.approx([1 - 3 / 4, 1.0])


def test_alignment_sums_the_cells_of_a_step_and_ignores_padding():
    subject = specimen("regression", (3, 2))
    linked = marked(subject, [[0.0, 1, 0], [1, 0, 0]], "alignment")
    values = torch.tensor([[[5.0, -5, 0], [1, 1, 1], [2, 0, 0]], [[1.0, 0, 0], [0, 0, 0], [0, 0, 0]]])
    assert AlignmentErrorRate().measure(told(linked, values)).tolist() == [0.0, 0.0]
    wide = specimen("regression", (3, 2), padding=3)
    wide = marked(wide, [[0.0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]], "alignment")
    padded = torch.nn.functional.pad(values, (0, 0, 0, 3))
    assert AlignmentErrorRate().measure(told(wide, padded)).tolist() == [0.0, 0.0]


def test_a_threshold_is_no_part_of_the_error():
    subject = marked(specimen("tokens", (4,)), [[1.0, 0, 1, 0]], "alignment")
    for scale in (1e-30, 1.0, 1e30):
        assert float(AlignmentErrorRate().measure(told(subject, scale * torch.tensor([[3.0, 1, 2, 0]])))) == 0.0


def test_an_alignment_holds_links_and_nothing_else():
    with pytest.raises(DataError, match=r"1 where a link is sure, \.5 where it is possible"):
        Truth(torch.tensor([[0.3]]), "alignment", "a step")
    with pytest.raises(DataError):
        Truth(torch.tensor([[-1.0]]), "alignment", "a step")
    assert Truth(torch.tensor([[0, 1]]), "alignment", "a step").relevant.tolist() == [[False, True]]


def test_a_truth_that_cannot_be_read_is_refused():
    method, tokens, subject = StandIn(), specimen("tokens", (2,)), specimen("regression", (2,))
    links = [[1.0, 0.5]]
    assert AlignmentErrorRate().applicable(method, specimen("tokens")) == "the truth is no alignment"
    assert AlignmentErrorRate().applicable(method, marked(tokens, links, "alignment")) == ""
    by_cell = marked(subject, torch.zeros(1, 2, 3), "alignment")
    assert AlignmentErrorRate().applicable(method, by_cell) == "the truth links cells, not steps"
    steps = marked(tokens, links, "alignment", retrospective=False)
    assert "every step's own output" in AlignmentErrorRate().applicable(method, steps)
    assert "no signed contribution" in TruthCorrelation().applicable(method, marked(tokens, links, "alignment"))
    bare = replace(tokens, batch=replace(tokens.batch, truths={}))
    assert AlignmentErrorRate().applicable(method, bare) == "the truth is not known"


def test_links_are_relevant_to_metrics_that_ask_for_relevance():
    subject = marked(specimen("tokens", (4,)), [[1.0, 0.5, 0, 0]], "alignment")
    assert float(AveragePrecision().measure(told(subject, torch.tensor([[1.0, 2, 0, 0]])))) == 1.0
