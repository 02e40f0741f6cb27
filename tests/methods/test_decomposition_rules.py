"""Contextual decomposition of products, normalisations, complex tensors and any other operation: literal, summing."""

import pytest
import torch
from relevance_networks import NETWORKS, network
from torch import nn
from torch.nn import functional as F

from xrnnbench.errors import UnsupportedModelError
from xrnnbench.methods.propagation.contextual_decomposition import ContextualDecomposition
from xrnnbench.methods.propagation.decomposition import decompose
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.subject import Subject

SPAN = torch.tensor([False, True, True, False])
METHOD = ContextualDecomposition()


def fixed(*shape, seed=7):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def parts_of(function, x, span=SPAN):
    """relevant, irrelevant and bias float[B] of the sum of a function of x float[B, T, D]."""

    class Model(nn.Module):
        def forward(self, given):
            found = function(given)
            found = torch.view_as_real(found) if found.is_complex() else found
            return found.reshape(len(found), -1).sum(1)

    return decompose(Model(), x, span.expand(len(x), -1), Model()(x.clone()))


def close(found, expected, tolerance=1e-11):
    torch.testing.assert_close(found, torch.as_tensor(expected), rtol=tolerance, atol=tolerance)


def literal_split(function, *arguments):
    """Relevant, irrelevant and bias of a function of tensors, each given as its (relevant, irrelevant, bias)."""
    relevant, irrelevant, bias = zip(*arguments, strict=True)

    def of(*which):
        return function(*[sum(own) for own in zip(*which, strict=True)])

    without, total = of(bias), of(relevant, irrelevant, bias)
    of_relevant = (of(relevant, bias) - without + total - of(irrelevant, bias)) / 2
    return of_relevant, total - without - of_relevant, without


def streams_of(x, shift):
    return x * SPAN[:, None], x * ~SPAN[:, None], torch.full_like(x, shift)


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: a.exp() ** b, torch.atan2, torch.hypot,
        lambda a, b: a.clamp(max=b), torch.cdist, lambda a, b: F.cosine_similarity(a, b, dim=2),
        torch.logaddexp, lambda a, b: F.prelu(a, b.mean().abs()[None]),
    ],
)  # fmt: skip
def test_a_function_of_several_tensors_is_split_as_one(function):
    x = fixed(3, 4, 3)
    found = parts_of(lambda x: function(x + 0.5, 2 - x.flip(2)), x)
    a, b = streams_of(x, 0.5), [-part.flip(2) for part in streams_of(x, -2.0)]
    relevant, irrelevant, bias = (part.flatten(1).sum(1) for part in literal_split(function, a, b))
    close(found.relevant, relevant)
    close(found.irrelevant, irrelevant)
    close(found.bias, bias)


def test_a_term_of_a_product_of_three_is_relevant_where_nothing_irrelevant_is_a_factor():
    x = fixed(3, 4, 2)
    found = parts_of(lambda x: torch.einsum("bti,bsi,bui->btsu", x + 1, x, x - 2), x)
    factors = [streams_of(x, shift) for shift in (1.0, 0.0, -2.0)]
    relevant = torch.zeros(3).double()
    for one in (0, 2):
        for two in (0, 2):
            for three in (0, 2):
                if (one, two, three) != (2, 2, 2):
                    term = torch.einsum("bti,bsi,bui->b", factors[0][one], factors[1][two], factors[2][three])
                    relevant += term
    close(found.relevant, relevant)
    close(found.bias, torch.einsum("bti,bsi,bui->b", *[factor[2] for factor in factors]))
    weighted = parts_of(lambda x: torch.einsum("bt,bti,bti->bi", x[..., 0].softmax(1), x, x + 1), x)
    kept = (x * SPAN[:, None]) * (x * SPAN[:, None] + 1)
    close(weighted.relevant, (x[..., 0].softmax(1)[..., None] * kept).sum((1, 2)))


def test_a_normalisation_has_the_scale_of_the_total():
    x, weight = fixed(5, 4, 6), fixed(6, seed=3)
    kept = x * SPAN[:, None]

    def normed(own, of, dims):
        scale = (of.var(dims, unbiased=False, keepdim=True) + 1e-5).rsqrt()
        return (own - own.mean(dims, keepdim=True)) * scale

    grouped = [part[:, 1].reshape(5, 2, 3) for part in (kept, x)]
    found = parts_of(lambda x: F.group_norm(x[:, 1], 2, weight, weight), x)
    close(found.relevant, (normed(*grouped, -1).reshape(5, 6) * weight).sum(1))
    close(found.bias, weight.sum().expand(5))
    found = parts_of(lambda x: F.instance_norm(x.mT) * weight[:, None] ** fixed(4).argsort(), x)
    expected = normed(kept.mT, x.mT, -1) * weight[:, None] ** fixed(4).argsort()
    close(found.relevant, expected.sum((1, 2)))
    found = parts_of(lambda x: F.normalize(x, dim=2) * weight, x)
    close(found.relevant, (kept / x.norm(dim=2, keepdim=True) * weight).sum((1, 2)))
    steps = torch.arange(4.0).double()[:, None]
    found = parts_of(lambda x: (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 0.1) * steps, x)
    scaled = (kept - kept.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 0.1)
    close(found.relevant, (scaled * steps).sum((1, 2)))
    for function in (
        lambda x: (x - x.mean(1, keepdim=True)) * (x.var(1, keepdim=True) * 2 + 1e-5).rsqrt() * steps,
        lambda x: (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True) * 2 + 1e-5).sqrt() * steps,
    ):
        found = parts_of(function, x)
        scaled = (kept - kept.mean(1, keepdim=True)) * (x.var(1, keepdim=True) * 2 + 1e-5).rsqrt()
        close(found.relevant, (scaled * steps).sum((1, 2)))


def test_a_stream_outside_a_domain_is_refused_only_where_it_reaches_the_score():
    x = fixed(3, 4, 6)
    with pytest.raises(UnsupportedModelError, match=r"torch\.Tensor\.log where one of the streams lies outside"):
        parts_of(lambda x: x.square().mean(2).log(), x)
    found = parts_of(lambda x: x / (x.square().mean(2, keepdim=True) * (x.mean(2, keepdim=True) + 9)).sqrt(), x)
    divisor = (x.square().mean(2, keepdim=True) * (x.mean(2, keepdim=True) + 9)).sqrt()
    close(found.relevant, (x * SPAN[:, None] / divisor).sum((1, 2)))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.interpolate(x, scale_factor=0.5), lambda x: torch.fft.rfft(x, dim=1),
        lambda x: F.conv_transpose1d(x.mT, fixed(6, 2, 3)), lambda x: F.conv2d(x[:, None], fixed(2, 1, 3, 3)),
        lambda x: torch.trapezoid(x, dim=1),
        lambda x: torch.view_as_complex(x.unflatten(-1, (3, 2)).contiguous()).conj().resolve_conj(),
        lambda x: (torch.view_as_complex(x.unflatten(-1, (3, 2)).contiguous()) * torch.exp(1j * fixed(3))).imag,
        lambda x: torch.complex(x, 2 * x).cumsum(1) @ torch.complex(fixed(6, 2), fixed(6, 2)),
        lambda x: torch.cat([torch.complex(x, x), torch.zeros(3, 1, 6, dtype=torch.complex128)], 1).sum(1).real,
    ],
)  # fmt: skip
def test_of_a_linear_map_each_stream_gets_its_own_part(function):
    x = fixed(3, 4, 6)
    found = parts_of(function, x)
    relevant = function(x * SPAN[:, None])
    relevant = torch.view_as_real(relevant) if relevant.is_complex() else relevant
    close(found.relevant, relevant.reshape(3, -1).sum(1))
    close(found.bias, torch.zeros(3).double())


SUMMED = [
    F.glu, lambda x: x.cumprod(1), lambda x: x.prod(1), lambda x: torch.logcumsumexp(x, 1),
    lambda x: x.var(1) + x.std(1),
    lambda x: (x + 1).norm(dim=2), lambda x: x.median(1)[0] + x.kthvalue(2, dim=1)[0] * x.cummax(1)[0][:, 2],
    lambda x: x.median().expand(3) + x.cummin(dim=1).values.sum((1, 2)), lambda x: F.max_pool2d(x[:, None], 2),
    lambda x: F.adaptive_max_pool2d(x[:, None], 2), lambda x: F.conv2d(x[:, None], fixed(2, 1, 3, 3), x[0, 0, :2]),
    lambda x: F.instance_norm(x, fixed(4), fixed(4).abs(), use_input_stats=False), lambda x: (x / 9).erfinv_(),
    lambda x: F.bilinear(x, x.tanh(), fixed(2, 6, 6), fixed(2)), lambda x: torch.linalg.cross(x[..., :3], x[..., 3:]),
    lambda x: torch.complex(x, x.tanh()).abs(), lambda x: (torch.complex(x, x + 1) * torch.complex(x, -x)).real,
    lambda x: (torch.complex(x, x + 1) / torch.complex(x, 3 - x)).real, lambda x: torch.polar(x, x + 1).imag,
    lambda x: torch.einsum("bti,bsi,ij->btsj", x, x + 1, fixed(6, 2)), lambda x: F.gelu(x) * F.silu(x + 1),
    lambda x: torch.vdot(x[0, 0], x[0, 1] + 1).expand(3),
    lambda x: F.layer_norm(x, (6,), x[0, 0], x[0, 1]), lambda x: F.linear(x, fixed(2, 6), x[0, 0, :2]),
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(SUMMED)))
@pytest.mark.parametrize("span", [SPAN, torch.zeros(4).bool(), torch.ones(4).bool()], ids=["some", "none", "all"])
def test_the_parts_sum_to_the_whole(place, span):
    x = fixed(3, 4, 6)
    found = parts_of(SUMMED[place], x, span)  # which checks the sum
    assert torch.isfinite(found.relevant).all()
    if span.all() or not span.any():
        close(found.irrelevant if span.all() else found.relevant, torch.zeros(3).double(), 1e-10)
    else:
        assert (found.relevant != 0).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_today_are_decomposed(name):
    inputs = fixed(3, 6, 5)
    lengths = torch.full((3,), 6)
    model = network(name)
    subject = Subject(model, Batch(inputs, lengths, torch.zeros_like(lengths)), torch.zeros_like(inputs))
    keep = torch.rand(12, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    instance = torch.arange(3).repeat(4)
    found = METHOD.spans(subject, keep, instance)
    close(found.relevant + found.irrelevant + found.bias, subject.score[instance].double(), 1e-9)
    values = METHOD.explain(subject).values
    close(values[0, 2], METHOD.spans(subject, torch.arange(6)[None] == 2).relevant[0])
    assert (values != 0).any()


def test_a_compiled_model_is_followed_as_it_was_written():
    model, x = nn.GRU(6, 3, batch_first=True).double(), fixed(3, 4, 6)
    compiled = torch.compile(model, backend="eager")
    found, expected = (parts_of(lambda x, of=of: of(x)[0], x) for of in (compiled, model))
    close(found.relevant, expected.relevant)


def test_a_refusal_names_methods_that_were_tried():
    class Reading(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.GRU(3, 3, batch_first=True).double()

        def forward(self, x):
            found = self.layer(x)[0]
            return found[:, -1] * float(found.detach().sum())

    inputs = fixed(2, 4, 3)
    lengths = torch.full((2,), 4)
    subject = Subject(Reading(), Batch(inputs, lengths, torch.zeros_like(lengths)), torch.zeros_like(inputs))
    with pytest.raises(UnsupportedModelError, match=r"reads a number out of torch; use integrated-gradients or occl"):
        METHOD.explain(subject)
