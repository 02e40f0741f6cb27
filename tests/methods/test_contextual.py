"""Contextual decomposition: two literal definitions, the identity for every span, and users' own modules."""

from itertools import combinations, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from method_specimens import users_models
from torch import nn
from torch.nn import functional as F

from xrnnbench.errors import DataError, UnsupportedModelError
from xrnnbench.methods.propagation import contextual_decomposition as contextual
from xrnnbench.methods.propagation.contextual_decomposition import ContextualDecomposition
from xrnnbench.methods.propagation.decomposition import decompose
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.engine.adapters import PredictFunction
from xrnnbench.tasks.models.networks import AttentiveRecurrentNet, RecurrentNet
from xrnnbench.tasks.subject import Subject

CELLS = ("rnn", "lstm", "gru")
FAMILY = list(product(CELLS, (False, True), (1, 2), ("last", "mean", "max", "attention", "dot-attention")))
METHOD = ContextualDecomposition()


def make_subject(model, dtype=torch.float64, *, lengths=(9, 3, 1, 7, 5, 9, 2, 4), features=5, seed=0):
    rng = torch.Generator().manual_seed(seed)
    lengths = torch.tensor(lengths)
    valid = (torch.arange(int(lengths.max())) < lengths[:, None])[..., None]
    inputs = torch.randn(*valid.shape[:2], features, generator=rng, dtype=torch.float64).to(dtype) * valid
    batch = Batch(inputs, lengths, torch.zeros(len(lengths), dtype=torch.int64))
    return Subject(model.to(dtype), batch, torch.zeros_like(inputs)).check()


def family_member(cell, bidirectional, layers, pooling, scale=1.0, features=5):
    torch.manual_seed(0)
    model = AttentiveRecurrentNet(
        features, 6, 3, cell=cell, bidirectional=bidirectional, layers=layers, pooling=pooling
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    return model.double()


def masks_of(subject, number=6, seed=0):
    """Random spans of each sequence, and the instance of each."""
    rng = torch.Generator().manual_seed(seed)
    instance = torch.arange(len(subject)).repeat(number)
    return torch.rand(len(instance), subject.batch.inputs.shape[1], generator=rng) < 0.5, instance


def hold_to_identity(subject, tolerance=1e-12):
    """The parts are the score for every span, the full one has nothing irrelevant, the empty one nothing relevant."""
    keep, instance = masks_of(subject)
    found = METHOD.spans(subject, keep, instance)
    close(found.relevant + found.irrelevant + found.bias, subject.score[instance], tolerance)
    everything = torch.ones_like(keep[: len(subject)])
    full, empty = METHOD.spans(subject, everything), METHOD.spans(subject, ~everything)
    close(full.irrelevant, torch.zeros(len(subject)), tolerance)
    close(empty.relevant, torch.zeros(len(subject)), tolerance)
    close(full.relevant + full.bias, subject.score, tolerance)
    return found


def close(found, expected, tolerance):
    torch.testing.assert_close(found, expected.to(found.dtype), rtol=tolerance, atol=tolerance)


# ---- literal definitions: one sequence, one span, step by step -------------------------------------------------------


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def shared(function, a, b, c):
    """L of the paper for a, b and the bias c."""
    of_a = (function(a + c) - function(c) + function(a + b + c) - function(b + c)) / 2
    of_b = (function(b + c) - function(c) + function(a + b + c) - function(a + c)) / 2
    return of_a, of_b, function(c)


def literal_lstm(weights, rel_x, irrel_x, inside):
    w, u, b = weights[0], weights[1], weights[2] + weights[3]
    size = u.shape[1]
    rel_h = irrel_h = rel_c = irrel_c = np.zeros(size)
    found = []
    for rel, irrel, within in zip(rel_x, irrel_x, inside, strict=True):
        a, d = np.split(w @ rel + u @ rel_h, 4), np.split(w @ irrel + u @ irrel_h, 4)
        bias = np.split(b, 4)
        i, f, g = (shared(phi, a[k], d[k], bias[k]) for k, phi in enumerate((sigmoid, sigmoid, np.tanh)))
        old_rel, old_irrel = rel_c, irrel_c
        rel_c = i[0] * (g[0] + g[2]) + i[2] * g[0] + (f[0] + f[2]) * old_rel
        irrel_c = i[1] * sum(g) + (i[0] + i[2]) * g[1] + f[1] * old_rel + sum(f) * old_irrel
        rel_c, irrel_c = (rel_c + i[2] * g[2], irrel_c) if within else (rel_c, irrel_c + i[2] * g[2])
        gate = sigmoid(a[3] + d[3] + bias[3])
        rel_h, irrel_h, _ = (gate * part for part in shared(np.tanh, rel_c, irrel_c, 0.0))
        found.append((rel_h, irrel_h))
    return [np.stack(part) for part in zip(*found, strict=True)]


def literal_gru(weights, rel_x, irrel_x, inside):
    w, u, b_w, b_u = weights
    size = u.shape[1]
    rel_h = irrel_h = np.zeros(size)
    found = []
    for rel, irrel, within in zip(rel_x, irrel_x, inside, strict=True):
        of_x, of_h = (
            [np.split(w @ part, 3) for part in (rel, irrel)],
            [np.split(u @ part, 3) for part in (rel_h, irrel_h)],
        )
        b_x, b_h = np.split(b_w, 3), np.split(b_u, 3)
        r, z = (shared(sigmoid, of_x[0][k] + of_h[0][k], of_x[1][k] + of_h[1][k], b_x[k] + b_h[k]) for k in (0, 1))
        s = of_h[0][2], of_h[1][2], b_h[2]
        reset_rel = r[0] * s[0] + r[0] * s[2] + r[2] * s[0]
        reset_irrel = r[1] * s[0] + r[1] * s[1] + r[1] * s[2] + r[0] * s[1] + r[2] * s[1]
        n = shared(np.tanh, of_x[0][2] + reset_rel, of_x[1][2] + reset_irrel, b_x[2] + r[2] * s[2])
        # n + z∘(h − n), where the states have no bias: z = ½ + … lies in the bias part of the gate
        d = rel_h - n[0], irrel_h - n[1], -n[2]
        new_rel = n[0] + z[0] * d[0] + z[0] * d[2] + z[2] * d[0]
        new_irrel = n[1] + z[1] * d[0] + z[1] * d[1] + z[1] * d[2] + z[0] * d[1] + z[2] * d[1]
        alone = n[2] + z[2] * d[2]
        rel_h, irrel_h = (new_rel + alone, new_irrel) if within else (new_rel, new_irrel + alone)
        found.append((rel_h, irrel_h))
    return [np.stack(part) for part in zip(*found, strict=True)]


def literal_rnn(weights, rel_x, irrel_x, inside):
    w, u, b = weights[0], weights[1], weights[2] + weights[3]
    rel_h = irrel_h = np.zeros(u.shape[1])
    found = []
    for rel, irrel, within in zip(rel_x, irrel_x, inside, strict=True):
        rel_h, irrel_h, alone = shared(np.tanh, w @ rel + u @ rel_h, w @ irrel + u @ irrel_h, b)
        rel_h, irrel_h = (rel_h + alone, irrel_h) if within else (rel_h, irrel_h + alone)
        found.append((rel_h, irrel_h))
    return [np.stack(part) for part in zip(*found, strict=True)]


def literal(model, x, span, target):
    """Relevant and irrelevant part of a family member's score with pooling "last", its head's bias left out."""
    cell = {"LSTM": literal_lstm, "GRU": literal_gru, "RNN": literal_rnn}[type(model.recurrent).__name__]
    x, inside = x.numpy(), span.numpy()
    rel, irrel = x * inside[:, None], x * ~inside[:, None]
    for layer in range(model.recurrent.num_layers):
        made = []
        for way in [""] if not model.recurrent.bidirectional else ["", "_reverse"]:
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            weights = [getattr(model.recurrent, f"{name}_l{layer}{way}").detach().numpy() for name in names]
            turn = slice(None, None, -1 if way else 1)
            made.append([part[turn] for part in cell(weights, rel[turn], irrel[turn], inside[turn])])
        rel, irrel = (np.concatenate(parts, 1) for parts in zip(*made, strict=True))
    half = model.recurrent.hidden_size
    head = model.head.weight[target].detach().numpy()
    return [head @ np.concatenate([part[-1, :half], part[0, half:]]) for part in (rel, irrel)]


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize(("cell", "bidirectional", "layers"), list(product(CELLS, (False, True), (1, 2))))
def test_equals_the_literal_definition(cell, bidirectional, layers, scale):
    model = family_member(cell, bidirectional, layers, "last", scale, features=4)
    subject = make_subject(model, lengths=(6, 3, 1, 5), features=4)
    keep, instance = masks_of(subject)
    found = METHOD.spans(subject, keep, instance)
    values = METHOD.explain(subject).values
    expected = []
    for span, row in zip(keep, instance, strict=True):
        length = int(subject.batch.lengths[row])
        expected.append(literal(model, subject.batch.inputs[row, :length], span[:length], subject.target[row]))
    close(torch.stack([found.relevant, found.irrelevant], 1), torch.tensor(np.array(expected)), 1e-10)
    close(found.bias, model.head.bias[subject.target[instance]].detach(), 1e-12)
    for row, length in enumerate(subject.batch.lengths.tolist()):
        single = [
            literal(model, subject.batch.inputs[row, :length], torch.arange(length) == step, subject.target[row])[0]
            for step in range(length)
        ]
        close(values[row, :length], torch.tensor(np.array(single)), 1e-10)


def published(model, x, start, stop, target, last_bias):
    """The authors' own form for an LSTM of one layer (CD of sent_util.py, commit de5a59a), for steps start to stop.

    ``last_bias``: the last step whose bias products are relevant, which is stop − 1 in their code.
    """
    layer = model.recurrent
    w = np.split(layer.weight_ih_l0.detach().numpy(), 4)
    u = np.split(layer.weight_hh_l0.detach().numpy(), 4)
    b = np.split((layer.bias_ih_l0 + layer.bias_hh_l0).detach().numpy(), 4)
    i_, f_, g_, o_ = range(4)
    relevant, irrelevant, relevant_h, irrelevant_h = (np.zeros((len(x), layer.hidden_size)) for _ in range(4))
    for t in range(len(x)):
        before = (relevant_h[t - 1], irrelevant_h[t - 1]) if t > 0 else (np.zeros(layer.hidden_size),) * 2
        rel, irrel = ([matrix @ part for matrix in u] for part in before)
        grown = rel if start <= t <= stop else irrel
        for gate in (i_, f_, g_, o_):
            grown[gate] = grown[gate] + w[gate] @ x[t]
        rel_i, irrel_i, bias_i = shared(sigmoid, rel[i_], irrel[i_], b[i_])
        rel_g, irrel_g, bias_g = shared(np.tanh, rel[g_], irrel[g_], b[g_])
        relevant[t] = rel_i * (rel_g + bias_g) + bias_i * rel_g
        irrelevant[t] = irrel_i * (rel_g + irrel_g + bias_g) + (rel_i + bias_i) * irrel_g
        (relevant if start <= t <= last_bias else irrelevant)[t] += bias_i * bias_g
        if t > 0:
            rel_f, irrel_f, bias_f = shared(sigmoid, rel[f_], irrel[f_], b[f_])
            relevant[t] += (rel_f + bias_f) * relevant[t - 1]
            irrelevant[t] += (rel_f + irrel_f + bias_f) * irrelevant[t - 1] + irrel_f * relevant[t - 1]
        o = sigmoid(w[o_] @ x[t] + u[o_] @ (before[0] + before[1]) + b[o_])
        one, two = relevant[t], irrelevant[t]
        relevant_h[t] = o * 0.5 * (np.tanh(one) + (np.tanh(one + two) - np.tanh(two)))
        irrelevant_h[t] = o * 0.5 * (np.tanh(two) + (np.tanh(one + two) - np.tanh(one)))
    head = model.head.weight[target].detach().numpy()
    return head @ relevant_h[-1], head @ irrelevant_h[-1]


def test_equals_the_published_code_but_for_the_bias_of_the_last_step():
    model = family_member("lstm", bidirectional=False, layers=1, pooling="last", scale=2.0)
    subject = make_subject(model, lengths=(7,))
    spans = list(combinations(range(8), 2))
    keep = torch.stack([(torch.arange(7) >= start) & (torch.arange(7) < end) for start, end in spans])
    found = METHOD.spans(subject, keep, torch.zeros(len(keep), dtype=torch.int64))
    x, target = subject.batch.inputs[0].numpy(), int(subject.target[0])
    for corrected in (True, False):
        theirs = np.array(
            [published(model, x, start, end - 1, target, end - 1 if corrected else end - 2) for start, end in spans]
        )
        ours = torch.stack([found.relevant, found.irrelevant], 1).numpy()
        assert np.allclose(ours.sum(1), theirs.sum(1), rtol=1e-10, atol=1e-12)
        assert np.allclose(ours, theirs, rtol=1e-10, atol=1e-12) == corrected


# ---- the identity ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize("member", FAMILY, ids=lambda member: "-".join(map(str, member)))
@pytest.mark.pairwise
def test_the_parts_are_the_score_for_every_span(member, scale):
    model = family_member(*member, scale)
    found = hold_to_identity(make_subject(model))
    if member[3] not in {"attention", "dot-attention"}:  # whose weights sum to 1 only but for rounding
        assert len(found.bias.unique()) <= model.head.out_features
    assert float(found.relevant.std()) > 1e-3


@pytest.mark.parametrize("cell", CELLS)
def test_the_parts_are_the_score_for_every_contiguous_span(cell):
    """And what a span and the rest make together is irrelevant to both, where there is a product to make it in."""
    model = family_member(cell, bidirectional=True, layers=2, pooling="last")
    subject = make_subject(model, lengths=(6,))
    keep = torch.stack([(torch.arange(6) >= a) & (torch.arange(6) < b) for a, b in combinations(range(7), 2)])
    instance = torch.zeros(len(keep), dtype=torch.int64)
    found = METHOD.spans(subject, keep, instance)
    close(
        found.relevant + found.irrelevant, (subject.score - model.head.bias[subject.target])[instance].detach(), 1e-12
    )
    rest = METHOD.spans(subject, ~keep, instance)
    together = (found.irrelevant - rest.relevant).abs()
    assert bool((together[keep.all(1)] < 1e-12).all())
    assert (float(together.max()) < 1e-12) == (cell == "rnn")


@pytest.mark.parametrize("cell", CELLS)
def test_single_precision(cell):
    subject = make_subject(family_member(cell, bidirectional=True, layers=2, pooling="attention"), torch.float32)
    hold_to_identity(subject, 2e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_the_steps_do_not_sum_to_the_score(cell):
    """And nobody says so: what steps make together belongs to none of them."""
    model = family_member(cell, bidirectional=False, layers=1, pooling="last", scale=2.0)
    subject = make_subject(model)
    assert not METHOD.complete
    made = subject.score - model.head.bias[subject.target].detach()
    gap = METHOD.explain(subject).values.sum(1) - made
    alone = subject.batch.lengths == 1
    close(gap[alone], torch.zeros(1), 1e-12)
    assert float((gap[~alone].abs() / made[~alone].abs()).median()) > 0.01


# ---- users' own modules ----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("name", users_models())
def test_decomposes_users_own_modules(name):
    torch.manual_seed(2)
    model = users_models()[name].double()
    told = "packed" in name
    with torch.no_grad():  # settles the lazy layer
        model(*[torch.zeros(2, 4, 3).double(), torch.tensor([4, 4])][: 2 if told else 1])
    lengths = (9, 3, 1, 7) if told else (9, 9, 9, 9)
    subject = make_subject(model.eval(), features=3, lengths=lengths)
    assert float(hold_to_identity(subject).relevant.abs().max()) > 1e-4
    assert float(METHOD.explain(subject).values.abs().max()) > 1e-4


class Composed(nn.Module):
    """A member of the family made of other parts: cells in a loop, separate layers, the sequence turned round."""

    def __init__(self, of, how):
        super().__init__()
        self.of, self.how = of, how
        layer = of.recurrent
        self.separate = nn.ModuleList(
            type(layer)(layer.input_size if k == 0 else layer.hidden_size, layer.hidden_size, batch_first=True)
            for k in range(layer.num_layers)
        )
        kind = {nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell, nn.RNN: nn.RNNCell}[type(layer)]
        self.cells = nn.ModuleList(kind(own.input_size, own.hidden_size) for own in self.separate)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        for k, (own, cell) in enumerate(zip(self.separate, self.cells, strict=True)):
            own.load_state_dict({f"{name}_l0": getattr(layer, f"{name}_l{k}") for name in names})
            cell.load_state_dict({name: getattr(layer, f"{name}_l{k}") for name in names})
        self.double()

    def forward(self, x):
        if self.how == "cells":
            for cell in self.cells:
                state, found = None, []
                for step in x.unbind(1):
                    state = cell(step, state)
                    found.append(state[0] if isinstance(state, tuple) else state)
                x = torch.stack(found, 1)
        else:
            for own in self.separate:
                x = own(x)[0]
        return self.of.head(x[:, -1])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("how", ["cells", "separate"])
def test_the_same_model_made_of_other_parts_has_the_same_parts(cell, how):
    """Which holds only if a layer knows which of its steps lie in the span, whatever lies before it."""
    whole = family_member(cell, bidirectional=False, layers=2, pooling="last")
    subject = make_subject(whole, lengths=(6, 6, 6))
    other = Subject(Composed(whole, how), subject.batch, subject.reference, target=subject.target)
    keep, instance = masks_of(subject)
    expected, found = METHOD.spans(subject, keep, instance), METHOD.spans(other, keep, instance)
    close(found.relevant, expected.relevant, 1e-12)
    close(found.bias, expected.bias, 1e-12)


def test_a_sequence_that_the_model_turns_round_takes_its_span_along():
    class Turned(nn.Module):
        def __init__(self, of):
            super().__init__()
            self.of = of

        def forward(self, x):
            return self.of(F.pad(x.flip(1).transpose(1, 2), (1, 1)).transpose(1, 2)[:, 1:-1])

    model = family_member("lstm", bidirectional=False, layers=2, pooling="mean")
    subject = make_subject(model, lengths=(6, 6, 6))
    turned = Subject(
        Turned(model), Batch(subject.batch.inputs.flip(1), subject.batch.lengths, subject.batch.targets),
        subject.reference, target=subject.target,
    )  # fmt: skip
    close(METHOD.explain(turned).values.flip(1), METHOD.explain(subject).values, 1e-12)


class Decoder(nn.Module):
    """Reads the sequence, then takes steps whose input is a constant, or starts from a state that is one."""

    def __init__(self, layer, *, started):
        super().__init__()
        self.encoder, self.decoder = layer(5, 4, batch_first=True), layer(3, 4, 2, batch_first=True)
        self.head, self.start, self.started = nn.Linear(4, 2), nn.Parameter(torch.randn(2, 1, 4)), started

    def forward(self, x):
        start = self.start.expand(-1, len(x), -1).contiguous()
        pair = isinstance(self.encoder, nn.LSTM)
        if self.started:
            state = start[:1] if not pair else (start[:1], start[1:])
            return self.head(self.encoder(x, state)[0][:, -1])
        _, state = self.encoder(x)
        state = tuple(part.repeat(2, 1, 1) for part in state) if pair else state.repeat(2, 1, 1)
        return self.head(self.decoder(torch.ones(len(x), 3, 3, dtype=x.dtype), state)[0][:, -1])


@pytest.mark.parametrize("started", [False, True], ids=["constant inputs", "constant state"])
@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
def test_constants_within_a_layer_stay_in_the_bias(layer, started):
    torch.manual_seed(3)
    model = Decoder(layer, started=started)
    subject = make_subject(model, lengths=(6, 6, 6))
    found = hold_to_identity(subject)
    if started and layer is not nn.RNN:
        return  # what a constant state adds to a step's bias is given to the step
    own = model.head.bias[subject.target].repeat(6).detach()
    assert bool(((found.bias - own).abs() > 1e-3).all()) != started


def written(x):
    kept = torch.zeros_like(x)
    kept[:, 1:] += x[:, :3]
    kept[:, 0].copy_(x[:, 3]).neg_()
    kept -= 0.5
    return kept * -2


ALL, ENDS_HALF = (1, 1, 1, 1), (0.5, 1, 1, 0.5)
TURN = -3 * torch.eye(5).double()
FRONTS = [
    (lambda x: F.avg_pool1d(x.transpose(1, 2), 2).transpose(1, 2), (0.5, 0.5, 0.5, 0.5)),
    (lambda x: x.diff(dim=1), ENDS_HALF), (lambda x: x[:, 1:] - x[:, :-1], ENDS_HALF),
    (lambda x: torch.rsub(x[:, 1:], x[:, :-1]), ENDS_HALF),
    (lambda x: torch.sub(x[:, 1:], x[:, :-1], alpha=-1), ENDS_HALF),
    (lambda x: x[:, 1:] * x[:, :-1], ENDS_HALF), (lambda x: x[:, 1:] / (x[:, 1:] + 9) - x[:, :-1], ENDS_HALF),
    (lambda x: F.conv1d(x.transpose(1, 2), torch.tensor([[[1.0, -3.0]]]).double().expand(5, 5, 2)).transpose(1, 2),
     (0.25, 1, 1, 0.75)),
    (lambda x: -x, ALL), (lambda x: F.linear(x, TURN, TURN[0]).tanh(), ALL), (lambda x: F.layer_norm(x, (5,)) - 1, ALL),
    (lambda x: F.batch_norm(x.transpose(1, 2), TURN[0], TURN[0].abs()).transpose(1, 2), ALL), (written, ALL),
    (lambda x: torch.cat([x, torch.ones(len(x), 2, 5).double()], 1), ALL),
    (lambda x: x * torch.tensor([1.0, 0.0, -1.0, 1.0]).double()[:, None], (1, 0, 1, 1)),
    (lambda x: x.masked_fill(torch.tensor([0, 1, 0, 0]).bool()[:, None], 3.0), (1, 0, 1, 1)),
    (lambda x: nn.RNN(5, 5, 2, batch_first=True).double()(x)[0] + x, ALL), (lambda x: x.amax(2, keepdim=True) * x, ALL),
    (lambda x: torch.softmax(x, 2).logsumexp(2, keepdim=True) + x, ALL), (lambda x: x * -x.exp(), ALL),
]  # fmt: skip


@pytest.mark.parametrize(("front", "shares"), FRONTS)
def test_what_the_biases_make_in_a_step_belongs_to_the_inputs_it_is_made_of(front, shares):
    """Behind whatever lies in front of a layer, found by a layer that has nothing but a bias."""

    class Biased(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.RNN(5, 1, batch_first=True)

        def forward(self, x):
            torch.manual_seed(0)
            return self.layer(front(x))[0].sum((1, 2))[:, None].expand(-1, 2)

    model = Biased()
    with torch.no_grad():
        model.layer.weight_ih_l0.zero_()
        model.layer.weight_hh_l0.zero_()
    subject = make_subject(model, lengths=(4, 4))
    bias = (model.layer.bias_ih_l0 + model.layer.bias_hh_l0).tanh().detach()
    close(METHOD.explain(subject).values, (bias * torch.tensor(shares)).expand(2, 4), 1e-12)
    hold_to_identity(subject)


# ---- rules -----------------------------------------------------------------------------------------------------------


def parts_of(function, x, span):
    """relevant, irrelevant and bias float[B, ...] of a function of x float[B, T, D]."""

    class Model(nn.Module):
        def forward(self, given):
            return function(given).reshape(len(given), -1).sum(1)

    return decompose(Model(), x, span.expand(len(x), -1), Model()(x.clone()))


def test_a_product_is_relevant_where_nothing_irrelevant_is_a_factor():
    x = torch.randn(3, 2, 1).double()
    a, b = x[:, 0, 0], x[:, 1, 0]
    found = parts_of(lambda x: (x[:, 0] + 3) * (x[:, 1] + 2), x, torch.tensor([True, False]))
    close(found.relevant, 2 * a, 1e-12)
    close(found.irrelevant, a * b + 3 * b, 1e-12)
    close(found.bias, torch.full((3,), 6.0).double(), 1e-12)


def test_a_function_is_shared_out_with_its_bias_first():
    x = torch.randn(3, 2, 1).double()
    a, b = x[:, 0, 0], x[:, 1, 0]
    found = parts_of(lambda x: torch.exp(x.sum(1) + 0.5), x, torch.tensor([True, False]))
    of_a, of_b, of_c = shared(np.exp, a.numpy(), b.numpy(), 0.5)
    close(found.relevant, torch.tensor(of_a), 1e-12)
    close(found.irrelevant, torch.tensor(of_b), 1e-12)
    close(found.bias, torch.tensor([of_c] * 3), 1e-12)


def test_attention_weights_are_not_decomposed():
    x = torch.randn(3, 4, 2).double()
    span = torch.tensor([False, True, True, False])
    weights = x[:, :, 0].softmax(1)
    for function in (
        lambda x: (x[:, :, 0].softmax(1) * (x[:, :, 1] + 1)).sum(1),
        lambda x: torch.bmm(x[:, None, :, 0].softmax(-1), x[:, :, 1:] + 1).flatten(1),
        lambda x: torch.einsum("bt,bt->b", x[:, :, 1] + 1, F.dropout(x[:, :, 0].softmax(1), training=False)),
        lambda x: (x[:, :, 1] + 1)[:, None] @ x[:, :, 0].exp().log().softmax(1)[..., None],
    ):
        found = parts_of(function, x, span)
        close(found.relevant, (weights * x[:, :, 1] * span).sum(1), 1e-12)
        close(found.bias, torch.ones(3), 1e-12)


def test_the_winner_of_a_maximum_takes_its_streams_along():
    x = torch.randn(5, 4, 3).double()
    span = torch.tensor([False, True, True, False])
    value, winner = x.max(1)
    expected = (value * span[winner]).sum(1)
    pooled = lambda x: F.max_pool1d(x.transpose(1, 2), 4)  # noqa: E731  # one of a list
    for function in (
        lambda x: x.amax(1), lambda x: x.max(dim=1).values, lambda x: x.max(1, keepdim=True)[0], pooled,
        lambda x: F.adaptive_max_pool1d(x.transpose(1, 2), 1), lambda x: -(-x).min(1).values, lambda x: -(-x).amin(1),
        lambda x: x.sort(1).values[:, -1], lambda x: x.topk(1, 1).values,
        lambda x: x.sort(dim=1, descending=True)[0][:, 0],
        lambda x: torch.maximum(torch.maximum(x[:, 0], x[:, 1]), torch.max(x[:, 2], x[:, 3])),
        lambda x: -torch.minimum(torch.minimum(-x[:, 0], -x[:, 1]), torch.min(-x[:, 2], -x[:, 3])),
    ):  # fmt: skip
        close(parts_of(function, x, span).relevant, expected, 1e-12)
    both = parts_of(lambda x: x.amax((1, 2)), x, span)
    flat = x.flatten(1).argmax(1)
    close(both.relevant, x.flatten(1).amax(1) * span[flat // 3], 1e-12)


def test_a_normalisation_is_linear_with_the_scale_of_the_total():
    x = torch.randn(5, 4, 3).double()
    weight, bias, span = torch.randn(3).double(), torch.randn(3).double(), torch.tensor([False, True, True, False])
    kept = x * span[:, None]
    scale = (x.var(-1, unbiased=False, keepdim=True) + 1e-5).rsqrt() * weight
    found = parts_of(lambda x: F.layer_norm(x, (3,), weight, bias), x, span)
    close(found.relevant, ((kept - kept.mean(-1, keepdim=True)) * scale).sum((1, 2)), 1e-12)
    close(found.bias, (4 * bias.sum()).expand(5), 1e-12)
    found = parts_of(lambda x: F.rms_norm(x, (3,), weight, 1e-5), x, span)
    close(found.relevant, (kept * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * weight).sum((1, 2)), 1e-12)


def in_place(x):
    kept = torch.zeros(len(x), x.shape[1], 2 * x.shape[2]).double()
    kept[:, :, 1] = x[:, :, 0] * 0.5
    kept[:, 0] += torch.cat([x[:, 1], x[:, 2]], 1)
    kept[0] += kept[1]
    kept[:, 1:].add_(1)
    kept += 1
    kept *= x.repeat(1, 1, 2)
    kept /= 2
    kept -= 0.25
    kept.tanh_()
    view = kept[:, :, 0]
    view.mul_(2).neg_()
    return F.relu(kept + 0.1, inplace=True).masked_fill_(kept > 0.9, 0.5)


def views_of_a_constant(x):
    kept = torch.zeros(len(x), 4, 3).double()
    first, second = kept[:, 0], kept[:, 1]
    first.add_(x[:, 0])
    second.copy_(x[:, 1].tanh())
    return kept.cumsum(1) * second[:, None]


class Halving(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x / 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient / 2


RULES = [
    torch.tanh, torch.sigmoid, torch.exp, F.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish,
    F.softplus, F.softsign, F.hardtanh, F.hardsigmoid, F.hardswish, F.logsigmoid, F.tanhshrink, torch.square, torch.abs,
    torch.sin, torch.cos, torch.atan, torch.erf, torch.expm1, torch.sign, torch.round, torch.floor,
    lambda z: z.clamp(-0.5, 0.5), lambda z: z**3, lambda z: 2**z, lambda z: (z.square() + 1).log(),
    lambda z: (z * z + 1).sqrt() if bool((z > -1e9).all()) else z, lambda z: 2 / (z.square() + 1),
    lambda z: z / (1 + z.abs()), lambda z: torch.lerp(z, z.tanh(), 0.3), lambda z: torch.addcmul(z, z, z.tanh()),
    lambda z: F.softmax(z, dim=1), lambda z: z.log_softmax(1), lambda z: z.logsumexp(1, keepdim=True) * z,
    lambda z: z.logsumexp((1, 2)), lambda z: torch.maximum(z, -z), lambda z: torch.minimum(z, z * z),
    lambda z: z.max(), lambda z: z.min(1, keepdim=True).values * z, lambda z: F.max_pool1d(z, 2, padding=1, stride=1),
    lambda z: F.max_pool1d(z, 2, return_indices=True)[0], lambda z: z.amax([1, 2], keepdim=True),
    lambda z: F.layer_norm(z, (4, 3)), lambda z: F.batch_norm(z, torch.ones(4).double(), torch.ones(4).double() * 2),
    lambda z: F.batch_norm(z, z.new_ones(4), z.new_ones(4), torch.arange(4.0).double(), z.new_ones(4)),
    lambda z: z.masked_fill(torch.eye(4, 3).bool(), 0.7), lambda z: torch.where(z > 0, z, 0.3),
    lambda z: torch.where(z > 0, torch.ones(3).double(), z * z), lambda z: z.pow(2).T.T if z.dim() == 2 else z.pow(2),
    lambda z: torch.baddbmm(z.transpose(1, 2) @ z, z.transpose(1, 2), z, beta=2, alpha=0.5),
    lambda z: torch.einsum("btd,de->bte", z, torch.eye(3).double()), lambda z: torch.einsum("btd->bdt", z),
    lambda z: torch.einsum("btd,bsd->bts", z, z.tanh()), lambda z: torch.add(z, 1) ** 2 / 3 - 1 / (2 + z.sigmoid()),
    lambda z: F.scaled_dot_product_attention(z, z, z, is_causal=True),
    lambda z: 1 - z / 2 + torch.stack([z, z]).mean(0),
    lambda z: F.scaled_dot_product_attention(z, z, z, torch.eye(4).bool(), scale=0.3),
    lambda z: z.diff(2, dim=1, prepend=z[:, :1], append=z.new_ones(3, 1, 3)).square(),
    lambda z: torch.rsub(z, 2, alpha=3) * torch.sub(z, z.tanh(), alpha=-2),
    lambda z: F.pad(z, (1, 1), value=2.0) ** 2, lambda z: torch.add(z, torch.arange(3), alpha=-2).exp(),
    lambda z: F.conv1d(z, torch.ones(2, 4, 2).double(), torch.ones(2).double()) ** 2, in_place, views_of_a_constant,
    lambda z: F.linear(z[:, 0], z[0].tanh(), torch.ones(4).double()), lambda z: z.detach() * z.data.tanh(),
    lambda z: z.sum((1, 2)).round() + z.argmax(1).double().sum(1),
    lambda z: (z / z.exp().sum(1, keepdim=True)).div_(3), lambda z: (z.abs().sum(2) > 0).double().mul(z.sum(2)),
    lambda z: z.scatter(1, torch.zeros(len(z), 1, 3).long(), 2.0),
    lambda z: Halving.apply(z).tanh() * Halving.apply(z),
    lambda z: z[:, [2, 0]].index_add(1, torch.tensor([0, 1]), z[:, :2]).repeat_interleave(2, 1).roll(1, 1),
]  # fmt: skip


def filled(x):
    kept = torch.zeros(len(x), 4, 3).double()
    rows = kept.unbind(1)
    for row, step in zip(rows, x.unbind(1), strict=True):
        row.copy_(step)
    rows[1].mul_(2)
    return kept.tanh()


def aliased(x):
    kept = torch.ones(len(x), 4, 3).double()
    first = kept[:, 0]
    kept[:, 0] = x[:, 0]
    kept[:, 1:] += x[:, 1:]
    return (first * kept[:, 1]).relu_()


@pytest.mark.parametrize(
    ("writing", "plain"),
    [
        (filled, lambda x: (x * torch.tensor([1.0, 2.0, 1.0, 1.0]).double()[:, None]).tanh()),
        (aliased, lambda x: (x[:, 0] * (x[:, 1] + 1)).relu()),
        (lambda x: F.leaky_relu(x * 1, 0.2, inplace=True).sub_(1).mul_(x), lambda x: (F.leaky_relu(x, 0.2) - 1) * x),
        (lambda x: x.mul_(x.exp()).add_(2), lambda x: x * x.exp() + 2),
        (lambda x: x.zero_() + 1, lambda x: 0 * x + 1),
        (lambda x: x.fill_(2).tanh(), lambda x: (0 * x + 2).tanh()),
    ],
)
def test_writing_in_place_is_computing_anew(writing, plain):
    torch.manual_seed(6)
    x = torch.randn(3, 4, 3).double()
    found, expected = (parts_of(function, x, torch.tensor([1, 1, 0, 0]).bool()) for function in (writing, plain))
    for part in ("relevant", "irrelevant", "bias"):
        close(getattr(found, part), getattr(expected, part), 1e-12)


@pytest.mark.parametrize("function", RULES, ids=lambda f: getattr(f, "__name__", "f"))
@pytest.mark.parametrize("span", ["none", "some", "all"])
def test_every_rule_adds_up(function, span):
    torch.manual_seed(3)
    x = torch.randn(3, 4, 3).double()
    keep = {"none": torch.zeros(4), "some": torch.tensor([0, 1, 1, 0]), "all": torch.ones(4)}[span].bool()
    expected = function(x.clone())
    found = parts_of(lambda z: function(z) if expected.dim() else function(z).expand(3), x, keep)
    total = expected.flatten(1).sum(1) if expected.dim() > 1 else expected.expand(3)
    close(found.relevant + found.irrelevant + found.bias, total, 1e-11)
    if span != "some":
        close(found.relevant if span == "none" else found.irrelevant, torch.zeros(3), 1e-11)
    assert torch.isfinite(found.relevant).all()


UNIT = torch.zeros(4).double(), torch.ones(4).double()


def unseen(h):
    with torch._C.DisableTorchFunction():
        return h.tanh()


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda h: torch.from_numpy(h.detach().numpy())[:, -1], "numpy"),
        (lambda h: h[:, -1] * float(h.sum()), "__float__"),
        (lambda h: h[:, -1] + h.sum().item(), "item"),
        (lambda h: torch.tensor(h[:, -1].tolist()).double(), "tolist"),
        (lambda h: unseen(h)[:, -1] + h[:, 0], "lost track"),
        (lambda h: unseen(h)[:, -1].relu(), "lost track"),
        (lambda h: h[:, -1].square().log(), "outside its domain"),
        (lambda h: 1 / h[:, -1].square(), "outside its domain"),
        (lambda h: torch.div(h[:, -1], 2, rounding_mode="floor"), "rounding"),
        (lambda h: F.dropout(h, 0.5)[:, -1], "do not sum|differs"),
        (lambda h: F.batch_norm(h[:, -1], None, None, training=True), "the batch's own mean"),
        (lambda h: torch.batch_norm(h[:, -1], None, None, *UNIT, *(False, 0.1, 1e-5, False)), "called directly"),
        (lambda h: torch.zeros(len(h), 4).double(), "no path"),
        (lambda h: torch.amax(h, 1, out=None), "as this model calls it"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_an_operation_without_a_rule_is_an_error_that_names_it(function, named):
    class Refused(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.RNN(5, 4, batch_first=True)

        def forward(self, x):
            return function(self.layer(x)[0])

    torch.manual_seed(5)
    model = Refused().double()
    x = torch.randn(3, 6, 5).double()
    with pytest.raises(UnsupportedModelError, match=named):
        decompose(lambda_module(model), x, torch.arange(6).expand(3, -1) == 2, torch.zeros(3).double())
    assert all(parameter.requires_grad for parameter in model.parameters())


def lambda_module(model):
    class Score(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model(x)[:, 0]

    return Score()


def test_a_run_that_is_not_the_models_own_is_found_out():
    model = lambda_module(nn.Flatten())
    x = torch.randn(3, 6, 5).double()
    keep = torch.ones(3, 6).bool()
    assert decompose(model, x, keep, x[:, 0, 0]).relevant.equal(x[:, 0, 0])
    with pytest.raises(UnsupportedModelError, match="score differs from the model's own for row 1"):
        decompose(model, x, keep, x[:, 0, 0] + torch.tensor([0, 1e-3, 0]).double())


def test_nothing_of_one_run_is_left_for_the_next():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.randn(4).double())
            self.layer = nn.RNN(5, 4, batch_first=True)

        def forward(self, x):
            self.kept = torch.zeros(len(x), 4).double()
            self.kept.add_(self.layer(x)[0][:, -1])
            return self.kept * self.table + self.layer(x)[0][:, 0]

    model = Model().double()
    hold_to_identity(make_subject(model, lengths=(6, 6, 6)))
    assert not hasattr(model.kept, "_xrnnbench_streams")
    assert not model.kept.requires_grad
    assert model.table.requires_grad


# ---- the method ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["last", "attention"])
def test_costs_a_forward_for_each_step(pooling):
    subject = make_subject(family_member("lstm", bidirectional=True, layers=2, pooling=pooling))
    METHOD.explain(subject)
    steps = int(subject.batch.lengths.sum())
    assert (subject.cost.forward, subject.cost.executed, subject.cost.backward) == (steps, steps, 0)
    METHOD.spans(subject, torch.ones(8, 9).bool())
    assert (subject.cost.forward, subject.cost.executed, subject.cost.backward) == (steps + 8, steps + 8, 0)


def test_explains_tokens_by_their_embeddings():
    torch.manual_seed(0)
    model = RecurrentNet(5, 6, 3, cell="gru", bidirectional=True, vocabulary_size=12).double()
    lengths = torch.tensor([7, 1, 4])
    tokens = torch.randint(2, 12, (3, 7)) * (torch.arange(7) < lengths[:, None])
    subject = Subject(model, Batch(tokens, lengths, torch.zeros(3, dtype=torch.int64)), torch.ones_like(tokens))
    values = METHOD.explain(subject).values
    assert values.shape == (3, 7)
    assert subject.cost.forward == 12
    expected = literal(model, model.embedding(tokens[0]).detach(), torch.arange(7) == 2, subject.target[0])
    assert float(values[0, 2]) == pytest.approx(float(expected[0]), rel=1e-9)


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5), extra=st.integers(0, 3), cell=st.sampled_from(CELLS)
)
def test_batch_mates_and_padding_do_not_matter(lengths, extra, cell):
    model = family_member(cell, bidirectional=True, layers=2, pooling="attention")
    subject = make_subject(model, lengths=lengths)
    whole = METHOD.explain(subject).values
    batch = Batch(
        F.pad(subject.batch.inputs, (0, 0, 0, extra), value=3.0), subject.batch.lengths, subject.batch.targets
    )
    padded = Subject(model, batch, F.pad(subject.reference, (0, 0, 0, extra)), target=subject.target)
    close(METHOD.explain(padded).values[:, : whole.shape[1]], whole, 1e-12)
    for row, length in enumerate(lengths):
        alone = METHOD.explain(subject.select(torch.tensor([row]))).values
        close(alone[0], whole[row, :length], 1e-12)


def test_rows_run_apart_give_the_same(monkeypatch):
    subject = make_subject(family_member("gru", bidirectional=True, layers=1, pooling="max"))
    keep, instance = masks_of(subject)
    whole, values = METHOD.spans(subject, keep, instance), METHOD.explain(subject).values
    monkeypatch.setattr(contextual, "_ROWS_DIVISOR", 1 << 9)
    close(METHOD.spans(subject, keep, instance).relevant, whole.relevant, 1e-12)
    close(METHOD.explain(subject).values, values, 1e-12)


def test_spans_that_do_not_fit_are_refused():
    subject = make_subject(family_member("rnn", bidirectional=False, layers=1, pooling="last"))
    for keep in (torch.ones(8, 9), torch.ones(8, 8).bool(), torch.ones(9).bool()):
        with pytest.raises(DataError, match="not bool"):
            METHOD.spans(subject, keep)
    with pytest.raises(DataError, match="not bool"):
        METHOD.spans(subject, torch.ones(8, 9).bool(), torch.arange(7))


def test_a_plain_function_is_not_applicable():
    inputs = torch.randn(3, 4, 2)
    batch = Batch(inputs, torch.full((3,), 4), torch.zeros(3, dtype=torch.int64))
    subject = Subject(PredictFunction(lambda x: x.sum(1), "f"), batch, torch.zeros_like(inputs))
    assert "plain function" in METHOD.applicable(subject)
