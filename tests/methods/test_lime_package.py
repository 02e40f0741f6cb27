"""The lime package's own explainers, end to end: what they are asked, what they answer, and where it is put."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lime.lime_tabular import RecurrentTabularExplainer
from torch import nn

from xrnnbench.errors import ParameterError, UnsupportedModelError
from xrnnbench.methods.surrogate.lime import fit_ridge, similarity
from xrnnbench.methods.surrogate.lime_package import LimeRecurrent, LimeText
from xrnnbench.plugins import build
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.engine.variants import Masked
from xrnnbench.tasks.models.networks import AttentiveRecurrentNet, RecurrentNet
from xrnnbench.tasks.subject import Subject

ROWS, STEPS, FEATURES, OTHERS = 5, 6, 3, 30


@pytest.fixture
def words():
    torch.manual_seed(0)
    lengths = torch.tensor([6, 1, 4, 5, 2])
    valid = torch.arange(STEPS) < lengths[:, None]
    model = AttentiveRecurrentNet(4, 6, 3, bidirectional=True, pooling="attention", vocabulary_size=9).double()
    inputs = torch.randint(2, 5, (ROWS, STEPS)) * valid  # so few that words come twice
    reference = torch.randint(5, 9, (ROWS, STEPS)) * valid
    return Subject(model, Batch(inputs, lengths, torch.zeros(ROWS).long()), reference).check()


def numbers(model, inputs, lengths, background, **options):
    """A subject of cells, with full-length background sequences."""
    others = Batch(background, torch.full((len(background),), background.shape[1]), torch.zeros(len(background)).long())
    targets = torch.zeros(len(inputs), 1).double() if "outputs_are" in options else torch.zeros(len(inputs)).long()
    batch = Batch(inputs, lengths, targets)
    return Subject(model, batch, torch.zeros_like(inputs), background=others, **options).check()


@pytest.fixture(params=["classification", "regression"])
def cells(request):
    torch.manual_seed(0)
    lengths = torch.tensor([6, 1, 4, 5, 2])
    valid = torch.arange(STEPS) < lengths[:, None]
    inputs = torch.randn(ROWS, STEPS, FEATURES).double() * valid[..., None]
    background = torch.randn(OTHERS, STEPS + 2, FEATURES).double()
    regression = request.param == "regression"
    model = RecurrentNet(FEATURES, 6, 1 if regression else 3, cell="gru").double()
    return numbers(model, inputs, lengths, background, **({"outputs_are": "values"} if regression else {}))


# ---- lime-text ---------------------------------------------------------------------------------------------------


def test_our_fit_on_the_packages_masks_gives_the_packages_coefficients(words, monkeypatch):
    """End to end: the masks it draws and the probabilities it is told are enough to know what it says."""
    seen = []
    outputs = Subject.outputs

    def spy(self, variants):
        found = outputs(self, variants)
        seen.append((variants, found.softmax(1)))
        return found

    words.batch_outputs, words.reference_outputs  # noqa: B018  # asked before the spy listens
    monkeypatch.setattr(Subject, "outputs", spy)
    found = LimeText(samples=150).explain(words).values
    assert len(seen) == ROWS  # one call for each sequence
    for row, (variants, probabilities) in enumerate(seen):
        length = int(words.batch.lengths[row])
        assert isinstance(variants, Masked)  # what is removed is the reference's
        assert (variants.instance == row).all()
        masks = variants.keep[:, :length].double()
        assert masks[0].all()
        assert (masks[1:].sum(1) < length).all()
        scores = probabilities[:, words.target[row]]
        ours = fit_ridge(masks, scores, similarity(masks, 25.0)).coefficients
        torch.testing.assert_close(found[row, :length], ours, rtol=0, atol=1e-10)
    assert float(found.abs().max()) > 1e-3


def test_positions_are_words_of_their_own():
    """The same token twice, one of which is not read: only the other gets anything."""

    class Second(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(5, 2)

        def forward(self, tokens):
            return self.embedding(tokens)[:, 1] * 3

    torch.manual_seed(0)
    inputs = torch.full((1, 3), 4)
    batch = Batch(inputs, torch.tensor([3]), torch.tensor([0]))
    found = LimeText().explain(Subject(Second(), batch, torch.ones_like(inputs)).check()).values[0].abs()
    assert float(found[1]) > 50 * float(found[[0, 2]].max())


def test_the_width_is_the_packages(words):
    narrow, wide = (LimeText(samples=200, width=width).explain(words).values for width in (5.0, 500.0))
    assert not torch.allclose(narrow, wide, atol=1e-4)


# ---- lime-recurrent ----------------------------------------------------------------------------------------------


class Weighted(nn.Module):
    """A linear score in which each cell has a weight of its own."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def forward(self, x):
        return (x * self.weights[: x.shape[1]]).sum((1, 2))[:, None]


def test_slopes_of_a_linear_score_are_its_weights_times_deviations_each_at_its_cell():
    rng = torch.Generator().manual_seed(0)
    scale = torch.arange(1.0, 13).view(4, 3).double()
    background = torch.randn(200, 4, 3, generator=rng).double() * scale
    weights = torch.randn(4, 3, generator=rng).double()
    inputs = torch.randn(2, 4, 3, generator=rng).double()
    subject = numbers(Weighted(weights), inputs, torch.tensor([4, 2]), background, outputs_are="values")
    found = LimeRecurrent(samples=3000, discretize=False).explain(subject).values
    expected = weights * background.std(0, correction=0)
    # the ridge's penalty of 1 beside 3000 weighted samples
    assert float((found[0] - expected).abs().max()) < 0.01 * float(expected.abs().max())
    assert float((found[1, :2] - expected[:2]).abs().max()) < 0.01 * float(expected.abs().max())
    assert (found[1, 2:] == 0).all()


def test_bins_tell_the_cell_that_is_read():
    rng = torch.Generator().manual_seed(0)
    background = torch.randn(200, 4, 3, generator=rng).double()
    for step, column in ((0, 0), (3, 2), (1, 2), (2, 0)):
        weights = torch.zeros(4, 3).double()
        weights[step, column] = 1
        inputs = torch.full((1, 4, 3), 2.0).double()  # in the uppermost quarter, whose mean is 1.27
        subject = numbers(Weighted(weights), inputs, torch.tensor([4]), background, outputs_are="values")
        found = LimeRecurrent().explain(subject).values[0]
        assert float(found[step, column]) == pytest.approx(1.27 * 4 / 3, abs=0.25)  # against the mean of the others
        found[step, column] = 0
        assert float(found.abs().max()) < 0.2  # four standard errors of 1000 samples


@pytest.mark.parametrize("discretize", [False, True])
def test_equals_the_package_asked_directly_by_the_names_it_gives(cells, discretize):
    """Its feature names end in _t-k, k steps before the last: an independent way to each cell."""
    method = LimeRecurrent(samples=120, discretize=discretize)
    found = method.explain(cells, seed=3).values
    seeds = torch.randint(2**32, (ROWS,), generator=method.generator(3)).tolist()
    cells.model.eval()
    for row in range(ROWS):
        length, target = int(cells.batch.lengths[row]), int(cells.target[row])

        def predict(sequences, length=length):
            with torch.no_grad():
                output = cells.model(torch.from_numpy(sequences.copy()), torch.full((len(sequences),), length))
            return (output.softmax(1) if cells.classification else output[:, 0]).numpy()

        explainer = RecurrentTabularExplainer(
            cells.background.inputs[:, :length].numpy(),
            mode="classification" if cells.classification else "regression",
            feature_names=["a", "b", "c"],
            feature_selection="none",
            discretize_continuous=discretize,
            random_state=np.random.RandomState(seeds[row]),
        )
        explanation = explainer.explain_instance(
            cells.batch.inputs[row, :length].numpy(),
            predict,
            labels=(target,),
            num_features=length * FEATURES,
            num_samples=120,
        )
        pairs = explanation.as_list(label=target) if cells.classification else explanation.as_list()
        assert len(pairs) == length * FEATURES
        for name, value in pairs:
            column, back = re.search(r"([abc])_t-(\d+)", name).groups()
            cell = found[row, length - 1 - int(back), "abc".index(column)]
            assert float(cell) == pytest.approx(value, abs=1e-9)


def test_shorter_background_sequences_are_left_out(cells):
    lengths = torch.full((OTHERS,), 8)
    lengths[: OTHERS - 2] = torch.arange(OTHERS - 2) % 5 + 1
    background = replace(cells.background, lengths=lengths)
    method, subject = LimeRecurrent(samples=60), replace(cells, background=background)
    assert method.applicable(subject) == ""
    found = method.explain(subject, seed=1).values
    for length in (6, 5, 4):
        kept = background.select(lengths >= length)
        only = method.explain(replace(cells, background=kept), seed=1).values
        rows = cells.batch.lengths == length
        assert torch.equal(found[rows], only[rows])
    few = replace(cells, background=background.select(lengths < 8).select(slice(0, 20)))
    assert method.applicable(few) == ("sequence 0 has length 6, and fewer than 2 background sequences are as long")


def test_one_step_of_one_feature_is_served():
    inputs, background = torch.tensor([[[1.0]], [[-1.0]]]).double(), torch.linspace(-2, 2, 50).double().view(50, 1, 1)
    subject = numbers(
        Weighted(torch.ones(1, 1).double()), inputs, torch.tensor([1, 1]), background, outputs_are="values"
    )
    assert subject.granularity == "step"
    assert LimeRecurrent(discretize=False).explain(subject).values.flatten().tolist() == pytest.approx(
        [float(background.std(correction=0))] * 2, rel=0.01
    )
    binned = LimeRecurrent().explain(subject).values.flatten().tolist()
    assert binned[0] > 0.5
    assert binned[1] < -0.5


def test_the_package_draws_0_for_a_smallest_value_that_is_common():
    """What the page says of it: at 5 throughout, the cell is put to 0 in every drawn sequence but the first."""
    background = np.concatenate([np.random.default_rng(0).normal(size=(40, 2, 1)), np.full((40, 2, 1), 5.0)], 2)
    seen = []

    def predict(sequences):
        seen.append(sequences)
        return sequences.sum((1, 2))

    explainer = RecurrentTabularExplainer(background, mode="regression", feature_names=["a", "b"])
    explainer.explain_instance(background[0], predict, num_samples=50)
    assert (seen[0][0, :, 1] == 5).all()
    assert (seen[0][1:, :, 1] == 0).all()


# ---- the contract ------------------------------------------------------------------------------------------------


def test_costs_are_what_the_pages_say(words, cells):
    for subject, method in ((words, LimeText(samples=70)), (cells, LimeRecurrent(samples=40))):
        method.explain(subject)
        assert (subject.cost.forward, subject.cost.backward) == (method.samples * ROWS, 0)
        assert subject.cost.executed <= subject.cost.forward
    assert words.cost.executed <= sum(2 ** int(length) for length in words.batch.lengths)


def test_other_seeds_draw_other_numbers_and_the_global_ones_stay(words, cells):
    for subject, method in ((words, LimeText(samples=30)), (cells, LimeRecurrent(samples=30))):
        np.random.seed(5)  # noqa: NPY002  # what a careless package would draw from
        first = method.explain(subject, seed=1).values
        np.random.seed(6)  # noqa: NPY002  # as above
        assert torch.equal(method.explain(subject, seed=1).values, first)
        assert not torch.equal(method.explain(subject, seed=2).values, first)


def test_two_samples_are_enough_to_run(words, cells):
    assert torch.isfinite(LimeText(samples=2).explain(words).values).all()
    assert torch.isfinite(LimeRecurrent(samples=2).explain(cells).values).all()


@settings(deadline=None, max_examples=6)
@given(lengths=st.lists(st.integers(1, 4), min_size=2, max_size=3), extra=st.integers(0, 3), tokens=st.booleans())
def test_mates_and_padding_do_not_matter(lengths, extra, tokens):
    rng = torch.Generator().manual_seed(sum(lengths))
    lengths = torch.tensor(lengths)
    steps = int(lengths.max())
    valid = torch.arange(steps) < lengths[:, None]
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = RecurrentNet(2, 5, 3, cell="lstm", bidirectional=True, vocabulary_size=8 if tokens else 0).double()
    targets = torch.zeros(len(lengths)).long()
    if tokens:
        inputs = torch.randint(2, 8, valid.shape, generator=rng) * valid
        method, subject = LimeText(samples=30), Subject(model, Batch(inputs, lengths, targets), valid.long()).check()
    else:
        inputs = torch.randn(*valid.shape, 2, generator=rng).double() * valid[..., None]
        background = torch.randn(20, 5, 2, generator=rng).double()
        method, subject = LimeRecurrent(samples=30), numbers(model, inputs, lengths, background)
    pads = (0, extra) if tokens else (0, 0, 0, extra)
    more = Batch(nn.functional.pad(inputs, pads), lengths, targets)
    padded = replace(subject, batch=more, reference=nn.functional.pad(subject.reference, pads))
    whole = method.explain(subject, seed=4).values
    part = method.explain(subject.select(slice(0, 1)), seed=4).values
    torch.testing.assert_close(part, whole[:1, : part.shape[1]], rtol=0, atol=1e-12)
    found = method.explain(padded, seed=4).values
    torch.testing.assert_close(found[:, :steps], whole, rtol=0, atol=1e-12)
    assert (found[:, steps:] == 0).all()
    assert (whole[~subject.valid] == 0).all()


def test_what_the_package_cannot_serve_is_said(words, cells):
    assert LimeText().applicable(words) == ""
    assert LimeText().applicable(cells) == "its inputs are numbers, and LimeTextExplainer explains words"
    values = replace(words, outputs_are="values")
    assert LimeText().applicable(values).endswith("LimeTextExplainer explains probabilities of classes")
    assert LimeRecurrent().applicable(words).endswith("RecurrentTabularExplainer explains numbers")
    bare = replace(cells, background=None)
    assert LimeRecurrent().applicable(bare) == "the task has no background data"
    with pytest.raises(UnsupportedModelError, match="background"):
        LimeRecurrent().explain(bare)


@pytest.mark.parametrize("spec", ["lime-text:samples=1", "lime-text:width=0", "lime-recurrent:samples=1"])
def test_a_parameter_out_of_range_is_refused(spec):
    with pytest.raises(ParameterError, match="does not fit"):
        build("method", spec)
