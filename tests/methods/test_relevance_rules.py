"""LRP's rules for products of signals, normalisations, complex tensors and any other operation: literal and conserving.

Each fast rule is compared with loops over numbers in float64, and every rule conserves relevance.
"""

import itertools

import numpy as np
import pytest
import torch
from relevance_networks import NETWORKS, Mamba, MinGru, network
from torch import nn
from torch.nn import functional as F

from xrnnbench.errors import ParameterError, UnsupportedModelError
from xrnnbench.methods.propagation.lrp import Lrp, LrpAbs, LrpHalf, LrpProp
from xrnnbench.methods.propagation.relevance import Shares, relevances
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.engine.adapters import TargetScore
from xrnnbench.tasks.subject import Subject

WAYS = ("signal", "half", "abs", "prop")
TINY = 1e-13


def fixed(*shape, seed=7):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


class Applied(nn.Module):
    """A function of the steps x[B, T, 6], summed up to two scores."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        found = self.function(x)
        found = torch.view_as_real(found) if found.is_complex() else found
        found = found.reshape(len(found), -1).sum(1, keepdim=True)
        return torch.cat([found, -found], 1)


def score_of(model, rows, steps):
    lengths = torch.full((rows,), steps)
    return TargetScore(model.eval(), lengths, torch.zeros_like(lengths), "the model")


def handed_back(function, shares, rows=2, steps=4, seed=5):
    """Inputs float[rows, steps, 6] and their relevances for a function's summed result."""
    inputs, score = fixed(rows, steps, 6, seed=seed), score_of(Applied(function), rows, steps)
    with torch.no_grad():
        expected = score(inputs.clone())
    return inputs, relevances(score, inputs, shares, expected)


def relevance_of(function, weights, shares, inputs):
    """Relevance of inputs float[1, T, 6] where the outputs of a function have the relevance of a weighted sum of them.

    The weights make every output's relevance another one: R_j = w_j y_j · score / (score + ε sgn score).
    """
    score = score_of(Applied(lambda x: function(x) * weights), 1, inputs.shape[1])
    return relevances(score, inputs, shares).values


def gap_of(found):
    gap = float(found.values.sum()) + sum(found.leftover.values()) - float(found.score.sum())
    return abs(gap), float(found.values.abs().sum()) + sum(map(abs, found.leftover.values())) + 1


def close(found, expected, tolerance=1e-9):
    expected = torch.as_tensor(expected)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))


def sign(value):
    return 1.0 if value >= 0 else -1.0


# ---- products of signals ---------------------------------------------------------------------------------------------


def literal_product(factors, contributes, out, epsilon):
    """Relevance of each factor of out_j = Σ Π factors: one share in n of ε-LRP with the other factors constant.

    ``contributes`` lists, for each output, tuples of one index into each factor; ``out`` holds outputs and relevances.
    """
    found = [np.zeros(factor.shape) for factor in factors]
    for (value, relevance), terms in zip(out, contributes, strict=True):
        for indices in terms:
            term = np.prod([factor[index] for factor, index in zip(factors, indices, strict=True)])
            for own, index in zip(found, indices, strict=True):
                own[index] += term / (value + epsilon * sign(value)) * relevance / len(factors)
    return found


@pytest.mark.parametrize("epsilon", [1e-9, 0.1])
def test_two_signals_share_a_matrix_product_half_each(epsilon):
    inputs, w = fixed(1, 4, 6), fixed(1, 4, 4).abs()
    found = relevance_of(lambda x: x[..., :3] @ x[..., 3:].mT, w, Shares(epsilon), inputs)
    a, b = inputs[0, :, :3].numpy(), inputs[0, :, 3:].numpy()
    values = a @ b.T
    score = float((values * w[0].numpy()).sum())
    factor = score / (score + epsilon * sign(score))
    places = list(itertools.product(range(4), range(4)))
    out = [(values[i, j], float(w[0, i, j]) * values[i, j] * factor) for i, j in places]
    contributes = [[((i, k), (j, k)) for k in range(3)] for i, j in places]
    expected = np.concatenate(literal_product([a, b], contributes, out, epsilon), 1)
    close(found[0], expected)


@pytest.mark.parametrize("equation", ["bti,bsi,bui->btsu", "bti, bti, bti -> bt", "bti,bsi,bti->bs"])
def test_three_signals_share_an_einstein_sum_equally(equation):
    inputs, epsilon = fixed(1, 3, 6), 0.05
    parts = inputs.split(2, -1)
    labels, output = equation.replace(" ", "").split("->")
    names = labels.split(",")
    sizes = dict(zip("".join(names), [size for part in parts for size in part.shape], strict=True))
    found = relevance_of(lambda x: torch.einsum(equation, *x.split(2, -1)), 1.0, Shares(epsilon), inputs)
    values = torch.einsum(equation, *parts).numpy()
    score = values.sum()
    rest = [label for label in sizes if label not in output]
    out, contributes = [], []
    for place in np.ndindex(*values.shape):
        at = dict(zip(output, place, strict=True))
        out.append((values[place], values[place] * score / (score + epsilon * sign(score))))
        contributes.append([
            tuple(tuple((at | dict(zip(rest, more, strict=True)))[label] for label in own) for own in names)
            for more in np.ndindex(*[sizes[label] for label in rest])
        ])  # fmt: skip
    expected = np.concatenate(literal_product([part.numpy() for part in parts], contributes, out, epsilon), -1)
    close(found, expected)


def test_the_factors_of_the_lowest_role_share_a_product():
    """A scale gives way to a signal, a gate to both; equals share."""
    cases = {
        "signal": (lambda x: x[:, 0] * x[:, 1], (0.5, 0.5)),
        "gate": (lambda x: x[:, 0].sigmoid() * x[:, 1], (0, 1)),
        "scale": (lambda x: x[:, 0].exp() * x[:, 1], (0, 1)),
        "step size": (lambda x: F.softplus(x[:, 0]) * x[:, 1], (0, 1)),
        "gate and scale": (lambda x: x[:, 0].sigmoid() * x[:, 1].exp(), (0, 1)),
        "two gates": (lambda x: x[:, 0].sigmoid() * x[:, 1].softmax(1), (0.5, 0.5)),
        "two scales": (lambda x: x[:, 0].exp() * x[:, 1].exp(), (0.5, 0.5)),
        "swish": (lambda x: F.silu(x[:, 0]) * x[:, 1], (0.5, 0.5)),
        "divisor": (lambda x: x[:, 1] / (1 + x[:, 0].abs()), (0, 1)),
        "gate over a signal": (lambda x: x[:, 0].sigmoid() / x[:, 1], (0, 1)),
        "scale over a scale": (lambda x: x[:, 1].exp() / x[:, 0].exp(), (0, 1)),
        "deviation": (lambda x: x[:, 1] / (1 + x[:, 0].std(1, keepdim=True)), (0, 1)),
        "norm": (lambda x: x[:, 1] / x[:, 0].norm(dim=1, keepdim=True), (0, 1)),
        "power": (lambda x: x[:, 1] * (x[:, 0].square().mean(1, keepdim=True) + 1) ** -0.5, (0, 1)),
        "root of a variance": (lambda x: x[:, 1] * (x[:, 0].var(1, keepdim=True) + 1).rsqrt(), (0, 1)),
        "gate of a gate": (lambda x: x[:, 0].sigmoid().sqrt() * x[:, 1], (0, 1)),
    }  # fmt: skip
    for name, (function, shares) in cases.items():
        inputs, found = handed_back(function, Shares(TINY))
        values = function(inputs)
        given = torch.stack([found.values[:, place].sum(1) for place in (0, 1)], 1)
        torch.testing.assert_close(
            given, torch.tensor(shares).double() * values.sum(1, keepdim=True), rtol=1e-6, atol=1e-9, msg=name
        )


def test_attention_weights_share_half_where_they_are_no_gates():
    """Softmax by its first-order expansion, and its product with the values half each way (AttnLRP)."""
    inputs, epsilon, v = fixed(1, 3, 6), 0.01, fixed(3, 2, seed=9)
    gates, half = (
        relevance_of(lambda x: x[..., 0].softmax(-1)[:, None] @ (x[..., 1:3] @ v[:2]), 1.0, shares, inputs)
        for shares in (Shares(epsilon), Shares(epsilon, attention_gates=False))
    )
    assert (gates[..., 0] == 0).all()
    energy, signal = inputs[0, :, 0].numpy(), (inputs[0, :, 1:3] @ v[:2]).numpy()
    weights = np.exp(energy) / np.exp(energy).sum()
    out = weights @ signal
    score = out.sum()
    relevance = out * score / (score + epsilon * sign(score))
    of_weights, of_energy = np.zeros(3), np.zeros(3)
    for j, i in itertools.product(range(2), range(3)):
        of_weights[i] += weights[i] * signal[i, j] / (out[j] + epsilon * sign(out[j])) * relevance[j] / 2
    for i, k in itertools.product(range(3), range(3)):
        slope = weights[k] * ((i == k) - weights[i])
        of_energy[i] += energy[i] * slope / (weights[k] + epsilon) * of_weights[k]
    close(half[0, :, 0], of_energy)
    close(half[..., 1:].sum(), gates[..., 1:].sum() / 2, 1e-6)


# ---- normalisations --------------------------------------------------------------------------------------------------


def literal_normalisation(x, groups, epsilon, scale_of):
    """Relevance of x float[N] from y_i = s (x_i − mean of the group), s a constant, summed up to one score."""
    found, outs = np.zeros(len(x)), np.zeros(len(x))
    for group in groups:
        outs[group] = (x[group] - x[group].mean()) * scale_of(x[group])
    score = outs.sum()
    for group in groups:
        s, n = scale_of(x[group]), len(group)
        for j in group:
            relevance = outs[j] * score / (score + epsilon * sign(score))
            for i in group:
                found[i] += s * x[i] * ((i == j) - 1 / n) / (outs[j] + epsilon * sign(outs[j])) * relevance
    return found


@pytest.mark.parametrize("name", ["group_norm", "instance_norm"])
def test_statistics_of_a_normalisation_are_constants(name):
    inputs, epsilon = fixed(1, 4, 6), 0.05
    weight = fixed(6, seed=3).abs()

    def scale_of(group):
        return 1 / np.sqrt(group.var() + 1e-5)

    if name == "group_norm":
        function, groups = lambda x: F.group_norm(x[:, 0], 2), [np.arange(3), np.arange(3, 6)]
    else:
        function, groups = lambda x: F.instance_norm(x[:, :1]), [np.arange(6)]
    # weights of the outputs, so that they do not sum to 0; they are part of the literal relevance of each output
    found = relevance_of(lambda x: function(x).reshape(1, 6) * weight, 1.0, Shares(epsilon), inputs)[0, 0]
    x = inputs[0, 0].numpy()
    outs = np.concatenate([(x[g] - x[g].mean()) * scale_of(x[g]) for g in groups])
    weighted = outs * weight.numpy()
    score = weighted.sum()
    relevance = weighted * score / (score + epsilon * sign(score))
    expected = np.zeros(6)
    for group in groups:
        for j, i in itertools.product(group, group):
            share = scale_of(x[group]) * x[i] * ((i == j) - 1 / len(group)) / (outs[j] + epsilon * sign(outs[j]))
            expected[i] += share * relevance[j]
    close(found, expected)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.rms_norm(x[:, 0], (6,), fixed(6)), lambda x: F.normalize(x[:, 0], dim=1) * fixed(6),
        lambda x: x[:, 0] / x[:, 0].norm(dim=1, keepdim=True) * fixed(6),
        lambda x: x[:, 0] * (x[:, 0].square().mean(1, keepdim=True) + 1e-5).rsqrt() * fixed(6),
        lambda x: x[:, 0] / (x[:, 0].var(1, keepdim=True) + 1e-5).sqrt() * fixed(6),
        lambda x: x[:, 0] / torch.std_mean(x[:, 0], 1, keepdim=True)[0] * fixed(6),
        lambda x: x[:, 0] / torch.linalg.vector_norm(x[:, 0], dim=1, keepdim=True) * fixed(6),
        lambda x: F.local_response_norm(x[:, :1], 1).flatten(1) * fixed(6),
    ],
)  # fmt: skip
def test_a_divisor_that_normalises_is_a_constant(function):
    """Each element keeps the relevance of its own output."""
    inputs, found = handed_back(function, Shares(TINY))
    close(found.values[:, 0], function(inputs), 1e-8)


def weighed(outputs):
    """Outputs times numbers that do not sum to 0, as those of a normalisation do."""
    return outputs * fixed(*outputs.shape[1:])


def centred(x):
    return x - x.mean(-1, keepdim=True)


def test_layers_and_their_definitions_written_out_get_the_same():
    pairs = [
        (lambda x: F.layer_norm(x, (6,), fixed(6), fixed(6)),
         lambda x: centred(x) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt() * fixed(6) + fixed(6)),
        (lambda x: F.group_norm(x[:, 0], 1),
         lambda x: centred(x[:, 0]) / (x[:, 0].std(1, keepdim=True, unbiased=False).square() + 1e-5).sqrt()),
        (lambda x: F.rms_norm(x, (6,), eps=1e-3), lambda x: x / (x.pow(2).mean(-1, keepdim=True) + 1e-3).sqrt()),
        (F.glu, lambda x: x[..., :3] * torch.sigmoid(x[..., 3:])),
        (lambda x: F.normalize(x, dim=-1), lambda x: x / x.norm(2, -1, keepdim=True)),
        (lambda x: F.cosine_similarity(x[:, :1], x[:, 1:], dim=-1),
         lambda x: (x[:, :1] * x[:, 1:]).sum(-1) / (x[:, :1].norm(dim=-1) * x[:, 1:].norm(dim=-1))),
    ]  # fmt: skip
    for layer, written_out in pairs:
        one, other = (
            handed_back(lambda x, own=own: weighed(own(x)), Shares(1e-10))[1].values for own in (layer, written_out)
        )
        close(one, other, 1e-6)


# ---- sums of exponentials, products of many, any linear map ----------------------------------------------------------


def test_a_sum_of_exponentials_shares_by_its_terms():
    inputs, w = fixed(1, 4, 6), fixed(1, 4, 6).abs()
    found = relevance_of(lambda x: torch.logcumsumexp(x, 1), w, Shares(TINY), inputs)
    x = inputs[0].numpy()
    expected = np.zeros_like(x)
    for d in range(6):
        sums = np.exp(x[:, d]).cumsum()
        for j, i in itertools.product(range(4), range(4)):
            if i <= j:
                expected[i, d] += np.exp(x[i, d]) / sums[j] * np.log(sums[j]) * float(w[0, j, d])
    close(found[0], expected, 1e-8)


def test_the_elements_of_a_product_share_it_equally():
    inputs, found = handed_back(lambda x: x.cumprod(1), Shares(TINY))
    values, expected = inputs.cumprod(1), torch.zeros_like(inputs)
    for j in range(4):
        expected[:, : j + 1] += values[:, j : j + 1] / (j + 1)
    close(found.values, expected, 1e-8)
    _, found = handed_back(lambda x: x.prod(1), Shares(TINY))
    close(found.values, (inputs.prod(1, keepdim=True) / 4).expand_as(inputs), 1e-8)


LINEAR = {
    "interpolate": lambda x: F.interpolate(x, scale_factor=0.5),
    "linear interpolation": lambda x: F.interpolate(x, size=9, mode="linear"),
    "transposed convolution": lambda x: F.conv_transpose1d(x.mT, fixed(6, 2, 3)),
    "conv2d": lambda x: F.conv2d(x[:, None], fixed(2, 1, 3, 3), padding=1),
    "transform": lambda x: torch.view_as_real(torch.fft.rfft(x, dim=1)),
    "differences": lambda x: x.diff(n=2, dim=1),
    "trapezoids": lambda x: torch.trapezoid(x, dim=1),
    "fold": lambda x: F.fold(x[:, :, :1].expand(-1, 4, 4), (3, 3), 2),
    "trace": lambda x: torch.stack([torch.trace(row) for row in x]),
    "pooling": lambda x: F.avg_pool2d(x[:, None], 2),
}


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("epsilon", [1e-10, 0.2])
def test_any_linear_map_follows_the_rule_of_a_sum(name, epsilon):
    """Against its matrix, made column by column."""
    function, inputs = LINEAR[name], fixed(1, 4, 6)
    columns = torch.eye(24).double().view(24, 4, 6)
    matrix = torch.stack([function(column[None])[0].flatten() for column in columns], 1).numpy()
    w = fixed(len(matrix)).abs().numpy()
    shape = function(inputs).shape
    found = relevance_of(function, torch.tensor(w).view(shape), Shares(epsilon), inputs)
    x = inputs.flatten().numpy()
    out = matrix @ x
    score = (w * out).sum()
    expected = np.zeros(24)
    for j, value in enumerate(out):
        relevance = w[j] * value * score / (score + epsilon * sign(score))
        expected += matrix[j] * x / (value + epsilon * sign(value)) * relevance
    close(found[0].flatten(), expected, 1e-8)


# ---- complex tensors -------------------------------------------------------------------------------------------------


class Rotated(nn.Module):
    """A diagonal complex recurrence, in complex numbers or in pairs of real ones."""

    def __init__(self, *, real):
        super().__init__()
        self.real, rotation = real, torch.exp(torch.complex(-fixed(3).abs(), fixed(3, seed=8)))
        self.rotation, self.into = nn.Parameter(rotation), fixed(3, 3, seed=2)
        self.out = torch.complex(fixed(3, 2, seed=4), fixed(3, 2, seed=6))

    def forward(self, x):
        u = torch.complex(x[..., :3] @ self.into, x[..., 3:] @ self.into)
        if not self.real:
            h = torch.zeros(len(x), 3, dtype=u.dtype)
            for step in u.unbind(1):
                h = self.rotation * h + step
            return (h @ self.out).real
        turn = torch.diag_embed(self.rotation.real), torch.diag_embed(self.rotation.imag)
        turn = torch.cat([torch.cat([turn[0], -turn[1]], 1), torch.cat([turn[1], turn[0]], 1)])
        out = torch.cat([self.out.real, -self.out.imag])
        h = torch.zeros(len(x), 6).double()
        for step in torch.cat([u.real, u.imag], -1).unbind(1):
            h = h @ turn.T + step
        return h @ out


@pytest.mark.parametrize("epsilon", [1e-10, 0.01])
def test_a_complex_recurrence_is_one_of_real_and_imaginary_parts(epsilon):
    inputs = fixed(2, 4, 6)
    one, other = (
        relevances(score_of(Rotated(real=real).requires_grad_(requires_grad=False), 2, 4), inputs, Shares(epsilon))
        for real in (True, False)
    )
    close(one.score, other.score, 1e-12)
    # each product of the real one is a single number in the other: a sum of two terms
    close(other.values, one.values, 1e-8 if epsilon < 1e-6 else 0.05)
    assert gap_of(relevances(score_of(Rotated(real=False), 2, 4), inputs, Shares(epsilon, 1.0)))[0] < 1e-12


def as_complex(x):
    return torch.view_as_complex(x.unflatten(-1, (3, 2)).contiguous())


TURN = torch.exp(1j * torch.arange(3).double())
COMPLEX = [
    lambda x: (as_complex(x) * TURN).real, lambda x: (as_complex(x) * as_complex(x).conj()).real,
    lambda x: (as_complex(x) @ torch.complex(fixed(3, 2), fixed(3, 2, seed=1))).imag, lambda x: as_complex(x).abs(),
    lambda x: (as_complex(x) * as_complex(x.flip(1))).imag, lambda x: torch.view_as_real(as_complex(x).cumsum(1)),
    lambda x: torch.einsum("bti,bsi->bts", as_complex(x), as_complex(x).conj()).real,
    lambda x: (as_complex(x).mH @ as_complex(x)).real, lambda x: torch.polar(x[..., :3], x[..., 3:]).real,
    lambda x: (as_complex(x) / TURN + 1).real, lambda x: (1 - as_complex(x)).imag, lambda x: (-as_complex(x)).imag,
    lambda x: torch.view_as_real(x.to(torch.complex128) * TURN.repeat(2)), lambda x: as_complex(x).sum(1).real,
    lambda x: torch.cat([as_complex(x), TURN.expand(len(x), 1, 3)], 1).real, lambda x: torch.real(as_complex(x).tanh()),
    lambda x: torch.exp(as_complex(x) * as_complex(x)).real, lambda x: (as_complex(x) ** 2).real,
    lambda x: (TURN / as_complex(x)).real, lambda x: (as_complex(x) / as_complex(x.flip(1))).real,
    lambda x: F.conv1d(as_complex(x).mT, torch.complex(fixed(2, 3, 2), fixed(2, 3, 2, seed=1))).imag,
    lambda x: torch.imag(torch.complex(x, x * 2) + 1j * x), lambda x: torch.fft.fft(x, dim=1).abs(),
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(COMPLEX)))
@pytest.mark.parametrize("factor", [0.0, 1.0])
def test_complex_operations_conserve_relevance(place, factor):
    _, found = handed_back(COMPLEX[place], Shares(1e-3 if factor else TINY, factor))
    gap, mass = gap_of(found)
    assert gap < (1e-10 if factor else 1e-6) * mass
    assert (found.values != 0).any()
    assert torch.isfinite(found.values).all()


# ---- every rule conserves --------------------------------------------------------------------------------------------

CONSERVED = [
    lambda x: x[:, 0] * x[:, 1], lambda x: x[:, 0] / (1 + x[:, 1].abs()), lambda x: x[:, 0] @ x[:, 1].T,
    lambda x: torch.einsum("bi,bi->b", x[:, 0], x[:, 1]), lambda x: torch.einsum("bti,bti,bti->bt", x, x, x),
    lambda x: torch.einsum("bti,bsi,ij->btsj", x, x, fixed(6, 2)), lambda x: x[:, 0].sigmoid() * x[:, 1].softmax(1),
    lambda x: x[:, 0].sigmoid() @ x[:, 1].softmax(1).T, lambda x: x.cumprod(1), lambda x: x.prod(2),
    lambda x: x.norm(dim=1),
    lambda x: torch.linalg.vector_norm(x, 3, dim=2), lambda x: x / x.std(1, keepdim=True), lambda x: x.var(1),
    lambda x: torch.var_mean(x, 2)[1] + x.std((1, 2))[:, None], lambda x: x.std(1, unbiased=False, keepdim=True),
    lambda x: torch.std(x[0], unbiased=False).expand(2), lambda x: F.normalize(x, dim=1), lambda x: x.logsumexp(1),
    lambda x: torch.logcumsumexp(x, 1), lambda x: F.group_norm(x[:, 0], 3, fixed(6), fixed(6)),
    lambda x: F.group_norm(x.mT, 2), lambda x: F.instance_norm(x, fixed(4), fixed(4).abs(), fixed(4), fixed(4)),
    lambda x: F.instance_norm(x, fixed(4), fixed(4).abs(), use_input_stats=False),
    lambda x: F.layer_norm(x, (6,), x[0, 0], x[0, 1]), lambda x: F.layer_norm(x, (6,)) * (1 + x.tanh()) + x,
    lambda x: F.rms_norm(x, (6,)), lambda x: F.rms_norm(x, (6,), x[0, 0], 1e-3),
    lambda x: F.conv1d(x.mT, x[0, :, None].mT.reshape(1, 6, 4)[..., :2], fixed(1)),
    lambda x: F.conv1d(x.mT, fixed(2, 6, 1), x[0, 0, :2]), lambda x: F.linear(x, x[0, :3], x[0, 0, :3]),
    lambda x: x.exp() ** x.sigmoid(), lambda x: 2**x, lambda x: x ** -2, lambda x: x.abs() ** 0.5,
    lambda x: torch.pow(2.0, x),
    lambda x: x.clamp(max=x[:, :1]), lambda x: x.clamp(x.flip(1) - 1, x.flip(1) + 1),
    lambda x: torch.clamp_max(x, x.mean(1, keepdim=True)),
    lambda x: x.scatter(1, torch.zeros(2, 1, 6).long(), x[:, :1], reduce="add"),
    lambda x: x.index_add(1, torch.tensor([0]), x[:, :1], alpha=2), lambda x: x.diff(n=2, dim=1),
    lambda x: x.diff(dim=1, prepend=x[:, :1] * 2), lambda x: torch.addbmm(x[0, :, :4], x, x.mT).expand(2, 4, 4),
    lambda x: torch.addr(fixed(6, 6), x[0, 0], x[0, 1]).expand(2, 6, 6),
    lambda x: torch.kron(x[0], x[1])[None].expand(2, -1, -1),
    lambda x: torch.tensordot(x, x, dims=([1, 2], [1, 2])),
    lambda x: torch.linalg.multi_dot([x[0], x[1].T, fixed(4, 2)])[:2],
    lambda x: torch.linalg.vecdot(x[:, 0], x[:, 1]), lambda x: torch.linalg.cross(x[:, 0, :3], x[:, 0, 3:]),
    lambda x: F.bilinear(x, x.tanh(), fixed(2, 6, 6), fixed(2)), lambda x: torch.cdist(x, x.flip(2)),
    lambda x: F.cosine_similarity(x[:, :2], x[:, 2:], dim=2), lambda x: F.interpolate(x, size=3, mode="linear"),
    lambda x: F.softmin(x, dim=1), lambda x: torch.special.xlogy(x, x.abs() + 1),
    lambda x: torch.linalg.det(x[:, :, :4] + 9 * torch.eye(4)),
    lambda x: torch.fft.irfft(torch.fft.rfft(x, dim=1) * 2, n=4, dim=1), lambda x: (x / 9).erfinv_() + x,
    lambda x: F.pairwise_distance(x[:, 0], x[:, 1]), lambda x: x.topk(2, 1)[0] * x.sort(1)[0][:, :2],
    lambda x: x.data.tanh() + x,
    lambda x: F.pixel_shuffle(x[:, :, :4].reshape(2, 4, 2, 2), 2), lambda x: torch.hypot(x[:, 0], x[:, 1]),
    lambda x: F.conv_transpose1d(x.mT, fixed(6, 2, 2), fixed(2), stride=3),
    lambda x: torch.diff(x, 1, 1, x[:, :1].tanh()),
    lambda x: F.linear(x, torch.diag(torch.tensor([1.0, 0, 0, 2, 3, 0]).double()), fixed(6)),
    lambda x: torch.logaddexp(x.masked_fill(x > 0.5, -torch.inf), x.flip(1)),
    lambda x: torch.where(x > 0, x * x.flip(1), x.exp() * x.flip(1)), lambda x: x.mul_(1).cumsum(1).cos_().mul(x),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:The reduce argument of torch.scatter")
@pytest.mark.parametrize("way", ["signal", "half"])
@pytest.mark.parametrize("place", range(len(CONSERVED)))
def test_every_rule_conserves_relevance(place, way):
    _, found = handed_back(CONSERVED[place], Shares(1e-3, 1.0, way))
    gap, mass = gap_of(found)
    assert gap < 1e-10 * mass
    assert (found.values != 0).any()
    assert torch.isfinite(found.values).all()


@pytest.mark.parametrize("way", ["abs", "prop"])
def test_controls_share_products_of_three_and_refuse_rarer_ones(way):
    _, one = handed_back(lambda x: torch.einsum("bti,bti,bsi->bs", x, x.tanh(), x), Shares(1e-3, 1.0, way))
    _, other = handed_back(
        lambda x: (x[:, None] * x.tanh()[:, None] * x[:, :, None]).transpose(1, 2).sum((1, 3)), Shares(1e-3, 1.0, way)
    )
    close(one.values.sum(), other.values.sum())
    with pytest.raises(UnsupportedModelError, match="of two tensors that depend on the input"):
        handed_back(lambda x: torch.linalg.vecdot(x[:, 0], x[:, 1]), Shares(product=way))


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda x: x.unique()[:2], "expansion of torch.*unique: torch has no derivative of it"),
        (lambda x: torch.histc(x, 4)[:2], "histc"),
        (lambda x: torch.heaviside(x, fixed(1)), "heaviside"),
        (lambda x: x.to_sparse(), "which gives a sparse tensor"),
        (lambda x: x.clone().apply_(abs), "apply_"),
    ],
)
def test_what_has_no_derivative_is_refused_by_name(function, named):
    inputs = fixed(2, 4, 6)
    with pytest.raises(UnsupportedModelError, match=named):
        relevances(score_of(Applied(function), 2, 4), inputs, Shares())


# ---- the networks of today -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention_gates", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_today_conserve_relevance(name, attention_gates):
    model, inputs = network(name), fixed(3, 7, 5)
    score = score_of(model, 3, 7)
    expected = score(inputs).detach()
    found = relevances(score, inputs, Shares(1e-3, 1.0, attention_gates=attention_gates), expected)
    gap, mass = gap_of(found)
    assert gap < 1e-11 * mass
    alone = relevances(score_of(model, 1, 7), inputs[1:2], Shares(attention_gates=attention_gates))
    close(relevances(score, inputs, Shares(attention_gates=attention_gates)).values[1:2], alone.values, 1e-8)


@pytest.mark.parametrize("name", [name for name in NETWORKS if "parallel" not in name])
def test_without_biases_the_inputs_receive_all_of_the_score(name):
    """Whatever is no bias is conserved without sharing biases out: products, normalisations, exponential gates."""
    model, inputs = network(name), fixed(3, 7, 5)
    with torch.no_grad():
        for own, parameter in model.named_parameters():
            if "bias" in own:
                parameter.zero_()
    found = relevances(score_of(model, 3, 7), inputs, Shares(TINY))
    close(found.values.sum((1, 2)), found.score, 1e-7)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_today_in_single_precision(name):
    inputs = fixed(3, 7, 5)
    one, other = (
        relevances(score_of(network(name, dtype=dtype), 3, 7), inputs.to(dtype), Shares(1e-2)).values
        for dtype in (torch.float32, torch.float64)
    )
    assert one.dtype == torch.float32
    close(one.double(), other, 1e-2)


class StepwiseMinGru(MinGru):
    """minGRU with the positive candidates of its parallel form, as a recurrence."""

    def outputs(self, x):
        h, found = x.new_zeros(len(x), 8), []
        z, candidate = torch.sigmoid(self.gate(x)), self.candidate(x)
        candidate = torch.where(candidate >= 0, candidate + 0.5, torch.sigmoid(candidate))
        for t in range(x.shape[1]):
            h = (1 - z[:, t]) * h + z[:, t] * candidate[:, t]
            found.append(h)
        return torch.stack(found, 1)


@pytest.mark.parametrize("factor", [0.0, 1.0])
def test_a_scan_in_logarithms_is_explained_as_the_recurrence_that_it_stands_for(factor):
    stepwise, parallel = StepwiseMinGru().double(), network("minGRU in parallel")
    stepwise.load_state_dict(parallel.state_dict())
    inputs = fixed(3, 7, 5)
    one, other = (relevances(score_of(model, 3, 7), inputs, Shares(1e-12, factor)) for model in (stepwise, parallel))
    close(one.score, other.score, 1e-10)
    close(one.values, other.values, 1e-7)


def test_a_logarithm_that_is_no_scan_keeps_its_own_relevance():
    """Also behind a write into it, which ends what was known of its terms."""

    def written(x):
        terms = (x.abs() + 1).log()
        terms[:, 0] = x[:, 0]
        return torch.logcumsumexp(terms, 1).exp()

    for function in (written, lambda x: ((x.abs() + 1).log() + F.logsigmoid(x.flip(1))).exp()):
        _, found = handed_back(function, Shares(1e-3, 1.0))
        assert gap_of(found)[0] < 1e-11 * gap_of(found)[1]


class DetachedMamba(Mamba):
    """Mamba with the parameters of its state space detached, and the edited gradients of MambaLRP."""

    def outputs(self, x):
        norm = (x.square().mean(-1, keepdim=True) + torch.finfo(x.dtype).eps).rsqrt().detach() * self.norm.weight
        u, z = self.in_proj(x * norm).chunk(2, -1)
        u = self.conv(u.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2)
        u = u * u.sigmoid().detach()
        step, b, c = self.x_proj(u).detach().split([2, self.states, self.states], -1)
        step = F.softplus(self.dt_proj(step))
        decay = torch.exp(step[..., None] * -torch.exp(self.a_log))
        state, found = x.new_zeros(len(x), 8, self.states), []
        for t in range(x.shape[1]):
            state = decay[:, t] * state + step[:, t, :, None] * b[:, t, None] * u[:, t, :, None]
            found.append((state * c[:, t, None]).sum(-1))
        gated = (torch.stack(found, 1) + u * self.skip) * (z * z.sigmoid().detach())
        return x + self.out_proj(gated / 2 + (gated / 2).detach())


def test_mamba_with_constant_parameters_equals_the_edited_gradient():
    """MambaLRP (Jafari et al. 2024): without biases and ε, R = x∘∇x of the network with what it detaches."""
    torch.manual_seed(4)
    model, twin = Mamba().double(), DetachedMamba().double()
    with torch.no_grad():
        model.conv.bias.zero_()
    twin.load_state_dict(model.state_dict())
    inputs = fixed(2, 6, 5)
    leaf = inputs.clone().requires_grad_()
    scores = twin(leaf)[:, 0]
    (gradient,) = torch.autograd.grad(scores.sum(), leaf)
    found = relevances(score_of(model, 2, 6), inputs, Shares(TINY), scores.detach(), ["x_proj"])
    close(found.values, inputs * gradient, 1e-7)
    free = relevances(score_of(model, 2, 6), inputs, Shares(TINY), scores.detach())
    assert float((free.values - found.values).abs().max()) > 1e-4 * float(found.values.abs().max())


def test_a_compiled_model_is_followed_as_it_was_written():
    """Its compiled form is never made: a backend that fails would say so."""

    def fail(*_):
        raise AssertionError("compiled")

    model, inputs = network("self-attention on an LSTM"), fixed(3, 7, 5)
    expected = relevances(score_of(model, 3, 7), inputs, Shares()).values
    found = relevances(score_of(torch.compile(model, backend=fail), 3, 7), inputs, Shares()).values
    close(found, expected, 1e-12)


# ---- the method ------------------------------------------------------------------------------------------------------


def make_subject(model, inputs):
    lengths = torch.full((len(inputs),), inputs.shape[1])
    targets = torch.zeros_like(lengths)
    return Subject(model, Batch(inputs, lengths, targets), torch.zeros_like(inputs), target=targets)


def test_the_parameters_of_the_method_reach_the_rules():
    subject = make_subject(network("self-attention on an LSTM"), fixed(3, 7, 5))
    gates, half = Lrp().explain(subject).values, Lrp(products="half").explain(subject).values
    assert float((gates - half).abs().max()) > 1e-4
    mamba = make_subject(network("Mamba"), fixed(3, 7, 5))
    free, held = Lrp().explain(mamba).values, Lrp(constant=("x_proj", "dt_proj")).explain(mamba).values
    assert float((free - held).abs().max()) > 1e-4 * float(free.abs().max())
    assert Lrp(constant=("x_proj",)).explain(mamba).values.equal(held)
    assert not mamba.model.x_proj._forward_hooks


def test_a_module_that_does_not_exist_is_named_with_those_that_do():
    subject = make_subject(network("Mamba"), fixed(2, 4, 5))
    with pytest.raises(
        ParameterError, match=r"constant=proj names no module of this model: it has embed, head, in_proj"
    ):
        Lrp(constant=("proj",)).explain(subject)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"products": "all"}, "it must be gates or half"),
        ({"constant": "x_proj"}, "names of modules"),
        ({"constant": ("",)}, "names of modules"),
    ],
)
def test_parameters_that_do_not_fit(parameters, said):
    with pytest.raises(ParameterError, match=said):
        Lrp(**parameters)


def test_parameters_that_came_later_change_no_identity_by_default():
    """So that results from before are found."""
    assert Lrp().identity()["parameters"] == {"epsilon": 1e-6, "bias_factor": 0.0}
    assert Lrp(products="half").identity()["parameters"]["products"] == "half"
    assert Lrp(constant=("a", "b")).spec == "lrp:constant=a/b"
    assert all("products" not in method().identity()["parameters"] for method in (LrpHalf, LrpAbs, LrpProp))


class Deciding(nn.Module):
    """A model that reads a number out of torch, which only gradients follow: through another path."""

    def __init__(self, *, detach):
        super().__init__()
        self.layer, self.detach = nn.GRU(5, 4, batch_first=True), detach

    def forward(self, x):
        found = self.layer(x)[0].mean(1)
        return (
            found * float(found.detach().abs().max()) if not self.detach else torch.tensor(found.tolist()).to(x.dtype)
        )


def test_a_refusal_names_methods_that_were_tried_on_this_model():
    torch.manual_seed(0)
    inputs = fixed(3, 4, 5)
    with pytest.raises(UnsupportedModelError, match=r"reads a number out of torch; use .*integrated-gradients or occl"):
        Lrp().explain(make_subject(Deciding(detach=False).double(), inputs))
    with pytest.raises(UnsupportedModelError, match=r"reads a number out of torch; use occlusion\.$"):
        Lrp().explain(make_subject(Deciding(detach=True).double(), inputs))
