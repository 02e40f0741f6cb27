"""Models as people write them: explained exactly, against brute force in double precision, or refused at once."""

import warnings
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from xrnnbench import (
    AssumptionWarning,
    Batch,
    DataError,
    Recipe,
    Retraining,
    Task,
    UnsupportedModelError,
    UsageError,
    build,
    explain,
    inspect,
)
from xrnnbench.tasks.engine.kept_state import deep_copy

STEPS, FEATURES = 6, 2
LENGTHS = torch.tensor([6, 3, 5, 2])
pytestmark = pytest.mark.filterwarnings("ignore::xrnnbench.errors.AssumptionWarning")


def features(seed=0, rows=4, lengths=LENGTHS):
    x = torch.randn(rows, STEPS, FEATURES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x * (torch.arange(STEPS) < lengths[:, None])[..., None]


def tokens(seed=0):
    x = torch.randint(1, 9, (len(LENGTHS), STEPS), generator=torch.Generator().manual_seed(seed))
    return x * (torch.arange(STEPS) < LENGTHS[:, None])


class Base(nn.Module):
    """A bidirectional LSTM with what the models below share."""

    def __init__(self, outputs=3, inputs=FEATURES, **options):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(9, inputs, padding_idx=0)
        self.rnn = nn.LSTM(inputs, 4, batch_first=True, bidirectional=True, **options)
        self.head = nn.Linear(8, outputs)
        self.double().eval()

    def packed(self, x, lengths, *, enforce_sorted=False):
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=enforce_sorted)
        state = self.rnn(packed)[1][0]
        return self.head(torch.cat([state[-2], state[-1]], 1))


class Packed(Base):
    def forward(self, x, lengths):
        return self.packed(x, lengths)


class Sorted(Base):
    def forward(self, x, lengths):
        return self.packed(x, lengths, enforce_sorted=True)


class SortedTokens(Base):
    def forward(self, text, text_lengths):
        return self.packed(self.embedding(text), text_lengths, enforce_sorted=True)


class ReadsPadding(Base):
    """Its backward direction starts in the padding."""

    def forward(self, x, lengths):
        out = self.rnn(x)[0]
        mask = (torch.arange(x.shape[1]) < lengths[:, None]).to(out)[..., None]
        return self.head((out * mask).sum(1) / lengths[:, None])


class ReadsPaddingTokens(ReadsPadding):
    def forward(self, x, lengths):
        return super().forward(self.embedding(x), lengths)


class ReadsWidth(Base):
    """It takes no lengths, and reads all that it is given."""

    def forward(self, x):
        return self.head(self.rnn(x)[0].mean(1))


class FixedBatch(Base):
    size = 4

    def forward(self, x):
        zeros = torch.zeros(2, self.size, 4).double()
        return self.head(self.rnn(x, (zeros, zeros))[0][:, -1])


class FixedSortedTokens(Base):
    size = 4

    def forward(self, x, lengths):
        zeros = torch.zeros(2, self.size, 4).double()
        packed = pack_padded_sequence(self.embedding(x), lengths.cpu(), batch_first=True)
        state = self.rnn(packed, (zeros, zeros))[1][0]
        return self.head(torch.cat([state[0], state[1]], 1))


class Stateful(Base):
    """It keeps its state from call to call."""

    def __init__(self):
        super().__init__()
        self.hidden = None

    def forward(self, x):
        if self.hidden is not None and self.hidden[0].shape[1] != len(x):
            self.hidden = None
        out, hidden = self.rnn(x, self.hidden)
        self.hidden = tuple(each.detach() for each in hidden)
        return self.head(out[:, -1])


class Tutorial(Base):
    """Its state is made before, for one size of batch, and overwritten by each call, without detach."""

    def __init__(self, rows):
        super().__init__()
        self.hidden = self.init_hidden(rows)

    def init_hidden(self, rows):
        return torch.zeros(2, rows, 4).double(), torch.zeros(2, rows, 4).double()

    def forward(self, x):
        out, self.hidden = self.rnn(x, self.hidden)
        return self.head(out[:, -1])


class BufferState(Base):
    """It adds to a buffer in place, and to a list."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(1).double())
        self.history = []

    def forward(self, x):
        self.seen += 1
        self.history.append(x.mean())
        return self.head(self.rnn(x)[0][:, -1]) * self.seen + len(self.history)


class MaxNorm(Base):
    """Its embedding is rescaled when it is read."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, FEATURES, max_norm=0.5).double()

    def forward(self, x):
        return self.head(self.rnn(self.embedding(x))[0][:, -1])


class TakesState(nn.Module):
    """It takes its state as an argument, and returns scores, state and attention."""

    def __init__(self, *, batch_first=True):
        super().__init__()
        torch.manual_seed(0)
        self.batch_first = batch_first
        self.lstm = nn.LSTM(FEATURES, 4, batch_first=batch_first)
        self.attention, self.out = nn.Linear(8, 1), nn.Linear(4, 3)
        self.double().eval()

    def forward(self, input, hidden):  # noqa: A002  # as people name it
        output, hidden = self.lstm(input, hidden)
        output = output if self.batch_first else output.transpose(0, 1)
        query = hidden[0][-1][:, None].expand(-1, output.shape[1], -1)
        weights = torch.softmax(self.attention(torch.cat((output, query), 2)), 1)
        return self.out(torch.bmm(weights.transpose(1, 2), output)[:, 0]), hidden, weights


class TwoStates(Base):
    """h and c are arguments of their own."""

    def forward(self, x, h0, c0):
        return self.head(self.rnn(x, (h0, c0))[0][:, -1])


class Cells(nn.Module):
    """A loop over a cell, whose state is an argument without an axis of layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.head = nn.GRUCell(FEATURES, 4), nn.Linear(4, 3)
        self.double().eval()

    def forward(self, x, hx):
        for step in range(x.shape[1]):
            hx = self.cell(x[:, step], hx)
        return self.head(hx)


class TimeFirst(Base):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(FEATURES, 4, bidirectional=True).double()

    def forward(self, x):
        return self.head(self.rnn(x)[0][-1])


class TimeFirstScores(Base):
    """It takes [B, T, D] and returns [T, B, K], as losses for speech want it."""

    def forward(self, x):
        return self.head(self.rnn(x)[0]).transpose(0, 1)


class OneOutput(Base):
    def __init__(self, end, squeeze):
        super().__init__(1)
        self.end, self.squeeze = end, squeeze

    def forward(self, x, lengths):
        scores = self.end(self.packed(x, lengths))
        return scores.squeeze() if self.squeeze else scores


class InPlace(Base):
    def forward(self, x):
        x[:, 0] = 0
        x -= x.mean(1, keepdim=True)
        return self.head(self.rnn(x)[0][:, -1])


class Gaps(Base):
    """Numbers with a category and a gap of time for each step, and a static input, packed."""

    def __init__(self):
        super().__init__(inputs=FEATURES + 3)
        self.kinds, self.static = nn.Embedding(9, 2).double(), nn.Linear(2, 3).double()

    def forward(self, x, lengths, kinds, gaps, static):
        whole = torch.cat([x, self.kinds(kinds), gaps[..., None]], 2)
        return self.packed(whole, lengths) + self.static(static)


class GapsWithoutLengths(Gaps):
    def forward(self, x, kinds, gaps, static):
        whole = torch.cat([x, self.kinds(kinds), gaps[..., None]], 2)
        return self.head(self.rnn(whole)[0][:, -1]) + self.static(static)


def context(rows=4, seed=1):
    rng = torch.Generator().manual_seed(seed)
    return {
        "kinds": torch.randint(0, 9, (rows, STEPS), generator=rng),
        "gaps": torch.rand(rows, STEPS, generator=rng, dtype=torch.float64),
        "static": torch.randn(rows, 2, generator=rng, dtype=torch.float64),
    }


def positive(end):
    model = OneOutput(end, squeeze=False)
    with torch.no_grad():
        model.head.bias.fill_(2.0)
    return model


def fresh(model, call):
    """A user's own call of a model that keeps state, with a fresh state each time."""

    def run(x, row):
        saved = {name: vars(model)[name] for name in ("hidden",) if name in vars(model)}
        scores = call(x, row)
        vars(model).update(saved)
        return scores

    return run


def cut(x, row):
    return x[:, : int(LENGTHS[row])]


def one(row):
    return LENGTHS[row][None]


# By name: the model, its inputs and lengths, the options, and the user's own call for one sequence [1, T, …], which
# gives its scores [K].
def cases():  # noqa: PLR0915  # one entry for each model
    packed, sorted_, words = Packed(), Sorted(), SortedTokens()
    yield "packed", packed, features(), LENGTHS, {}, lambda x, row: packed(cut(x, row), one(row))
    yield "enforce_sorted", sorted_, features(), LENGTHS, {}, lambda x, row: sorted_(cut(x, row), one(row))
    yield "enforce_sorted, tokens", words, tokens(), LENGTHS, {}, lambda x, row: words(cut(x, row), one(row))
    kept, kept_words, width = ReadsPadding(), ReadsPaddingTokens(), ReadsWidth()
    keep = {"padding": "keep"}
    yield "padding kept", kept, features(), LENGTHS, keep, lambda x, row: kept(x, one(row))
    yield "padding kept, tokens", kept_words, tokens(), LENGTHS, keep, lambda x, row: kept_words(x, one(row))
    padded = features() + (torch.arange(STEPS) >= LENGTHS[:, None])[..., None] * 0.7
    yield "padding kept, not 0", kept, padded, LENGTHS, keep, lambda x, row: kept(x, one(row))
    yield "width kept", width, features(), LENGTHS, keep, lambda x, row: width(x)
    yield "cut", width, features(), LENGTHS, {"padding": "cut"}, lambda x, row: width(cut(x, row))
    fixed, fixed_words = FixedBatch(), FixedSortedTokens()
    yield "fixed batch", fixed, features(), None, {}, lambda x, row: fixed(x.expand(4, -1, -1))[:1]
    yield (
        "fixed batch, sorted tokens", fixed_words, tokens(), LENGTHS, {},
        lambda x, row: fixed_words(cut(x, row).expand(4, -1), one(row).expand(4))[:1],
    )  # fmt: skip
    more = features(2, 7, torch.full((7,), STEPS))
    yield "fixed batch, said", fixed, more, None, {"batch_size": 4}, lambda x, row: fixed(x.expand(4, -1, -1))[:1]
    stateful = Stateful()
    yield "stateful", stateful, features(), None, {}, fresh(stateful, lambda x, row: stateful(x))
    tutorial, single = Tutorial(4), Tutorial(1)
    yield "tutorial", tutorial, features(), None, {}, fresh(tutorial, lambda x, row: tutorial(x.expand(4, -1, -1))[:1])
    yield "tutorial, one sequence", single, features()[:1], None, {}, fresh(single, lambda x, row: single(x))
    buffered = BufferState()

    def buffered_call(x, row):
        saved, buffered.history = buffered.seen.clone(), []
        scores = buffered(x)
        buffered.seen = saved
        buffered.history = []
        return scores

    yield "buffer and list", buffered, features(), None, {}, buffered_call
    rescaled = MaxNorm()
    yield "max_norm", rescaled, tokens().clamp_min(1), None, {}, lambda x, row: rescaled(x)
    batch, time = TakesState(), TakesState(batch_first=False)
    zeros = torch.zeros(1, 1, 4).double()
    yield "state argument", batch, features(), None, {"part": 0}, lambda x, row: batch(x, (zeros, zeros))[0]
    yield (
        "state argument, time-first", time, features().transpose(0, 1), None, {"part": 0, "batch_first": False},
        lambda x, row: time(x.transpose(0, 1), (zeros, zeros))[0],
    )  # fmt: skip
    two, cells, first = TwoStates(), Cells(), TimeFirst()
    pair = torch.zeros(2, 1, 4).double()
    yield "two state arguments", two, features(), None, {}, lambda x, row: two(x, pair, pair)
    yield "state of a cell", cells, features(), None, {}, lambda x, row: cells(x, torch.zeros(1, 4).double())
    start = torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    given = {"part": 0, "context": {"hidden": (start, 0.5 * start)}}
    own = lambda row: (start[:, [row]], 0.5 * start[:, [row]])  # noqa: E731
    yield "given state, layer-first", batch, features(), None, given, lambda x, row: batch(x, own(row))[0]
    rows_first = {"part": 0, "context": {"hidden": (start.transpose(0, 1), 0.5 * start.transpose(0, 1))}}
    yield "given state, row-first", batch, features(), None, rows_first, lambda x, row: batch(x, own(row))[0]
    turned = features().transpose(0, 1)
    yield "time-first", first, turned, None, {"batch_first": False}, lambda x, row: first(x.transpose(0, 1))
    scores = TimeFirstScores()
    options = {"time_first_scores": True, "step": 2}
    yield "time-first scores", scores, features(), None, options, lambda x, row: scores(x)[2]
    for squeeze in (False, True):
        logit = OneOutput(nn.Identity(), squeeze)
        sigmoid = OneOutput(nn.Sigmoid(), squeeze)
        yield (
            f"logit, {squeeze}", logit, features(), LENGTHS, {},
            lambda x, row, net=logit: torch.cat([s := net(cut(x, row), one(row)).view(1, 1) * -1, -s], 1),
        )  # fmt: skip
        yield (
            f"sigmoid, {squeeze}", sigmoid, features(), LENGTHS, {},
            lambda x, row, net=sigmoid: torch.cat([1 - (s := net(cut(x, row), one(row)).view(1, 1)), s], 1),
        )  # fmt: skip
    place = InPlace()
    yield "in place", place, features(), None, {}, lambda x, row: place(x.clone())
    gaps, short = Gaps(), GapsWithoutLengths()
    extra = context()

    def own_context(row, steps=STEPS):
        return {
            name: value[[row]][:, :steps] if value.shape[1] == STEPS else value[[row]] for name, value in extra.items()
        }

    yield (
        "context along the steps", gaps, features(), LENGTHS, {"context": extra},
        lambda x, row: gaps(cut(x, row), one(row), **own_context(row, int(LENGTHS[row]))),
    )  # fmt: skip
    yield (
        "context along the steps, no lengths", short, features(), LENGTHS, {"context": extra},
        lambda x, row: short(cut(x, row), **own_context(row, int(LENGTHS[row]))),
    )  # fmt: skip


CASES = {name: rest for name, *rest in cases()}


def batch_first(name, inputs):
    return inputs.transpose(0, 1) if "time-first" in name and "scores" not in name else inputs


def brute_force(run, inputs, lengths, target, reference=0.0):
    """f(x) − f(x without one step or cell), one sequence at a time."""
    values = torch.zeros(inputs.shape, dtype=torch.float64)
    sizes = torch.full((len(inputs),), inputs.shape[1]) if lengths is None else lengths
    with torch.no_grad():
        for row in range(len(inputs)):
            whole = run(inputs[[row]].clone(), row)[0, target[row]]
            for place in np.ndindex(int(sizes[row]), *inputs.shape[2:]):
                other = inputs[[row]].clone()
                other[(0, *place)] = reference
                values[(row, *place)] = whole - run(other, row)[0, target[row]]
    return values


@pytest.mark.parametrize("name", CASES)
def test_occlusion_is_its_definition_on_the_users_own_calls(name):
    model, inputs, lengths, options, run = CASES[name]
    found = explain(model, inputs, lengths, method="occlusion", **options)
    x = batch_first(name, inputs)
    plain = torch.cat([run(x[[row]].clone(), row).detach() for row in range(len(x))])
    assert torch.equal(found.target, plain.argmax(1))
    torch.testing.assert_close(found.score, plain.gather(1, found.target[:, None])[:, 0], rtol=0, atol=1e-9)
    expected = brute_force(run, x, lengths, found.target)
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-9)
    assert found.values.abs().flatten(1).sum(1).min() > 0


@pytest.mark.parametrize("method", ["deeplift", "integrated-gradients:steps=64"])
@pytest.mark.parametrize("name", [name for name in CASES if name != "in place"])
def test_contributions_sum_to_the_difference_of_the_users_own_scores(name, method):
    model, inputs, lengths, options, run = CASES[name]
    found = explain(model, inputs, lengths, method=method, **options)
    x = batch_first(name, inputs)
    sizes = torch.full((len(x),), STEPS) if lengths is None else lengths
    own = torch.arange(STEPS) < sizes[:, None]
    gone = torch.where(own if x.dim() == 2 else own[..., None], torch.zeros_like(x), x)
    with torch.no_grad():
        score, base = (
            torch.stack([run(each[[row]].clone(), row)[0, found.target[row]] for row in range(len(x))])
            for each in (x, gone)
        )
    torch.testing.assert_close(found.values.flatten(1).sum(1), score - base, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.reference_score, base, rtol=0, atol=1e-9)
    assert found.gap.abs().max() < 1e-9
    assert not found.incomplete.any()


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_the_users_own_calls(name):
    model, inputs, lengths, options, run = CASES[name]
    if not inputs.is_floating_point():
        pytest.skip("tokens have no gradient of their own")
    found = explain(model, inputs, lengths, method="saliency", **options)
    x = batch_first(name, inputs)
    for row in range(len(x)):
        point = x[[row]].clone().requires_grad_()
        (slope,) = torch.autograd.grad(run(point.clone(), row)[0, found.target[row]], point)
        steps = STEPS if lengths is None else int(lengths[row])
        torch.testing.assert_close(found.values[row, :steps], slope[0, :steps].abs(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", ["lime", "kernel-shap:samples=60", "timeshap", "lrp", "temporal-ig:steps=4"])
@pytest.mark.parametrize("name", [name for name in CASES if name != "in place"])
def test_other_methods_run(name, method):
    if name == "time-first scores" and method.startswith("temporal"):
        pytest.skip("a shorter sequence has no such output step")
    model, inputs, lengths, options, _ = CASES[name]
    found = explain(model, inputs, lengths, method=method, **options)
    assert found.values.isfinite().all()


@pytest.mark.parametrize("rows", [1, 6, 50, 600])
def test_context_along_the_steps_at_any_number(rows):
    rng = torch.Generator().manual_seed(rows)
    lengths = torch.randint(1, STEPS + 1, (rows,), generator=rng)
    lengths[0] = STEPS
    x, extra, gaps = features(rows, rows, lengths), context(rows), Gaps()
    found = explain(gaps, x, lengths, method="occlusion", context=extra)
    for row in {0, rows // 2, rows - 1}:
        steps = int(lengths[row])
        own = {
            name: value[[row]][:, :steps] if value.shape[1] == STEPS else value[[row]] for name, value in extra.items()
        }

        def run(z, _, steps=steps, own=own):
            return gaps(z[:, :steps], torch.tensor([steps]), **own)

        expected = brute_force(run, x[[row]], lengths[[row]], found.target[[row]])
        torch.testing.assert_close(found.values[[row]], expected, rtol=0, atol=1e-9)


class Repeated(Base):
    """Tokens with a number for each step; the same token may stand twice."""

    def __init__(self, **options):
        super().__init__(inputs=FEATURES, **options)
        self.rnn = nn.LSTM(FEATURES + 1, 4, batch_first=True, bidirectional=True).double()

    def forward(self, x, t):
        return self.head(self.rnn(torch.cat([self.embedding(x), t[..., None]], 2))[0].mean(1))


def deletions(run, x, target):
    """f(x) − f(x without a step), of one sequence; run is called with the steps that are left."""
    steps = x.shape[1]
    with torch.no_grad():
        whole = run(list(range(steps)))[0, target]
        return torch.stack([whole - run([s for s in range(steps) if s != step])[0, target] for step in range(steps)])


@pytest.mark.parametrize("padding", [None, "keep"])
def test_equal_inputs_with_another_context_are_not_the_same_variant(padding):
    model, x = Repeated(), torch.tensor([[5, 5, 3]])
    t = torch.tensor([[0.1, 3.0, -2.0]]).double()
    options = {} if padding is None else {"padding": "keep", "along": ("t",)}
    found = explain(model, x, method="occlusion:by=delete", context={"t": t}, **options)
    if padding is None:
        expected = deletions(lambda left: model(x[:, left], t[:, left]), x, found.target[0])
    else:  # at the given width, with zeros for what was deleted

        def run(left):
            filled = torch.zeros_like(x)
            filled[:, : len(left)] = x[:, left]
            rest = [step for step in range(3) if step not in left]
            return model(filled, t[:, left + rest])

        expected = deletions(run, x, found.target[0])
    torch.testing.assert_close(found.values[0], expected, rtol=0, atol=1e-12)
    assert found.values[0, 0] != found.values[0, 1]


def test_kept_padding_asks_which_context_moves():
    model, x = Repeated(), torch.tensor([[5, 5, 3]])
    t = {"t": torch.tensor([[0.1, 3.0, -2.0]]).double()}
    with pytest.raises(
        UsageError, match=r"context 't' may run along the steps or not; say along=\('t',\) or along=\(\)"
    ):
        explain(model, x, method="occlusion:by=delete", context=t, padding="keep")
    assert explain(model, x, method="occlusion", context=t, padding="keep").values.any()
    with pytest.raises(DataError, match="there is no context of that name with 3 steps"):
        explain(model, x, context=t, along=("gap",))
    with pytest.raises(DataError, match="give a tuple of names"):
        explain(model, x, context=t, along="t")


class Pair(Base):
    """Premise and hypothesis: the second sequence is context, and as wide as the first."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(16, 3).double()

    def forward(self, premise, hypothesis):
        first, second = (self.rnn(self.embedding(each))[0].amax(1) for each in (premise, hypothesis))
        return self.head(torch.cat([first, second], 1))


class PackedPair(Pair):
    def forward(self, premise, lengths, hypothesis):
        packed = pack_padded_sequence(self.embedding(premise), lengths, batch_first=True, enforce_sorted=False)
        state = self.rnn(packed)[1][0]
        return self.head(torch.cat([state[0], state[1], self.rnn(self.embedding(hypothesis))[0].amax(1)], 1))


def test_a_second_sequence_of_the_same_width_is_not_cut():
    x, other = tokens(), torch.randint(1, 9, (4, STEPS), generator=torch.Generator().manual_seed(5))
    model, packed = Pair(), PackedPair()
    found = explain(model, x, LENGTHS, method="occlusion", context={"hypothesis": other}, padding="cut")
    expected = brute_force(lambda z, row: model(cut(z, row), other[[row]]), x, LENGTHS, found.target)
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-12)
    found = explain(packed, x, LENGTHS, method="occlusion", context={"hypothesis": other})
    expected = brute_force(lambda z, row: packed(cut(z, row), one(row), other[[row]]), x, LENGTHS, found.target)
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-12)
    full = x.clamp_min(1)
    found = explain(model, full, method="occlusion:by=delete", context={"hypothesis": other})
    for row in range(4):
        expected = deletions(
            lambda left, row=row: model(full[[row]][:, left], other[[row]]), full[[row]], found.target[row]
        )
        torch.testing.assert_close(found.values[row], expected, rtol=0, atol=1e-12)


class StaticOfThatWidth(Gaps):
    """Its static input has as many numbers as there are steps."""

    def __init__(self):
        super().__init__()
        self.static = nn.Linear(STEPS, 3).double()


class StaticSum(Base):
    def forward(self, x, static):
        return self.head(self.rnn(x)[0][:, -1]) + static.sum(1, keepdim=True)


def test_static_context_of_the_same_width_is_not_cut():
    x, extra = features(), context() | {"static": torch.randn(4, STEPS, dtype=torch.float64)}
    model, summed = StaticOfThatWidth(), StaticSum()
    found = explain(model, x, LENGTHS, method="occlusion", context=extra)

    def run(z, row):
        own = {name: value[[row]] for name, value in extra.items()}
        steps = int(LENGTHS[row])
        return model(cut(z, row), one(row), own["kinds"][:, :steps], own["gaps"][:, :steps], own["static"])

    torch.testing.assert_close(found.values, brute_force(run, x, LENGTHS, found.target), rtol=0, atol=1e-12)
    static = {"static": extra["static"]}
    found = explain(summed, x, LENGTHS, method="occlusion", context=static, padding="cut")
    expected = torch.stack([summed(x[[r], : int(n)], extra["static"][[r]])[0].detach() for r, n in enumerate(LENGTHS)])
    torch.testing.assert_close(found.score, expected.gather(1, found.target[:, None])[:, 0], rtol=0, atol=1e-12)


class Codes(Base):
    """A bag of codes, padded with 0, as wide as there are steps."""

    def __init__(self):
        super().__init__()
        self.codes = nn.Embedding(20, 3, padding_idx=0).double()

    def forward(self, x, codes):
        return self.head(self.rnn(x)[0][:, -1]) + self.codes(codes).sum(1)


class PairOfLengths(Pair):
    """Both sentences tell their lengths by their padding."""

    def forward(self, premise, lengths, hypothesis):
        both = ((premise, lengths), (hypothesis, (hypothesis != 0).sum(1)))
        packed = (pack_padded_sequence(self.embedding(x), n, batch_first=True, enforce_sorted=False) for x, n in both)
        states = [self.rnn(each)[1][0] for each in packed]
        return self.head(torch.cat([state for pair in states for state in pair], 1))


@pytest.mark.parametrize("beyond", [0, 1])
def test_padding_of_a_second_sequence_is_no_sign_that_it_runs_along_the_steps(beyond):
    rng = torch.Generator().manual_seed(6)
    codes = torch.randint(1, 9, (4, STEPS), generator=rng)
    codes[3, int(LENGTHS[3]) + beyond :] = 0  # the shortest sequence has as few codes as steps, or one more
    x, model, pair = features(), Codes(), PairOfLengths()
    with pytest.warns(
        AssumptionWarning, match=r"reads its context codes beyond .* say along=\('codes',\) if it runs along"
    ):
        found = explain(model, x, LENGTHS, method="occlusion", context={"codes": codes})
    expected = brute_force(lambda z, row: model(cut(z, row), codes[[row]]), x, LENGTHS, found.target)
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-12)
    words = tokens()
    for options in ({}, {"padding": "cut"}):
        found = explain(pair, words, LENGTHS, method="occlusion", context={"hypothesis": codes}, **options)
        expected = brute_force(lambda z, row: pair(cut(z, row), one(row), codes[[row]]), words, LENGTHS, found.target)
        torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-12)


def test_functions_get_their_lengths_by_name():
    weights = np.random.default_rng(0).normal(size=(FEATURES, 3))
    x, lengths = features().numpy(), LENGTHS.numpy()

    def by_name(a, scale=None, lengths=None):
        assert scale is None
        steps = np.arange(a.shape[1]) < lengths[:, None]
        return (a * steps[..., None]).sum(1) @ weights

    plain = explain(lambda a, lengths: by_name(a, lengths=lengths), x, lengths, method="occlusion").values
    for function in (
        by_name,
        lambda a, *, lengths: by_name(a, lengths=lengths),
        lambda lengths, a: by_name(a, None, lengths),
    ):
        assert torch.equal(explain(function, x, lengths, method="occlusion").values, plain)


class Beside(nn.Module):
    """It returns the probabilities of as many classes as there are steps, beside its scores."""

    def __init__(self, *, attends):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head = nn.GRU(FEATURES, 4, batch_first=True), nn.Linear(4, STEPS)
        self.attends = attends
        self.double().eval()

    def forward(self, x):
        out = self.rnn(x)[0]
        weights = out.sum(2).softmax(1)
        scores = self.head((weights[..., None] * out).sum(1))
        return (scores, scores.softmax(1), weights) if self.attends else (scores, scores.softmax(1))


def test_class_probabilities_are_no_attention():
    x = features()
    with pytest.raises(UsageError, match="shows no attention"):
        explain(Beside(attends=False), x, method="attention", part=0)
    found = explain(Beside(attends=True), x, method="attention", part=0)
    torch.testing.assert_close(found.values, Beside(attends=True)(x)[2].detach())


def test_what_inspect_says_of_a_method_is_true():
    class Masked(Base):
        def forward(self, x):
            own = (x != 0)[..., None]
            return self.head((self.rnn(self.embedding(x))[0] * own).sum(1) / own.sum(1).clamp_min(1))

    class FixedWidth(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.rnn, self.head = nn.GRU(FEATURES, 4, batch_first=True).double(), nn.Linear(4 * STEPS, 3).double()

        def forward(self, x):
            return self.head(self.rnn(x)[0].flatten(1))

    for model, x, options in (
        (Masked(), tokens(), {}), (Masked(), tokens(), {"reference": 3}), (FixedWidth(), features(), {})
    ):  # fmt: skip
        shown = inspect(model, x, **options)
        for method in ("saliency", "deeplift", "lrp", "lrp-half", "temporal-ig:steps=2", "magnitude", "occlusion"):
            try:
                explain(model, x, method=method, **options)
                reason = ""
            except (UsageError, UnsupportedModelError) as error:
                reason = str(error)
            assert bool(shown.methods[method.partition(":")[0]]) == bool(reason), (method, reason)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"inputs": [torch.zeros(4, 3), torch.zeros(4, 2)]}, "a list of arrays"),
        ({"inputs": (torch.zeros(2, 4, 3), torch.zeros(2))}, r"cannot take the inputs 0\[B, 4, 3\], 1\[B\] in a tuple"),
        ({"context": [1, 2]}, "The context is a list: give a mapping"),
        ({"along": 3}, "give a tuple of names"),
        ({"model": lambda x: x[:, 0, :0]}, "returns no score for a sequence"),
        ({"model": lambda x: x[..., 0], "lengths": [6, 5, 4, 3], "outputs": "values"}, "another number of scores for"),
    ],
)
def test_odd_arguments_are_refused_in_one_sentence(changed, words):
    given = {"model": ReadsWidth(), "inputs": features(), "method": "occlusion"} | changed
    with pytest.raises(DataError, match=words):
        explain(**given)


def test_a_model_made_in_inference_mode_is_refused():
    with torch.inference_mode():
        model = ReadsWidth()
    with pytest.raises(DataError, match=r"was made in torch\.inference_mode: make it outside"):
        explain(model, features(), method="occlusion")


class TimeFirstGaps(Base):
    def __init__(self):
        super().__init__(inputs=FEATURES + 1)
        self.rnn = nn.LSTM(FEATURES + 1, 4, bidirectional=True).double()

    def forward(self, x, gaps):
        return self.head(self.rnn(torch.cat([x, gaps[..., None]], 2))[0][-1])


@pytest.mark.parametrize("rows", [3, STEPS])
@pytest.mark.parametrize("padding", [None, "keep"])
def test_time_first_context_also_with_as_many_sequences_as_steps(rows, padding):
    full = torch.full((rows,), STEPS)
    model, x = TimeFirstGaps(), features(7, rows, full).transpose(0, 1)
    gaps = torch.rand(STEPS, rows, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    found = explain(model, x, method="occlusion", batch_first=False, context={"gaps": gaps}, padding=padding)
    torch.testing.assert_close(found.score, model(x, gaps).detach().amax(1), rtol=0, atol=1e-12)
    expected = brute_force(
        lambda z, row: model(z.transpose(0, 1), gaps[:, [row]]), x.transpose(0, 1), None, found.target
    )
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-12)


def test_references_and_lists_of_a_time_first_model():
    model, x = TimeFirst(), features(9, 3, torch.full((3,), STEPS)).transpose(0, 1)
    each = torch.rand(STEPS, 1, FEATURES, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = explain(model, x, method="occlusion", batch_first=False, reference=each)
    assert found.values.shape == (3, STEPS, FEATURES)
    assert torch.equal(found.reference[1], each[:, 0])
    with pytest.raises(DataError, match="The reference has shape"):
        explain(model, x, method="occlusion", batch_first=False, reference=torch.zeros(STEPS + 1, 1, FEATURES))
    with pytest.raises(DataError, match="6 output steps for 3 sequences"):
        explain(model, x, method="occlusion", batch_first=False, step=torch.zeros(STEPS, dtype=torch.int64))
    rows = [torch.randn(3, FEATURES).double() for _ in range(5)]
    found = explain(model, rows, method="occlusion", batch_first=False)
    stacked = torch.stack(rows)
    torch.testing.assert_close(found.score, model(stacked.transpose(0, 1)).detach().amax(1), rtol=0, atol=1e-12)


class TwoEnds(Base):
    """One output, shaped at the end in the ways that people use."""

    def __init__(self, end):
        super().__init__(1)
        self.end = end
        with torch.no_grad():
            self.head.bias.fill_(0.4)
            self.head.weight.mul_(0.01)

    def forward(self, x):
        return self.end(self.head(self.rnn(x)[0]))


@pytest.mark.parametrize(
    "end",
    [
        lambda z: z[:, -1].squeeze(-1),
        lambda z: z[:, -1].squeeze(1),
        lambda z: z[torch.arange(len(z)), -1],
        lambda z: z[:, -1].double().view(-1),
        lambda z: z[:, -1].flatten().clone(),
    ],
)
def test_a_logit_stays_a_logit_however_it_is_shaped(end):
    found = explain(TwoEnds(end), features()[:1], method="occlusion")
    assert found.target.tolist() == [1]
    assert 0.3 < float(found.score) < 0.5


def test_one_sigmoid_of_a_model_without_gradients():
    class Detached(Base):
        def forward(self, x):
            return torch.from_numpy(torch.sigmoid(self.head(self.rnn(x)[0][:, -1])).numpy())

    model = Detached(1)
    model.head.requires_grad_(requires_grad=False)
    model.rnn.requires_grad_(requires_grad=False)
    assert explain(model, features(), method="occlusion").values.any()
    model = Detached(1)  # .numpy() fails where a gradient is required, and is never tried where none is needed
    assert explain(model, features(), method="occlusion").values.any()


def test_a_context_that_is_called_like_a_state_is_not_taken_for_one():
    class Cities(Base):
        def __init__(self):
            super().__init__()
            self.cities = nn.Embedding(5, 3).double()

        def forward(self, x, state):
            return self.head(self.rnn(x)[0][:, -1]) + self.cities(state)

    model, state = Cities(), torch.tensor([1, 2, 3, 4])
    found = explain(model, features(), method="occlusion", context={"state": state})
    expected = brute_force(lambda z, row: model(z, state[[row]]), features(), None, found.target)
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-12)
    with pytest.raises(DataError, match="The context 'state' has shape"):
        explain(model, features(), context={"state": torch.tensor(1)})


class StateBeforeLengths(Base):
    def forward(self, x, hidden, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        state = self.rnn(packed, hidden)[1][0]
        return self.head(torch.cat([state[0], state[1]], 1))


def test_lengths_may_follow_the_state():
    model, x = StateBeforeLengths(), features()
    zeros = torch.zeros(2, 1, 4).double()
    found = explain(model, x, LENGTHS, method="occlusion")
    expected = brute_force(lambda z, row: model(cut(z, row), (zeros, zeros), one(row)), x, LENGTHS, found.target)
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("outputs", [1, 3])
def test_batches_of_one_with_squeezed_scores(outputs):
    class One(Base):
        def forward(self, x):
            state = torch.zeros(2, 1, 4).double()
            return self.head(self.rnn(x, (state, state))[0][:, -1]).squeeze()

    model, x = One(outputs), features(lengths=torch.full((4,), STEPS))
    kind = {"outputs": "values"} if outputs == 1 else {}
    found = explain(model, x, method="occlusion", batch_size=1, **kind)
    expected = brute_force(lambda z, row: model(z).view(1, outputs), x, None, found.target)
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-12)


def test_embeddings_with_max_norm_and_kept_padding():
    model = MaxNorm()
    before = model.embedding.weight.clone()
    found = explain(model, tokens(), LENGTHS, method="deeplift", padding="keep", reference=8)
    assert found.gap.abs().max() < 1e-9
    assert torch.equal(model.embedding.weight, before)


def test_a_model_that_needs_an_adapter_is_not_trained_again_and_says_why():
    retraining = Retraining(
        Batch(features(), LENGTHS, torch.zeros(4).long()),
        Batch(features(), LENGTHS, torch.zeros(4).long()),
        lambda batch: torch.zeros_like(batch.inputs),
        network=Stateful,
        recipe=Recipe(epochs=1),
    )
    with pytest.raises(DataError, match="and this one overwrites hidden in each call"):
        Task.from_model(Stateful(), features(), None, torch.zeros(4).long(), retraining=retraining)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"lengths": [3, 2]}, "one for each sequence"),
        ({"lengths": 3}, "one for each sequence"),
        ({"inputs": torch.zeros(0, STEPS, FEATURES)}, "no sequences"),
        ({"inputs": torch.zeros(4, dtype=torch.int64)}, "have shape"),
        ({"inputs": torch.zeros(4, dtype=torch.int64), "batch_first": False}, "expected \\[T, B\\] tokens"),
        ({"background": torch.zeros(4, 0, FEATURES)}, "no sequences"),
        ({"contract_tolerance": "0.1"}, "give a share of the spread"),
        ({"contract_tolerance": True}, "give a share of the spread"),
    ],
)
@pytest.mark.parametrize("padding", [None, "keep"])
def test_what_does_not_fit_is_one_sentence_with_every_padding(changed, words, padding):
    given = {"inputs": features(), "lengths": LENGTHS, "method": "occlusion", "padding": padding} | changed
    with pytest.raises(DataError, match=words):
        explain(ReadsPadding(), **given)


class Penalised(Base):
    """Parameters with len in their names that are no lengths."""

    def forward(self, x, length_penalty=2.0, max_len=None, valence=None, silent=False):  # noqa: FBT002  # as people write it
        assert max_len is None
        assert valence is None
        assert silent is False
        return self.head(self.rnn(x)[0][:, -1]) / length_penalty


class LengthsByName(Base):
    def forward(self, x, mask=None, *, seq_lens=None):
        return self.packed(x, seq_lens)


class LengthsFirst(Base):
    def forward(self, lengths, x):
        return self.packed(x, lengths)


def test_lengths_are_told_by_the_name_of_their_parameter():
    model, x = Penalised(), features(lengths=torch.full((4,), STEPS))
    found = explain(model, x, method="occlusion")
    expected = brute_force(lambda z, row: model(z), x, None, found.target)
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-12)
    plain, x = Packed(), features()
    expected = explain(plain, x, LENGTHS, method="occlusion").values
    for other in (LengthsByName(), LengthsFirst(), nn.DataParallel(plain), torch.compile(plain, backend="eager")):
        torch.testing.assert_close(explain(other, x, LENGTHS, method="occlusion").values, expected, rtol=0, atol=1e-12)


def test_every_call_starts_from_the_state_at_the_beginning():
    model = Stateful()
    classes = torch.zeros(4, dtype=torch.int64)
    task = Task.from_model(model, features(), None, classes)
    before = task.subject(0).batch_outputs
    model(features(1))  # the user goes on using the model
    assert model.hidden is not None
    assert torch.equal(task.subject(0).batch_outputs, before)
    with pytest.raises(DataError, match="it keeps hidden from call to call: reset that before it is explained"):
        explain(model, features(), method="occlusion")
    single = Tutorial(1)
    single(features()[:1])
    with pytest.warns(AssumptionWarning, match="keeps hidden from call to call, and is explained as it starts from"):
        explain(single, features()[:1], method="occlusion")


class KeepsAttention(Base):
    """It keeps the attention of its last call for the user to look at, with its graph."""

    def forward(self, x):
        out = self.rnn(x)[0]
        self.attention = out.sum(2).softmax(1)
        return self.head((self.attention[..., None] * out).sum(1))


def test_a_tensor_that_is_kept_with_its_graph_disturbs_nothing(recwarn):
    model, x = KeepsAttention(), features()
    fresh = {method: explain(model, x, method=method).values for method in ("deeplift", "lrp")}
    model(x)
    kept = model.attention
    for method, values in fresh.items():
        assert torch.equal(explain(model, x, method=method).values, values)
    assert model.attention is kept
    task = Task.from_model(model, x, None, torch.zeros(4, dtype=torch.int64))
    assert build("metric", "parameter-randomisation").applicable(build("method", "deeplift"), task.subject(0)) == ""
    copied = deep_copy(model)
    assert torch.equal(copied.attention, kept.detach())
    assert not [each for each in recwarn if "call to call" in str(each.message)]


class TimeFirstView(Base):
    def __init__(self):
        super().__init__()
        self.project, self.rnn = (
            nn.Linear(FEATURES, FEATURES).double(),
            nn.LSTM(FEATURES, 4, bidirectional=True).double(),
        )

    def forward(self, x):
        flat = self.project(x.view(-1, FEATURES))
        return self.head(self.rnn(flat.view(x.shape))[0][-1])


def test_time_first_inputs_are_contiguous():
    model, x = TimeFirstView(), features().transpose(0, 1).contiguous()
    found = explain(model, x, method="occlusion", batch_first=False)
    expected = brute_force(lambda z, row: model(z.transpose(0, 1).contiguous()), x.transpose(0, 1), None, found.target)
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-12)


class TakesH0(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head = nn.GRU(FEATURES, 4, 2, batch_first=True), nn.Linear(4, 3)
        self.double().eval()

    def forward(self, x, h_0):
        return self.head(self.rnn(x, h_0)[0][:, -1])


@pytest.mark.parametrize("kind", ["layer-first", "row-first", "list"])
def test_a_given_state_of_as_many_layers_as_sequences(kind):
    rng = torch.Generator().manual_seed(4)
    x, start = features()[:2], torch.randn(2, 2, 4, generator=rng, dtype=torch.float64)
    model = TakesH0()
    if kind == "list":
        model, start = TakesState(), [torch.randn(1, 2, 4, generator=rng).double() for _ in range(2)]
        found = explain(model, x, method="occlusion", part=0, context={"hidden": [part.numpy() for part in start]})
        expected = brute_force(
            lambda z, row: model(z, tuple(part[:, [row]] for part in start))[0], x, None, found.target
        )
    else:
        given = start if kind == "layer-first" else start.transpose(0, 1)  # where both fit, it is layer-first
        found = explain(model, x, method="occlusion", context={"h_0": given})
        expected = brute_force(lambda z, row: model(z, given[:, [row]].contiguous()), x, None, found.target)
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-12)


class Unregistered(nn.Module):
    """Its weights are in a plain list."""

    def __init__(self):
        super().__init__()
        self.nets = [Base(), Base()]

    def forward(self, x):
        return sum(net.head(net.rnn(x)[0][:, -1]) for net in self.nets)


def test_a_double_model_without_registered_parameters():
    model, x = Unregistered(), features()
    found = explain(model, x, method="occlusion")
    expected = brute_force(lambda z, row: model(z), x, None, found.target)
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (torch.zeros(2, 3, 1).to_sparse(), "are a sparse, nested or empty tensor"),
        (torch.zeros(2, 3, 1, device="meta"), "are a sparse, nested or empty tensor"),
        (np.ma.masked_array(np.zeros((2, 3, 1)), mask=np.eye(3, 2)[None].T.repeat(1, 2)[:2] > 0), "are a masked array"),
    ],
)
def test_tensors_of_other_kinds_are_refused(inputs, words):
    with pytest.raises(DataError, match=words):
        explain(ReadsWidth(), inputs, method="occlusion")


def test_models_that_are_not_ready_are_refused():
    with pytest.raises(DataError, match="parameters that are not yet initialised: run it once"):
        explain(nn.Sequential(nn.LazyLinear(2)), features(), method="occlusion")
    with pytest.raises(DataError, match="a plain function is given NumPy arrays: to explain a module, pass the module"):
        explain(lambda x: ReadsWidth()(x), features(), method="occlusion")  # noqa: PLW0108  # as people write it
    with pytest.raises(DataError, match="give it one row for each; what is the same for all belongs to the model"):
        explain(StaticSum(), features(), context={"static": 0.7})


@pytest.mark.parametrize("kind", [dict, tuple])
def test_functions_that_return_several_arrays(kind):
    model = ReadsWidth()

    def predict(x):
        scores = model(torch.from_numpy(x)).detach().numpy()
        return {"logits": scores, "other": x} if kind is dict else (scores, x)

    found = explain(predict, features().numpy(), method="occlusion", part="logits" if kind is dict else 0)
    torch.testing.assert_close(found.values, explain(model, features(), method="occlusion").values)


def test_warnings_point_at_the_users_line():
    with pytest.warns(AssumptionWarning) as caught:
        explain(OneOutput(nn.Identity(), squeeze=False), features(), LENGTHS)
    assert caught[0].filename == __file__


def test_deleted_steps_take_their_context_with_them():
    x, extra, gaps = features(), context(), Gaps()
    found = explain(gaps, x, LENGTHS, method="occlusion:by=delete", context=extra)
    for row in range(len(x)):
        steps = int(LENGTHS[row])
        for step in range(steps):
            left = [other for other in range(steps) if other != step]
            own = {
                name: value[[row]][:, left] if value.shape[1] == STEPS else value[[row]]
                for name, value in extra.items()
            }
            whole = {
                name: value[[row]][:, :steps] if value.shape[1] == STEPS else value[[row]]
                for name, value in extra.items()
            }
            with torch.no_grad():
                change = gaps(x[[row], :steps], torch.tensor([steps]), **whole) - gaps(
                    x[[row]][:, left], torch.tensor([steps - 1]), **own
                )
            shown = found.values[row, step] if found.values.dim() == 2 else found.values[row, step].sum()
            torch.testing.assert_close(shown, change[0, found.target[row]], rtol=0, atol=1e-9)


@pytest.mark.parametrize("attention", [None, 2])
@pytest.mark.parametrize("time_first", [False, True])
def test_returned_attention_is_the_attention_methods(time_first, attention):
    model = TakesState(batch_first=not time_first)
    x = features(rows=4)
    zeros = torch.zeros(1, 4, 4).double()
    shown = x.transpose(0, 1) if time_first else x
    options = {"part": 0, "batch_first": not time_first} | ({} if attention is None else {"attention": attention})
    scores, _, weights = model(shown, (zeros, zeros))
    found = explain(model, shown, method="attention", **options)
    assert torch.equal(found.values, weights[..., 0].detach())
    (slope,) = torch.autograd.grad(scores.gather(1, scores.argmax(1, keepdim=True)).sum(), weights)
    found = explain(model, shown, method="attention-gradient", **options)
    torch.testing.assert_close(found.values, (weights * slope)[..., 0].detach(), rtol=0, atol=1e-12)


class TimeFirstWeights(nn.Module):
    """Everything it takes and returns is time-first, its weights too; as many sequences as steps."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head = nn.GRU(FEATURES, 4).double(), nn.Linear(4, 3).double()

    def forward(self, x):
        out = self.rnn(x)[0]
        weights = out.sum(2, keepdim=True).softmax(0)
        return self.head((weights * out).sum(0)), weights


@pytest.mark.parametrize("attention", [None, 1])
def test_time_first_attention_of_as_many_sequences_as_steps(attention):
    model, x = TimeFirstWeights(), features(5, STEPS, torch.full((STEPS,), STEPS)).transpose(0, 1)
    options = {"part": 0, "batch_first": False, "attention": attention}
    scores, weights = model(x)
    found = explain(model, x, method="attention", **options)
    torch.testing.assert_close(found.values, weights[..., 0].T.detach(), rtol=0, atol=1e-12)
    (slope,) = torch.autograd.grad(scores.gather(1, scores.argmax(1, keepdim=True)).sum(), weights)
    found = explain(model, x, method="attention-gradient", **options)
    torch.testing.assert_close(found.values, (weights * slope)[..., 0].T.detach(), rtol=0, atol=1e-12)


def test_attention_that_is_no_weight_for_each_step_is_refused():
    model, x = TakesState(), features()
    with pytest.raises(
        DataError, match=r"The part 1 of what TakesState returns is a tuple of .* one weight for each step"
    ):
        explain(model, x, part=0, attention=1)
    with pytest.raises(DataError, match="which has no part 7: say which part holds the attention"):
        explain(model, x, part=0, attention=7)


class Viewed(Base):
    """Its batches have four sequences, whatever it is given."""

    def forward(self, x):
        return self.head(self.rnn(x.reshape(4, -1, FEATURES))[0][:, -1])


def test_a_model_that_reshapes_to_one_batch_size_runs_in_batches_of_that_size():
    model, x = Viewed(), features(lengths=torch.full((4,), STEPS))
    found = explain(model, x, method="occlusion")
    expected = brute_force(lambda z, row: model(z.expand(4, -1, -1))[:1], x, None, found.target)
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-12)


def test_padding_of_a_background_may_be_nan():
    x, model = features(), Packed()
    noisy = torch.where((torch.arange(STEPS) < LENGTHS[:, None])[..., None], x, torch.nan)
    found = explain(model, noisy, LENGTHS, method="gradient-shap:samples=8", background=noisy)
    assert found.values.isfinite().all()
    assert Task.from_model(model, x, LENGTHS, torch.zeros(4).long(), background=noisy).background.lengths.tolist() == [
        6,
        3,
        5,
        2,
    ]


def test_compiled_models_are_explained():
    model, x = ReadsWidth(), features()
    compiled = torch.compile(model, backend="eager")
    assert torch.equal(explain(compiled, x, method="occlusion").values, explain(model, x, method="occlusion").values)


class MakesItsState(Base):
    """Its initial state requires a gradient, as some tutorials have it."""

    def forward(self, x):
        h0 = torch.zeros(2, len(x), 4).requires_grad_().double()
        c0 = torch.zeros(2, len(x), 4, requires_grad=True).double()
        return self.head(self.rnn(x, (h0, c0.detach()))[0][:, -1])


@pytest.mark.parametrize("method", ["deeplift", "lrp", "contextual-decomposition"])
def test_an_initial_state_that_requires_a_gradient_is_a_constant(method):
    model, plain = MakesItsState(), Base()
    plain.forward = lambda x: plain.head(plain.rnn(x)[0][:, -1])
    x = features()
    torch.testing.assert_close(explain(model, x, method=method).values, explain(plain, x, method=method).values)


class Out(NamedTuple):
    scores: torch.Tensor
    alpha: torch.Tensor
    other: torch.Tensor


class Named(TakesState):
    def forward(self, input, hidden=None):  # noqa: A002
        scores, _, weights = super().forward(input, hidden)
        return Out(scores, weights[..., 0] * 2 if self.doubled else weights[..., 0], weights)


def test_attention_by_name_and_weights_that_are_none():
    model, x = Named(), features()
    model.doubled = False
    found = explain(model, x, method="attention", part="scores", attention="alpha")
    assert torch.allclose(found.values.sum(1), torch.ones(4).double())
    model.doubled = True
    with pytest.warns(AssumptionWarning, match="attention that Named returns sums to 2 over the steps of sequence"):
        explain(model, x, method="attention", part="scores", attention="alpha")
    shown = inspect(model, x, part="scores", attention="alpha")
    assert shown.kept
    assert "sums to 2" in str(shown)


def test_nothing_beyond_the_lengths_is_looked_at():
    x, model = features(), Packed()
    noisy = torch.where((torch.arange(STEPS) < LENGTHS[:, None])[..., None], x, torch.nan)
    own = (torch.arange(STEPS) < LENGTHS[:, None])[..., None]
    reference = torch.full((4, STEPS, 1), 0.3, dtype=torch.float64).masked_fill(~own, torch.inf)
    for method in ("deeplift", "occlusion", "kernel-shap:samples=50"):
        plain = explain(model, x, LENGTHS, method=method, reference=0.3)
        assert torch.equal(explain(model, noisy, LENGTHS, method=method, reference=0.3).values, plain.values)
        found = explain(model, noisy, LENGTHS, method=method, reference=reference).values
        torch.testing.assert_close(found, plain.values, rtol=0, atol=1e-14)
    with pytest.raises(DataError, match="padding='keep' hands the padding to the model"):
        explain(ReadsPadding(), noisy, LENGTHS, padding="keep")


def test_a_kept_padding_is_that_of_the_reference_too():
    x, model = features(), ReadsPadding()
    found = explain(model, x, LENGTHS, reference=1.5, padding="keep", target=0)
    own = (torch.arange(STEPS) < LENGTHS[:, None])[..., None]
    with torch.no_grad():
        difference = model(x, LENGTHS)[:, 0] - model(torch.where(own, 1.5, x), LENGTHS)[:, 0]
    torch.testing.assert_close(found.values.flatten(1).sum(1), difference, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["x_seq", "inputs", "data"])
def test_a_plain_function_may_name_its_parameters_as_it_likes(name):
    weights = np.random.default_rng(0).normal(size=(FEATURES, 3))

    def predict(x, static):
        return np.tanh(x.cumsum(1)[:, -1] @ weights) * static.sum(1, keepdims=True)

    scope = {"predict": predict}
    exec(f"def own({name}, static): return predict({name}, static)", scope)  # noqa: S102  # a parameter by any name
    x, static = features().numpy(), np.random.default_rng(1).normal(size=(4, 2))
    found = explain(scope["own"], x, method="occlusion", context={"static": static})
    expected = brute_force(
        lambda z, row: torch.from_numpy(predict(z.numpy(), static[[row]])), torch.from_numpy(x), None, found.target
    )
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-12)
    task = Task.from_model(scope["own"], x, None, np.zeros(4, int), context={"static": static})
    assert torch.equal(task.subject(0).target, found.target)


# ---- what single outputs are taken for -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [int, float, bool])
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_one_output_with_targets_of_0_and_1_is_a_binary_classifier(kind, shape):
    targets = np.array([0, 1, 1, 0]).astype(kind).reshape(shape)
    for end, outputs in ((nn.Identity(), "binary-logit"), (nn.Sigmoid(), "binary-probability")):
        task = Task.from_model(OneOutput(end, squeeze=False), features(), LENGTHS, targets)
        assert task.outputs == outputs
        assert task.batch.targets.tolist() == [0, 1, 1, 0]
        subject = task.subject(0)
        probabilities = subject.scaled(subject.batch_outputs, "probability")
        torch.testing.assert_close(probabilities.sum(1), torch.ones(4).double())
        logit = OneOutput(nn.Sigmoid(), squeeze=False)(features(), LENGTHS).detach()
        torch.testing.assert_close(probabilities[:, 1:], logit)
    said = Task.from_model(OneOutput(nn.Identity(), squeeze=False), features(), LENGTHS, targets, outputs="values")
    assert said.outputs == "values"
    assert said.batch.targets.is_floating_point()


def test_other_targets_make_one_output_a_value():
    task = Task.from_model(OneOutput(nn.Identity(), squeeze=False), features(), LENGTHS, [0.0, 1.0, 0.5, 1.0])
    assert task.outputs == "values"


def test_a_logit_of_one_sequence_that_lies_between_0_and_1_is_no_probability():
    model = OneOutput(nn.Identity(), squeeze=True)
    with torch.no_grad():
        model.head.bias.fill_(0.4)
        model.head.weight.mul_(0.01)
    with pytest.warns(AssumptionWarning, match="read as the logit of class 1 of two"):
        found = explain(model, features()[:1], LENGTHS[:1], method="occlusion")
    assert found.target.tolist() == [1]
    assert 0.3 < float(found.score) < 0.5


@pytest.mark.parametrize("outputs", ["logits", "probabilities"])
def test_the_ways_out_for_one_output_are_named(outputs):
    with pytest.raises(DataError, match=r"'binary-logit'.*'binary-probability'.*'values'"):
        explain(OneOutput(nn.Identity(), squeeze=False), features(), LENGTHS, outputs=outputs)


def test_kinds_of_one_output_that_do_not_fit():
    with pytest.raises(DataError, match="outside \\[0, 1\\], which is no probability: say outputs='binary-logit'"):
        explain(positive(nn.Identity()), features(), LENGTHS, outputs="binary-probability")
    with pytest.raises(DataError, match="outputs='binary-logit' is for one output"):
        explain(Packed(), features(), LENGTHS, outputs="binary-logit")
    with pytest.raises(DataError, match="are the classes 0 and 1"):
        Task.from_model(
            OneOutput(nn.Identity(), squeeze=False), features(), LENGTHS, [0, 1, 2, 0], outputs="binary-logit"
        )


def test_both_classes_have_the_whole_logit_as_their_score():
    model = OneOutput(nn.Identity(), squeeze=False)
    one_, zero = (
        explain(model, features(), LENGTHS, target=target, outputs="binary-logit").values for target in (1, 0)
    )
    torch.testing.assert_close(one_, -zero)
    assert (one_.flatten(1).abs().sum(1) > 0).all()


# ---- what is accepted as inputs --------------------------------------------------------------------------------------


def test_sequences_of_different_lengths_bring_their_own():
    x, model = features(), Packed()
    plain = explain(model, x, LENGTHS, method="occlusion").values
    rows = [x[row, : int(length)] for row, length in enumerate(LENGTHS)]
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    for inputs in (rows, [row.tolist() for row in rows], packed):
        assert torch.equal(explain(model, inputs, method="occlusion").values, plain)
    unpacked, _ = pad_packed_sequence(packed, batch_first=True)
    assert torch.equal(unpacked, x)


def test_inputs_for_a_time_first_model_may_be_given_either_way_where_lengths_tell():
    model, x = TimeFirst(), features()
    full = torch.full((4,), STEPS)
    first = explain(model, x.transpose(0, 1), method="occlusion", batch_first=False).values
    assert torch.equal(explain(model, x, full, method="occlusion", batch_first=False).values, first)
    assert torch.equal(explain(model, x.transpose(0, 1), full, method="occlusion", batch_first=False).values, first)


def test_half_precision_is_explained_in_single_precision():
    model = Packed().half()
    with pytest.warns(AssumptionWarning, match="is float16, and is explained by a copy in single precision"):
        found = explain(model, features().half(), LENGTHS)
    assert next(model.parameters()).dtype == torch.float16
    assert found.score.dtype == torch.float32
    assert found.gap.abs().max() < 1e-5


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripted_models_and_inference_mode():
    model, x = ReadsWidth(), features()
    plain = explain(model, x, method="occlusion").values
    assert torch.equal(explain(torch.jit.script(model), x, method="occlusion").values, plain)
    reasons = inspect(torch.jit.script(model), x).methods
    assert reasons["deeplift"] == reasons["lrp"]
    assert "TorchScript" in reasons["deeplift"]
    with torch.inference_mode():
        deep = explain(model, x.clone(), method="deeplift").values
    assert torch.equal(deep, explain(model, x, method="deeplift").values)


def test_the_users_module_and_arrays_are_as_before():
    model, x = Tutorial(4), features()
    before, hidden = x.clone(), model.hidden
    explain(model, x, method="integrated-gradients")
    assert torch.equal(x, before)
    assert model.hidden is hidden
    assert not model.training


class Ids(Base):
    """Its first feature is an id, in a tensor of floats."""

    def __init__(self):
        super().__init__(inputs=3)
        self.ids = nn.Embedding(5, 2).double()

    def forward(self, x):
        return self.head(self.rnn(torch.cat([self.ids(x[..., 0].long()), x[..., 1:]], 2))[0][:, -1])


def test_ids_in_floats_are_never_interpolated():
    x = features()
    x[..., 0] = torch.randint(0, 5, (4, STEPS), generator=torch.Generator().manual_seed(0)).double()
    model = Ids()
    for method in (
        "integrated-gradients",
        "saliency",
        "smoothgrad",
        "lrp",
        "dynamask",
        "fit",
        "gradient-shap",
        "winit",
    ):
        with pytest.raises(UsageError, match="reads feature 0 as ids of categories, or rounds it"):
            explain(model, x, method=method, background=x)
    found = explain(model, x, method="occlusion")
    expected = brute_force(lambda z, row: model(z), x, None, found.target)
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-12)
    with pytest.raises(DataError, match="cannot take the reference"):
        explain(model, x, method="occlusion", reference=-1.0)


def test_a_saturated_feature_is_no_id():
    """Its derivative is exactly 0 at the sequences, and not on the way to the reference."""

    class Saturated(Base):
        def forward(self, x):
            gate = torch.relu(1 - 4 * x[..., :1].abs())
            return self.head(self.rnn(torch.cat([gate, x[..., 1:]], 2))[0][:, -1])

    model, x = Saturated(), features()
    x[..., 0] = x[..., 0].abs() + 1
    assert not explain(model, x, method="saliency").values[..., 0].any()
    assert explain(model, x, method="occlusion").values[..., 0].any()

    class Scaled(Ids):
        def forward(self, x):
            return self.head(self.rnn(torch.cat([self.ids((x[..., 0] * 4).round().long()), x[..., 1:]], 2))[0][:, -1])

    x[..., 0] = torch.randint(0, 5, (4, STEPS), generator=torch.Generator().manual_seed(0)).double() / 4
    with pytest.raises(UsageError, match="reads feature 0 as ids of categories, or rounds it"):
        explain(Scaled(), x, method="saliency")


def test_nothing_is_said_where_nothing_is_assumed():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for found in (
            explain(Packed(), features(), LENGTHS),
            explain(OneOutput(nn.Identity(), squeeze=True), features(), LENGTHS, outputs="binary-logit"),
            explain(ReadsWidth(), features(), LENGTHS, padding="cut"),
        ):
            assert not found.incomplete.any()
