"""Shapley values: closed forms, the definition over all orders, the shap package, and rates of convergence."""

import math
import warnings
from dataclasses import replace
from itertools import pairwise, permutations, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xrnnbench.errors import ParameterError
from xrnnbench.methods.propagation.deeplift import DeepLift
from xrnnbench.methods.surrogate.coalitions import pairs_of_coalitions
from xrnnbench.methods.surrogate.shapley import ExactShapley, KernelShap, PermutationShapley
from xrnnbench.plugins import build
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.models.networks import AttentiveRecurrentNet, RecurrentNet
from xrnnbench.tasks.subject import Subject

STEPS, FEATURES = 6, 2
ALL = {"exact": ExactShapley(), "kernel": KernelShap(samples=64), "permutation": PermutationShapley(permutations=3)}


@pytest.fixture(params=["cells", "tokens", "regression", "one feature"])
def subject(request):
    torch.manual_seed(0)
    lengths = torch.tensor([6, 1, 4, 5, 2] if request.param in {"tokens", "one feature"} else [3, 1, 2, 3, 2])
    steps, rows = int(lengths.max()), len(lengths)
    valid = torch.arange(steps) < lengths[:, None]
    targets = torch.tensor([0, 1, 0, 1, 0])
    columns = 1 if request.param == "one feature" else FEATURES
    if request.param == "tokens":
        model = AttentiveRecurrentNet(4, 6, 2, bidirectional=True, pooling="attention", vocabulary_size=9)
        inputs, reference = torch.randint(2, 9, (rows, steps)) * valid, torch.ones(rows, steps).long() * valid
    else:
        inputs = torch.randn(rows, steps, columns).double() * valid[..., None]
        reference = torch.full_like(inputs, 0.1)
        model = RecurrentNet(columns, 6, 2, cell="gru", pooling="max")
    if request.param == "regression":
        model, targets = RecurrentNet(columns, 6, 1, cell="lstm"), torch.randn(rows, 1).double()
    outputs = "values" if request.param == "regression" else "logits"
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # so that features interact
    return Subject(model.double(), Batch(inputs, lengths, targets), reference, outputs_are=outputs).check()


class Game(nn.Module):
    """Σ c·Π x over the features of each term: at x = 1 against 0, a feature's Shapley value is its terms' Σ c/size."""

    def __init__(self, members, coefficients):
        super().__init__()
        self.members, self.coefficients = members, coefficients

    def forward(self, x):
        present = x.flatten(1).float() @ self.members.float().T  # x is 1 or 0
        return (present == self.members.sum(1)).double() @ self.coefficients[:, None]

    @property
    def truth(self):
        members = self.members.double()
        return (members / members.sum(1, keepdim=True).clamp_min(1) * self.coefficients[:, None]).sum(0)


def played(model, count, rows=1):
    """A game of so many players as a subject; each row plays the same."""
    inputs = torch.ones(rows, count, 1).double()
    batch = Batch(inputs, torch.full((rows,), count), torch.zeros(rows, 1).double())
    return Subject(model, batch, torch.zeros_like(inputs), outputs_are="values").check()


def random_game(count, terms, largest, seed=0):
    """Terms of 1 to ``largest`` of the players, with normal coefficients."""
    rng = torch.Generator().manual_seed(seed)
    size = torch.randint(1, largest + 1, (terms, 1), generator=rng)
    members = torch.rand(terms, count, generator=rng).argsort(1) < size
    return Game(members, torch.randn(terms, generator=rng).double())


def by_all_orders(subject, row):
    """The mean contribution over all n! orders, each coalition run alone and unpadded: {feature: value}."""
    length = int(subject.batch.lengths[row])
    places = list(product(range(length), *([range(FEATURES)] if subject.granularity == "cell" else [])))

    def value(kept):
        changed = subject.reference[row, :length].clone()
        for place in kept:
            changed[place] = subject.batch.inputs[row][place]
        with torch.no_grad():
            output = subject.model.eval()(changed[None], subject.batch.lengths[row : row + 1])
        return float(output[0, subject.target[row]])

    subsets = [
        frozenset(p for p, k in zip(places, kept, strict=True) if k) for kept in product([0, 1], repeat=len(places))
    ]
    values = {kept: value(kept) for kept in subsets}
    found = dict.fromkeys(places, 0.0)
    for order in permutations(places):
        for position, place in enumerate(order):
            before = frozenset(order[:position])
            found[place] += (values[before | {place}] - values[before]) / math.factorial(len(places))
    return found


def test_exact_shapley_is_the_mean_over_all_orders(subject):
    found = ExactShapley().explain(subject).values
    for row in range(len(subject)):
        expected = by_all_orders(subject, row)
        assert {place: float(found[row][place]) for place in expected} == pytest.approx(expected, abs=1e-12)


def test_kernel_shap_of_all_coalitions_is_exact(subject):
    exact = ExactShapley().explain(subject).values
    torch.testing.assert_close(KernelShap(samples=64).explain(subject).values, exact, rtol=0, atol=1e-12)
    assert float(exact.abs().max()) > 0.1


@settings(deadline=None, max_examples=25)
@given(count=st.integers(1, 7), seed=st.integers(0, 10**6))
def test_every_game_has_its_closed_form(count, seed):
    """Any game is Σ c·Π x over all 2ⁿ terms (its Harsanyi dividends c); the empty term changes nothing."""
    members = torch.tensor(list(product([False, True], repeat=count)))
    game = Game(members, torch.randn(len(members), generator=torch.Generator().manual_seed(seed)).double())
    subject = played(game, count)
    for method in (ExactShapley(), KernelShap(samples=128)):
        torch.testing.assert_close(method.explain(subject).values[0], game.truth, rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", ALL.values(), ids=ALL)
def test_a_linear_score_is_shared_by_its_weights(method):
    torch.manual_seed(1)
    weights, x, x0 = torch.randn(3, 12).double()

    class Linear(nn.Module):
        def forward(self, inputs):
            return inputs.flatten(1) @ weights[:, None] + 5

    inputs, reference = x.view(1, 4, 3), x0.view(1, 4, 3)
    batch = Batch(inputs, torch.tensor([4]), torch.zeros(1, 1).double())
    subject = Subject(Linear(), batch, reference, outputs_are="values").check()
    found = method.explain(subject).values.flatten()
    torch.testing.assert_close(found, weights * (x - x0), rtol=0, atol=1e-12)


class Product(nn.Module):
    """The product of the two cells of the only step."""

    def forward(self, x):
        return (x[:, 0, 0] * x[:, 0, 1])[:, None]


@pytest.mark.parametrize("method", [*ALL.values(), DeepLift()], ids=[*ALL, "deeplift"])
def test_one_product_is_split_in_halves(method):
    inputs, reference = torch.tensor([[[3.0, -2.0]], [[0.5, 4.0]]]).double(), torch.tensor([[[1.0, 0.5]]]).double()
    batch = Batch(inputs, torch.tensor([1, 1]), torch.zeros(2, 1).double())
    subject = Subject(Product(), batch, reference.repeat(2, 1, 1), outputs_are="values").check()
    found = method.explain(subject).values[:, 0]
    a, b = inputs[:, 0].T
    a0, b0 = reference[0, 0]
    expected = torch.stack([(a - a0) * (b + b0) / 2, (b - b0) * (a + a0) / 2], 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(found, ExactShapley().explain(subject).values[:, 0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", [KernelShap(samples=56), PermutationShapley(permutations=1)], ids=lambda m: m.name)
@pytest.mark.parametrize("seed", range(5))
def test_pairs_are_exact_for_interactions_of_two(method, seed):
    game = random_game(14, 60, largest=2, seed=seed)
    found = method.explain(played(game, 14), seed=seed).values[0]
    torch.testing.assert_close(found, game.truth, rtol=0, atol=1e-10)
    three = random_game(14, 60, largest=3, seed=seed)
    gap = (method.explain(played(three, 14), seed=seed).values[0] - three.truth).abs().max()
    assert float(gap) > 1e-3  # and not because everything is


class Reader(nn.Module):
    """A recurrent model that never sees some columns, and adds up what it makes of each step on its own."""

    def __init__(self, seed, columns):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layer, self.columns = nn.GRU(1 + columns, 5, batch_first=True).double(), columns

    def forward(self, x):
        rows, steps, _ = x.shape
        seen = torch.cat([x[..., : self.columns], x[..., :1] ** 2], 2)
        each = self.layer(seen.reshape(rows * steps, 1, -1))[0].view(rows, steps, -1)
        return each.sum(1).prod(1, keepdim=True)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), steps=st.integers(2, 4))
def test_axioms_nothing_for_the_unread_and_the_same_for_the_exchangeable(seed, steps):
    inputs = torch.randn(2, steps, 3, generator=torch.Generator().manual_seed(seed)).double()
    inputs[:, 1] = inputs[:, 0]  # the model cannot tell the steps apart, so these two are exchangeable
    batch = Batch(inputs, torch.tensor([steps, steps]), torch.zeros(2, 1).double())
    subject = Subject(Reader(seed, 2), batch, torch.zeros_like(inputs), outputs_are="values").check()
    for method in (ExactShapley(), KernelShap(samples=4096), PermutationShapley(permutations=2)):
        found = method.explain(subject).values
        scale = found.abs().max()
        assert float(found[..., 2].abs().max()) <= 1e-12 * scale
        if not isinstance(method, PermutationShapley):  # few orders treat equals unequally
            assert float((found[:, 0] - found[:, 1]).abs().max()) <= 1e-10 * scale
        gap = found.flatten(1).sum(1) - (subject.score - subject.reference_score)
        assert float(gap.abs().max()) <= 1e-10 * scale


# ---- the estimators' errors --------------------------------------------------------------------------------------


def error_of(method, game, count, rows=64):
    """The error of each of many independent runs, float[rows, n]: every row has its own random numbers."""
    return method.explain(played(game, count, rows)).values - game.truth


def rms(errors):
    return float(errors.square().mean().sqrt())


@pytest.mark.parametrize("largest", [4, 9])
def test_permutations_err_by_the_root_of_their_number_and_not_to_one_side(largest):
    game = random_game(14, 50, largest)
    few, many = (error_of(PermutationShapley(permutations=number), game, 14) for number in (2, 32))
    assert 3.2 < rms(few) / rms(many) < 5  # √16 = 4, of 64 runs each
    standard_error = few.std(0) / len(few) ** 0.5
    assert float((few.mean(0).abs() / standard_error.clamp_min(1e-12)).max()) < 4.5


@pytest.mark.parametrize("largest", [4, 9])
@pytest.mark.parametrize("count", [14, 30])
def test_kernel_shap_errs_by_the_root_of_its_samples_or_less(count, largest):
    game = random_game(count, 50, largest)
    errors = [rms(error_of(KernelShap(samples=number), game, count, 32)) for number in (192, 768, 3072)]
    for coarse, fine in pairwise(errors):
        assert 1.7 < coarse / fine < 6  # √4 = 2, and more where whole sizes fit
    assert errors[-1] < 0.2 * float(game.truth.square().mean().sqrt())


def test_kernel_shap_needs_fewer_samples_than_its_last_to_be_close():
    """Just short of all coalitions the error is small, and with all of them it is none."""
    game = random_game(10, 50, 9)
    close, exact = (rms(error_of(KernelShap(samples=number), game, 10)) for number in (1022, 1024))
    assert exact < 1e-12 < close < 0.02


@pytest.mark.parametrize("method", [KernelShap(samples=200), PermutationShapley(permutations=3)], ids=lambda m: m.name)
def test_the_values_sum_to_the_difference_however_few_the_samples(method):
    game = random_game(40, 80, 12)
    found = method.explain(played(game, 40, 3)).values.sum(1)
    torch.testing.assert_close(found, game.coefficients.sum().expand(3), rtol=0, atol=1e-9)


def test_orders_are_uniform_and_come_with_their_reverse():
    masks, _ = PermutationShapley(permutations=6000).design(4, seed=0)
    assert masks[:2].tolist() == [[False] * 4, [True] * 4]
    rank = 4 - 1 - masks[2:].view(12000, 3, 4).long().sum(1)  # who is in all prefixes came first
    forward, backward = rank.chunk(2)
    assert (forward + backward == 3).all()
    orders, times = forward.unique(dim=0, return_counts=True)
    assert len(orders) == 24
    assert times.tolist() == pytest.approx([250] * 24, abs=70)  # 4.5 standard deviations


# ---- which coalitions --------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(count=st.integers(2, 12), samples=st.integers(4, 5000), seed=st.integers(0, 10**6))
def test_pairs_are_different_and_weigh_as_the_kernel_does(count, samples, seed):
    budget = min(samples // 2 - 1, 2 ** (count - 1) - 1)
    pairs, weights = pairs_of_coalitions(count, budget, seed)
    sizes = pairs.sum(1)
    both = {tuple(mask) for mask in torch.cat([pairs, ~pairs]).tolist()}
    assert len(pairs) == budget
    assert len(both) == 2 * budget
    assert 1 <= int(sizes.min()) <= int(sizes.max()) <= count // 2
    total = sum((count - 1) / (size * (count - size)) for size in range(1, count))
    assert float(weights.sum()) == pytest.approx(total)
    complete = 0
    for size in range(1, count // 2 + 1):
        of_size = weights[sizes == size]
        if len(of_size) < math.comb(count, size) // (2 if 2 * size == count else 1):
            break
        kernel = 2 * (count - 1) / (math.comb(count, size) * size * (count - size))
        complete += torch.allclose(of_size, torch.tensor(kernel, dtype=torch.float64), rtol=1e-12)
    assert complete >= (count // 2 if budget == 2 ** (count - 1) - 1 else 0)


def test_whole_sizes_are_run_while_the_budget_holds_their_share():
    pairs, weights = pairs_of_coalitions(12, 250, seed=0)
    counts = pairs.sum(1).bincount(minlength=7).tolist()
    assert counts[1:3] == [12, 66]  # 250 · 36 % > 12, 238 · 31 % > 66, and 172 · 33 % < 220
    assert weights[:12].tolist() == pytest.approx([2 * 11 / (12 * 11)] * 12)
    assert weights[12:78].tolist() == pytest.approx([2 * 11 / (66 * 20)] * 66)


def test_sizes_are_drawn_by_their_weight_and_features_alike():
    """Of 40 features hardly any pair is drawn twice, so the draws show their distribution."""
    pairs, weights = pairs_of_coalitions(40, 4000, seed=3)
    drawn = pairs[40:]  # the pairs of one come first
    assert (pairs[:40].sum(1) == 1).all()
    shares = torch.tensor([2 / (size * (40 - size)) for size in range(2, 20)] + [1 / 400]).double()
    shares /= shares.sum()
    sizes = torch.zeros(21).double().index_add(0, drawn.sum(1), weights[40:] / weights[40:].sum())[2:]
    assert float(((sizes - shares) / (shares / len(drawn)).sqrt()).abs().max()) < 4
    features = drawn[:, 1:].double().mean(0)  # the first breaks the tie of halves
    assert float(features.std()) < 1.5 * (float(features.mean()) / len(drawn)) ** 0.5


# ---- the shap package --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shap():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its pictures use what matplotlib is about to drop
        return pytest.importorskip("shap", reason="the shap package is not installed")


@pytest.mark.full
def test_both_equal_the_shap_package(subject, shap):
    exact, kernel = (method.explain(subject).values for method in (ExactShapley(), KernelShap(samples=64)))
    subject.model.eval()
    for row in range(len(subject)):
        length = int(subject.batch.lengths[row])
        inputs, reference = (
            source[row, :length].numpy().reshape(1, -1) for source in (subject.batch.inputs, subject.reference)
        )
        if inputs.shape[1] == 1:
            continue  # its kernel explainer shares out nothing there

        def score(flat, row=row, length=length):
            given = torch.from_numpy(np.ascontiguousarray(flat)).view(-1, length, *subject.batch.inputs.shape[2:])
            with torch.no_grad():
                output = subject.model(
                    given.to(subject.batch.inputs.dtype), subject.batch.lengths[row].expand(len(given))
                )
            return output[:, subject.target[row]].numpy()

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it asks NumPy for what NumPy is about to drop
            theirs = shap.KernelExplainer(score, reference).shap_values(inputs, nsamples=64, l1_reg=False, silent=True)
            exactly = shap.explainers.Exact(score, shap.maskers.Independent(reference, max_samples=1))(inputs).values
        ours = exact[row, :length].numpy().ravel()
        assert ours == pytest.approx(exactly.ravel(), abs=1e-9)
        assert kernel[row, :length].numpy().ravel() == pytest.approx(theirs.ravel(), abs=1e-9)


# ---- the contract ------------------------------------------------------------------------------------------------


def test_costs_are_what_the_pages_say(subject):
    counts = subject.valid.flatten(1).sum(1).tolist()
    formulas = {
        ExactShapley(): lambda n: 2**n,
        KernelShap(samples=25): lambda n: min(24, 2**n),
        KernelShap(): lambda n: min(2048, 2**n),
        PermutationShapley(permutations=3): lambda n: 2 * 3 * (n - 1) + 2,
    }
    for method, formula in formulas.items():
        before = subject.cost.copy()
        method.explain(subject)
        spent = subject.cost.since(before)
        assert (spent.forward, spent.backward) == (sum(map(formula, counts)), 0)
        assert spent.executed <= min(spent.forward, sum(2**n for n in counts))


@pytest.mark.parametrize("name", ALL)
def test_small_portions_give_the_same(subject, name, monkeypatch):
    whole = ALL[name].explain(subject).values
    monkeypatch.setattr("xrnnbench.methods.surrogate.shapley._MASKS_AT_ONCE", 1)
    torch.testing.assert_close(ALL[name].explain(subject).values, whole, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=10)
@given(lengths=st.lists(st.integers(1, 4), min_size=2, max_size=4), extra=st.integers(0, 3), tokens=st.booleans())
def test_mates_and_padding_do_not_matter(lengths, extra, tokens):
    rng = torch.Generator().manual_seed(sum(lengths))
    lengths = torch.tensor(lengths)
    steps = int(lengths.max())
    valid = torch.arange(steps) < lengths[:, None]
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = RecurrentNet(2, 5, 3, cell="lstm", bidirectional=True, vocabulary_size=8 if tokens else 0).double()
    if tokens:
        inputs, reference = torch.randint(2, 8, valid.shape, generator=rng) * valid, valid.long()
    else:
        inputs = torch.randn(*valid.shape, 2, generator=rng).double() * valid[..., None]
        reference = torch.zeros_like(inputs)
    subject = Subject(model, Batch(inputs, lengths, torch.zeros(len(lengths)).long()), reference).check()
    pads = (0, extra) if tokens else (0, 0, 0, extra)
    padded_batch = Batch(nn.functional.pad(inputs, pads), lengths, torch.zeros(len(lengths)).long())
    padded = replace(subject, batch=padded_batch, reference=nn.functional.pad(reference, pads))
    for method in (ExactShapley(), KernelShap(samples=40), PermutationShapley(permutations=2)):
        whole = method.explain(subject, seed=4).values
        part = method.explain(subject.select(slice(0, 1)), seed=4).values
        torch.testing.assert_close(part, whole[:1, : part.shape[1]], rtol=0, atol=1e-12)
        more = method.explain(padded, seed=4).values
        torch.testing.assert_close(more[:, :steps], whole, rtol=0, atol=1e-12)
        assert (more[:, steps:] == 0).all()
        assert (whole[~subject.valid] == 0).all()


@pytest.mark.parametrize("method", ALL.values(), ids=ALL)
def test_completeness_is_claimed_of_the_raw_score_only(subject, method):
    raw, shares = method.explain(subject), replace(method, scale="probability").explain(subject)
    assert raw.complete
    assert not shares.complete
    gap = raw.values.flatten(1).sum(1) - (subject.score - subject.reference_score)
    assert float(gap.abs().max()) < 1e-12
    expected = [
        subject.scaled(outputs, "probability").gather(1, subject.target[:, None]).squeeze(1)
        for outputs in (subject.batch_outputs, subject.reference_outputs)
    ]
    gap = shares.values.flatten(1).sum(1) - (expected[0] - expected[1])
    assert float(gap.abs().max()) < 1e-12
    if subject.classification:
        assert float((raw.values - shares.values).abs().max()) > 1e-3
    else:
        assert raw.values.equal(shares.values)


def test_sequences_of_too_many_features_are_not_applicable():
    subject = played(random_game(13, 5, 2), 13, rows=2)
    assert "n=13 features, above most=12" in ExactShapley().applicable(subject)
    assert ExactShapley(most=13).applicable(subject) == ""
    assert "n=13 features, which need samples=52" in KernelShap(samples=51).applicable(subject)
    assert KernelShap(samples=52).applicable(subject) == ""
    few = played(random_game(3, 5, 2), 3)
    assert "samples=8" in KernelShap(samples=7).applicable(few)
    assert KernelShap(samples=8).applicable(few) == ""


@pytest.mark.parametrize(
    "spec",
    ["exact-shapley:most=0", "exact-shapley:most=21", "kernel-shap:samples=3", "permutation-shapley:permutations=0",
     "kernel-shap:scale=logit"],
)  # fmt: skip
def test_a_parameter_out_of_range_is_refused(spec):
    with pytest.raises(ParameterError, match="does not fit"):
        build("method", spec)
