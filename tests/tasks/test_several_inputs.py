"""Several inputs explained together: literal definitions in float64, for every container that a model may take."""

import dataclasses
from collections import OrderedDict, namedtuple

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from xrnnbench import (
    Benchmark,
    DataError,
    InputLayout,
    JointAttribution,
    Names,
    Truth,
    UnsupportedModelError,
    UsageError,
    explain,
    inspect,
    names,
    score,
    task_from_model,
)
from xrnnbench.harness.results.shown_inputs import ShownInputs
from xrnnbench.metrics.faithfulness.comprehensiveness import Comprehensiveness
from xrnnbench.tasks.data.input_layout import part_of

ROWS, PAST, FUTURE = 3, 6, 4
# scores [B, 4, 2] of the steps of the future; the second output of step 2 is explained
OPTIONS = {"outputs": "values", "step": 2, "target": 1}


@dataclasses.dataclass
class Inputs:
    past: torch.Tensor
    kind: torch.Tensor
    future: torch.Tensor
    static: torch.Tensor


Record = namedtuple("Record", "past kind future static")  # noqa: PYI024  # as libraries write them


class Forecaster(nn.Module):
    """Encoder and decoder that read numbers and categories of the past, a known future, and static values."""

    def __init__(self, container=None):
        super().__init__()
        self.container = container
        self.kinds = nn.Embedding(5, 3)
        self.encoder = nn.LSTM(2 + 3, 4, batch_first=True)
        self.decoder = nn.LSTM(2, 4, batch_first=True)
        self.static = nn.Linear(3, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        if self.container is not None:
            assert isinstance(x, self.container)
        get = x.__getitem__ if isinstance(x, dict) else (lambda name: getattr(x, name))
        return self.scores(get("past"), get("kind"), get("future"), get("static"))

    def scores(self, past, kind, future, static):
        _, state = self.encoder(torch.cat([past, self.kinds(kind)], 2))
        states, _ = self.decoder(future, state)
        return self.head(states * torch.tanh(self.static(static))[:, None])


class ByKeywords(Forecaster):
    def forward(self, past, kind, future, static):  # the names of the inputs
        return self.scores(past, kind, future, static)


class ByPosition(Forecaster):
    def forward(self, a, b, c, d):  # other names
        return self.scores(a, b, c, d)


class Nested(Forecaster):
    def forward(self, x):
        return self.scores(x["encoder"]["past"], x["encoder"]["kind"], x["decoder"]["future"], x["static"])


def made(kind=Forecaster, *args):
    torch.manual_seed(3)
    return kind(*args).double().eval()


def data(rows=ROWS, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return {
        "past": torch.randn(rows, PAST, 2, generator=rng, dtype=torch.float64),
        "kind": torch.randint(1, 5, (rows, PAST), generator=rng),
        "future": torch.randn(rows, FUTURE, 2, generator=rng, dtype=torch.float64),
        "static": torch.randn(rows, 3, generator=rng, dtype=torch.float64),
    }


def explained(inputs, model=None):
    """The explained score of each row, by hand."""
    with torch.no_grad():
        return (model or made()).scores(*inputs.values())[:, 2, 1]


def zeros(inputs):
    return {name: torch.zeros_like(value) for name, value in inputs.items()}


def total(attribution):
    return sum(values.flatten(1).sum(1) for values in attribution.values.values())


def close(left, right, tolerance=1e-12):
    assert left.shape == right.shape
    assert float((left - right).abs().max()) <= tolerance


# ---- containers -----------------------------------------------------------------------------------------------------


def containers():
    x = data()
    nested = {
        "encoder": {"past": x["past"], "kind": x["kind"]},
        "decoder": {"future": x["future"]},
        "static": x["static"],
    }
    return {
        "dictionary": (made(), x),
        "ordered dictionary": (made(Forecaster, OrderedDict), OrderedDict(x)),
        "named tuple": (made(Forecaster, Record), Record(**x)),
        "dataclass": (made(Forecaster, Inputs), Inputs(**x)),
        "keywords": (made(ByKeywords), x),
        "keywords in another order": (made(ByKeywords), dict(reversed(x.items()))),
        "tuple": (made(ByPosition), tuple(x.values())),
        "list": (made(ByPosition), list(x.values())),
        "nested dictionaries": (made(Nested), nested),
        "arrays of NumPy": (made(), {name: value.numpy() for name, value in x.items()}),
    }


@pytest.mark.parametrize("name", containers())
@pytest.mark.parametrize("method", ["deeplift", "occlusion"])
def test_every_container_gives_the_same_values(name, method):
    model, inputs = containers()[name]
    attribution = explain(model, inputs, method=method, **OPTIONS)
    expected = explain(made(), data(), method=method, **OPTIONS)
    given = {part.rpartition(".")[2]: values for part, values in attribution.items()}
    own = dict(zip("abcd", data(), strict=True))
    for part, values in given.items():
        close(values, expected[own.get(part, part)])


def test_values_have_the_shapes_of_the_inputs():
    attribution = explain(made(), data(), **OPTIONS)
    assert isinstance(attribution, JointAttribution)
    assert list(attribution) == list(data())
    for name, values in attribution.values.items():
        assert values.shape == data()[name].shape
        assert torch.equal(attribution[name], values)
    assert {name: tuple(steps.shape) for name, steps in attribution.steps.items()} == {
        "past": (ROWS, PAST), "kind": (ROWS, PAST), "future": (ROWS, FUTURE), "static": (ROWS, 1),
    }  # fmt: skip
    close(sum(attribution.totals.values()), total(attribution))


def test_a_plain_function_of_a_dictionary_is_explained_by_perturbation():
    model = made()

    def predict(x):
        assert all(isinstance(value, np.ndarray) for value in x.values())
        with torch.no_grad():
            return model.scores(*(torch.from_numpy(value) for value in x.values())).numpy()[:, 2]

    attribution = explain(predict, data(), method="occlusion", outputs="values", target=1)
    expected = explain(model, data(), method="occlusion", **OPTIONS)
    for name, values in expected.items():
        close(attribution[name], values)


# ---- values ---------------------------------------------------------------------------------------------------------


def test_occlusion_is_its_definition():
    x = data()
    whole = explained(x)
    attribution = explain(made(), x, method="occlusion", **OPTIONS)
    for name, values in attribution.items():
        expected = torch.zeros_like(values)
        for place in np.ndindex(*x[name].shape[1:]):
            changed = x[name].clone()
            changed[(slice(None), *place)] = 0
            expected[(slice(None), *place)] = whole - explained(x | {name: changed})
        close(values, expected)


COMPLETE = ["deeplift", "integrated-gradients", "kernel-shap", "permutation-shapley:permutations=3"]


@pytest.mark.parametrize("method", COMPLETE)
def test_values_of_all_inputs_sum_to_the_difference(method):
    x = data()
    attribution = explain(made(), x, method=method, **OPTIONS)
    close(total(attribution), explained(x) - explained(zeros(x)), 1e-9)
    close(attribution.score, explained(x))
    close(attribution.reference_score, explained(zeros(x)))
    assert float(attribution.gap.abs().max()) < 1e-9


@pytest.mark.parametrize("method", ["deeplift", "integrated-gradients", "occlusion"])
def test_a_reference_by_name(method):
    x = data()
    reference = {"past": x["past"].mean((0, 1)), "kind": torch.tensor(2), "static": 0.5}
    attribution = explain(made(), x, method=method, reference=reference, **OPTIONS)
    full = {
        "past": x["past"].mean((0, 1)).expand_as(x["past"]),
        "kind": torch.full_like(x["kind"], 2),
        "future": torch.zeros_like(x["future"]),
        "static": torch.full_like(x["static"], 0.5),
    }
    close(attribution.reference_score, explained(full))
    for name, values in full.items():
        close(attribution.reference[name], values.double())
    if method != "occlusion":
        close(total(attribution), explained(x) - explained(full), 1e-9)


def test_one_number_as_reference_is_that_of_all_numbers():
    x = data()
    attribution = explain(made(), x, reference=0.25, **OPTIONS)
    full = {name: torch.full_like(value, 0.25 if value.is_floating_point() else 0) for name, value in x.items()}
    close(attribution.reference_score, explained(full))


def gradients_by_hand(x):
    """Gradients with respect to the numbers and the embeddings of the categories."""
    model = made()
    numbers = {name: x[name].clone().requires_grad_() for name in ("past", "future", "static")}
    embedded = model.kinds(x["kind"]).detach().requires_grad_()
    _, state = model.encoder(torch.cat([numbers["past"], embedded], 2))
    states, _ = model.decoder(numbers["future"], state)
    scores = model.head(states * torch.tanh(model.static(numbers["static"]))[:, None])[:, 2, 1]
    found = torch.autograd.grad(scores.sum(), [*numbers.values(), embedded])
    return dict(zip([*numbers, "kind"], found, strict=True)), model


def test_categories_have_the_gradients_of_their_embeddings():
    x = data()
    gradients, model = gradients_by_hand(x)
    product = explain(made(), x, method="gradient-x-input", **OPTIONS)
    size = explain(made(), x, method="saliency", **OPTIONS)
    for name in ("past", "future", "static"):
        close(product[name], gradients[name] * x[name])
        close(size[name], gradients[name].abs())
    close(product["kind"], (gradients["kind"] * model.kinds(x["kind"]).detach()).sum(2))
    close(size["kind"], gradients["kind"].norm(dim=2))


def test_integrated_gradients_of_categories_run_along_their_embeddings():
    x = data()
    attribution = explain(made(), x, method="integrated-gradients:tolerance=1e-10", **OPTIONS)
    model, reference = made(), zeros(x)
    nodes, weights = np.polynomial.legendre.leggauss(40)
    expected = {name: torch.zeros(value.shape, dtype=torch.float64) for name, value in x.items()}
    first, last = model.kinds(reference["kind"]).detach(), model.kinds(x["kind"]).detach()
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        embedded = (first + node * (last - first)).requires_grad_()
        numbers = {name: (x[name] * node).requires_grad_() for name in ("past", "future", "static")}
        _, state = model.encoder(torch.cat([numbers["past"], embedded], 2))
        states, _ = model.decoder(numbers["future"], state)
        scores = model.head(states * torch.tanh(model.static(numbers["static"]))[:, None])[:, 2, 1]
        found = torch.autograd.grad(scores.sum(), [*numbers.values(), embedded])
        for name, gradient in zip(numbers, found, strict=False):
            expected[name] += weight * gradient * x[name]
        expected["kind"] += weight * (found[-1] * (last - first)).sum(2)
    for name, values in attribution.items():
        close(values, expected[name], 1e-9)


def test_comprehensiveness_removes_the_first_features_of_all_inputs():
    x = data()
    attribution = explain(made(), x, **OPTIONS)
    table = score(Comprehensiveness(fractions=(0.1, 0.5)), made(), x, attribution, method="deeplift", **OPTIONS)
    whole, sign = explained(x), torch.where(explained(x) < explained(zeros(x)), -1.0, 1.0)
    flat = {name: values.flatten(1) for name, values in attribution.items()}
    for row in range(ROWS):
        every = [(float(sign[row] * values[row, place]), name, place)
                 for name, values in flat.items() for place in range(values.shape[1])]  # fmt: skip
        drops = []
        for fraction in (0.1, 0.5):
            changed = {name: value.clone() for name, value in x.items()}
            for _, name, place in sorted(every, reverse=True)[: int(np.ceil(fraction * len(every) - 1e-9))]:
                changed[name].view(ROWS, -1)[row, place] = 0
            drops.append(float(sign[row] * (whole[row] - explained(changed)[row])))
        assert abs(table.iloc[row, 0] - np.mean(drops)) < 1e-12


# ---- categories -----------------------------------------------------------------------------------------------------


class Shared(nn.Module):
    """One table for the past and the future, read in one call; and a static category of another table, repeated."""

    def __init__(self, *, twice=False, mask=False, offset=False, one_hot=False):
        super().__init__()
        self.table, self.region = nn.Embedding(9, 2), nn.Embedding(4, 3)
        self.other = nn.Embedding(9, 2)
        self.rnn = nn.GRU(2 + 3, 4, batch_first=True)
        self.head = nn.Linear(4, 2)
        self.twice, self.mask, self.offset, self.one_hot = twice, mask, offset, one_hot

    def forward(self, past, future, region):
        ids = torch.cat([past, future], 1) + (2 if self.offset else 0)
        read = F.one_hot(ids, 9).to(self.head.weight)[..., :2] if self.one_hot else self.table(ids)
        read = read + self.other(ids) if self.twice else read
        read = read * (ids != 0)[..., None] if self.mask else read
        static = self.region(region[:, 0])[:, None].expand(-1, ids.shape[1], -1)
        return self.head(self.rnn(torch.cat([read, static], 2))[0][:, -1])


def shared_data(largest=7):
    rng = torch.Generator().manual_seed(1)
    return {
        "past": torch.randint(1, largest, (4, 5), generator=rng),
        "future": torch.randint(1, largest, (4, 2), generator=rng),
        "region": torch.randint(1, 4, (4, 1), generator=rng),
    }


def shared(**options):
    torch.manual_seed(2)
    return Shared(**options).double().eval()


@pytest.mark.parametrize("options", [{}, {"twice": True}], ids=["once", "by two tables"])
@pytest.mark.parametrize("method", ["deeplift", "integrated-gradients"])
def test_categories_are_seen_through_all_their_embeddings(options, method):
    x, model = shared_data(), shared(**options)
    attribution = explain(model, x, method=method, target=0)
    with torch.no_grad():
        difference = (model(**x) - model(**zeros(x)))[:, 0]
    close(total(attribution), difference, 1e-9)
    assert {name: values.shape for name, values in attribution.items()} == {name: v.shape for name, v in x.items()}


@pytest.mark.parametrize("options", [{"one_hot": True}, {"mask": True}, {"offset": True}])
def test_categories_that_are_read_otherwise_are_refused_by_gradients(options):
    x = shared_data()
    with pytest.raises(UnsupportedModelError, match="categories"):
        explain(shared(**options), x, method="integrated-gradients", target=0)
    attribution = explain(shared(**options), x, method="occlusion", target=0)
    assert torch.isfinite(attribution.together.values).all()


def test_categories_are_never_interpolated():
    seen = set()
    model = shared()
    model.table.register_forward_pre_hook(lambda _, arguments: seen.update(arguments[0].flatten().tolist()))
    x = shared_data()
    explain(model, x, method="lime:samples=50", target=0)
    explain(model, x, method="kernel-shap:samples=50", target=0)
    assert seen <= {0, *torch.cat([x["past"], x["future"]], 1).flatten().tolist()}


# ---- lengths --------------------------------------------------------------------------------------------------------


class Packed(nn.Module):
    """A model that reads padding of the future only, and the past up to its lengths."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.LSTM(2, 4, batch_first=True)
        self.head = nn.Linear(4 + 1, 2)

    def forward(self, x):
        packed = nn.utils.rnn.pack_padded_sequence(
            x["past_values"], x["past_lengths"], batch_first=True, enforce_sorted=False
        )
        return self.head(torch.cat([self.encoder(packed)[1][0][0], x["future"].mean(1)], 1))


def packed_data():
    rng = torch.Generator().manual_seed(4)
    return {
        "past_values": torch.randn(4, 6, 2, generator=rng, dtype=torch.float64),
        "past_lengths": torch.tensor([6, 2, 4, 1]),
        "future": torch.randn(4, 3, 1, generator=rng, dtype=torch.float64),
        "mask": torch.ones(4, 3, dtype=torch.bool),
    }


@pytest.mark.parametrize("method", ["deeplift", "occlusion", "integrated-gradients", "lime:samples=80", "random"])
def test_lengths_in_the_container_bound_the_features(method):
    torch.manual_seed(0)
    model, x = Packed().double().eval(), packed_data()
    attribution = explain(model, x, method=method, target=1)
    assert list(attribution) == ["past_values", "future"]
    for row, length in enumerate(x["past_lengths"].tolist()):
        assert (attribution["past_values"][row, length:] == 0).all()
        assert (attribution["past_values"][row, :length] != 0).any()
    if method in {"deeplift", "integrated-gradients"}:
        reference = x | {"past_values": x["past_values"] * 0, "future": x["future"] * 0}
        with torch.no_grad():
            close(total(attribution), (model(x) - model(reference))[:, 1], 1e-9)


def test_lengths_by_name_keep_the_given_padding():
    seen = []

    class Reads(nn.Module):
        def forward(self, first, second):
            seen.append(second[:, -1].clone())
            return torch.stack([first.sum((1, 2)), second.prod(1).sum(1)], 1)

    x = {"first": torch.rand(3, 4, 1).double(), "second": 1 + torch.rand(3, 5, 2).double()}
    attribution = explain(
        Reads(), x, {"second": torch.tensor([3, 4, 2])}, method="occlusion", outputs="values", target=1
    )
    last = {tuple(row.tolist()) for row in x["second"][:, -1]}
    assert {tuple(row.tolist()) for rows in seen for row in rows} <= last
    expected = x["second"].prod(1).sum(1)
    values = torch.zeros(3, 5, 2, dtype=torch.float64)
    for row, length in enumerate((3, 4, 2)):
        for step, column in np.ndindex(length, 2):
            changed = x["second"][row].clone()
            changed[step, column] = 0
            values[row, step, column] = expected[row] - changed.prod(0).sum()
    close(attribution["second"], values)
    assert (attribution["first"] == 0).all()


def test_plain_lengths_go_to_the_inputs_of_as_many_steps():
    class Summed(nn.Module):
        def forward(self, a, b, static, lengths):
            valid = torch.arange(a.shape[1]) < lengths[:, None]
            return torch.stack([((a + b)[..., 0] * valid).sum(1), static.sum(1)], 1)

    x = {"a": torch.rand(3, 4, 1).double(), "b": torch.rand(3, 4, 1).double(), "static": torch.rand(3, 2).double()}
    attribution = explain(Summed(), x, torch.tensor([4, 2, 1]), method="occlusion", outputs="values", target=0)
    for name in ("a", "b"):
        valid = torch.arange(4) < torch.tensor([4, 2, 1])[:, None]
        close(attribution[name], x[name] * valid[..., None])


def test_names_that_adapters_have_too():
    class Odd(nn.Module):
        def forward(self, x):
            valid = torch.arange(x["inputs"].shape[1]) < x["lengths"][:, None]
            return torch.stack([(x["inputs"][..., 0] * valid).sum(1), x["method"].sum(1)], 1)

    x = {
        "inputs": torch.rand(3, 4, 1).double(),
        "method": torch.rand(3, 2).double(),
        "lengths": torch.tensor([4, 2, 1]),
    }
    attribution = explain(Odd(), x, method="deeplift", outputs="values")
    close(
        attribution["inputs"].sum((1, 2)),
        torch.stack([x["inputs"][row, :n, 0].sum() for row, n in enumerate([4, 2, 1])]),
    )


# ---- what is held fixed ---------------------------------------------------------------------------------------------


def test_context_is_held_fixed_and_reaches_the_container():
    x = data()
    future = x.pop("future")
    attribution = explain(made(), x, context={"future": future}, **OPTIONS)
    assert list(attribution) == ["past", "kind", "static"]
    whole = data()
    reference = zeros(whole) | {"future": future}
    close(total(attribution), explained(whole) - explained(reference), 1e-9)


def test_context_for_keywords():
    x = data()
    static = x.pop("static")
    attribution = explain(made(ByKeywords), x, context={"static": static}, **OPTIONS)
    expected = explain(made(), x, context={"static": static}, **OPTIONS)
    for name, values in expected.items():
        assert torch.equal(attribution[name], values)


# ---- tasks and boards -----------------------------------------------------------------------------------------------


def forecast_task(**options):
    truth = {"past": torch.rand(ROWS, PAST, 2).double(), "static": torch.rand(ROWS, 3).double()}
    return task_from_model(
        made(), data(), name="forecast", targets=torch.rand(ROWS, 2).double(), background=data(5, 9),
        truth=Truth(truth, "planted", "the second output"),
        names=Names(features={"past": ("price", "sales")}), **{**OPTIONS, **options},
    )  # fmt: skip


def test_a_run_scores_several_inputs_and_is_reproduced(tmp_path):
    metrics = ["comprehensiveness", "completeness-gap", "auroc", "max-sensitivity:instances=2,samples=2"]
    methods = ["deeplift", "occlusion", "random", "oracle", "permutation-importance", "attention"]
    run = Benchmark(tasks=[forecast_task()], methods=methods, metrics=metrics).run(out=tmp_path / "a", jobs=1)
    frame = run.records().set_index(["method", "metric"])
    assert frame.loc[("deeplift", "completeness-gap"), "mean"] < 1e-9
    assert frame.loc[("oracle", "auroc"), "mean"] == 1
    assert frame.loc[("attention", "auroc"), "status"] == "not applicable"
    again = Benchmark(tasks=[forecast_task()], methods=methods, metrics=metrics).run(out=tmp_path / "a", jobs=1)
    assert again.complete
    board = run.leaderboard()
    agreement = board.tables[0]
    assert agreement is not None
    for ending in ("md", "html", "csv", "tex", "json"):
        assert (tmp_path / "a" / f"leaderboard.{ending}").stat().st_size > 1000
    assert "past.price" in (tmp_path / "a" / "leaderboard.html").read_text("utf-8")


def test_every_metric_scores_or_refuses_several_inputs():
    truth = {"past": torch.rand(ROWS, PAST, 2).double()}
    attribution = explain(made(), data(), **OPTIONS)
    scored = 0
    for metric in names("metric"):
        try:
            table = score(
                metric, made(), data(), attribution, method="deeplift", targets=torch.rand(ROWS, 2).double(),
                truth=Truth(truth, "planted", "an output"), background=data(5, 9), **OPTIONS,
            )  # fmt: skip
        except UsageError:
            continue
        scored += 1
        assert table.shape == (ROWS, 1)
    assert scored > 30


@pytest.mark.parametrize("method", names("method"))
def test_every_method_explains_or_says_why_not(method):
    try:
        attribution = explain(
            made(), data(), method=method, background=data(5, 9), targets=torch.rand(ROWS, 2).double(), **OPTIONS
        )
    except (UsageError, UnsupportedModelError) as error:
        reason = "LRP cannot distribute" if method == "lrp" else f"'{method}' cannot explain Forecaster: "
        assert str(error).startswith(reason)  # noqa: PT017  # whatever applies
        return
    for name, values in attribution.items():
        assert torch.isfinite(values).all(), name


def test_inspect_names_the_inputs():
    text = str(inspect(made(), data(), **OPTIONS))
    assert (
        "3 sequences of 4 inputs: past 2 values in each of 6 steps; kind 1 id in each of 6 steps; future 2 values"
        in text
    )
    assert "called as Forecaster.forward(x)" in text


def test_attributions_are_scored_by_name():
    attribution = explain(made(), data(), **OPTIONS)
    options = {"method": "deeplift", **OPTIONS}
    one = score("comprehensiveness", made(), data(), attribution, **options)
    two = score("comprehensiveness", made(), data(), attribution.values, signed=True, **options)
    assert one.equals(two)


# ---- bad input ------------------------------------------------------------------------------------------------------

BAD = {
    "another number of rows": (lambda x: x | {"static": x["static"][:2]}, {}, "'static' has shape .* for 3 sequences"),
    "nothing to explain": (lambda x: {"mask": x["past"] > 0}, {}, "None of the inputs is an array"),
    "not finite": (lambda x: x | {"future": x["future"] / 0}, {}, "a value of 'future' that is not finite"),
    "a reference of no input": (dict, {"reference": {"pasta": 0.0}}, "'pasta', and no such input, did you mean 'past'"),
    "a reference that does not fit": (dict, {"reference": {"past": torch.zeros(7)}}, "reference of 'past' has shape"),
    "half a category": (dict, {"reference": {"kind": 0.5}}, "'kind' is .* its values are ids"),
    "lengths of no input": (dict, {"lengths": {"pasta": torch.ones(3)}}, "lengths of 'pasta'"),
    "lengths beyond the steps": (dict, {"lengths": {"past": torch.tensor([7, 1, 1])}}, "go from 1 to 7, and it has 6"),
    "lengths that are none": (dict, {"lengths": {"past": torch.rand(3)}}, "lengths of 'past' are torch.float32"),
    "half a background": (dict, {"background": {"past": torch.rand(2, 6, 2)}}, "background has no input 'kind'"),
    "time first": (dict, {"batch_first": False}, "batch_first=False is for one input"),
    "left padding": (dict, {"padding_side": "left"}, "padding_side='left' is for one input"),
    "names of no input": (dict, {"names": Names(features={"x": ("a",)})}, "names of features for 'x'"),
    "too few names": (dict, {"names": Names(features={"past": ("a",)})}, "1 names of features of 'past', and it has 2"),
    "names of one input": (dict, {"names": Names(features=("a", "b"))}, "names of their features by input"),
    "a truth of no input": (dict, {"truth": Truth({"x": torch.zeros(3, 6, 2)}, "planted", "o")}, "values for 'x'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name):
    change, options, message = BAD[name]
    with pytest.raises(DataError, match=message):
        explain(made(), change(data()), **{**OPTIONS, **options})


def test_context_without_a_place_is_refused():
    with pytest.raises(DataError, match="no parameter 'extra' for the context"):
        explain(made(ByKeywords), data(), context={"extra": torch.zeros(3)}, **OPTIONS)


def test_one_input_of_a_container_is_told_to_come_with_the_others():
    x = data()
    with pytest.raises(DataError, match="it takes x, or give all inputs as the one container that 'x' takes"):
        explain(made(), x["past"], context={"kind": x["kind"]}, **OPTIONS)


def test_a_layout_needs_different_names():
    part = part_of("x", (3, 2), categories=False)
    with pytest.raises(DataError, match="each by a name of its own"):
        InputLayout((part, part))


def test_a_layout_packs_and_unpacks():
    layout = InputLayout((part_of("a", (3, 2), categories=False), part_of("b", (4,), categories=True)))
    values = {"a": torch.rand(2, 3, 2), "b": torch.arange(8).view(2, 4)}
    together = layout.packed(values, torch.float32)
    assert together.shape == (2, 4, 4)
    assert int(layout.filled.sum()) == 10
    assert (together[:, ~layout.filled] == 0).all()
    for name, value in layout.unpacked(together).items():
        assert torch.equal(value, values[name].float())


# ---- what a second reader found -------------------------------------------------------------------------------------


@dataclasses.dataclass
class Scaled:
    past: torch.Tensor
    kind: torch.Tensor
    future: torch.Tensor
    static: torch.Tensor
    scale: dataclasses.InitVar[float] = 1.0

    def __post_init__(self, scale):
        self.factor = scale


@dataclasses.dataclass
class Unset:
    past: torch.Tensor
    kind: torch.Tensor
    future: torch.Tensor
    static: torch.Tensor
    factor: float = dataclasses.field(init=False, default=1.0)


@dataclasses.dataclass(frozen=True, slots=True)
class Derived:
    past: torch.Tensor
    kind: torch.Tensor
    future: torch.Tensor
    static: torch.Tensor
    note: str = "none"
    twice: torch.Tensor = dataclasses.field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "twice", 2 * self.past)


class FromDerived(Forecaster):
    def forward(self, x):
        assert x.note == "some"
        return self.scores(x.twice / 2, x.kind, x.future, x.static)


def test_fields_that_follow_from_others_follow_them_in_every_variant():
    attribution = explain(made(FromDerived), Derived(**data(), note="some"), method="occlusion", **OPTIONS)
    expected = explain(made(), data(), method="occlusion", **OPTIONS)
    for name, values in expected.items():
        close(attribution[name], values)


def test_a_dataclass_that_loses_a_value_when_it_is_made_anew_is_refused():
    unset = Unset(**data())
    unset.factor = 2.0
    for inputs in (Scaled(**data(), scale=2.0), unset):
        with pytest.raises(DataError, match=r"another 'factor' when it is made anew from its fields"):
            explain(made(), inputs, **OPTIONS)
    explain(made(), Scaled(**data()), **OPTIONS)


def test_names_that_are_not_distinct_are_refused():
    x = data()
    with pytest.raises(DataError, match=r"There are 2 inputs of the name 'a\.b'"):
        explain(made(), x | {"a.b": x["past"], "a": {"b": x["past"]}}, **OPTIONS)
    with pytest.raises(DataError, match=r"1, '1' are written alike"):
        explain(made(), x | {1: x["past"], "1": x["past"]}, **OPTIONS)


@pytest.mark.parametrize("method", ["occlusion", "lime", "deeplift", "saliency"])
def test_values_have_the_shapes_of_inputs_of_one_column(method):
    class Narrow(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(1, 3, batch_first=True), nn.Linear(3, 2)

        def forward(self, x):
            return self.head(self.rnn(x["past"])[0][:, -1] + x["age"][:, None])

    inputs = {"past": data()["past"][..., :1], "age": torch.ones(ROWS, dtype=torch.float64)}
    attribution = explain(Narrow().double(), inputs, method=method, outputs="values")
    assert {name: values.shape for name, values in attribution.items()} == {
        name: values.shape for name, values in inputs.items()
    }


@pytest.mark.parametrize("offset", [0, 1])
def test_a_category_that_no_embedding_reads(offset):
    """It contributes nothing where it is not read; where it is read as a number, gradients are refused."""

    class Ignoring(Forecaster):
        def forward(self, x):
            return super().forward(x) + offset * x["count"].sum(1)[:, None, None]

    inputs = data() | {"count": torch.full((ROWS, PAST), 7, dtype=torch.int32)}
    model = made(Ignoring)
    if offset:
        with pytest.raises(UnsupportedModelError, match="give whole numbers that are no ids as floats"):
            explain(model, inputs, **OPTIONS)
    else:
        attribution = explain(model, inputs, **OPTIONS)
        assert not attribution["count"].any()
        close(attribution["past"], explain(made(), data(), **OPTIONS)["past"])


def test_unsigned_ids_and_a_series_of_lengths():
    x = data()
    expected = explain(made(), x, torch.tensor([6, 2, 4]), **OPTIONS)
    for kind in (np.uint16, np.uint8, np.uint32):
        given = x | {"kind": x["kind"].numpy().astype(kind)}
        lengths = pd.Series([6, 2, 4])
        close(explain(made(), given, lengths, **OPTIONS).together.values, expected.together.values)


def test_a_table_is_one_input():
    with pytest.raises(DataError, match="without an axis of features"):
        explain(made(), pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 3.0]}))


def test_context_does_not_replace_an_input():
    x = data()
    nested = {"encoder": {"past": x["past"], "kind": x["kind"]}, "future": x["future"], "static": x["static"]}
    for inputs, name in ((x, "past"), (x, "past.more"), (nested, "encoder"), (x | {"lengths": [6, 6, 6]}, "lengths")):
        with pytest.raises(DataError, match=f"The context '{name}' has the name of an input"):
            explain(made(), inputs, context={name: torch.zeros(ROWS, 2)}, **OPTIONS)


def test_a_background_of_floats_for_ids_is_refused():
    with pytest.raises(DataError, match="The background of 'kind' holds floats, and the input ids"):
        explain(made(), data(), background=data(seed=4) | {"kind": torch.full((ROWS, PAST), 1.5)}, **OPTIONS)


def test_messages_name_the_users_model():
    with pytest.raises(DataError, match=r"^Forecaster returns .* no output step 9"):
        explain(made(), data(), outputs="values", step=9)


def test_a_truth_of_one_number_is_refused():
    with pytest.raises(DataError, match=r"The values for 'past' have shape \[\]"):
        task_from_model(made(), data(), name="t", truth=Truth({"past": 1.0}, "planted", "the output"), **OPTIONS)


class Columns(nn.Module):
    """Three categories, each with a table of its own, and one number, which may be read as an id or rounded."""

    def __init__(self, *, coded=False):
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(5, 2), nn.Embedding(7, 3), nn.Embedding(4, 1)])
        self.codes = nn.Embedding(5, 2)
        self.rnn, self.head = nn.GRU(6 + 2 + 2, 4, batch_first=True), nn.Linear(4, 2)
        self.coded = coded

    def forward(self, x):
        embedded = [table(x["kinds"][..., column]) for column, table in enumerate(self.tables)]
        code = x["code"][..., None]
        read = self.codes(x["code"].long()) if self.coded else torch.cat([code, code], 2)
        return self.head(self.rnn(torch.cat([*embedded, read, x["past"]], 2))[0][:, -1])


def columns_data():
    rng = torch.Generator().manual_seed(2)
    kinds = [torch.randint(1, size, (ROWS, PAST), generator=rng) for size in (5, 7, 4)]
    code = torch.randint(1, 5, (ROWS, PAST), generator=rng).double()
    return {"kinds": torch.stack(kinds, 2), "past": data()["past"], "code": code}


@pytest.mark.parametrize("method", ["gradient-x-input", "integrated-gradients", "deeplift", "saliency"])
def test_more_categories_than_numbers_of_a_step(method):
    attribution = explain(made(Columns), columns_data(), method=method, outputs="values", target=1)
    assert bool(attribution["kinds"].flatten(0, 1).any(0).all())
    if attribution.complete:
        assert float(attribution.gap.abs().max()) < 1e-3


def test_gradients_refuse_numbers_that_are_read_as_ids_beside_other_inputs():
    model = Columns(coded=True).double().eval()
    with pytest.raises(UsageError, match="reads feature code as ids of categories"):
        explain(model, columns_data(), method="gradient-x-input", outputs="values")
    explain(model, columns_data(), method="occlusion", outputs="values")


def test_embeddings_of_packed_ids_are_refused():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.rnn, self.head = nn.Embedding(5, 3), nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x):
            packed = pack_padded_sequence(x["kind"], x["lengths"], batch_first=True, enforce_sorted=False)
            return self.head(self.rnn(packed._replace(data=self.table(packed.data)))[1][-1] + x["static"][:, :1])

    inputs = {"kind": data()["kind"], "static": data()["static"], "lengths": torch.tensor([2, 6, 4])}
    with pytest.raises(UnsupportedModelError, match="before it packs or cuts them"):
        explain(made(Packed), inputs, outputs="values")
    full = explain(made(Packed), inputs | {"lengths": torch.tensor([6, 6, 6])}, outputs="values")
    assert float(full.gap.abs().max()) < 1e-12


class Uneven(nn.Module):
    """Inputs of different widths, so that the layout has holes; or the same features in one static input."""

    def __init__(self, *, one=False):
        super().__init__()
        self.past, self.future = nn.GRU(2, 4, batch_first=True), nn.GRU(3, 4, batch_first=True)
        self.static, self.head = nn.Linear(5, 4), nn.Linear(4, 2)
        self.one = one

    def forward(self, x):
        if self.one:
            past, future, static = x["all"].split([8, 9, 5], 1)
            past, future = past.view(-1, 4, 2), future.view(-1, 3, 3)
        else:
            past, future, static = x["past"], x["future"], x["static"]
        gate = torch.tanh(self.static(static))
        return self.head(self.past(past)[0][:, -1] * gate + self.future(future)[0].mean(1))


@pytest.mark.parametrize("method", ["occlusion", "gradient-x-input"])
def test_metrics_are_those_of_the_same_features_without_holes(method):
    shapes = {"past": (4, 2), "future": (3, 3), "static": (5,)}
    rng = torch.Generator().manual_seed(5)
    inputs = {name: torch.randn(3, *shape, generator=rng, dtype=torch.float64) for name, shape in shapes.items()}
    several, one = (made(lambda one=one: Uneven(one=one)) for one in (False, True))
    flat = {"all": torch.cat([values.flatten(1) for values in inputs.values()], 1)}
    options = {"outputs": "values", "target": 1}
    first, second = (explain(*of, method=method, **options) for of in ((several, inputs), (one, flat)))
    close(torch.cat([values.flatten(1) for values in first.values.values()], 1), second["all"])
    # of some features only, so that the others matter
    part = {"past": first["past"]}, {"all": second["all"].clone()}
    part[1]["all"][:, 8:] = 0
    for metric in (
        "faithfulness-estimate", "faithfulness-correlation", "sensitivity-n", "infidelity", "monotonicity-correlation",
        "monotonicity", "comprehensiveness", "sufficiency", "deletion-auc",
    ):  # fmt: skip
        for own, other in ((first, second), part):
            expected = score(metric, one, flat, other, **options)
            found = score(metric, several, inputs, own, **options)
            np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), rtol=0, atol=1e-9)


def test_rows_of_a_picture_are_named_by_the_steps_of_their_input():
    layout = task_from_model(made(), data(), name="t", **OPTIONS).subject(0).batch.layout
    assert ShownInputs.of(layout).step_names == tuple("0123450123")
    statics = InputLayout((part_of("a", (3,), categories=False), part_of("b", (), categories=False)))
    assert ShownInputs.of(statics).step_names == ("0",)


@pytest.mark.parametrize("name", ["lengths", "seq_lengths", "past_lengths", "pas_lengths"])
def test_lengths_belong_to_inputs_by_whole_words(name):
    class Padded(Forecaster):
        def forward(self, x):
            return super().forward(x) + 0 * x[name][:, None, None]

    lengths = torch.tensor([6, 2, 4])
    attribution = explain(made(Padded), data() | {name: lengths}, **OPTIONS)
    beyond = attribution["past"][1, 2:]
    assert bool(beyond.any()) == (name == "pas_lengths")
    assert bool(attribution["future"].flatten(1).any(1).all())


@pytest.mark.parametrize("rows", [2, 3])
def test_attention_with_the_steps_first_is_refused(rows):
    class StepsFirst(Forecaster):
        def forward(self, x):
            weights = torch.softmax(x["future"].sum(2), 1)
            return super().forward(x)[:, 1], weights.t()

    inputs = data(rows) | {"future": data(rows)["future"][:, :2]}
    with pytest.raises(DataError, match="no attention over the steps"):
        explain(made(StepsFirst), inputs, outputs="values", part=0, attention=1, method="attention")
