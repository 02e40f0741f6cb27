"""LRP: equal to the literal definition, conserving to rounding, on our family and on users' own modules; refusals."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from method_specimens import users_models
from torch import nn
from torch.nn import functional as F

from xrnnbench.errors import ParameterError, UnsupportedModelError
from xrnnbench.methods.propagation import composite_operations as decompositions
from xrnnbench.methods.propagation.fused_recurrence import Schedule, Weights, direction
from xrnnbench.methods.propagation.lrp import Lrp, LrpAbs, LrpHalf, LrpProp
from xrnnbench.methods.propagation.relevance import Shares, relevances
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.engine.adapters import TargetScore
from xrnnbench.tasks.models.networks import AttentiveRecurrentNet, RecurrentNet
from xrnnbench.tasks.subject import Subject

WAYS = ("signal", "half", "abs", "prop")
CELLS = ("rnn", "lstm", "gru")
POOLINGS = ("last", "mean", "max", "attention", "dot-attention")
FAMILY = list(product(CELLS, (False, True), (1, 2), POOLINGS))
METHODS = {"signal": Lrp, "half": LrpHalf, "abs": LrpAbs, "prop": LrpProp}
LENGTHS = torch.tensor([6, 1, 4, 6])
EPSILON = 1e-3  # larger than the default of lrp, so that a wrong share of ε shows


def score_of(model, lengths=LENGTHS, target=0):
    return TargetScore(model.eval(), lengths, torch.full_like(lengths, target), "the model")


def inputs_of(lengths=LENGTHS, features=5, seed=0, dtype=torch.float64):
    inputs = torch.randn(len(lengths), int(lengths.max()), features, generator=torch.Generator().manual_seed(seed))
    return (inputs * (torch.arange(inputs.shape[1]) < lengths[:, None])[..., None]).to(dtype)


def member(cell, bidirectional, layers, pooling, dtype=torch.float64):
    torch.manual_seed(0)
    return AttentiveRecurrentNet(5, 7, 3, cell=cell, bidirectional=bidirectional, layers=layers, pooling=pooling).to(
        dtype
    )


def gap_of(found):
    """What is missing of the score, and the size of all that was handed out."""
    gap = float(found.values.sum()) + sum(found.leftover.values()) - float(found.score.sum())
    return abs(gap), float(found.values.abs().sum()) + sum(map(abs, found.leftover.values())) + 1


# ---- the literal definition -----------------------------------------------------------------------------------------


class Literal:
    """LRP of one sequence, step by step, in NumPy, as Arras et al. 2017 and 2019 write it.

    ``way`` is what becomes of gate · signal. Gates' relevance goes on through the pre-activations they are made from.
    """

    def __init__(self, way, epsilon, factor):
        self.way, self.epsilon, self.factor = way, epsilon, factor

    def linear(self, hin, w, b, hout, rout, units):
        """Relevance of hin[D] from that of hout[M] = w[M, D] · hin + b + what other layers add."""
        found = np.zeros(len(hin))
        for j in range(len(hout)):
            sign = 1.0 if hout[j] >= 0 else -1.0
            for i in range(len(hin)):
                numerator = w[j, i] * hin[i] + self.factor * (b[j] + self.epsilon * sign) / units
                found[i] += numerator / (hout[j] + self.epsilon * sign) * rout[j]
        return found

    def sum(self, terms, rout):
        """Relevance of each term of an elementwise sum."""
        total = sum(terms)
        sign = np.where(total >= 0, 1.0, -1.0)
        share = self.factor * self.epsilon * sign / len(terms)
        return [(term + share) / (total + self.epsilon * sign) * rout for term in terms]

    def product(self, gate, signal, rout):
        """Relevance of gate and signal."""
        if self.way == "signal":
            return 0 * rout, rout
        if self.way == "half":
            return rout / 2, rout / 2
        if self.way == "prop":
            return self.sum([gate, signal], rout)
        sizes = abs(gate) + abs(signal)
        with np.errstate(invalid="ignore"):
            return tuple(np.where(sizes > 0, abs(own) / sizes, 0.5) * rout for own in (gate, signal))

    def layer(self, cell, weights, xs, routs):
        """Relevance of xs[T, D], and of the initial states, from that of the states of each step, routs[T, H]."""
        forward, backward = {
            "lstm": (lstm_step, self.lstm_back), "gru": (gru_step, self.gru_back), "rnn": (rnn_step, self.rnn_back)
        }[cell]  # fmt: skip
        size = weights[1].shape[1]
        h, c = np.zeros(size), np.zeros(size)
        records = []
        for x in xs:
            records.append({"x": x, "h": h, "c": c} | forward(x, h, c, *weights))
            h, c = records[-1]["state"]
        rh, rc = np.zeros(size), np.zeros(size)
        found = []
        for record, rout in zip(records[::-1], routs[::-1], strict=True):
            rx, rh, rc = backward(record, rh + rout, rc, *weights)
            found.append(rx)
        return np.array(found[::-1]), np.array([record["state"][0] for record in records]), rh.sum() + rc.sum()

    def over(self, record, w, u, bias, pre, rout):
        """Of a pre-activation over x and h."""
        units = w.shape[1] + u.shape[1]
        return self.linear(record["x"], w, bias, pre, rout, units), self.linear(record["h"], u, bias, pre, rout, units)

    def rnn_back(self, record, rh, rc, w, u, b, d):
        return *self.over(record, w, u, b + d, record["pre"], rh), rc

    def lstm_back(self, record, rh, rc, w, u, b, d):
        i, f, g, o = record["gates"]
        ro, through = self.product(o, np.tanh(record["state"][1]), rh)
        kept, made = self.sum([f * record["c"], i * g], rc + through)
        rf, rc = self.product(f, record["c"], kept)
        ri, rg = self.product(i, g, made)
        rx, rh = self.over(record, w, u, b + d, record["pre"], np.concatenate([ri, rf, rg, ro]))
        return rx, rh, rc

    def gru_back(self, record, rh, rc, w, u, b, d):
        (r, z, n), (w_n, u_n, b_n, d_n) = record["gates"], (part[-len(rh) :] for part in (w, u, b, d))
        made, kept = self.sum([(1 - z) * n, z * record["h"]], rh)
        shut, rn = self.product(1 - z, n, made)
        opened, rh = self.product(z, record["h"], kept)
        s, pre_n = record["s"], record["pre_n"]
        if self.way == "signal":
            units, bias = len(record["x"]) + len(rh), b_n + r * d_n
            rx = self.linear(record["x"], w_n, bias, pre_n, rn, units)
            return rx, rh + self.linear(record["h"], r[:, None] * u_n, bias, pre_n, rn, units), rc
        ra, rp = self.sum([record["a"], r * s], rn)
        rr, rs = self.product(r, s, rp)
        gated = 2 * len(rh)
        rx, more = self.over(
            record, w[:gated], u[:gated], (b + d)[:gated], record["pre"], np.concatenate([rr, shut + opened])
        )
        rx = rx + self.linear(record["x"], w_n, b_n, record["a"], ra, len(record["x"]))
        return rx, rh + more + self.linear(record["h"], u_n, d_n, s, rs, len(rh)), rc


class AsPublished(Literal):
    """As the published program of Arras et al. spreads ε in c′ = f∘c + i∘g, a sum of two terms for each unit.

    Its function for linear layers is given an identity matrix there, and told that each c′_j is connected to 2 H units.
    The paper's N is the number of units to which z_j is connected, which is 2: the other weights of the identity are 0.
    """

    def sum(self, terms, rout):
        total = sum(terms)
        stable = total + self.epsilon * np.where(total >= 0, 1.0, -1.0)
        spread = (self.factor * (stable - total) / stable * rout).sum() / (len(terms) * len(rout))
        return [term / stable * rout + spread for term in terms]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def rnn_step(x, h, c, w, u, b, d):
    pre = w @ x + b + u @ h + d
    return {"pre": pre, "state": (np.tanh(pre), c)}


def lstm_step(x, h, c, w, u, b, d):
    pre = w @ x + b + u @ h + d
    i, f, g, o = np.split(pre, 4)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    after = f * c + i * g
    return {"pre": pre, "gates": (i, f, g, o), "state": (o * np.tanh(after), after)}


def gru_step(x, h, c, w, u, b, d):
    of_x, of_h = np.split(w @ x + b, 3), np.split(u @ h + d, 3)
    r, z = sigmoid(of_x[0] + of_h[0]), sigmoid(of_x[1] + of_h[1])
    pre_n = of_x[2] + r * of_h[2]
    n = np.tanh(pre_n)
    pre = np.concatenate([of_x[0] + of_h[0], of_x[1] + of_h[1]])
    return {"pre": pre, "gates": (r, z, n), "a": of_x[2], "s": of_h[2], "pre_n": pre_n,
            "state": ((1 - z) * n + z * h, c)}  # fmt: skip


def literal_of(model, cell, x, target, literal):
    """LRP of a RecurrentNet with pooling "last": the relevance of x[T, D], and of all initial states together."""
    layer = model.recurrent
    ways = 2 if layer.bidirectional else 1
    flat = [parameter.detach().numpy() for parameter in layer.parameters()]
    weights = [flat[4 * place : 4 * place + 4] for place in range(len(flat) // 4)]
    sides = [slice(None), slice(None, None, -1)][:ways]
    below = [x]
    for depth in range(layer.num_layers):
        outs = []
        for way, side in enumerate(sides):
            own = weights[depth * ways + way]
            _, out, _ = literal.layer(cell, own, below[-1][side], np.zeros((len(x), own[1].shape[1])))
            outs.append(out[side])
        below.append(np.concatenate(outs, 1))
    size, last = layer.hidden_size, below[-1]
    pooled = np.concatenate([last[-1, :size], last[0, size:]])
    w, b = model.head.weight.detach().numpy()[target : target + 1], model.head.bias.detach().numpy()[target:][:1]
    score = w @ pooled + b
    rout = np.zeros_like(last)
    given_back = literal.linear(pooled, w, b, score, score, len(pooled))
    rout[-1, :size] += given_back[:size]
    rout[0, size:] += given_back[size:]
    lost = 0.0
    for depth in reversed(range(layer.num_layers)):
        found = np.zeros_like(below[depth])
        for way, side in enumerate(sides):
            columns = slice(way * size, (way + 1) * size)
            rx, _, begin = literal.layer(cell, weights[depth * ways + way], below[depth][side], rout[side][:, columns])
            found += rx[side]
            lost += begin
        rout = found
    return rout, lost, score[0]


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("cell", "bidirectional", "layers"), list(product(CELLS, (False, True), (1, 2))))
@pytest.mark.pairwise
def test_equals_the_literal_definition(cell, bidirectional, layers, way, factor):
    torch.manual_seed(1)
    model = RecurrentNet(4, 5, 3, cell=cell, bidirectional=bidirectional, layers=layers).double()
    inputs = inputs_of(features=4)
    found = relevances(score_of(model, target=1), inputs, Shares(EPSILON, factor, way))
    lost = 0.0
    for row, length in enumerate(LENGTHS.tolist()):
        own = inputs[row, :length].numpy()
        expected, begin, score = literal_of(model, cell, own, 1, Literal(way, EPSILON, factor))
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found.values[row, :length].numpy(), expected, rtol=1e-8, atol=1e-10 * scale)
        assert float(found.score[row]) == pytest.approx(score, rel=1e-12)
        assert (found.values[row, length:] == 0).all()
        lost += begin
    states = sum(size for name, size in found.leftover.items() if "initial" in name)
    assert states == pytest.approx(lost, rel=1e-8, abs=1e-10)


def test_the_published_program_gives_a_cells_stabiliser_to_units_that_are_not_connected():
    """With a bias factor of 0 both are equal; with 1 both sum to the score, and ours divides as the paper writes."""
    torch.manual_seed(1)
    model = RecurrentNet(4, 6, 3, cell="lstm", bidirectional=True).double()
    with torch.no_grad():
        model.head.bias.zero_()  # theirs has none
    inputs, lengths = inputs_of(torch.tensor([6]), 4), torch.tensor([6])
    for factor in (0.0, 1.0):
        found = relevances(score_of(model, lengths, 1), inputs, Shares(EPSILON, factor)).values[0].numpy()
        paper, published = (
            literal_of(model, "lstm", inputs[0].numpy(), 1, kind("signal", EPSILON, factor))
            for kind in (Literal, AsPublished)
        )
        np.testing.assert_allclose(found, paper[0], rtol=1e-9, atol=1e-12)
        difference = np.abs(found - published[0]).max() / np.abs(found).max()
        assert difference < 1e-12 if not factor else difference > 1e-3
        for values, states, score in (paper, published):
            assert not factor or values.sum() + states == pytest.approx(score, rel=1e-10)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("member_of", FAMILY, ids=lambda choice: "-".join(map(str, choice)))
@pytest.mark.pairwise
def test_relevance_is_conserved(member_of, way):
    model = member(*member_of)
    found = relevances(score_of(model), inputs_of(), Shares(1e-6, 1.0, way))
    gap, mass = gap_of(found)
    assert gap <= (1e-9 if way == "signal" else 1e-9 * mass)
    # nothing but initial states gets any besides the inputs
    assert all(size == 0 for name, size in found.leftover.items() if "initial" not in name)
    assert any(size != 0 for size in found.leftover.values())
    for row in range(2):  # and each sequence keeps its own
        length = LENGTHS[row : row + 1]
        alone = relevances(score_of(model, length), inputs_of()[row : row + 1, : int(length)], Shares(1e-6, 1.0, way))
        assert gap_of(alone)[0] <= 1e-9 * gap_of(alone)[1]
        torch.testing.assert_close(
            alone.values[0], found.values[row, : int(length)], rtol=1e-7, atol=1e-9 * float(alone.values.abs().max())
        )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("member_of", FAMILY[::3], ids=lambda choice: "-".join(map(str, choice)))
@pytest.mark.pairwise
def test_single_precision_gives_finite_values_near_those_of_double(member_of, way):
    method = METHODS[way]()
    double, single = (
        method.explain(
            Subject(
                member(*member_of, dtype), Batch(inputs_of(dtype=dtype), LENGTHS, torch.zeros(4, dtype=torch.int64)),
                torch.zeros_like(inputs_of(dtype=dtype)),
            )
        ).values
        for dtype in (torch.float64, torch.float32)
    )  # fmt: skip
    assert single.dtype == torch.float32
    assert torch.isfinite(single).all()
    if way == "signal":  # the controls magnify rounding as they magnify everything
        assert float((single - double).abs().max() / double.abs().max()) < 1e-2


def edited_gradient(model, x, target):
    """R = x∘∇x of an LSTM written out with detached gates: another road to the same rule, without a bias factor."""

    def damped(z):
        share = (z / (z + EPSILON * torch.where(z >= 0, 1.0, -1.0))).detach()
        return z * share + (z * (1 - share)).detach()

    def activated(z):
        return z * (z.tanh() / z).detach()

    w, u, b, d = model.recurrent.parameters()
    leaf = x.clone().requires_grad_()
    h = c = torch.zeros(len(x), u.shape[1]).double()
    for step in leaf.unbind(1):
        i, f, g, o = (step @ w.T + b + h @ u.T + d).chunk(4, 1)
        c = damped(f.sigmoid().detach() * c + i.sigmoid().detach() * activated(damped(g)))
        h = o.sigmoid().detach() * activated(c)
    score = damped(model.head(h)[:, target])
    return leaf.detach() * torch.autograd.grad(score.sum(), leaf)[0]


def test_equals_the_edited_gradient():
    torch.manual_seed(2)
    model = RecurrentNet(5, 7, 3, cell="lstm").double()
    lengths = torch.full((4,), 6)
    found = relevances(score_of(model, lengths, 2), inputs_of(lengths), Shares(EPSILON)).values
    expected = edited_gradient(model, inputs_of(lengths), 2)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9 * float(expected.abs().max()))


# ---- fused layers against the same in plain operations --------------------------------------------------------------


class Unrolled(nn.Module):
    """The same as a fused layer, in operations of which each has a rule of its own, or in torch's single cells."""

    def __init__(self, layer, head, *, single=False):
        super().__init__()
        self.layer, self.head, self.single = layer, head, single

    def forward(self, x):
        w, u, b, d, *projection = self.layer.parameters()
        h, c = x.new_zeros(len(x), u.shape[1]), x.new_zeros(len(x), self.layer.hidden_size)
        for step in x.unbind(1):
            if self.single:
                cell = torch.lstm_cell if isinstance(self.layer, nn.LSTM) else torch.gru_cell
                found = cell(step, (h, c) if isinstance(self.layer, nn.LSTM) else h, w, u, b, d)
                h, c = found if isinstance(found, tuple) else (found, c)
                continue
            i, f, g, o = F.linear(torch.cat([step, h], 1), torch.cat([w, u], 1), b + d).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            h = F.linear(h, projection[0]) if projection else h
        return self.head(h)


class Fused(nn.Module):
    def __init__(self, layer, head):
        super().__init__()
        self.layer, self.head = layer, head

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("factor", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["lstm", "projected lstm", "lstm cells", "gru cells"])
def test_a_fused_layer_is_explained_as_its_operations_are(kind, way, factor):
    torch.manual_seed(3)
    cell = nn.GRU if "gru" in kind else nn.LSTM
    layer = cell(5, 6, batch_first=True, **({"proj_size": 4} if "projected" in kind else {})).double()
    head = nn.Linear(4 if "projected" in kind else 6, 2).double()
    lengths = torch.full((4,), 6)
    shares = Shares(EPSILON, factor, way)
    fused = relevances(score_of(Fused(layer, head), lengths), inputs_of(lengths), shares)
    plain = relevances(
        score_of(Unrolled(layer, head, single="cells" in kind), lengths), inputs_of(lengths), shares
    )  # fmt: skip
    if way == "signal" or "cells" in kind or not factor:
        torch.testing.assert_close(fused.values, plain.values, rtol=1e-8, atol=1e-9 * float(fused.values.abs().max()))
    assert gap_of(plain)[0] < 1e-9 * gap_of(plain)[1] or not factor


def test_a_learnt_initial_state_keeps_its_share_and_a_handed_on_one_passes_it():
    class Learnt(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.GRU(5, 6, batch_first=True), nn.GRU(3, 6, batch_first=True)
            self.begin, self.asked = nn.Parameter(torch.randn(1, 1, 6)), nn.Parameter(torch.randn(1, 2, 3))
            self.head = nn.Linear(6, 2)

        def forward(self, x):
            _, state = self.first(x, self.begin.expand(-1, len(x), -1).contiguous())
            return self.head(self.second(self.asked.expand(len(x), -1, -1), state)[0][:, -1])

    torch.manual_seed(0)
    lengths = torch.full((3,), 4)
    found = relevances(score_of(Learnt().double(), lengths), inputs_of(lengths), Shares(1e-6, 1.0))
    assert set(found.leftover) == {"the initial h of gru", "the inputs of gru"}
    assert all(abs(size) > 1e-3 for size in found.leftover.values())
    assert gap_of(found)[0] < 1e-9
    assert float(found.values.abs().sum()) > 1e-3


# ---- users' own modules ---------------------------------------------------------------------------------------------


def settled(name, dtype=torch.float64):
    torch.manual_seed(2)
    model = users_models()[name].to(dtype)
    with torch.no_grad():  # settles the lazy layer
        model(*[torch.zeros(2, 4, 3, dtype=dtype), torch.tensor([4, 4])][: 2 if "packed" in name else 1])
    return model.eval()


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", users_models())
def test_explains_users_own_modules(name, way):
    lengths = torch.tensor([5, 3, 1]) if "packed" in name else torch.full((3,), 5)
    score = score_of(settled(name), lengths, 1)
    inputs = inputs_of(lengths, features=3)
    with torch.no_grad():
        expected = score(inputs)
    found = relevances(score, inputs, Shares(EPSILON, 1.0, way), expected)
    gap, mass = gap_of(found)
    assert gap <= 1e-9 * mass
    assert torch.isfinite(found.values).all()
    single = settled(name, torch.float32)
    found = relevances(score_of(single, lengths, 1), inputs.float(), Shares(EPSILON, 0.0, way))
    assert torch.isfinite(found.values).all()
    assert (found.values != 0).any()


def make_subject(model, lengths=LENGTHS, features=5, padding=0):
    inputs = F.pad(inputs_of(lengths, features), (0, 0, 0, padding))
    batch = Batch(inputs, lengths, torch.zeros(len(lengths), dtype=torch.int64))
    return Subject(model, batch, torch.zeros_like(inputs), target=torch.zeros(len(lengths), dtype=torch.int64))


@pytest.mark.parametrize("method", [Lrp(), LrpHalf(), LrpAbs(), LrpProp(), Lrp(bias_factor=1.0)], ids=lambda m: m.spec)
def test_costs_one_forward_and_one_backward(method):
    subject = make_subject(member("lstm", bidirectional=True, layers=2, pooling="attention"))
    method.explain(subject)
    assert (subject.cost.forward, subject.cost.backward, subject.cost.executed) == (4, 4, 4)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    choice=st.sampled_from(FAMILY),
    factor=st.sampled_from([0.0, 1.0]),
    way=st.sampled_from(WAYS),
    padding=st.integers(0, 3),
)
def test_neither_batch_mates_nor_padding_matter(lengths, choice, factor, way, padding):
    model, lengths = member(*choice), torch.tensor(lengths)
    method = METHODS[way](epsilon=EPSILON, bias_factor=factor)
    subject = make_subject(model, lengths, padding=padding)
    whole = method.explain(subject).values
    for row, length in enumerate(lengths.tolist()):
        alone = method.explain(subject.select(slice(row, row + 1))).values[0, :length]
        scale = float(alone.abs().max())
        torch.testing.assert_close(whole[row, :length], alone, rtol=1e-6, atol=1e-9 * scale)
        assert (whole[row, length:] == 0).all()


@pytest.mark.parametrize(
    ("parameters", "said"),
    [({"epsilon": 0.0}, "above 0"), ({"epsilon": float("inf")}, "above 0"), ({"bias_factor": 1.5}, "from 0 to 1")],
)
@pytest.mark.parametrize("method", METHODS.values())
def test_parameters_that_do_not_fit(method, parameters, said):
    with pytest.raises(ParameterError, match=said):
        method(**parameters)


def test_captums_lrp_knows_no_recurrent_layer():
    """Held here so that it is noticed should captum learn one."""
    from captum.attr import LRP  # noqa: PLC0415  # captum takes over a second to import

    model = Fused(nn.LSTM(5, 6, batch_first=True), nn.Linear(6, 2))
    with pytest.raises(TypeError, match="LSTM"):
        LRP(model).attribute(torch.randn(2, 4, 5), target=0)


# ---- single operations ----------------------------------------------------------------------------------------------


class Applied(nn.Module):
    """A function of the steps x[B, T, 5], summed up to two scores."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        found = self.function(x)
        found = found.reshape(len(found), -1).sum(1, keepdim=True)
        return torch.cat([found, -found], 1)


def handed_back(function, way="signal", factor=0.0, epsilon=1e-9, rows=2, steps=4, seed=5):
    lengths = torch.full((rows,), steps)
    inputs = inputs_of(lengths, seed=seed)
    score = score_of(Applied(function), lengths)
    with torch.no_grad():
        expected = score(inputs.clone())  # some write into their input
    return inputs, relevances(score, inputs, Shares(epsilon, factor, way), expected)


def fixed(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7)).double()


def writes(h):
    kept = h.new_zeros(h.shape)
    kept[:, 1] = h[:, 0]
    kept[:, 2:].copy_(h[:, 2:])
    kept[:, 0] += h[:, 3]
    kept.index_add_(1, torch.tensor([1, 1]), h[:, :2])
    kept *= 2
    kept /= 3
    kept -= h
    kept.relu_()
    return kept.neg_().tanh_() + 0.1


def through_a_view(h):
    kept = torch.ones_like(h)
    row = kept[:, 0]
    row.mul_(h[:, 0])
    return kept[:, 0] * 2 + kept.flatten(1)[:, :5]


def through_an_older_view(h):
    kept = torch.ones_like(h)
    row = kept[:, 0]
    kept.mul_(h)
    return row * 2 + h[:, 1]


def without_recording(h):
    with torch.no_grad():
        return h.tanh() * 2 + h


def by_name(h):
    return torch.bmm(input=h, mat2=fixed(5, 3).expand(len(h), 5, 3)) + torch.tanh(input=h[..., :3])


GATED = [
    lambda h: h[:, 0].sigmoid() * h[:, 1],
    lambda h: h[:, 1] * h[:, 0].softmax(1),
    lambda h: (1 - h[:, 0].sigmoid()) * h[:, 1],
    lambda h: (h[:, 0].sigmoid() / 2 + 0.25) * h[:, 1],
    lambda h: (-h[:, :1].sigmoid()).squeeze(1).clamp(max=-0.1) * h[:, 1],
    lambda h: torch.cat([h[:, 0], h[:, 2]], 1).sigmoid().flip(1)[:, :5] * h[:, 1],
    lambda h: torch.stack([h[:, 0], h[:, 2]], 1).sigmoid().mean(1) * h[:, 1],
    lambda h: (h[:, 0].sigmoid() - h[:, 2].sigmoid()) * h[:, 1],
    lambda h: h[:, 0].sigmoid().masked_fill(fixed(5) > 0, 0.0).masked_fill(fixed(5) > 0, 0.5) * h[:, 1],
    lambda h: F.dropout(h[:, 0].sigmoid(), 0.5, training=False) * h[:, 1],
    lambda h: F.hardsigmoid(h[:, 0]).detach() * h[:, 1],
    lambda h: h[:, 1] / h[:, 0].sigmoid(),
    lambda h: h[:, 1] / h[:, 0].softmax(1).sum(1, keepdim=True),
    lambda h: F.glu(torch.cat([h[:, 1], h[:, 0]], 1)),
    lambda h: torch.lerp(fixed(5).expand(len(h), 5) * 0, h[:, 1], h[:, 0].sigmoid()),
    lambda h: torch.addcmul(h[:, 1] * 0.5, h[:, 0].sigmoid(), h[:, 1], value=2),
    lambda h: torch.bmm(h[:, 0].softmax(1).unsqueeze(1), h[:, 1].unsqueeze(2)),
    lambda h: torch.einsum("bi,bi->b", h[:, 0].softmax(1), h[:, 1]),
    lambda h: torch.einsum("bi,bj->bij", h[:, 0], h[:, 2]).softmax(2) @ h[:, 1].unsqueeze(2),
    lambda h: F.scaled_dot_product_attention(h[:, :1], h[:, 2:3], h[:, 1:2]),
    lambda h: (h[:, 0] * h[:, 2]).sigmoid() * h[:, 1],
    lambda h: h[:, 1] * (h[:, 0] > 0) + h[:, 1] * h[:, 0].sign() + h[:, 1] * h[:, 0].argmax(1, keepdim=True),
]  # fmt: skip
"""Steps 0 and 2 only decide what becomes of step 1."""


@pytest.mark.parametrize("place", range(len(GATED)))
def test_the_signal_takes_all(place):
    _, found = handed_back(GATED[place])
    assert (found.values[:, [0, 2, 3]] == 0).all()
    assert (found.values[:, 1] != 0).any()
    torch.testing.assert_close(found.values.sum((1, 2)), found.score, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("way", ["half", "abs", "prop"])
def test_the_controls_split_as_they_say(way):
    inputs, found = handed_back(lambda h: h[:, 0].sigmoid() * h[:, 1], way)
    g, s = inputs[:, 0].sigmoid(), inputs[:, 1]
    share = {"half": 0 * g + 0.5, "abs": g.abs() / (g.abs() + s.abs()), "prop": g / (g + s)}[way]
    torch.testing.assert_close(found.values[:, 0], share * g * s, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(found.values[:, 1], (1 - share) * g * s, rtol=1e-6, atol=1e-9)
    assert (found.values[:, 2:] == 0).all()


@pytest.mark.parametrize("way", ["half", "abs", "prop"])
@pytest.mark.parametrize(
    "other",
    [
        lambda h: torch.einsum("bti,bsi->bts", h.softmax(2), h),
        lambda h: torch.einsum("bsi,bti->bts", h, h.softmax(2)),
        lambda h: h.softmax(2) @ h.mT,
        lambda h: torch.stack([torch.inner(one, two) for one, two in zip(h.softmax(2), h, strict=True)]),
        lambda h: torch.stack([torch.mm(one, two.T) for one, two in zip(h.softmax(2), h, strict=True)]),
        lambda h: torch.stack(
            [torch.stack([torch.mv(one, row) for row in two], 1) for one, two in zip(h.softmax(2), h, strict=True)]
        ),
        lambda h: torch.stack(
            [
                torch.stack([torch.stack([torch.dot(a, b) for b in two]) for a in one])
                for one, two in zip(h.softmax(2), h, strict=True)
            ]
        ),
        lambda h: torch.stack(
            [torch.stack([row @ one.T for row in two], 1) for one, two in zip(h.softmax(2), h, strict=True)]
        ),
    ],
)
def test_a_sum_of_products_is_shared_as_products_and_a_sum_are(other, way):
    _, one = handed_back(lambda h: (h.softmax(2).unsqueeze(2) * h.unsqueeze(1)).sum(3), way, 1.0, EPSILON)
    _, two = handed_back(other, way, 1.0, EPSILON)
    torch.testing.assert_close(one.values, two.values, rtol=1e-9, atol=1e-12)


CONSERVED = [
    writes, through_a_view, through_an_older_view, without_recording, by_name,
    lambda h: h[:, 0] * h[:, 1] * torch.tensor(0.0) + h[:, 2],
    lambda h: h.__rmatmul__(fixed(2, 4)),  # what NumPy's @ would call
    lambda h: h * 3 - h / 2 + (-h) + 2.0 * h - 1, lambda h: 1 - h, lambda h: torch.rsub(h, fixed(5), alpha=2),
    lambda h: torch.add(h, h.tanh(), alpha=-3), lambda h: torch.sub(h, other=h.tanh(), alpha=2), lambda h: +h,
    lambda h: sum([h[:, 0], h[:, 1], h[:, 2]]), lambda h: h.sum(1), lambda h: h.mean((1, 2)), lambda h: h.cumsum(1),
    lambda h: h.diff(dim=1), lambda h: h[:, 1:] - h[:, :-1], lambda h: h @ fixed(5, 3), lambda h: fixed(3, 4) @ h,
    lambda h: F.linear(h, fixed(3, 5), fixed(3)), lambda h: F.linear(fixed(3, 5), h[0], fixed(4)).expand(2, 3, 4),
    lambda h: torch.einsum("bti,ij->btj", h, fixed(5, 2)),
    lambda h: torch.einsum(h, [0, 1, 2], fixed(5, 2), [2, 3], [0, 1, 3]), lambda h: h.topk(k=2, dim=1)[0],
    lambda h: torch.scatter_add(input=h, dim=1, index=torch.zeros(2, 4, 5).long(), src=h.tanh()),
    lambda h: torch.mv(h[0], fixed(5)).expand(2, 4),
    lambda h: torch.outer(h[0, 0], fixed(3)).expand(2, 5, 3), lambda h: torch.inner(h, fixed(5)),
    lambda h: torch.dot(h[0, 0], fixed(5)).expand(2),
    lambda h: torch.addmm(fixed(3), h[0], fixed(5, 3)).expand(2, 4, 3),
    lambda h: torch.baddbmm(h[..., :3], h, fixed(5, 3).expand(2, 5, 3), beta=2, alpha=0.5),
    lambda h: F.conv1d(h.mT, fixed(3, 5, 3), fixed(3), padding=1),
    lambda h: F.conv1d(h.mT, fixed(5, 1, 2), stride=2, groups=5),
    lambda h: F.avg_pool1d(h, 2), lambda h: F.avg_pool1d(h, 3, 2, padding=1), lambda h: F.adaptive_avg_pool1d(h, 2),
    lambda h: F.adaptive_avg_pool1d(h, 3), lambda h: F.max_pool1d(h, 2), lambda h: F.adaptive_max_pool1d(h, 2),
    lambda h: F.max_pool1d(h, 3, 1, padding=1, dilation=2),
    lambda h: F.batch_norm(h.mT, fixed(5), fixed(5).abs(), fixed(5), fixed(5)),
    lambda h: F.layer_norm(h, (5,)), lambda h: F.layer_norm(h, (4, 5), fixed(4, 5), fixed(4, 5)),
    lambda h: h.max(1).values, lambda h: h.amax((1, 2)), lambda h: h.min(2)[0], lambda h: h.max().expand(2),
    lambda h: torch.maximum(h, h.flip(1)), lambda h: torch.minimum(h, fixed(5)), lambda h: torch.max(h, -h),
    lambda h: h.topk(2, 1).values, lambda h: h.sort(1, descending=True)[0][:, :2], lambda h: h.median(1)[0],
    lambda h: h.cummax(1)[0], lambda h: h.gather(1, h.argmax(1, keepdim=True)), lambda h: h.kthvalue(2, 1)[0],
    lambda h: torch.where(h > 0, h, -0.5), lambda h: torch.where(h > 0, 2.0, h), lambda h: h.where(h > 0, fixed(5)),
    lambda h: h.masked_fill(h > 0, 0.3),
    lambda h: h.clone().masked_fill_(h > 0, 0.3).masked_select(h < 1).expand(2, -1),
    lambda h: F.pad(h, (1, 2, 0, 1)), lambda h: F.pad(h, (1, 0), value=2.0) @ fixed(6, 2),
    lambda h: F.pad(h, (2, 1), mode="reflect"), lambda h: torch.cat([h, fixed(2, 1, 5)], 1) @ fixed(5, 2),
    lambda h: torch.stack([h, fixed(2, 4, 5)]).sum(0), lambda h: h.repeat(1, 2, 1), lambda h: h.expand(3, 2, 4, 5)[1],
    lambda h: torch.zeros(2, 4, 5).double().scatter(1, torch.ones(2, 1, 5).long(), h[:, :1]) @ fixed(5, 2),
    lambda h: h.scatter_add(1, torch.zeros(2, 4, 5).long(), h.tanh()),
    lambda h: fixed(2, 4, 5).index_add(1, torch.tensor([0, 0, 1, 2]), h),
    lambda h: h * (fixed(5) > 0), lambda h: (h * (fixed(4, 1) > 0)).mean(1), lambda h: h.tril() + h.triu(1),
    lambda h: h.unfold(1, 2, 1).sum(-1), lambda h: h[:, [0, 0, 3]], lambda h: h.roll(1, 1) + h.to(torch.float64),
    lambda h: h.relu().sum(1), lambda h: F.relu(h - 1).sum(1), lambda h: (h * 0).sum(1) + h[:, 0],
    lambda h: h.tanh(), lambda h: h.exp(), F.gelu, F.silu, lambda h: F.elu(h, 0.5),
    lambda h: F.leaky_relu(h, 0.2, inplace=True), F.softplus, lambda h: h**2, lambda h: h * h, abs,
    lambda h: h.clamp(-0.5, 0.5), lambda h: F.prelu(h, fixed(1).abs()), lambda h: 1 / (h.abs() + 1),
    lambda h: (h.abs() + 1).sqrt().log(), lambda h: h.sigmoid(), lambda h: 2 * h.sigmoid() - 1, lambda h: h.softmax(2),
    lambda h: h.log_softmax(2), lambda h: h / h[:, 0].softmax(1).sum(1)[:, None, None], lambda h: h.detach().tanh() + h,
    lambda h: F.scaled_dot_product_attention(h, h, h, fixed(4, 4)),
    lambda h: F.scaled_dot_product_attention(h, h, h, torch.eye(4).bool(), scale=0.3),
    lambda h: F.scaled_dot_product_attention(h, h, h, fixed(4, 4).masked_fill(fixed(4, 4) > 0.8, -np.inf)),
    lambda h: torch.nan_to_num(h.sigmoid()) * h, lambda h: F.dropout(h, 0.5, training=False, inplace=True).tanh_(),
]  # fmt: skip


@pytest.mark.parametrize("way", ["signal", "prop"])
@pytest.mark.parametrize("place", range(len(CONSERVED)))
def test_every_rule_conserves_relevance(place, way):
    _, found = handed_back(CONSERVED[place], way, 1.0, EPSILON)
    gap, mass = gap_of(found)
    assert gap < 1e-11 * mass
    assert (found.values != 0).any()
    assert torch.isfinite(found.values).all()
    _, other = handed_back(CONSERVED[place], way, 0.0, EPSILON)
    assert torch.isfinite(other.values).all()


def test_a_linear_layer_equals_the_literal_rule():
    w, b = fixed(3, 5), fixed(3)
    for factor in (0.0, 0.5, 1.0):
        inputs, found = handed_back(lambda h: F.linear(h[:, 0], w, b).max(1)[0], "signal", factor, 0.1)
        for row in range(2):
            x = inputs[row, 0].numpy()
            out = w.numpy() @ x + b.numpy()
            literal = Literal("signal", 0.1, factor)
            # the sums of one term that Applied makes of the maximum
            given_back = literal.linear(out[out.argmax()][None], np.ones((1, 1)), [0.0], [out.max()], [out.max()], 1)
            rout = np.zeros(3)
            rout[out.argmax()] = given_back[0]
            expected = literal.linear(x, w.numpy(), b.numpy(), out, rout, 5)
            np.testing.assert_allclose(found.values[row, 0].numpy(), expected, rtol=1e-9)


def test_layer_norm_takes_its_deviation_for_a_constant():
    w, b = fixed(5), fixed(5)
    inputs, found = handed_back(lambda h: F.layer_norm(h[:, 0], (5,), w, b)[:, 2])
    x = inputs[:, 0]
    slopes = (torch.eye(5).double()[2] - 0.2) * w[2] / (x.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(found.values[:, 0], x * slopes, rtol=1e-6, atol=1e-8)


def test_a_masked_step_is_no_term_of_a_mean():
    mask = torch.tensor([1.0, 1, 0, 0]).double()[:, None]
    _, found = handed_back(lambda h: (h * mask).mean(1), "signal", 1.0, 0.1)
    assert (found.values[:, 2:] == 0).all()
    assert gap_of(found)[0] < 1e-12
    assert set(found.leftover.values()) == {0.0}


def test_what_is_detached_or_not_recorded_still_has_influence():
    _, plain = handed_back(lambda h: (h.tanh() * 2 + h)[:, 0])
    _, hidden = handed_back(lambda h: without_recording(h)[:, 0].detach())
    torch.testing.assert_close(plain.values, hidden.values, rtol=0, atol=0)


class Halving(torch.autograd.Function):
    """Halves what it is given; its backward pass is no gradient, and no relevance rule either."""

    @staticmethod
    def forward(ctx, x):
        return x.mul(torch.ones_like(x)) / 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 17


class Hidden(Halving):
    @staticmethod
    def forward(ctx, x):
        with torch._C.DisableTorchFunction():
            return x / 2


def test_an_autograd_function_is_followed_through_its_forward():
    def plain(h):
        return ((h / 2).tanh() * 2 + h / 2 + (h / 4).cumsum(1))[:, 0]

    def own(h):
        half = Halving.apply(h)
        return (half.tanh() * 2 + half + Halving.apply(half).cumsum(1))[:, 0]

    _, expected = handed_back(plain, factor=1.0, epsilon=EPSILON)
    _, found = handed_back(own, factor=1.0, epsilon=EPSILON)
    torch.testing.assert_close(found.values, expected.values, rtol=1e-12, atol=1e-14)
    _, last = handed_back(Halving.apply)
    torch.testing.assert_close(last.values, last.score[:, None, None] * 0 + inputs_of(torch.full((2,), 4), seed=5) / 2)


def under_inference(h):
    with torch.inference_mode():
        return h.tanh()


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda h: torch.from_numpy(h.detach().numpy()), "numpy"),
        (lambda h: h * float(h[0, 0, 0]), "__float__"),
        (lambda h: torch.tensor(h.tolist()), "tolist"),
        (lambda h: h + Hidden.apply(h), "lost track of this model before torch.Tensor.add"),
        (under_inference, "inference_mode"),
        (lambda h: F.dropout(h, 0.5), "in training, which is random"),
        (lambda h: F.batch_norm(h.mT, fixed(5), fixed(5).abs(), training=True), "statistics of the batch"),
        (lambda h: F.batch_norm(h.mT, None, None, training=True), "statistics of the batch"),
        (lambda h: torch.div(h, 2, rounding_mode="floor"), "rounding"),
        (lambda h: F.scaled_dot_product_attention(h, h, h, dropout_p=0.1), "dropout, which is random"),
        (lambda h: (h > 0).double(), "no path"),
        (lambda h: torch.pow(h, 2, out=torch.empty(0)), "as this model calls it"),
        (Hidden.apply, "lost track of this model before torch.Tensor.__len__"),
    ],
)
def test_an_operation_without_a_rule_is_an_error_that_names_it(function, named):
    lengths = torch.full((2,), 4)
    model = nn.Sequential(nn.Linear(5, 5), Applied(function)).double()
    with pytest.raises(UnsupportedModelError, match=named) as caught:
        relevances(score_of(model, lengths), inputs_of(lengths), Shares())
    assert "\n" not in str(caught.value)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("way", ["half", "prop"])
def test_controls_refuse_what_they_cannot_take_apart(way):
    lengths = torch.full((2,), 4)
    score = score_of(Applied(lambda h: torch.einsum("...i,...i->...", h, h.tanh())), lengths)
    with pytest.raises(UnsupportedModelError, match="with this equation"):
        relevances(score, inputs_of(lengths), Shares(product=way))


def test_a_run_that_is_not_the_models_own_is_found_out():
    lengths = torch.full((2,), 4)
    score = score_of(Applied(torch.tanh), lengths)
    with torch.no_grad():
        expected = score(inputs_of(lengths)) + 1e-3
    with pytest.raises(UnsupportedModelError, match="score differs from the model's own for instance 0"):
        relevances(score, inputs_of(lengths), Shares(), expected)


# ---- what all propagation methods share -----------------------------------------------------------------------------

LATER = torch.ones(6, 6).triu(1).bool()
BLOCKED = torch.zeros(6, 6).double().masked_fill(LATER, -torch.inf)
PADDING = torch.arange(6) >= torch.tensor([6, 3, 4])[:, None]

FLOAT_PADDING = torch.zeros(3, 6).double().masked_fill(PADDING, -torch.inf)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("needed", [True, False])
@pytest.mark.parametrize(
    "masks",
    [
        {},
        {"attn_mask": BLOCKED},
        {"attn_mask": LATER},
        {"attn_mask": LATER, "key_padding_mask": PADDING},
        {"attn_mask": fixed(6, 6, 6), "key_padding_mask": FLOAT_PADDING},
        {"attn_mask": fixed(6, 6)},
        {"key_padding_mask": FLOAT_PADDING},
    ],
)
def test_attention_of_several_heads_is_taken_apart_as_torch_computes_it(masks, needed, average, batched):
    torch.manual_seed(0)
    given = fixed(6, 3, 4), fixed(6, 3, 8), fixed(6, 3, 5)
    if not batched:
        given = tuple(part[:, 0] for part in given)
        masks = {
            name: mask[0] if name == "key_padding_mask" else mask[: 2 if mask.dim() == 3 else 6]
            for name, mask in masks.items()
        }
    for options in ({"kdim": 8, "vdim": 5}, {}, {"bias": False}, {"add_bias_kv": True, "add_zero_attn": True}):
        inputs = given if "kdim" in options else (given[0],) * 3
        attention = nn.MultiheadAttention(4, 2, **options).double().eval()
        calls = []

        class Watch(torch.overrides.TorchFunctionMode):
            def __torch_function__(self, func, types, args=(), kwargs=None, calls=calls):
                if func is F.multi_head_attention_forward:
                    calls.append((args, kwargs))
                return func(*args, **(kwargs or {}))

        own = [part.clone().requires_grad_() for part in inputs]  # gradients keep torch off its fused path
        with Watch():
            expected = attention(*own, need_weights=needed, average_attn_weights=average, **masks)
        (call,) = calls
        found = decompositions.multi_head_attention("LRP", *call[0], **call[1])
        torch.testing.assert_close(found[0], expected[0], rtol=1e-12, atol=1e-12)
        if needed:
            torch.testing.assert_close(found[1], expected[1], rtol=1e-12, atol=1e-12)
        assert (found[1] is None) == (expected[1] is None)


@pytest.mark.parametrize("way", WAYS)
def test_rare_kinds_of_attention_are_explained_too(way):
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(6, 2, batch_first=True, add_bias_kv=True, add_zero_attn=True).double().eval()
    attention.requires_grad_(requires_grad=False)

    def attend(h):
        h = h @ fixed(5, 6)
        padding = torch.arange(4) > 2
        return attention(h, h, h, key_padding_mask=padding.expand(len(h), 4), attn_mask=LATER[:4, :4])[0]

    _, found = handed_back(attend, way, 1.0, EPSILON)
    assert gap_of(found)[0] < 1e-10 * gap_of(found)[1]


@pytest.mark.parametrize(
    "options", [{"is_causal": True}, {"enable_gqa": True}, {"is_causal": True, "enable_gqa": True}]
)
def test_causal_and_grouped_attention_is_explained_too(options):
    def attend(h):
        query = torch.stack([h, h.flip(2)], 1).tanh()
        heads = 1 if "enable_gqa" in options else 2
        return F.scaled_dot_product_attention(query, query[:, :heads], h[:, None].expand(-1, heads, -1, -1), **options)

    _, found = handed_back(attend, "signal", 1.0, EPSILON)
    assert gap_of(found)[0] < 1e-10 * gap_of(found)[1]


def test_attention_that_drops_is_refused():
    attention = nn.MultiheadAttention(5, 1, dropout=0.5, batch_first=True).double().train()
    attention.requires_grad_(requires_grad=False)
    lengths = torch.full((2,), 4)
    with pytest.raises(UnsupportedModelError, match="dropout, which is random"):
        relevances(score_of(Applied(lambda h: attention(h, h, h)[0]), lengths), inputs_of(lengths), Shares())


def test_an_encoder_layer_of_a_transformer_on_top_of_a_gru():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.GRU(5, 6, batch_first=True), nn.Linear(6, 2)
            self.encoder = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True, activation="gelu")

        def forward(self, x):
            return self.head(self.encoder(self.layer(x)[0]).mean(1))

    torch.manual_seed(0)
    lengths = torch.full((3,), 5)
    for way in WAYS:
        found = relevances(score_of(Model().double(), lengths), inputs_of(lengths), Shares(EPSILON, 1.0, way))
        assert gap_of(found)[0] < 1e-9 * gap_of(found)[1]


def test_a_direction_of_a_layer_is_an_operation_for_those_who_follow():
    weights = Weights(fixed(3, 5), fixed(3, 3))
    with pytest.raises(TypeError):
        direction("rnn_tanh", weights, Schedule([0, 1], [2, 2]), fixed(2, 2, 5), fixed(2, 3))
