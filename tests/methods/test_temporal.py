"""The methods that ask along time: each against its literal definition in float64, and against time_interpret."""

import math
import warnings
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy, norm
from sklearn.linear_model import Ridge
from torch import nn

from xrnnbench.errors import ParameterError, UnsupportedModelError
from xrnnbench.methods.gradient.gradients import GradientXInput
from xrnnbench.methods.surrogate.lime import Lime
from xrnnbench.methods.surrogate.shapley import ExactShapley
from xrnnbench.methods.temporal.augmented import AugmentedOcclusion
from xrnnbench.methods.temporal.generating import LinearGaussian, normal_points
from xrnnbench.methods.temporal.gradients import TemporalIntegratedGradients
from xrnnbench.methods.temporal.importance import Fit, WinIt, _from_each_step
from xrnnbench.methods.temporal.rescaling import TemporalSaliencyRescaling
from xrnnbench.methods.temporal.rewriting import random_streams
from xrnnbench.methods.temporal.timeshap import TimeShap
from xrnnbench.plugins import build
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.models.networks import AttentiveRecurrentNet, RecurrentNet
from xrnnbench.tasks.subject import Subject

STEPS, FEATURES = 6, 3


def made(kind, lengths=(6, 1, 4, 5, 2), seed=0):
    """A subject of one kind with sequences of those lengths, in float64."""
    torch.manual_seed(seed)
    lengths = torch.tensor(lengths)
    rows = len(lengths)
    valid = torch.arange(STEPS) < lengths[:, None]
    columns = 1 if kind == "one feature" else FEATURES
    inputs = torch.randn(rows, STEPS, columns).double() * valid[..., None]
    reference = torch.randn(rows, STEPS, columns).double() / 4
    targets = torch.zeros(rows).long()
    if kind == "tokens":
        model = AttentiveRecurrentNet(4, 6, 2, bidirectional=True, pooling="attention", vocabulary_size=9)
        inputs, reference = torch.randint(2, 9, (rows, STEPS)) * valid, torch.ones(rows, STEPS).long() * valid
    elif kind == "regression":
        model, targets = RecurrentNet(columns, 6, 2, cell="gru"), torch.zeros(rows, 2).double()
    else:
        model = AttentiveRecurrentNet(columns, 6, 3, cell="gru", pooling="dot-attention")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    batch = Batch(inputs, lengths, targets)
    several = torch.randint(1, STEPS + 1, (30,))
    there = torch.arange(STEPS) < several[:, None]
    others = (
        torch.randint(2, 9, (30, STEPS)) if kind == "tokens" else torch.randn(30, STEPS, columns).double().cumsum(1)
    )
    background = Batch(others * (there if kind == "tokens" else there[..., None]), several, torch.zeros(30).long())
    outputs = "values" if kind == "regression" else "logits"
    return Subject(model.double(), batch, reference, background=background, outputs_are=outputs).check()


@pytest.fixture(params=["cells", "tokens", "regression", "one feature"])
def subject(request):
    return made(request.param)


def lengths_of(subject):
    return subject.batch.lengths.tolist()


def outputs_of(subject, row, inputs):
    """The model's outputs for one sequence alone, unpadded."""
    with torch.no_grad():
        return subject.model.eval()(inputs[None], torch.tensor([len(inputs)]))[0]


def said(subject, row, inputs):
    """The predictive distribution after one sequence, or the explained value."""
    outputs = outputs_of(subject, row, inputs)
    return outputs.softmax(0).numpy() if subject.classification else float(outputs[subject.target[row]])


def diverging(subject, left, right):
    """KL as scipy has it; of normal distributions of unit variance by integration over a fine grid."""
    if subject.classification:
        return entropy(left, right)
    grid = np.linspace(min(left, right) - 9, max(left, right) + 9, 4001)
    first, second = norm.logpdf(grid, left), norm.logpdf(grid, right)
    return np.trapezoid(np.exp(first) * (first - second), grid)


@contextmanager
def contained():
    """time_interpret, its warnings and what it does to torch's random state kept inside."""
    state = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pytest.importorskip("tint.attr", reason="the peer time-interpret (extra peers) is not installed")
    torch.set_rng_state(state)


# ---- integrated gradients along time -----------------------------------------------------------------------------


def test_temporal_ig_is_its_definition(subject):
    method = TemporalIntegratedGradients(steps=5)
    found = method.explain(subject).values
    view = subject.continuous()
    nodes, weights = np.polynomial.legendre.leggauss(5)
    for row, length in enumerate(lengths_of(subject)):
        for step in range(length):
            total = torch.zeros_like(view.batch.inputs[row, step])
            for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
                point = view.batch.inputs[row, : step + 1].clone()
                point[step] = (1 - node) * view.reference[row, step] + node * point[step]
                point.requires_grad_()
                score = view.model.eval()(point[None], torch.tensor([step + 1]))[0, subject.target[row]]
                total += weight * torch.autograd.grad(score, point)[0][step]
            total *= view.batch.inputs[row, step] - view.reference[row, step]
            expected = total if subject.granularity == "cell" else total.sum()
            torch.testing.assert_close(found[row, step], expected, rtol=1e-9, atol=1e-12)


def test_a_step_of_temporal_ig_sums_to_what_the_step_did_when_it_came(subject):
    found = TemporalIntegratedGradients(steps=24).explain(subject).steps
    view = subject.continuous()
    for row, length in enumerate(lengths_of(subject)):
        for step in range(length):
            inputs = view.batch.inputs[row, : step + 1]
            absent = torch.cat([inputs[:-1], view.reference[row, step : step + 1]])
            target = subject.target[row]
            with torch.no_grad():
                gap = (
                    view.model(inputs[None], torch.tensor([step + 1]))
                    - view.model(absent[None], torch.tensor([step + 1]))
                )[0, target]
            assert float(found[row, step] - gap) == pytest.approx(0, abs=1e-6)


def test_temporal_ig_costs_its_nodes_for_each_step(subject):
    TemporalIntegratedGradients(steps=5).explain(subject)
    asked = 5 * int(subject.batch.lengths.sum())
    assert (subject.cost.forward, subject.cost.backward) == (asked, asked)


def test_temporal_ig_in_small_portions_is_the_same(subject, monkeypatch):
    whole = TemporalIntegratedGradients(steps=3).explain(subject).values
    monkeypatch.setattr("xrnnbench.methods.temporal.gradients._POINTS_AT_ONCE", 1)
    torch.testing.assert_close(TemporalIntegratedGradients(steps=3).explain(subject).values, whole)


def test_temporal_ig_is_time_interprets_on_sequences_of_one_length():
    subject = made("cells", lengths=(STEPS,) * 4)
    ours = TemporalIntegratedGradients(steps=7).explain(subject).values
    subject.model.eval()
    with contained() as tint:
        method = tint.TemporalIntegratedGradients(lambda x: subject.model(x, torch.full((len(x),), x.shape[1])))
        theirs = method.attribute(
            subject.batch.inputs, baselines=subject.reference, target=subject.target, n_steps=7, method="gausslegendre"
        )
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-6, atol=1e-7)  # their weights are float32


def test_time_interprets_temporal_ig_explains_padding_and_ours_does_not():
    subject = made("cells", lengths=(6, 3))
    subject.model.eval()
    with contained() as tint:
        method = tint.TemporalIntegratedGradients(lambda x: subject.model(x, torch.full((len(x),), x.shape[1])))
        theirs = method.attribute(subject.batch.inputs, baselines=subject.reference, target=subject.target, n_steps=4)
    assert float(theirs[1, 3:].abs().max()) > 1e-3
    assert float(TemporalIntegratedGradients().explain(subject).values[1, 3:].abs().max()) == 0


# ---- temporal saliency rescaling ---------------------------------------------------------------------------------


def gradient_x_input(subject, row, inputs):
    """x·∂f/∂x of one changed sequence alone."""
    view = subject.continuous()
    if subject.batch.tokens:
        with torch.no_grad():
            inputs = subject.model.embedding(inputs)
    inputs = inputs.clone().requires_grad_()
    score = view.model.eval()(inputs[None], torch.tensor([len(inputs)]))[0, subject.target[row]]
    found = (inputs * torch.autograd.grad(score, inputs)[0]).detach()
    return found if subject.granularity == "cell" else found.sum(1)


@pytest.mark.parametrize("quantile", [0.0, 0.55])
def test_rescaling_is_its_definition(subject, quantile):
    found = TemporalSaliencyRescaling(quantile=quantile).explain(subject).values
    asked = 0
    for row, length in enumerate(lengths_of(subject)):
        inputs, reference = subject.batch.inputs[row, :length], subject.reference[row, :length]
        actual = gradient_x_input(subject, row, inputs)
        times = []
        for step in range(length):
            changed = inputs.clone()
            changed[step] = reference[step]
            times.append(float((actual - gradient_x_input(subject, row, changed)).abs().sum()))
        asked += 1 + length
        if subject.granularity == "step":
            assert found[row, :length].tolist() == pytest.approx(times, rel=1e-9, abs=1e-12)
            continue
        least = np.quantile(times, quantile, method="higher")
        for step in range(length):
            expected = np.zeros(FEATURES)
            for column in range(FEATURES) if times[step] >= least else []:
                changed = inputs.clone()
                changed[step, column] = reference[step, column]
                expected[column] = (actual - gradient_x_input(subject, row, changed)).abs().sum() * times[step]
                asked += 1
            assert found[row, step].tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert (subject.cost.forward, subject.cost.backward) == (asked, asked)


def test_rescaling_asks_a_stochastic_method_with_the_same_draws():
    """Lime on a model that is blind to a step: with other draws its explanation would change all the same."""

    class Blind(nn.Module):
        def forward(self, x):
            return torch.stack([x[:, 0].sum(1) * x[:, -1, 0], x[:, 0, 1]], 1)

    torch.manual_seed(0)
    batch = Batch(torch.randn(3, 4, 2).double(), torch.full((3,), 4), torch.zeros(3).long())
    subject = Subject(Blind(), batch, torch.zeros(3, 4, 2).double(), target=torch.zeros(3).long())
    method = TemporalSaliencyRescaling(of="lime:samples=30;scale=raw", quantile=0.0)
    found = method.explain(subject, seed=1).values
    assert method.stochastic
    assert float(found[:, 1:3].abs().max()) < 1e-9
    assert float(found[:, [0, -1], 0].abs().min()) > 1e-6
    assert subject.cost.forward == 3 * 30 * (1 + 4 + 4 * 2)
    assert not torch.equal(found, method.explain(subject, seed=2).values)


def test_rescaling_takes_over_what_it_rescales():
    method = build("method", "temporal-saliency-rescaling:of=lime:samples=50;width=10.0,quantile=0.2")
    assert method.inner == Lime(samples=50, width=10.0)
    assert build("method", method.spec) == method
    assert method.identity()["of"]["version"] == Lime.version
    assert TemporalSaliencyRescaling().inner == GradientXInput()
    assert not TemporalSaliencyRescaling().stochastic
    subject = made("regression")
    assert TemporalSaliencyRescaling(of="attention").applicable(subject) == "the model shows no attention"
    assert TemporalSaliencyRescaling(of="attention").needs == {"attention"}
    assert TemporalSaliencyRescaling().applicable(subject) == ""


def test_rescaling_prepares_what_it_rescales(monkeypatch):
    prepared = []

    def remember(self):
        prepared.append(self)

    monkeypatch.setattr(GradientXInput, "prepare", remember)
    TemporalSaliencyRescaling().prepare()
    assert prepared == [GradientXInput()]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("temporal-saliency-rescaling", "cannot rescale itself"),
        ("permutation-importance", "a global method"),
        ("lime:samples=20,width=3", "separate its parameters by semicolons"),
    ],
)
def test_what_cannot_be_rescaled_is_refused(spec, reason):
    with pytest.raises(ParameterError, match=reason):
        TemporalSaliencyRescaling(of=spec)


# ---- the generator -----------------------------------------------------------------------------------------------


def background():
    torch.manual_seed(3)
    lengths = torch.randint(1, 8, (40,))
    inputs = (torch.randn(40, 7, FEATURES).double() @ torch.randn(FEATURES, FEATURES).double()).cumsum(1) * 3 + 2
    return Batch(inputs * (torch.arange(7) < lengths[:, None])[..., None], lengths, torch.zeros(40).long())


@pytest.mark.parametrize("lags", [1, 2, 9])
def test_the_generator_is_ridge_regression_on_standardized_steps(lags):
    batch = background()
    generator = LinearGaussian.fitted(batch, lags)
    steps = batch.inputs[batch.valid].numpy()
    centre, scale = steps.mean(0), steps.std(0)
    rows, now = [], []
    for inputs, length in zip(batch.inputs.numpy(), batch.lengths.tolist(), strict=True):
        standard = (inputs - centre) / scale
        for step in range(1, length):
            past = [standard[step - lag] if lag <= step else np.zeros(FEATURES) for lag in range(1, lags + 1)]
            rows.append(np.concatenate(past))
            now.append(standard[step])
    model = Ridge(alpha=1.0, fit_intercept=False).fit(rows, now)
    errors = (np.array(now) - model.predict(rows)) * scale
    covariance = (generator.later @ generator.later.T).numpy()
    np.testing.assert_allclose(covariance, errors.T @ errors / len(errors) + 1e-6 * np.diag(scale**2), rtol=1e-9)
    whole = (generator.first @ generator.first.T).numpy()
    np.testing.assert_allclose(whole, np.cov(steps.T, bias=True) + 1e-6 * np.diag(scale**2), rtol=1e-8)
    # a prediction for the last step of the first long sequence
    row = int((batch.lengths == 7).nonzero()[0])
    standard = (batch.inputs[row].numpy() - centre) / scale
    past = np.concatenate([standard[6 - lag] if lag <= 6 else np.zeros(FEATURES) for lag in range(1, lags + 1)])
    expected = centre + scale * model.predict(past[None])[0]
    np.testing.assert_allclose(generator.conditional_mean(batch.inputs)[row, 6], expected, rtol=1e-9)
    assert generator.lags == lags
    torch.testing.assert_close(generator.conditional_mean(batch.inputs)[:, 0], torch.tensor(centre).expand(40, -1))


def test_a_draw_given_one_column_has_the_conditional_mean_and_covariance():
    """A draw is linear in the noise: its matrix gives the moments exactly, and they are Schur's complement's."""
    batch = background()
    generator = LinearGaussian.fitted(batch, 2)
    actual, mean = batch.inputs[:1, 0], generator.conditional_mean(batch.inputs)[:1, 0]
    noise = torch.cat([torch.zeros(1, FEATURES), torch.eye(FEATURES)]).double()
    for root in (generator.first, generator.later):
        covariance = root @ root.T
        drawn = generator.conditional_draws(actual, mean, root[None], noise)[0]
        for column in range(FEATURES):
            others = [other for other in range(FEATURES) if other != column]
            cross = covariance[others, column] / covariance[column, column]
            expected = mean[0, others] + cross * (actual[0, column] - mean[0, column])
            torch.testing.assert_close(drawn[column, 0, others], expected, rtol=1e-9, atol=1e-9)
            matrix = (drawn[column, 1:] - drawn[column, 0])[:, others].T
            schur = covariance[others][:, others] - torch.outer(cross, covariance[column, others])
            torch.testing.assert_close(matrix @ matrix.T, schur, rtol=1e-9, atol=1e-9)
            assert (drawn[column, :, column] == actual[0, column]).all()


def test_a_continuation_is_drawn_step_after_step():
    batch = background()
    generator = LinearGaussian.fitted(batch, 2)
    row = int((batch.lengths == 7).nonzero()[0])
    noise = torch.randn(7, 4, 3, FEATURES).double()
    found = generator.continuations(batch.inputs[row], noise)
    for step in range(7):
        for sample in range(4):
            own = [*batch.inputs[row, :step]]
            for offset in range(3):
                past = [own[-lag] - generator.centre if lag <= len(own) else torch.zeros(FEATURES) for lag in (1, 2)]
                root = generator.later if own else generator.first
                own.append(
                    generator.centre + torch.cat(past).double() @ generator.weights + root @ noise[step, sample, offset]
                )
                torch.testing.assert_close(found[step, sample, offset], own[-1], rtol=1e-9, atol=1e-9)


def test_the_generator_of_single_steps_knows_their_covariance_only():
    batch = background()
    single = Batch(batch.inputs[:, :1], torch.ones(40).long(), batch.targets)
    generator = LinearGaussian.fitted(single, 2)
    assert not generator.weights.any()
    assert generator.first.equal(generator.later)
    constant = LinearGaussian.fitted(Batch(torch.ones(3, 2, 2), torch.full((3,), 2), torch.zeros(3)), 1)
    assert constant.conditional_mean(torch.ones(1, 2, 2)).tolist() == [[[1, 1], [1, 1]]]


def test_the_points_of_the_expectation_are_normal_and_always_the_same():
    points = normal_points(512, 3)
    assert points.equal(normal_points(512, 3))
    assert points.mean(0).tolist() == pytest.approx([0] * 3, abs=0.01)
    assert points.T.cov().flatten().tolist() == pytest.approx(np.eye(3).flatten(), abs=0.05)


# ---- feature importance in time ----------------------------------------------------------------------------------


def test_fit_is_its_definition_for_the_same_points(subject):
    method = Fit(samples=5, lags=2)
    found = method.explain(subject).values
    cells = subject.granularity == "cell"
    if cells:
        generator = LinearGaussian.fitted(subject.background, 2)
        means, noise = generator.conditional_mean(subject.batch.inputs), normal_points(5, FEATURES)
    for row, length in enumerate(lengths_of(subject)):
        inputs = subject.batch.inputs[row]
        for step in range(length):
            now = said(subject, row, inputs[: step + 1])
            before = said(subject, row, inputs[:step] if step else subject.reference[row, :1])
            shift = diverging(subject, now, before)
            if not cells:
                assert float(found[row, step]) == pytest.approx(shift, abs=1e-9)
                continue
            root = generator.later if step else generator.first
            covariance = root @ root.T
            for column in range(FEATURES):
                rest = 0
                for point in noise:
                    drawn = means[row, step] + root @ point
                    slope = covariance[:, column] / covariance[column, column]
                    drawn = drawn + slope * (inputs[step, column] - drawn[column])
                    changed = torch.cat([inputs[:step], drawn[None]])
                    rest += diverging(subject, now, said(subject, row, changed)) / 5
                assert float(found[row, step, column]) == pytest.approx(shift - rest, abs=1e-8)


def test_fit_costs_its_prefixes_and_its_points(subject):
    Fit(samples=5).explain(subject)
    draws = 5 * int(subject.valid.sum()) if subject.granularity == "cell" else 0
    assert subject.cost.forward == int(subject.batch.lengths.sum()) + len(subject) + draws
    assert subject.cost.backward == 0


def test_fit_in_small_portions_is_the_same(subject, monkeypatch):
    whole = Fit(samples=4).explain(subject).values
    monkeypatch.setattr("xrnnbench.methods.temporal.importance._VARIANTS_AT_ONCE", 1)
    torch.testing.assert_close(Fit(samples=4).explain(subject).values, whole)


def test_fit_is_time_interprets_given_the_same_draws():
    """Theirs with our generator in the place of the network they train; they squeeze the score and skip step 0."""
    subject = made("cells", lengths=(STEPS,) * 3)
    method = Fit(samples=4, lags=2)
    ours = method.explain(subject).values
    generator = LinearGaussian.fitted(subject.background, 2)
    means, noise = generator.conditional_mean(subject.batch.inputs), normal_points(4, FEATURES)

    def conditional(self, past, current, known):
        step = past.shape[1]
        roots = generator.roots(torch.full((3,), step))
        drawn = generator.conditional_draws(current, means[:, step], roots, noise)
        self.calls += 1
        return drawn[:, known[0], (self.calls - 1) % 4], None

    class Ours:
        calls = 0
        init = staticmethod(lambda feature_size: None)
        to = staticmethod(lambda device: None)
        forward_conditional = conditional

    subject.model.eval()
    with contained() as tint, torch.no_grad():
        theirs = tint.Fit(
            lambda x: subject.model(x, torch.full((len(x),), x.shape[1])),
            generator=SimpleNamespace(net=Ours(), eval=lambda: None),
            trainer=SimpleNamespace(fit=lambda *_, **__: None),
            features=subject.background.inputs,
        ).attribute(subject.batch.inputs, n_samples=4)
    squeezed = 2 / (1 + (-5 * ours).exp()) - 1
    torch.testing.assert_close(squeezed[:, 1:], theirs[:, 1:].double(), rtol=1e-5, atol=1e-6)
    assert not theirs[:, 0].any()


def test_an_observation_that_says_it_all_gets_the_whole_shift():
    """The model reads one column: knowing it leaves nothing unexplained, knowing another explains nothing."""

    class Reads(nn.Module):
        def forward(self, x, lengths):
            total = (x[:, :, 0] * (torch.arange(x.shape[1]) < lengths[:, None])).sum(1)
            return torch.stack([total, -total], 1)

    torch.manual_seed(0)
    inputs = torch.randn(20, 5, 2).double()
    batch = Batch(inputs, torch.full((20,), 5), torch.zeros(20).long())
    subject = Subject(Reads(), batch, torch.zeros_like(inputs), background=batch)
    found = Fit(samples=64).explain(subject).values
    totals = torch.cat([torch.zeros(20, 1), inputs[:, :, 0].cumsum(1)], 1).mul(2).sigmoid()
    now, before = totals[:, 1:], totals[:, :-1]
    shift = now * (now / before).log() + (1 - now) * ((1 - now) / (1 - before)).log()
    torch.testing.assert_close(found[:, :, 0], shift, rtol=1e-6, atol=1e-9)
    assert float(found[:, :, 1].mean()) < float(found[:, :, 0].mean()) / 2


# ---- windowed feature importance in time -------------------------------------------------------------------------


def contents_of(method, subject, seed):
    """What the method draws for each sequence: [T, S, N(, D)]."""
    draw = method._content_sampler(subject)
    return [draw(row, rng) for row, rng in enumerate(random_streams(len(subject), method.generator(seed)))]


def moved(subject, left, right):
    return float(np.abs(left - right).sum()) if subject.classification else abs(left - right)


@pytest.mark.parametrize("predictions", ["every", "last"])
@pytest.mark.parametrize("draws", ["generator", "background"])
def test_winit_is_its_definition_for_the_same_draws(subject, predictions, draws):
    window = 3
    method = WinIt(window=window, samples=2, predictions=predictions, draws=draws)
    found = method.explain(subject, seed=4).values
    contents = contents_of(method, subject, 4)
    columns = FEATURES if subject.granularity == "cell" else 1
    asked = 0
    for row, length in enumerate(lengths_of(subject)):
        inputs = subject.batch.inputs[row]
        for column in range(columns):

            def effect(first, last, column=column, inputs=inputs, row=row):
                """i(d, first…last)."""
                if first > last:
                    return 0
                now = said(subject, row, inputs[: last + 1])
                total = 0
                for drawn in contents[row][first]:
                    changed = inputs[: last + 1].clone()
                    own = drawn[: last + 1 - first]
                    if columns == 1:
                        changed[first:] = own
                    else:
                        changed[first:, column] = own[:, column]
                    total += moved(subject, now, said(subject, row, changed)) / 2
                return total

            for step in range(length):
                ends = range(step, min(step + window, length)) if predictions == "every" else [length - 1]
                ends = [end for end in ends if end - step < window]
                values = [effect(step, end) - effect(step + 1, end) for end in ends]
                asked += 2 * len(ends)
                own = found[row, step, column] if columns > 1 else found[row, step]
                assert float(own) == pytest.approx(np.mean(values) if values else 0, abs=1e-9)
        asked += length if predictions == "every" else 1
    assert (subject.cost.forward, subject.cost.backward) == (asked, 0)


def test_winit_costs_what_its_page_says():
    subject = made("cells")
    WinIt(window=3, samples=2).explain(subject)
    windows = sum(min(last, 3) for length in lengths_of(subject) for last in range(1, length + 1))
    assert subject.cost.forward == sum(lengths_of(subject)) + 2 * FEATURES * windows
    subject.cost.forward = 0
    WinIt(window=3, samples=2, predictions="last").explain(subject)
    assert subject.cost.forward == sum(1 + 2 * FEATURES * min(length, 3) for length in lengths_of(subject))


def test_winit_in_small_portions_is_the_same(subject, monkeypatch):
    whole = WinIt().explain(subject, seed=2).values
    monkeypatch.setattr("xrnnbench.methods.temporal.importance._VARIANTS_AT_ONCE", 1)
    torch.testing.assert_close(WinIt().explain(subject, seed=2).values, whole)


def test_the_values_of_the_last_prediction_add_up_to_the_whole_windows_effect():
    """Differences telescope: together they are what the column mattered at all."""
    subject = made("cells")
    method = WinIt(window=STEPS, samples=3, predictions="last")
    found = method.explain(subject, seed=1).values
    contents = contents_of(method, subject, 1)
    for row, length in enumerate(lengths_of(subject)):
        inputs = subject.batch.inputs[row, :length]
        now = said(subject, row, inputs)
        for column in range(FEATURES):
            total = 0
            for drawn in contents[row][0]:
                changed = inputs.clone()
                changed[:, column] = drawn[:length, column]
                total += moved(subject, now, said(subject, row, changed)) / 3
            assert float(found[row, :, column].sum()) == pytest.approx(total, abs=1e-9)


def test_windows_share_the_numbers_of_the_steps_they_share():
    drawn = torch.arange(10.0).view(2, 5)
    found = _from_each_step(drawn, 3)
    assert found[1].tolist() == [[1, 2, 3], [6, 7, 8]]
    assert found[4].tolist() == [[4, 0, 0], [9, 0, 0]]


def test_winit_sees_a_delayed_effect_and_fit_does_not():
    """The model says what it saw two steps ago: what matters then is what came then."""

    class Late(nn.Module):
        def forward(self, x, lengths):
            seen = torch.arange(x.shape[1]) < lengths[:, None] - 2
            total = 3 * (x[:, :, 0] * seen).sum(1)
            return torch.stack([total, -total], 1)

    torch.manual_seed(0)
    inputs = torch.zeros(6, 9, 2).double()
    inputs[:, 3, 0] = 2.0
    noise = torch.randn(40, 9, 2).double() / 2
    batch = Batch(inputs, torch.full((6,), 9), torch.zeros(6).long())
    other = Batch(noise, torch.full((40,), 9), torch.zeros(40).long())
    subject = Subject(Late(), batch, torch.zeros_like(inputs), background=other)
    late = WinIt(window=5, samples=20).explain(subject).values[:, :, 0].argmax(1)
    assert late.tolist() == [3] * 6
    prompt = Fit().explain(subject).values[:, :, 0].argmax(1)
    assert prompt.tolist() == [5] * 6


# ---- augmented occlusion -----------------------------------------------------------------------------------------


def test_augmented_occlusion_is_its_definition_for_the_same_draws(subject):
    method = AugmentedOcclusion(draws=3)
    found = method.explain(subject, seed=6).values
    pool = subject.background.inputs[subject.background.valid]
    rngs = random_streams(len(subject), method.generator(6))
    for row, length in enumerate(lengths_of(subject)):
        inputs, target = subject.batch.inputs[row, :length], subject.target[row]
        places = [(step,) for step in range(length)]
        if subject.granularity == "cell":
            places = [(step, column) for step in range(length) for column in range(FEATURES)]
        donors = torch.randint(len(pool), (len(places), 3), generator=rngs[row])
        for place, own in zip(places, donors.tolist(), strict=True):
            total = 0
            for donor in own:
                changed = inputs.clone()
                changed[place] = pool[(donor, *place[1:])]
                now, other = said(subject, row, inputs), said(subject, row, changed)
                total += (abs(now[target] - other[target]) if subject.classification else abs(now - other)) / 3
            assert float(found[row][place]) == pytest.approx(total, abs=1e-12)
    assert subject.cost.forward == 3 * int(subject.valid.sum()) + len(subject)


def test_augmented_occlusion_is_time_interprets_where_all_draws_are_one():
    """Theirs draws from the same step of other sequences, from torch's global state; a constant leaves no choice."""
    subject = made("cells", lengths=(STEPS,) * 3)
    constant = torch.full_like(subject.batch.inputs, 0.7)
    subject = replace(subject, background=Batch(constant, subject.batch.lengths, subject.batch.targets))
    ours = AugmentedOcclusion(draws=2).explain(subject).values
    subject.model.eval()
    with contained() as tint, torch.no_grad():
        state = torch.get_rng_state()
        theirs = tint.AugmentedOcclusion(
            lambda x: subject.model(x, torch.full((len(x),), x.shape[1])).softmax(1), data=constant
        ).attribute(subject.batch.inputs, (1, 1), target=subject.target, attributions_fn=torch.abs)
        assert not state.equal(torch.get_rng_state())
    torch.testing.assert_close(ours, theirs.double(), rtol=1e-5, atol=1e-6)


# ---- TimeSHAP ----------------------------------------------------------------------------------------------------


def shapley(count, value):
    """The Shapley values of a game of few players, by their definition over all coalitions."""
    found = np.zeros(count)
    for player in range(count):
        for coalition in range(1 << count):
            if coalition >> player & 1:
                continue
            size = coalition.bit_count()
            weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            found[player] += weight * (value(coalition | 1 << player) - value(coalition))
    return found


def score_with(subject, row, keep):
    """The explained score of one sequence with only some steps or cells kept, bool[T(, D)]."""
    length = len(keep)
    inputs, reference = subject.batch.inputs[row, :length], subject.reference[row, :length]
    keep = torch.as_tensor(keep)
    if inputs.dim() > keep.dim():
        keep = keep[:, None]
    return float(outputs_of(subject, row, torch.where(keep, inputs, reference))[subject.target[row]])


def pruned_by_hand(subject, row, length, tolerance):
    """How many of the first steps are one player, as in algorithm 1."""
    steps = np.arange(length)
    empty, full = (score_with(subject, row, np.full(length, kept)) for kept in (False, True))
    for cut in range(length - 1, 0, -1):
        old, new = score_with(subject, row, steps < cut), score_with(subject, row, steps >= cut)
        if abs((old - empty + full - new) / 2) <= tolerance * abs(full - empty):
            return cut
    return 0


def spread(subject, row, players):
    """Exact Shapley values of the players int[T(, D)], each shared among what it holds."""
    names = sorted(set(players.flatten().tolist()))

    def value(coalition):
        chosen = [name for place, name in enumerate(names) if coalition >> place & 1]
        return score_with(subject, row, np.isin(players, chosen))

    values = shapley(len(names), value)
    found = np.zeros(players.shape)
    for name, own in zip(names, values, strict=True):
        found[players == name] = own / (players == name).sum()
    return found, len(names)


@pytest.mark.parametrize("tolerance", [0.0, 0.3])
def test_timeshap_of_events_and_features_is_its_definition(subject, tolerance):
    pruned_any = False
    for level in ("event", "feature"):
        method = TimeShap(level=level, tolerance=tolerance)
        if level == "feature" and subject.granularity == "step":
            assert method.applicable(subject) == "a step has no features of its own"
            continue
        assert method.applicable(subject) == ""
        before = subject.cost.forward
        found = method.explain(subject).values
        asked = 0
        for row, length in enumerate(lengths_of(subject)):
            cut = pruned_by_hand(subject, row, length, tolerance) if tolerance else 0
            pruned_any |= cut > 0
            players = np.where(np.arange(length) < cut, -1, np.arange(length))
            if level == "feature":
                players = np.where(np.arange(length)[:, None] < cut, -1, np.arange(FEATURES))
            expected, count = spread(subject, row, players)
            np.testing.assert_allclose(found[row, :length], expected, atol=1e-9)
            asked += (2 * length if tolerance else 0) + 2**count
        assert subject.cost.forward - before == asked
    assert pruned_any == (tolerance > 0)


@pytest.mark.parametrize("tolerance", [0.0, 0.3])
@pytest.mark.full
def test_timeshap_of_cells_is_its_definition(tolerance):
    subject = made("cells")
    method = TimeShap(level="cell", tolerance=tolerance, top=2)
    found = method.explain(subject).values
    asked = 0
    for row, length in enumerate(lengths_of(subject)):
        cut = pruned_by_hand(subject, row, length, tolerance) if tolerance else 0
        steps = np.arange(length)
        events, first = spread(subject, row, np.where(steps < cut, -1, steps))
        features, second = spread(subject, row, np.where(steps[:, None] < cut, -1, np.arange(FEATURES)))
        later = [step for step in range(length) if step >= cut]
        top_steps = sorted(later, key=lambda step: -abs(events[step]))[:2]
        top_columns = sorted(range(FEATURES), key=lambda column: -abs(features[-1, column]))[:2]
        players = np.full((length, FEATURES), -1)
        for step in later:
            for column in range(FEATURES):
                a = top_steps.index(step) + 1 if step in top_steps else 0
                b = top_columns.index(column) + 1 if column in top_columns else 0
                players[step, column] = 3 * a + b
        expected, third = spread(subject, row, players)
        np.testing.assert_allclose(found[row, :length], expected, atol=1e-9)
        asked += (2 * length if tolerance else 0) + 2**first + 2**second + 2**third
    assert subject.cost.forward == asked


def test_timeshap_is_complete_at_every_level_with_drawn_coalitions():
    subject = made("cells")
    for level in ("event", "feature", "cell"):
        method = TimeShap(level=level, samples=50)
        assert method.complete
        found = method.explain(subject, seed=3)
        assert found.granularity == ("step" if level == "event" else "cell")
        gap = found.values.flatten(1).sum(1) - (subject.score - subject.reference_score)
        assert float(gap.abs().max()) < 1e-9
    assert not TimeShap(scale="probability").complete
    found = TimeShap(scale="probability").explain(subject).values.flatten(1).sum(1)
    chosen = subject.target[:, None]
    scores = [o.softmax(1).gather(1, chosen).squeeze(1) for o in (subject.batch_outputs, subject.reference_outputs)]
    torch.testing.assert_close(found, scores[0] - scores[1])


def test_unpruned_events_of_tokens_have_exact_shapley_values():
    subject = made("tokens")
    ours = TimeShap(tolerance=0.0).explain(subject).values
    torch.testing.assert_close(ours, ExactShapley().explain(subject).values, rtol=1e-9, atol=1e-12)
    assert TimeShap()._level(subject) == "event"
    assert TimeShap()._level(made("cells")) == "cell"


def test_a_past_that_does_not_matter_is_one_player():
    """A model that reads its last three steps: what was before is pruned, not less and not more."""

    class Short(nn.Module):
        def forward(self, x, lengths):
            place = torch.arange(x.shape[1])
            seen = (place < lengths[:, None]) & (place >= lengths[:, None] - 3)
            return (x.sum(2) * seen).sum(1, keepdim=True).exp()

    torch.manual_seed(0)
    inputs = torch.randn(4, 8, 2).double()
    batch = Batch(inputs, torch.tensor([8, 5, 3, 1]), torch.zeros(4, 1))
    subject = Subject(Short(), batch, torch.zeros_like(inputs), outputs_are="values")
    method = TimeShap(level="event", tolerance=1e-6)
    assert method._later_steps(subject).sum(1).tolist() == [3, 3, 3, 1]
    assert float(method.explain(subject).values[0, :5].abs().max()) < 1e-9


def test_timeshap_in_small_portions_is_the_same(subject, monkeypatch):
    whole = TimeShap(samples=64).explain(subject, seed=2).values
    monkeypatch.setattr("xrnnbench.methods.temporal.timeshap._MASKS_AT_ONCE", 1)
    torch.testing.assert_close(TimeShap(samples=64).explain(subject, seed=2).values, whole)


def test_too_few_coalitions_for_the_players_are_not_applicable():
    subject = made("cells")
    assert "20 players" not in TimeShap(level="cell", samples=64).applicable(subject)
    reason = TimeShap(level="cell", samples=40, top=3).applicable(subject)
    assert reason == "there are 17 players, which need samples=68 or more"
    assert TimeShap(level="event", samples=24).applicable(subject) == ""
    assert TimeShap(level="event", samples=23).applicable(subject) != ""


# ---- what holds for all ------------------------------------------------------------------------------------------

ALONE = [TemporalIntegratedGradients(steps=3), TemporalSaliencyRescaling(), Fit(samples=4)]
DRAWN = [WinIt(window=3), AugmentedOcclusion(draws=2), TimeShap(samples=70)]


@settings(max_examples=5, deadline=None)
@given(st.lists(st.integers(1, STEPS), min_size=1, max_size=5), st.sampled_from(["cells", "tokens", "regression"]))
def test_each_sequence_is_explained_as_if_it_were_alone(lengths, kind):
    subject = made(kind, lengths)
    for method in ALONE:
        whole = method.explain(subject).values
        for row, length in enumerate(lengths):
            alone = method.explain(subject.select(slice(row, row + 1))).values
            torch.testing.assert_close(whole[row, :length], alone[0], rtol=1e-8, atol=1e-10)
            assert not whole[row, length:].any()


@settings(max_examples=5, deadline=None)
@given(st.lists(st.integers(1, STEPS), min_size=2, max_size=5), st.sampled_from(["cells", "tokens", "regression"]))
def test_later_batch_mates_do_not_shift_the_draws(lengths, kind):
    subject = made(kind, lengths)
    for method in DRAWN:
        whole = method.explain(subject, seed=7).values
        part = method.explain(subject.select(slice(0, 2)), seed=7).values
        torch.testing.assert_close(whole[:2, : part.shape[1]], part, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    "spec",
    ["temporal-ig:steps=0", "fit:samples=0", "fit:lags=0", "winit:window=0", "winit:samples=0", "winit:lags=0",
     "augmented-occlusion:draws=0", "timeshap:samples=3", "timeshap:tolerance=1.0", "timeshap:tolerance=-0.1",
     "timeshap:top=0", "timeshap:level=step", "winit:draws=zero", "winit:predictions=first",
     "temporal-saliency-rescaling:quantile=1.0", "temporal-saliency-rescaling:quantile=-0.1"],
)  # fmt: skip
def test_a_parameter_out_of_range_is_refused(spec):
    with pytest.raises(ParameterError, match="does not fit"):
        build("method", spec)


@pytest.mark.parametrize("method", [Fit(), WinIt(), WinIt(draws="background"), AugmentedOcclusion()])
def test_without_a_background_they_are_not_applicable(method):
    subject = replace(made("cells"), background=None)
    assert method.applicable(subject) == "the task has no background data"
    with pytest.raises(UnsupportedModelError, match=f"{method.name} needs background"):
        method.explain(subject)
