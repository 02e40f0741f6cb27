"""DeepLIFT: exact, equal to the literal definition, on our family and on users' own modules; captum's is not."""

from itertools import product

import pytest
import torch
from method_specimens import literal_deeplift, users_models
from torch import nn
from torch.nn import functional as F

from xrnnbench.errors import UnsupportedModelError
from xrnnbench.methods.gradient.gradients import IntegratedGradients
from xrnnbench.methods.propagation.deeplift import CaptumDeepLift, DeepLift
from xrnnbench.methods.propagation.rescale import multipliers
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.models.networks import AttentiveRecurrentNet, RecurrentNet
from xrnnbench.tasks.subject import Subject

FAMILY = list(
    product(("rnn", "lstm", "gru"), (False, True), (1, 2), ("last", "mean", "max", "attention", "dot-attention"))
)


def make_subject(model, dtype=torch.float64, *, rows=8, steps=9, features=5, full=False, reference=None, seed=0):
    rng = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, steps + 1, (rows,), generator=rng)
    if full:
        lengths[:] = steps
    lengths[0] = steps
    valid = (torch.arange(steps) < lengths[:, None])[..., None]
    inputs = torch.randn(rows, steps, features, generator=rng, dtype=torch.float64).to(dtype) * valid
    reference = torch.zeros_like(inputs) if reference is None else reference
    batch = Batch(inputs, lengths, torch.zeros(rows, dtype=torch.int64))
    return Subject(model.to(dtype), batch, reference).check()


def gap_of(subject, method=None):
    """|ΣΦ − Δf| relative to the mean |Δf| of the batch."""
    difference = subject.score - subject.reference_score
    total = (method or DeepLift()).explain(subject).values.flatten(1).sum(1)
    return float((total - difference).abs().max() / difference.abs().mean())


def family_member(cell, bidirectional, layers, pooling, scale=1.0):
    torch.manual_seed(0)
    model = AttentiveRecurrentNet(5, 12, 3, cell=cell, bidirectional=bidirectional, layers=layers, pooling=pooling)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    return model


@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize("member", FAMILY, ids=lambda member: "-".join(map(str, member)))
@pytest.mark.pairwise
def test_attributions_sum_to_the_difference_of_the_logits(member, scale):
    assert gap_of(make_subject(family_member(*member, scale))) < 1e-9
    assert gap_of(make_subject(family_member(*member, scale), torch.float32)) < 1e-4


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_equals_the_literal_definition(cell):
    torch.manual_seed(1)
    model = RecurrentNet(4, 5, 2, cell=cell).double()
    subject = make_subject(model, features=4, rows=3, steps=6, full=True)
    found = DeepLift().explain(subject).values
    weights = [parameter.detach() for parameter in model.recurrent.parameters()]
    for row in range(3):
        head = model.head.weight[subject.target[row]].detach()
        expected = literal_deeplift(cell, weights, subject.batch.inputs[row], subject.reference[row], head)
        torch.testing.assert_close(found[row], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("name", users_models())
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_explains_users_own_modules_exactly(name, dtype):
    torch.manual_seed(2)
    model = users_models()[name].to(dtype)
    with torch.no_grad():  # settles the lazy layer
        model(*[torch.zeros(2, 4, 3, dtype=dtype), torch.tensor([4, 4])][: 2 if "packed" in name else 1])
    subject = make_subject(model.eval(), dtype, features=3, full="packed" not in name)
    assert gap_of(subject) < (1e-9 if dtype == torch.float64 else 1e-4)


def test_antisymmetric_in_input_and_reference():
    model = family_member("lstm", bidirectional=True, layers=2, pooling="attention")
    there = make_subject(model, full=True, reference=torch.randn(8, 9, 5).double())
    swapped = Batch(there.reference, there.batch.lengths, there.batch.targets)
    back = Subject(model, swapped, there.batch.inputs, target=there.target)
    torch.testing.assert_close(
        DeepLift().explain(there).values, -DeepLift().explain(back).values, rtol=1e-9, atol=1e-12
    )


def test_exactly_zero_where_input_and_reference_agree():
    model = family_member("gru", bidirectional=True, layers=1, pooling="max")
    subject = make_subject(model)
    reference = torch.zeros_like(subject.batch.inputs)
    reference[:, ::2] = subject.batch.inputs[:, ::2]
    values = DeepLift().explain(Subject(model, subject.batch, reference, target=subject.target)).values
    assert (values[:, ::2] == 0).all()
    assert (values[:, 1::2] != 0).any()


def test_a_small_difference_gives_the_gradient():
    model = family_member("lstm", bidirectional=False, layers=2, pooling="attention")
    subject = make_subject(model, full=True)
    near = subject.batch.inputs + 1e-6 * torch.randn(8, 9, 5).double()
    gradients = subject.gradients(near)[1]
    values = DeepLift().explain(Subject(model, Batch(near, subject.batch.lengths, subject.batch.targets),
                                        subject.batch.inputs, target=subject.target)).values  # fmt: skip
    torch.testing.assert_close(values, gradients * (near - subject.batch.inputs), rtol=1e-4, atol=1e-14)


def test_a_linear_model_gives_its_weights():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).double()
    subject = make_subject(model, features=3, steps=4, full=True, reference=torch.ones(8, 4, 3).double())
    expected = model[1].weight[subject.target].view(8, 4, 3) * (subject.batch.inputs - 1)
    torch.testing.assert_close(DeepLift().explain(subject).values, expected.detach(), rtol=1e-12, atol=1e-12)


class Bilinear(nn.Module):
    def forward(self, x):
        return torch.stack([(x[:, 0] * x[:, 1]).sum(1), (x[:, 0] @ x[:, 2].T).diagonal()], 1)


def test_a_product_is_shared_out_as_shapley_and_as_integrated_gradients_do():
    reference = torch.randn(8, 3, 4).double()
    subject = make_subject(Bilinear(), features=4, steps=3, full=True, reference=reference)
    subject.target = torch.zeros(8, dtype=torch.int64)
    found = DeepLift().explain(subject).values
    a, b = subject.batch.inputs[:, 0], subject.batch.inputs[:, 1]
    a0, b0 = reference[:, 0], reference[:, 1]
    shapley = ((a * b0 - a0 * b0) + (a * b - a0 * b)) / 2
    torch.testing.assert_close(found[:, 0], shapley, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found, IntegratedGradients(steps=4).explain(subject).values, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_captum_on_a_fused_layer_is_gradient_times_difference(cell):
    """The fact that opens the field, held here so that it is noticed should captum mend it."""
    subject = make_subject(family_member(cell, bidirectional=False, layers=1, pooling="last", scale=2.0))
    theirs = CaptumDeepLift().explain(subject).values
    plain = subject.gradients(subject.batch.inputs)[1] * subject.batch.inputs
    torch.testing.assert_close(theirs, plain, rtol=1e-7, atol=1e-12)
    assert gap_of(subject, CaptumDeepLift()) > 0.05
    assert gap_of(subject) < 1e-9


def test_costs_two_forwards_and_one_backward():
    subject = make_subject(family_member("lstm", bidirectional=True, layers=2, pooling="attention"))
    DeepLift().explain(subject)
    assert (subject.cost.forward, subject.cost.backward) == (16, 8)


ACTIVATIONS = [
    torch.tanh, torch.sigmoid, torch.exp, F.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish,
    F.softplus, F.softsign, F.hardtanh, F.hardsigmoid, F.hardswish, F.logsigmoid, F.tanhshrink, torch.square, torch.abs,
    torch.sin, torch.cos, torch.atan, torch.erf, torch.expm1, lambda z: z.clamp(-0.5, 0.5), lambda z: z**3,
    lambda z: (z.square() + 1).log(), lambda z: (z * z + 1).sqrt(), lambda z: (z * z + 1).rsqrt(),
    lambda z: 2 / (z * z + 1),
    lambda z: z / (1 + z.abs()), lambda z: torch.lerp(z, z.tanh(), 0.3), lambda z: torch.addcmul(z, z, z.tanh()),
    lambda z: F.softmax(z, dim=1), lambda z: z.log_softmax(1), lambda z: z.logsumexp(1, keepdim=True) * z,
    lambda z: torch.maximum(z, -z), lambda z: torch.minimum(z, z * z), lambda z: z.max(1, keepdim=True).values * z,
    lambda z: F.layer_norm(z, (5,)), lambda z: F.max_pool1d(z, 2),
    lambda z: z.masked_fill(torch.eye(5).bool()[:1], 0.0),
    lambda z: torch.addmm(z, z.T @ z, z.T).sum(-1) if z.shape[0] == 5 else torch.addmm(z, z @ z.T, z),
    lambda z: torch.einsum("bi,ij->bj", z, torch.eye(5, 5).double()) * torch.einsum("bi,bi->b", z, z)[:, None],
    lambda z: torch.add(z, 1) ** 2 / 3 - 1 / (2 + z.sigmoid()),
    lambda z: F.scaled_dot_product_attention(z[None], z[None], z[None]),
    lambda z: F.scaled_dot_product_attention(z[None], z[None], z[None], torch.eye(len(z)).bool(), scale=0.3),
    lambda z: F.scaled_dot_product_attention(z[None], z[None], z[None], torch.zeros(len(z), len(z)).double()),
    lambda z: F.layer_norm(z, (5,), torch.arange(5.0).double(), torch.ones(5).double()), lambda z: z.amax([1]),
    lambda z: z.max(), lambda z: torch.max(z, -z), lambda z: F.adaptive_max_pool1d(z[None], 5),
    lambda z: z.logsumexp(1),
    lambda z: z.clone().mul_(2).add_(z).tanh_(), lambda z: 1 - z / 2 + torch.stack([z, z]).mean(0), lambda z: z.amax(),
]  # fmt: skip


@pytest.mark.parametrize("function", ACTIVATIONS, ids=lambda f: getattr(f, "__name__", "f"))
@pytest.mark.parametrize("distance", [1.0, 1e-7, 0.0])
def test_every_rule_adds_up(function, distance):
    class Model(nn.Module):
        def forward(self, x):
            return function(x[:, 0]).sum(-1).reshape(-1)[: len(x)].expand(len(x))

    torch.manual_seed(3)
    x = torch.randn(1, 2, 5).double()
    x0 = x + distance * torch.randn(1, 2, 5).double()
    found = multipliers(Model(), x, x0)
    assert float(found.gap.abs().max()) <= 1e-13 + 1e-9 * distance
    assert torch.isfinite(found.values).all()


def softmax_by_quotient(e, e0, multiplier):
    """The literature's rule, in the order exp, sum, reciprocal, product: exact in float64, where nothing overflows."""
    u, u0 = e.exp(), e0.exp()
    total, total0 = u.sum(-1, keepdim=True), u0.sum(-1, keepdim=True)
    m_u = multiplier * (1 / total + 1 / total0) / 2
    m_u = m_u - (multiplier * (u + u0) / 2).sum(-1, keepdim=True) / (total * total0)
    return m_u * (u - u0) / (e - e0)


@pytest.mark.parametrize("shift", [0.0, 14.0])
def test_softmax_is_exact_and_blind_to_a_shift_of_all_energies(shift):
    class Weighted(nn.Module):
        def forward(self, e):
            return (torch.softmax(e[:, 0], -1) * weights.to(e.dtype)).sum(-1)

    torch.manual_seed(4)
    weights, e, e0 = torch.randn(6).double(), torch.randn(1, 1, 6).double(), torch.randn(1, 1, 6).double()
    plain, shifted = (multipliers(Weighted(), e + by, e0) for by in (0.0, shift))
    torch.testing.assert_close(shifted.values, plain.values, rtol=1e-9, atol=1e-12)
    assert float(shifted.gap.abs()) < 1e-14
    assert float(shifted.values.sum()) == pytest.approx(0, abs=1e-14)
    single = multipliers(Weighted().float(), (e + shift).float(), e0.float())
    assert float(single.gap.abs()) < 1e-6
    quotient = softmax_by_quotient(e + shift, e0, weights) * (e + shift - e0)
    assert float(quotient.sum() - (plain.score - plain.reference_score)) == pytest.approx(0, abs=1e-6)
    # the quotient's terms grow with the shift while the difference they share out does not
    assert (float(quotient.abs().max()) > 1e4) == (shift > 0)


def relu_in_place(h):
    kept = h * 1
    F.relu(kept, inplace=True)
    return kept[:, -1]


def residual_in_place(h):
    kept = h * 1
    return (F.leaky_relu(kept, 0.2, inplace=True) + kept)[:, -1]


def writes_into_its_input(h):
    h[:, 0] *= 2
    return h[:, 0] + h[:, -1]


ODD_BUT_EXACT = [
    relu_in_place, residual_in_place, writes_into_its_input,
    lambda h: F.dropout(h, 0.5, training=False, inplace=True)[:, -1],
    lambda h: torch.tanh(input=h)[:, -1], lambda h: torch.bmm(input=h, mat2=h.transpose(1, 2))[:, -1],
    lambda h: h.max(dim=1).values, lambda h: F.scaled_dot_product_attention(h, h, h, scale=None)[:, -1],
    lambda h: h.relu_()[:, -1] * 1e-4, lambda h: h.tanh()[:, -1] + 1000.0, lambda h: 1e4 * h.sigmoid()[:, -1],
    lambda h: torch.add(h, other=h.tanh(), alpha=2)[:, -1], lambda h: F.relu(h / 1e3)[:, -1] * 1e3,
]  # fmt: skip


@pytest.mark.parametrize("function", ODD_BUT_EXACT)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_paired_run_is_the_models_own(function, dtype):
    """Σ is held against plain runs of the model, not against what the paired run thinks they are."""
    torch.manual_seed(5)
    subject = make_subject(Refused(function).to(dtype), dtype, full=True)
    total = DeepLift().explain(subject).values.double().flatten(1).sum(1)
    expected = (subject.score - subject.reference_score).double()
    scale = expected.abs().mean() + torch.finfo(dtype).eps * 1e3 * subject.score.abs().mean()
    assert float((total - expected).abs().max() / scale) < (1e-4 if dtype == torch.float32 else 1e-9)


def hidden(h):
    """The same numbers, made where torch's function mode sees nothing."""
    with torch._C.DisableTorchFunction():
        return h.detach() * 1


@pytest.mark.parametrize(
    "after", [lambda f: f, lambda f: f * 1e-3, lambda f: f + 1000.0], ids=["plain", "small", "far"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_forgotten_influence_is_found_out_whatever_the_scale(after, dtype):
    def half_hidden(h):
        return after(h[:, -1] + hidden(h[:, 0]))

    def wholly_hidden(h):
        return after(hidden(h)[:, -1])

    for function in (half_hidden, wholly_hidden):
        with pytest.raises(UnsupportedModelError):
            DeepLift().explain(make_subject(Refused(function).to(dtype), dtype, full=True))


class Halving(torch.autograd.Function):
    """Identity whose gradient is not its own."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient / 2


class StraightThrough(torch.autograd.Function):
    """Quantised numbers, with the gradient of the identity."""

    @staticmethod
    def forward(ctx, x):
        return (x * 4).round() / 4

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Scan(torch.autograd.Function):
    """A linear recurrence that fills a buffer in place, as parallel scans of state space models do."""

    @staticmethod
    def forward(ctx, decay, x):
        states = torch.empty_like(x)
        state = torch.zeros_like(x[:, 0])
        for t in range(x.shape[1]):
            state = decay[:, t] * state + x[:, t]
            states[:, t] = state
        halves = states.clone()
        halves[:, ::2].mul_(0.5)
        ctx.save_for_backward(decay, states)
        return states, halves

    @staticmethod
    def backward(ctx, gradient, _):
        return None, gradient


class NewStyle(torch.autograd.Function):
    """A function whose context is set up apart."""

    @staticmethod
    def forward(x, power):
        return x.sigmoid() ** power

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 0, None


def scanned(h):
    states, halves = Scan.apply(torch.sigmoid(h), h)
    return states[:, -1] * halves[:, 0] + halves.mean(1)


@pytest.mark.parametrize(
    "function",
    [
        lambda h: Halving.apply(h)[:, -1],
        lambda h: Halving.apply(h)[:, -1] * h[:, 0] + Halving.apply(Halving.apply(h) * 2).mean(1),
        lambda h: StraightThrough.apply(h)[:, -1] + h[:, 0],
        lambda h: NewStyle.apply(h, 3)[:, -1],
        scanned,
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_an_autograd_function_of_the_user_is_followed_by_what_it_computes(function, dtype):
    subject = make_subject(Refused(function).to(dtype), dtype, full=True)
    total = DeepLift().explain(subject).values.double().flatten(1).sum(1)
    expected = (subject.score - subject.reference_score).double()
    torch.testing.assert_close(
        total, expected, rtol=1e-9 if dtype == torch.float64 else 1e-4, atol=1e-12 if dtype == torch.float64 else 1e-5
    )


@pytest.mark.parametrize("scale", [1e-4, 1.0, 3e3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kinked", [F.relu, torch.abs, lambda z: z.clamp(-1e-3, 1e-3), F.leaky_relu, F.hardtanh])
def test_points_on_either_side_of_a_kink_however_close(kinked, scale, dtype):
    class Model(nn.Module):
        def forward(self, x):
            return (kinked(x[:, 0] * 1e-4) * scale).sum(-1)

    torch.manual_seed(6)
    x, x0 = torch.randn(2, 1, 2, 300).to(dtype)
    plain = [Model()(side) for side in (x, x0)]
    found = multipliers(Model(), x, x0, (plain[0], plain[1]))
    difference = plain[0] - plain[1]
    total = (found.values * (x - x0)).flatten(1).sum(1)
    assert float((total - difference).abs() / (x - x0).abs().sum() / scale) < torch.finfo(dtype).eps


def test_nothing_of_one_run_is_left_for_the_next():
    """A table indexed by the input's order, a parameter in an operation: no reference may stay on a user's tensor."""

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
    subject = make_subject(model, full=True)
    assert gap_of(subject) < 1e-9
    assert not hasattr(model.kept, "_xrnnbench_reference")
    assert not hasattr(model.table, "_xrnnbench_reference")


class Refused(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.layer, self.function = nn.RNN(5, 4, batch_first=True), function

    def forward(self, x):
        return self.function(self.layer(x)[0])


def attention_with_added_keys(h):
    """A call of torch's attention with a key and a value of its own, which has no closed form."""
    weight, added = torch.arange(48).double().cos().view(12, 4), torch.ones(1, 1, 4).double()
    time_first, out = h.transpose(0, 1), torch.eye(4).double()
    sides = (time_first, time_first, time_first, 4, 2, weight, None, added, added)
    found, _ = F.multi_head_attention_forward(*sides, add_zero_attn=True, dropout_p=0.0, out_proj_weight=out,
                                              out_proj_bias=None)  # fmt: skip
    return found[-1]


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@pytest.mark.parametrize("reference", ["zero", "mean"])
@pytest.mark.parametrize(
    "function",
    [
        lambda h: h.sort(1).values[:, 0],
        lambda h: h.cumprod(1)[:, -1],
        lambda h: torch.where(h > 0, h, -h).sum(1),
        lambda h: h.detach().tanh()[:, -1] + h[:, 0],
        lambda h: h.detach()[:, -1].sigmoid(),
        lambda h: torch.einsum("bth,bth,bth->bh", h, h, h),
        lambda h: (h**2).gather(1, h.max(1, keepdim=True)[1])[:, 0],
        lambda h: torch.logsumexp(h, (1, 2))[:, None].expand(-1, 4),
        lambda h: h[:, -1].exp() ** h[:, 0],
        lambda h: h[:, -1].clamp(max=h[:, 0]),
        lambda h: 2 * F.softmax(h[:, -1]),
        lambda h: h[:, -1].log_softmax(1, torch.float64),
        lambda h: torch.div(h[:, -1], 0.2, rounding_mode="floor"),
        lambda h: h.amax((1, 2))[:, None].expand(-1, 4),
        lambda h: F.max_pool1d(h, 2, padding=1)[:, 0].repeat(1, 2)[:, :4],
        lambda h: F.normalize(h[:, -1], dim=1),
        lambda h: F.scaled_dot_product_attention(h, h, h, is_causal=True)[:, -1],
        attention_with_added_keys,
    ],
)
def test_operations_that_had_no_rule_are_exact(function, reference):
    subject = make_subject(Refused(function), full=True)
    if reference == "mean":
        mean = subject.batch.inputs.mean((0, 1)).expand_as(subject.batch.inputs).clone()
        subject = make_subject(Refused(function), full=True, reference=mean)
    assert gap_of(subject) < 1e-9


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda h: torch.from_numpy(h.detach().numpy())[:, -1], "numpy"),
        (lambda h: h[:, -1] if float(h.sum()) > 1e9 else h[:, 0], "float"),
        (lambda h: hidden(h)[:, -1].sigmoid(), "lost track|no path|score differs"),
        (lambda h: F.embedding(h[:, -1].argmax(1), torch.eye(4).double() * 3), "argmax .* as an index in .*embedding"),
        (lambda h: F.dropout(h, 0.5, training=True)[:, -1], "score differs|do not sum"),
    ],
)
def test_what_cannot_be_followed_is_an_error_that_names_it(function, named):
    model = Refused(function).double()
    with pytest.raises(UnsupportedModelError, match=named):
        DeepLift().explain(make_subject(model, full=True))
    assert all(parameter.requires_grad for parameter in model.parameters())
