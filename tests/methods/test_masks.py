"""Learned masks: their parts against literal definitions and time_interpret, the whole where the answer is known."""

import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xrnnbench.errors import ParameterError
from xrnnbench.methods.temporal.descent import Change, mask_slope, perturbed, size_slope, variation_slope
from xrnnbench.methods.temporal.extremal import ExtremalMask
from xrnnbench.methods.temporal.masks import Dynamask
from xrnnbench.plugins import build
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.models.networks import AttentiveRecurrentNet, RecurrentNet
from xrnnbench.tasks.subject import Subject

STEPS, FEATURES = 7, 3
PERTURBATIONS = ["gaussian-blur", "moving-average", "reference"]
METHODS = {
    **{f"dynamask, {by}": Dynamask(perturbation=by, iterations=12) for by in PERTURBATIONS},
    "dynamask, smooth": Dynamask(smoothness=1.0, iterations=12),
    "extremal-mask": ExtremalMask(iterations=12),
}


def made(kind, lengths, seed=0):
    """A subject of one kind with sequences of those lengths, in float64."""
    torch.manual_seed(seed)
    lengths = torch.tensor(lengths)
    rows, valid = len(lengths), torch.arange(STEPS) < lengths[:, None]
    inputs = torch.randn(rows, STEPS, FEATURES).double() * valid[..., None]
    reference, targets = torch.full_like(inputs, 0.1), torch.zeros(rows).long()
    if kind == "tokens":
        model = AttentiveRecurrentNet(4, 6, 2, bidirectional=True, pooling="attention", vocabulary_size=9)
        inputs, reference = torch.randint(2, 9, (rows, STEPS)) * valid, torch.ones(rows, STEPS).long() * valid
    elif kind == "regression":
        model, targets = RecurrentNet(FEATURES, 6, 1, cell="gru"), torch.zeros(rows, 1).double()
    else:
        model = AttentiveRecurrentNet(FEATURES, 6, 3, cell="gru", pooling="dot-attention")
    outputs = "values" if kind == "regression" else "logits"
    return Subject(model.double(), Batch(inputs, lengths, targets), reference, outputs_are=outputs).check()


class Reads(nn.Module):
    """A white box: the score is a function of the weighted sum of some cells."""

    def __init__(self, cells, function=lambda total: total):
        super().__init__()
        self.cells, self.function = cells, function

    def forward(self, x, lengths):
        total = sum(weight * x[:, step, column] for (step, column), weight in self.cells.items())
        return self.function(total + x.sum((1, 2)) * 0)[:, None]


def planted(function=lambda total: total, rows=12):
    """Sequences of 10 steps of 3 columns, of which two cells of about the same size make the score."""
    torch.manual_seed(1)
    inputs = torch.randn(rows, 10, 3).double()
    inputs[:, 2, 0] = torch.where(inputs[:, 2, 0] > 0, 1.5, -1.5)
    inputs[:, 6, 1] = inputs[:, 2, 0]  # of one sign, so that neither is needed to undo the other
    lengths = torch.tensor([10, 8, 7] * (rows // 3))
    inputs *= (torch.arange(10) < lengths[:, None])[..., None]
    batch = Batch(inputs, lengths, torch.zeros(rows, 1).double())
    return Subject(Reads({(2, 0): 2.0, (6, 1): 1.6}, function), batch, torch.zeros_like(inputs), outputs_are="values")


@contextmanager
def contained():
    """time_interpret, its warnings, its loggers and what it does to torch's random state kept inside."""
    state = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pytest.importorskip("tint.attr", reason="the peer time-interpret (extra peers) is not installed")
    torch.set_rng_state(state)


def trainer(epochs):
    """A trainer of theirs that writes no files and says nothing."""
    from pytorch_lightning import Trainer  # noqa: PLC0415  # only where time_interpret is

    quiet = dict.fromkeys(["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False)
    return Trainer(max_epochs=epochs, accelerator="cpu", **quiet)


# ---- perturbations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [1, FEATURES])
@pytest.mark.parametrize("by", PERTURBATIONS)
def test_a_perturbation_is_its_definition_and_ends_where_the_sequence_ends(by, columns):
    subject = made("cells", [7, 1, 4])
    of = torch.tensor([0, 1, 2, 2])
    mask = torch.rand(4, STEPS, columns).double()
    mask[0, 0] = 1.0
    found = perturbed(subject, of, mask, by, 2)
    for place, row in enumerate(of.tolist()):
        length = int(subject.batch.lengths[row])
        inputs = subject.batch.inputs[row, :length].numpy()
        for step in range(length):
            for column in range(FEATURES):
                m = float(mask[place, step, min(column, columns - 1)])
                x = inputs[:, column]
                if by == "gaussian-blur":
                    sigma = 2 * (1 + 1e-7 - m)
                    weights = [np.exp(-((step - other) ** 2) / (2 * sigma**2)) for other in range(length)]
                    expected = np.dot(weights, x) / np.sum(weights)
                elif by == "moving-average":
                    expected = m * x[step] + (1 - m) * np.mean(x[max(0, step - 2) : step + 3])
                else:
                    expected = m * x[step] + (1 - m) * float(subject.reference[row, step, column])
                assert float(found[place, step, column]) == pytest.approx(expected, abs=1e-12)
    torch.testing.assert_close(found[0, 0], subject.batch.inputs[0, 0])


def test_a_blur_is_time_interprets_on_sequences_of_one_length_and_not_beside_padding():
    subject = made("cells", [7, 4])
    mask = torch.rand(2, STEPS, FEATURES).double()
    ours = perturbed(subject, torch.arange(2), mask, "gaussian-blur", 2)
    with contained():
        from tint.attr.models import MaskNet  # noqa: PLC0415  # only where it is

        net = MaskNet(forward_func=lambda x: x, perturbation="gaussian_blur", sigma_max=2).net
        net.init(mask.shape, n_epochs=1, batch_size=2)
        net.mask.data = mask
        theirs = net.gaussian_blur(subject.batch.inputs, 0, sigma_max=2).detach()
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-6, atol=1e-6)
    assert float((ours[1, 2:4] - theirs[1, 2:4]).abs().max()) > 0.05


def test_time_interprets_moving_average_loses_the_ends():
    """They divide by 2W + 1 where there are fewer steps, so that a constant sequence is perturbed; ours is not."""
    constant = torch.ones(1, STEPS, 1).double()
    batch = Batch(constant, torch.tensor([STEPS]), torch.zeros(1, 1))
    subject = Subject(RecurrentNet(1, 3, 1).double(), batch, torch.zeros_like(constant), outputs_are="values")
    ours = perturbed(subject, torch.zeros(1).long(), torch.zeros(1, STEPS, 1).double(), "moving-average", 2)
    assert ours.flatten().tolist() == pytest.approx([1.0] * STEPS)
    with contained():
        from tint.attr.models import MaskNet  # noqa: PLC0415  # only where it is

        net = MaskNet(forward_func=lambda x: x, perturbation="fade_moving_average_window", window_size=2).net
        net.init((1, STEPS, 1), n_epochs=1, batch_size=1)
        net.mask.data.zero_()
        theirs = net.fade_moving_average_window(constant.float(), 0, window_size=2).detach().flatten()
    assert theirs.tolist() == pytest.approx([0.6, 0.8, 1, 1, 1, 0.8, 0.6])


# ---- regularizers and loss ---------------------------------------------------------------------------------------


def test_the_pull_to_an_area_is_the_derivative_of_its_definition_and_time_interprets():
    mask = torch.rand(3, 10).double().requires_grad_()
    area = torch.tensor([0.1, 0.55, 1.0], dtype=torch.float64)
    found = size_slope(mask, torch.ones(3, 10).bool(), area)
    for row, ones in enumerate([1, 6, 10]):
        target = torch.tensor([0.0] * (10 - ones) + [1.0] * ones)
        loss = ((mask[row].sort().values - target) ** 2).mean()
        torch.testing.assert_close(found[row], torch.autograd.grad(loss, mask)[0][row], rtol=1e-9, atol=1e-12)
    with contained():
        from tint.attr.models import MaskNet  # noqa: PLC0415  # only where it is

        net = MaskNet(forward_func=lambda x: x, keep_ratio=[0.3], size_reg_factor_init=1.0).net
        net.init((1, 10, 1), n_epochs=1, batch_size=1)
        net.mask.data = mask.detach()[1].view(1, 10, 1)
        net.regularisation(torch.zeros(())).backward()
        theirs = net.mask.grad.flatten()
    ours = size_slope(mask[1:2], torch.ones(1, 10).bool(), torch.tensor([0.3], dtype=torch.float64))
    torch.testing.assert_close(ours[0], theirs, rtol=1e-6, atol=1e-9)


def test_padding_has_no_place_in_the_order():
    mask = torch.rand(1, 10).double()
    valid = (torch.arange(10) < 6)[None]
    area = torch.tensor([0.5]).double()
    short = size_slope(mask[:, :6], valid[:, :6], area)
    torch.testing.assert_close(size_slope(mask, valid, area)[:, :6], short)
    assert not size_slope(mask, valid, area)[:, 6:].any()


def test_equal_cells_share_their_places_and_in_time_interpret_the_last_ones_win():
    """A model that ignores its input: nothing tells cells apart, and a mask should not either."""
    mask = torch.full((1, 8), 0.5).double()
    pull = size_slope(mask, torch.ones(1, 8).bool(), torch.tensor([0.25]).double())
    torch.testing.assert_close(pull, torch.full((1, 8), 2 * (0.5 - 0.25) / 8).double())
    inputs = torch.randn(2, 4, 2)
    batch = Batch(inputs, torch.tensor([4, 3]), torch.zeros(2, 1))
    subject = Subject(Reads({(0, 0): 0.0}), batch, torch.zeros_like(inputs), outputs_are="values")
    found = Dynamask(iterations=30).explain(subject).values
    assert float(found[0].max() - found[0].min()) < 1e-6
    assert float(found[1, :3].max() - found[1, :3].min()) < 1e-6
    with contained():
        from tint.attr.models import MaskNet  # noqa: PLC0415  # only where it is

        net = MaskNet(forward_func=lambda x: x, keep_ratio=[0.25]).net
        net.init((1, 8, 1), n_epochs=1, batch_size=1)
        net.regularisation(torch.zeros(())).backward()
    assert net.mask.grad.flatten().sign().tolist() == [1] * 6 + [-1] * 2


def test_time_interprets_dynamask_never_adds_its_regularizer():
    """It does so in a hook that Lightning 2 no longer calls: the area that is asked for makes no difference."""
    subject = planted(rows=3)
    with contained() as tint:
        from tint.attr.models import MaskNet  # noqa: PLC0415  # only where it is

        def explained(area):
            method = tint.DynaMask(lambda x: subject.model(x.double(), torch.full((len(x),), 10)).float())
            net = MaskNet(forward_func=method.forward_func, keep_ratio=[area], size_reg_factor_init=100.0, lr=0.1)
            return method.attribute(subject.batch.inputs.float(), mask_net=net, trainer=trainer(20), batch_size=3)

        assert torch.equal(explained(0.1), explained(0.9))
    ours = [Dynamask(areas=(area,)).explain(subject).values.sum() for area in (0.1, 0.9)]
    assert float(ours[0]) < float(ours[1]) / 4


def test_the_pull_to_smoothness_is_the_derivative_of_its_definition():
    mask = torch.rand(2, STEPS, FEATURES).double().requires_grad_()
    valid = torch.arange(STEPS) < torch.tensor([7, 4])[:, None]
    found = variation_slope(mask, valid)
    loss = sum(mask[row, :length].diff(dim=0).abs().mean() for row, length in enumerate([7, 4]))
    torch.testing.assert_close(found, torch.autograd.grad(loss, mask)[0], rtol=1e-9, atol=1e-12)
    single = variation_slope(mask[:, :1], valid[:, :1])
    assert not single.any()


@pytest.mark.parametrize("kind", ["cells", "tokens", "regression"])
@pytest.mark.parametrize("by", PERTURBATIONS)
def test_the_loss_and_its_slope_are_those_of_the_definition(kind, by):
    subject = made(kind, [7, 2, 4]).continuous()
    of, columns = torch.tensor([2, 0]), 1 if kind == "tokens" else FEATURES
    nothing = torch.zeros(2, STEPS, columns).double()
    change = Change.measured(subject, of, perturbed(subject, of, nothing, by, 2))
    mask = (0.2 + 0.6 * torch.rand(2, STEPS, columns).double()).requires_grad_()
    points = perturbed(subject, of, mask, by, 2)
    found = mask_slope(mask, change.slope(points.detach()), points)
    subject.model.eval()
    for place, row in enumerate(of.tolist()):
        length, target = int(subject.batch.lengths[row]), subject.target[row]

        def score(inputs, length=length, target=target):
            return subject.model(inputs[None, :length], torch.tensor([length]))[0, target]

        actual = score(subject.batch.inputs[row])
        gone = score(perturbed(subject, of, nothing, by, 2)[place])
        loss = ((score(perturbed(subject, of, mask, by, 2)[place]) - actual) / (gone - actual)) ** 2
        assert float(change.at(points.detach())[place]) == pytest.approx(loss.item(), rel=1e-9)
        expected = torch.autograd.grad(loss, mask, retain_graph=True)[0][place]
        torch.testing.assert_close(found[place], expected, rtol=1e-7, atol=1e-10)


def test_what_cannot_be_moved_has_no_loss_and_no_slope():
    subject = made("cells", [1, 1])
    of = torch.arange(2)
    gone = perturbed(subject, of, torch.zeros(2, STEPS, FEATURES).double(), "gaussian-blur", 2)
    change = Change.measured(subject, of, gone)
    assert change.span.tolist() == [0, 0]
    nearly = Change.measured(subject, of, subject.batch.inputs + 1e-9)  # what rounding may be taken for
    assert nearly.span.tolist() == [0, 0]
    assert change.at(torch.randn(2, STEPS, FEATURES).double()).tolist() == [0, 0]
    assert not change.slope(torch.randn(2, STEPS, FEATURES).double()).any()


# ---- dynamask ----------------------------------------------------------------------------------------------------


def found_cells(values):
    """The two highest cells of each sequence."""
    return [set(row.flatten().topk(2).indices.tolist()) for row in values]


@pytest.mark.parametrize("function", [lambda total: total, torch.tanh], ids=["linear", "saturated"])
@pytest.mark.parametrize("by", PERTURBATIONS)
def test_dynamask_finds_the_planted_cells(by, function):
    subject = planted(function)
    values = Dynamask(perturbation=by).explain(subject).values
    assert found_cells(values) == [{6, 19}] * len(subject)
    others = values.clone()
    others[:, 2, 0] = others[:, 6, 1] = 0
    assert float(others.max()) < 0.5 * float(values[:, 2, 0].min())


def test_dynamask_finds_planted_tokens():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(6, 3)

        def forward(self, x, lengths):
            marks = self.embedding(x)[:, :, 0] * (torch.arange(x.shape[1]) < lengths[:, None])
            return marks.sum(1, keepdim=True)

    model = Counts()
    with torch.no_grad():
        model.embedding.weight.normal_()
        model.embedding.weight[:, 0] = torch.tensor([0.0, 0, 0, 0, 0, 1])  # token 5 is what is counted
    tokens = torch.tensor([[2, 5, 3, 4, 2, 3, 5, 2], [3, 2, 4, 5, 2, 0, 0, 0]])
    batch = Batch(tokens, torch.tensor([8, 5]), torch.zeros(2, 1))
    subject = Subject(model, batch, torch.ones_like(tokens) * (tokens > 0), outputs_are="values")
    for method in (Dynamask(perturbation="reference"), ExtremalMask()):
        values = method.explain(subject).values
        assert set(values[0].topk(2).indices.tolist()) == {1, 6}
        assert int(values[1].argmax()) == 3


@pytest.mark.parametrize("area", [0.1, 0.3, 0.5])
def test_the_mask_has_the_area_it_was_asked_for(area):
    """With the pull to the area far above the loss, the mask ends at 0 and 1, in the shares that were asked for."""
    subject = made("cells", [7, 5, 3])
    values = Dynamask(areas=(area,), size=2000.0, iterations=150, perturbation="reference").explain(subject).values
    for row, length in enumerate([7, 5, 3]):
        cells = values[row, :length].flatten()
        kept = int(np.ceil(area * length * FEATURES - 1e-9))
        assert int((cells > 0.5).sum()) == kept
        assert float(torch.minimum(cells, 1 - cells).max()) < 0.05


def test_a_larger_area_loses_less_and_a_longer_descent_too():
    """Of a sum of positive cells every cell that is kept is a part of the score that is not lost."""
    torch.manual_seed(0)
    inputs = torch.rand(4, 7, 3).double() + 0.5
    batch = Batch(inputs, torch.full((4,), 7), torch.zeros(4, 1))
    model = Reads({(step, column): 1.0 for step in range(7) for column in range(3)})
    subject = Subject(model, batch, torch.zeros_like(inputs), outputs_are="values")

    def lost(**options):
        mask = Dynamask(perturbation="reference", **options).explain(subject).values
        return float((((1 - mask) * inputs).sum((1, 2)) / inputs.sum((1, 2))).square().sum())

    by_area = [lost(areas=(area,)) for area in (0.05, 0.2, 0.6, 1.0)]
    assert by_area == sorted(by_area, reverse=True)
    assert by_area[-1] < 1e-6
    assert by_area[0] > 0.5
    assert lost(areas=(1.0,), iterations=30) < lost(areas=(1.0,), iterations=2)


def test_the_smallest_area_that_is_good_enough_is_taken_and_else_the_best():
    subject = planted()
    each = {area: Dynamask(areas=(area,)).explain(subject).values for area in (0.05, 0.1, 0.5)}
    of = torch.arange(len(subject))
    gone = perturbed(subject, of, torch.zeros(len(subject), 10, 3).double(), "gaussian-blur", 2)
    change = Change.measured(subject, of, gone)
    lost = {area: change.at(perturbed(subject, of, mask.double(), "gaussian-blur", 2)) for area, mask in each.items()}
    for loss in (1e-9, 0.02, 0.1, 1.0):
        chosen = Dynamask(areas=(0.5, 0.05, 0.1), loss=loss).explain(subject).values
        for row in range(len(subject)):
            enough = [area for area in each if float(lost[area][row]) <= loss]
            area = enough[0] if enough else min(each, key=lambda area, row=row: float(lost[area][row]))
            torch.testing.assert_close(chosen[row], each[area][row], rtol=1e-6, atol=1e-7)


def test_smoothness_spreads_the_mask_over_time():
    subject = planted()
    variation = [
        float(Dynamask(smoothness=weight).explain(subject).values.diff(dim=1).abs().sum()) for weight in (0.0, 20.0)
    ]
    assert variation[1] < variation[0] / 2


def test_one_step_that_cannot_be_blurred_has_a_mask_that_tells_nothing_apart():
    values = Dynamask().explain(made("cells", [1, 4])).values
    assert float(values[0, 0].max() - values[0, 0].min()) == 0
    assert float(values[1, :4].max() - values[1, :4].min()) > 0.1


@pytest.mark.parametrize("kind", ["cells", "tokens", "regression"])
def test_masks_cost_what_their_pages_say(kind):
    subject = made(kind, [7, 1, 4])
    Dynamask(areas=(0.1, 0.5), iterations=4).explain(subject)
    assert (subject.cost.forward, subject.cost.backward) == (3 * (2 * 4 + 3), 3 * 2 * 4)
    subject = made(kind, [7, 1, 4])
    ExtremalMask(iterations=4).explain(subject)
    assert (subject.cost.forward, subject.cost.backward) == (3 * 5, 3 * 4)


def test_both_find_what_time_interprets_dynamask_finds():
    """Equal lengths and their fade to zero: the planted cells are the highest in both, with the rest far below."""
    subject = planted(rows=3)
    inputs = subject.batch.inputs[:1].clone()
    batch = Batch(inputs, torch.tensor([10]), torch.zeros(1, 1).double())
    subject = Subject(subject.model, batch, torch.zeros_like(inputs), outputs_are="values")
    ours = Dynamask(perturbation="reference", areas=(0.1,)).explain(subject).values
    with contained() as tint:
        from tint.attr.models import MaskNet  # noqa: PLC0415  # only where it is

        method = tint.DynaMask(lambda x: subject.model(x.double(), torch.full((len(x),), 10)).float())
        net = MaskNet(
            forward_func=method.forward_func, perturbation="fade_reference", keep_ratio=[0.1], lr=0.1,
            x_ref=torch.zeros_like(inputs).float(),
        )  # fmt: skip
        theirs = method.attribute(inputs.float(), mask_net=net, trainer=trainer(60), batch_size=1)
    assert found_cells(ours) == found_cells(theirs) == [{6, 19}]


# ---- extremal masks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [lambda total: total, torch.tanh], ids=["linear", "saturated"])
def test_extremal_masks_find_the_planted_cells(function):
    values = ExtremalMask(change=1.0).explain(planted(function)).values
    assert found_cells(values) == [{6, 19}] * len(values)
    others = values.clone()
    others[:, 2, 0] = others[:, 6, 1] = 0
    assert float(others.max()) < 0.01


def test_what_does_not_matter_is_not_kept():
    subject = planted(lambda total: total * 0)
    assert float(ExtremalMask().explain(subject).values.max()) < 0.05


def test_a_cheap_filling_takes_the_place_of_the_mask():
    """The weight of the filling is what keeps it from making the score by itself."""
    subject = planted()
    kept = [ExtremalMask(change=change, size=3.0).explain(subject).values[:, 2, 0].mean() for change in (1e-3, 1.0)]
    assert float(kept[0]) < 0.5
    assert float(kept[1]) > 0.9


def test_a_descent_step_is_that_of_its_loss():
    """One step of Adam moves every value by the rate against the sign of the loss's derivative, taken by autograd."""
    subject = made("cells", [7, 3])
    values = ExtremalMask(iterations=1, rate=0.01, size=0.05).explain(subject).values
    subject.model.eval()
    for row, length in enumerate([7, 3]):
        inputs, absent = subject.batch.inputs[row, :length], subject.reference[row, :length]
        mask = torch.full((length, FEATURES), 0.5).double().requires_grad_()

        def score(x, row=row, length=length):
            return subject.model(x[None], torch.tensor([length]))[0, subject.target[row]]

        moved = score(absent + mask * (inputs - absent)) - score(inputs)
        loss = (moved / (score(absent) - score(inputs))) ** 2 + 0.05 * mask.mean()
        expected = 0.5 - 0.01 * torch.autograd.grad(loss, mask)[0].sign()
        torch.testing.assert_close(values[row, :length], expected, rtol=1e-4, atol=1e-4)


def test_time_interprets_extremal_mask_depends_on_batch_mates_and_ours_does_not():
    """One network fills all sequences of a batch there; here every sequence has its own filling."""
    subject = made("cells", [STEPS] * 6)
    whole = ExtremalMask().explain(subject).values
    part = ExtremalMask().explain(subject.select(slice(0, 2))).values
    torch.testing.assert_close(whole[:2], part, rtol=1e-9, atol=1e-9)
    subject.model.eval()
    with contained() as tint:
        from tint.attr.models import ExtremalMaskNet  # noqa: PLC0415  # only where it is
        from tint.models import MLP, RNN  # noqa: PLC0415  # as above

        def explained(inputs):
            torch.manual_seed(0)
            method = tint.ExtremalMask(lambda x: subject.model(x.double(), torch.full((len(x),), STEPS)).float())
            network = nn.Sequential(
                RNN(input_size=FEATURES, rnn="gru", hidden_size=4, bidirectional=True), MLP([8, FEATURES])
            )
            net = ExtremalMaskNet(forward_func=method.forward_func, model=network, lr=0.05)
            return method.attribute(inputs.float(), mask_net=net, trainer=trainer(40), batch_size=6)

        theirs, fewer = explained(subject.batch.inputs), explained(subject.batch.inputs[:2])
    assert float((theirs[:2] - fewer).abs().max()) > 0.02


# ---- what holds for both -----------------------------------------------------------------------------------------


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(1, STEPS), min_size=1, max_size=4), st.sampled_from(["cells", "tokens", "regression"]))
@pytest.mark.full
def test_each_sequence_has_the_mask_it_has_alone(lengths, kind):
    subject = made(kind, lengths)
    for method in METHODS.values():
        whole = method.explain(subject).values
        for row, length in enumerate(lengths):
            alone = method.explain(subject.select(slice(row, row + 1))).values
            torch.testing.assert_close(whole[row, :length], alone[0], rtol=1e-7, atol=1e-7)
            assert not whole[row, length:].any()


@pytest.mark.parametrize("name", METHODS)
def test_masks_lie_between_0_and_1_and_are_the_same_in_small_portions(name, monkeypatch):
    subject = made("cells", [7, 1, 4])
    whole = METHODS[name].explain(subject, seed=1).values
    assert float(whole.min()) >= 0
    assert float(whole.max()) <= 1
    monkeypatch.setattr("xrnnbench.methods.temporal.masks._NUMBERS_AT_ONCE", 1)
    monkeypatch.setattr("xrnnbench.methods.temporal.extremal._NUMBERS_AT_ONCE", 1)
    torch.testing.assert_close(METHODS[name].explain(subject, seed=2).values, whole, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", METHODS)
def test_masks_can_be_learned_where_gradients_are_switched_off(name):
    subject = made("cells", [7, 2])
    expected = METHODS[name].explain(subject).values
    with torch.no_grad():
        torch.testing.assert_close(METHODS[name].explain(subject).values, expected)


@pytest.mark.parametrize(
    "spec",
    ["dynamask:width=0", "dynamask:iterations=0", "dynamask:areas=0.0", "dynamask:areas=0.5/1.1", "dynamask:loss=0.0",
     "dynamask:size=0.0", "dynamask:rate=0.0", "dynamask:dilation=0.5", "dynamask:smoothness=-1.0",
     "dynamask:perturbation=blur", "extremal-mask:size=0.0", "extremal-mask:change=0.0", "extremal-mask:rate=0.0",
     "extremal-mask:iterations=0"],
)  # fmt: skip
def test_a_parameter_out_of_range_is_refused(spec):
    with pytest.raises(ParameterError, match="does not fit"):
        build("method", spec)


def test_no_area_at_all_is_refused():
    with pytest.raises(ParameterError, match="areas"):
        Dynamask(areas=())
