"""DeepLIFT through the operations of torch that have a derivative: their sums, and literal definitions of the rules."""

import math

import pytest
import torch
from method_operations import CLOSED, INTEGRATED
from torch import nn
from torch.nn import functional as F

from xrnnbench.errors import CompletenessWarning
from xrnnbench.methods.propagation.rescale import multipliers, pairing


class Scored(nn.Module):
    """A recurrent layer, the function, and a weighted sum of whatever it returns."""

    def __init__(self, function, dtype=torch.float64, scale=1.0):
        super().__init__()
        torch.manual_seed(7)
        self.layer, self.function, self.scale = nn.RNN(3, 4, batch_first=True).to(dtype), function, scale

    def forward(self, x):
        found = self.function(self.layer(x)[0] * self.scale).reshape(len(x), -1)
        return (found * torch.cos(torch.arange(found.shape[1], dtype=x.dtype))).sum(1)


def references(x):
    return {"zero": torch.zeros_like(x), "mean": x.mean((0, 1)).expand_as(x)}


def explained(function, reference, dtype=torch.float64):
    model = Scored(function, dtype)
    x = (2 * torch.randn(3, 6, 3, generator=torch.Generator().manual_seed(8), dtype=torch.float64)).to(dtype)
    x0 = references(x)[reference]
    with torch.no_grad():
        expected = model(x), model(x0)
    return multipliers(model, x, x0, expected), expected


@pytest.mark.parametrize("reference", ["zero", "mean"])
@pytest.mark.parametrize("name", [*CLOSED, *INTEGRATED])
def test_every_operation_sums_to_the_difference(name, reference):
    found, (score, score0) = explained({**CLOSED, **INTEGRATED}[name], reference)
    scale = (score - score0).abs().max() + score.abs().max()
    assert float(found.gap.abs().max()) <= 1e-9 * float(scale) + 1e-14
    assert torch.isfinite(found.values).all()
    assert not found.missed
    assert (found.evaluations == 0) == (name in CLOSED)


SINGLE = {
    "layer_norm": lambda h: F.layer_norm(h, (4,)),
    "group_norm": lambda h: F.group_norm(h.transpose(1, 2), 2),
    "rms_norm": lambda h: F.rms_norm(h, (4,), eps=1e-6),
    "mask": lambda h: h * (h > 0.1).float(),
    "masked mean": lambda h: (h * (h > 0)).sum(1) / (h > 0).sum(1).clamp(min=1),
} | {
    name: {**CLOSED, **INTEGRATED}[name]
    for name in (
        "normalize 1",
        "sort",
        "where",
        "logcumsumexp",
        "prod",
        "std",
        "complex product",
        "hypot",
        "matrix_exp",
    )
}


@pytest.mark.parametrize("name", SINGLE)
def test_single_precision_sums_to_rounding(name):
    found, (score, score0) = explained(SINGLE[name], "zero", torch.float32)
    assert found.values.dtype == torch.float32
    assert not found.missed
    assert float(found.gap.abs().max()) <= 2e-5 * float((score - score0).abs().max() + score.abs().max())


class Direct(nn.Module):
    """A function of the input itself, weighted and summed."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        found = self.function(x).reshape(len(x), -1)
        return (found * torch.cos(torch.arange(found.shape[1], dtype=found.dtype))).sum(1)


def points(seed=3, rows=2):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 4, 4, generator=rng).double(), torch.randn(rows, 4, 4, generator=rng).double()


def path_integral(function, x, x0, nodes=4000):
    """∫ ∂f/∂z (z⁰ + t·δz) dt by the midpoint rule in a variable that slows down at both ends."""
    s = (torch.arange(nodes).double() + 0.5) / nodes
    t, weights = s**3 * (10 - 15 * s + 6 * s**2), 30 * s**2 * (1 - s) ** 2 / nodes
    total = torch.zeros_like(x)
    for place, weight in zip(t, weights, strict=True):
        point = (x0 + place * (x - x0)).requires_grad_()
        total += weight * torch.autograd.grad(Direct(function)(point).sum(), point)[0]
    return total


SMOOTH = {
    "prod": lambda h: h.prod(2),
    "cumprod": lambda h: h.cumprod(1),
    "logcumsumexp": lambda h: h.logcumsumexp(1),
    "atan2": lambda h: torch.atan2(h, h.roll(1, 1) + 6),
    "einsum of three": lambda h: torch.einsum("bij,bjk,bki->bi", h, h, h),
    "matrix_exp": torch.matrix_exp,
    "power": lambda h: torch.pow(h + 6, h.roll(1, 1) / 3),
    "rms_norm": lambda h: F.rms_norm(h, (4,), eps=1e-7),
    "normalize": lambda h: F.normalize(h, dim=2),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_the_path_rule_is_the_integral_of_the_operations_own_gradient(name):
    x, x0 = points()
    found = multipliers(Direct(SMOOTH[name]), x, x0)
    torch.testing.assert_close(found.values, path_integral(SMOOTH[name], x, x0), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "name",
    [
        *SMOOTH,
        "hypot",
        "sort",
        "median",
        "where",
        "masked_fill",
        "max_pool2d",
        "cummax",
        "gather at argmax",
        "complex exp",
        "quantile",
        "cosine_similarity",
        "std",
    ],
)
def test_symmetric_in_both_sides(name):
    x, x0 = points()
    function = SMOOTH.get(name) or CLOSED[name]
    there, back = multipliers(Direct(function), x, x0), multipliers(Direct(function), x0, x)
    torch.testing.assert_close(there.values * (x - x0), back.values * (x - x0), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("function", [torch.mul, torch.matmul, lambda a, b: torch.einsum("bij,bkj->bik", a, b)])
def test_the_path_rule_equals_the_rule_of_products(function, monkeypatch):
    x, x0 = points()
    model = Direct(lambda h: function(h, h.tanh()))
    product = multipliers(model, x, x0)
    assert product.evaluations == 0
    for name in ("mul", "matmul", "einsum"):
        monkeypatch.delitem(pairing._RULES, name)
    path = multipliers(model, x, x0)
    assert path.evaluations > 0
    torch.testing.assert_close(path.values, product.values, rtol=1e-10, atol=1e-13)


def test_a_comparison_is_a_step_with_a_secant_slope():
    x, x0 = points()
    found = multipliers(Direct(lambda h: (h > 0.1) * 1.0), x, x0)
    weights = torch.arange(16).double().cos().view(1, 4, 4)
    step, step0 = (x > 0.1).double(), (x0 > 0.1).double()
    torch.testing.assert_close(found.values, weights * (step - step0) / (x - x0), rtol=1e-12, atol=0)
    assert (found.values[step == step0] == 0).all()


def test_a_selection_is_the_product_rule_of_its_condition():
    x, x0 = points()
    selected = multipliers(Direct(lambda h: torch.where(h.roll(1, 1) > 0, h.exp(), h.square())), x, x0)
    written = multipliers(
        Direct(lambda h: (h.roll(1, 1) > 0) * h.exp() + (1 - (h.roll(1, 1) > 0) * 1.0) * h.square()), x, x0
    )
    torch.testing.assert_close(selected.values, written.values, rtol=1e-10, atol=1e-12)


def test_a_mask_that_both_sides_share_is_the_closed_form_of_before():
    x, x0 = points()
    later = torch.ones(4, 4).bool().triu(1)
    masked = multipliers(Direct(lambda h: h.masked_fill(later, -math.inf).softmax(2) @ h), x, x0)
    expected = multipliers(
        Direct(
            lambda h: torch.stack(
                [h[:, t, : t + 1].softmax(1).unsqueeze(1).bmm(h[:, : t + 1]).squeeze(1) for t in range(4)], 1
            )
        ),
        x,
        x0,
    )
    torch.testing.assert_close(masked.values, expected.values, rtol=1e-10, atol=1e-13)


def test_a_mask_of_infinity_is_the_limit_of_large_numbers():
    x, x0 = points()

    def attention(h, fill):
        energies = h @ h.transpose(1, 2)
        keep = torch.eye(4).bool()
        return energies.masked_fill((h.roll(1, 2) < 0) & ~keep, fill).softmax(2) @ h

    infinite = multipliers(Direct(lambda h: attention(h, -math.inf)), x, x0)
    large = multipliers(Direct(lambda h: attention(h, -1e7)), x, x0)
    assert float(infinite.gap.abs().max()) < 1e-12
    torch.testing.assert_close(infinite.values, large.values, rtol=1e-4, atol=1e-5)


def test_a_branch_that_is_not_taken_may_hold_anything():
    x, x0 = points()
    found = multipliers(Direct(lambda h: torch.where(h > 0, h.log(), torch.where(h < -1, (-h).sqrt(), h))), x, x0)
    assert torch.isfinite(found.values).all()
    assert float(found.gap.abs().max()) < 1e-12


def test_an_order_that_both_sides_share_is_a_gather():
    x, _ = points()
    x0 = 0.5 * x + 1
    order = x.argsort(1)
    torch.testing.assert_close(
        multipliers(Direct(lambda h: h.sort(1).values), x, x0).values,
        multipliers(Direct(lambda h: h.gather(1, order)), x, x0).values,
    )


def test_the_largest_of_topk_and_sort_has_the_rule_of_a_maximum():
    x, x0 = points()
    expected = multipliers(Direct(lambda h: h.max(1, keepdim=True).values), x, x0).values
    for function in (
        lambda h: h.topk(1, 1).values,
        lambda h: h.sort(1).values[:, -1:],
        lambda h: h.kthvalue(4, 1, keepdim=True).values,
    ):
        found = multipliers(Direct(function), x, x0).values
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_multipliers_of_an_order_lie_between_0_and_1_and_are_exact_with_ties():
    x = torch.tensor([5.0, 2, 3, 0, 0, 0]).double().view(1, 6, 1)
    x0 = torch.tensor([1.0, 2, 3, 0, 0, 4]).double().view(1, 6, 1)
    for rank in range(1, 7):
        found = multipliers(Direct(lambda h, rank=rank: h.kthvalue(rank, 1).values), x, x0)
        assert float(found.gap.abs()) < 1e-14
        assert (found.values >= 0).all()
        assert (found.values <= 1).all()
    # the median of (1, 2, 3) becomes 3 where the first number becomes 5, and to that number all is credited
    median = multipliers(Direct(lambda h: h[:, :3].median(1).values), x, x0).values * (x - x0)
    torch.testing.assert_close(median.flatten(), torch.tensor([1.0, 0, 0, 0, 0, 0]).double())


def test_a_pool_credits_the_winners_of_both_sides():
    x, x0 = points()
    found = multipliers(Direct(lambda h: F.max_pool2d(h[:, None], 3, 2, padding=1)), x, x0).values
    expected = torch.zeros_like(x)
    weights = torch.arange(4).double().cos()
    for row in range(2):
        for number, (top, left) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
            window = [
                (i, j)
                for i in range(2 * top - 1, 2 * top + 2)
                for j in range(2 * left - 1, 2 * left + 2)
                if 0 <= i < 4 and 0 <= j < 4
            ]
            own, other = max(window, key=lambda p, row=row: x[row][p]), max(window, key=lambda p, row=row: x0[row][p])
            y, y0 = x[row][own], x0[row][other]
            if own == other:
                expected[row][own] += weights[number]
                continue
            for place, change in ((own, max(y - y0, 0)), (other, min(y - y0, 0))):
                if change != 0:
                    expected[row][place] += weights[number] * change / (x[row][place] - x0[row][place])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_complex_numbers_are_explained_as_their_real_and_imaginary_parts():
    x, x0 = points()

    def of_complex(h):
        z = torch.complex(h[..., :2], h[..., 2:])
        return torch.view_as_real(z * z.roll(1, 1).conj() + (0.3 - 0.7j) * z)

    def of_parts(h):
        a, b = h[..., :2], h[..., 2:]
        c, d = a.roll(1, 1), -b.roll(1, 1)
        return torch.stack([a * c - b * d + 0.3 * a + 0.7 * b, a * d + b * c + 0.3 * b - 0.7 * a], -1)

    torch.testing.assert_close(
        multipliers(Direct(of_complex), x, x0).values,
        multipliers(Direct(of_parts), x, x0).values,
        rtol=1e-10,
        atol=1e-13,
    )


def test_an_analytic_function_has_its_complex_secant_slope():
    x, x0 = points()
    found = multipliers(Direct(lambda h: torch.complex(h[..., :2], h[..., 2:]).exp().imag), x, x0)
    z, z0 = torch.complex(x[..., :2], x[..., 2:]), torch.complex(x0[..., :2], x0[..., 2:])
    slope = (z.exp() - z0.exp()) / (z - z0)
    weights = torch.arange(8).double().cos().view(1, 4, 2)
    # Im(s·δz) = Im s·δa + Re s·δb
    torch.testing.assert_close(
        found.values, torch.cat([weights * slope.imag, weights * slope.real], 2), rtol=1e-9, atol=1e-12
    )


def test_reading_at_the_place_of_a_maximum_credits_values_and_decision():
    x, x0 = points()
    found = multipliers(Direct(lambda h: h[..., 2:].gather(1, h[..., :2].argmax(1, keepdim=True))), x, x0).values
    expected = torch.zeros_like(x)
    weights = torch.arange(2).double().cos()
    for row in range(2):
        for column in range(2):
            s, s0, v, v0 = x[row, :, column], x0[row, :, column], x[row, :, 2 + column], x0[row, :, 2 + column]
            i, j = int(s.argmax()), int(s0.argmax())
            expected[row, i, 2 + column] += weights[column] / 2
            expected[row, j, 2 + column] += weights[column] / 2
            if i != j:
                decided = ((v[i] - v[j]) + (v0[i] - v0[j])) / 2 / ((s[i] - s[j]) - (s0[i] - s0[j]))
                expected[row, i, column] += weights[column] * decided
                expected[row, j, column] -= weights[column] * decided
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_a_normalised_zero_reference_neither_cancels_nor_overflows():
    x = points()[0]
    for function in (
        lambda h: F.normalize(h, dim=2),
        lambda h: h / (h.norm(dim=2, keepdim=True) + 1e-8),
        lambda h: F.rms_norm(h, (4,)),
        lambda h: F.cosine_similarity(h, h.roll(1, 1), dim=2),
    ):
        for dtype, least in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
            found = multipliers(Direct(function), x.to(dtype), torch.zeros_like(x).to(dtype))
            assert float(found.gap.abs().max()) < least
            assert float((found.values * x).abs().max()) < 100


def test_an_operation_that_bends_too_sharply_says_what_it_misses():
    x, x0 = points()

    def crossing(h):
        return torch.linalg.eigvalsh(torch.diag_embed(h[:, 0]) + 0.05 * (h + h.transpose(1, 2)))

    with pytest.warns(CompletenessWarning, match="linalg.eigvalsh along its path, and misses"):
        found = multipliers(Direct(crossing), x, x0)
    assert [each.operation for each in found.missed] == ["torch.linalg.eigvalsh"]
    assert float(found.gap.abs().max()) <= found.missed[0].gap
    assert 1e-9 < found.missed[0].share < 0.01


def test_evaluations_along_a_path_are_counted():
    assert explained(INTEGRATED["prod"], "zero")[0].evaluations > 0
    few, many = (explained(INTEGRATED[name], "zero")[0].evaluations for name in ("cov", "logcumsumexp"))
    assert 0 < few < many
    assert explained(CLOSED["group_norm"], "zero")[0].extra_passes == 0
    assert explained(INTEGRATED["prod"], "zero")[0].extra_passes >= 1
