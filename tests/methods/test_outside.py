"""Models that are none of ours: what they return, what else they are given, and what they are made with."""

import re
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

import xrnnbench
from xrnnbench.errors import DataError, UnsupportedModelError, UsageError
from xrnnbench.plugins import build, find, names
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.engine.adapters import AdaptedModel
from xrnnbench.tasks.engine.embedding import find_embedding_call
from xrnnbench.tasks.engine.signature import OUTPUT_STEP
from xrnnbench.tasks.models.networks import EncoderDecoder
from xrnnbench.tasks.subject import Subject

ROWS, STEPS, FEATURES = 5, 6, 3
LENGTHS = torch.tensor([6, 1, 4, 5, 2])
VALID = torch.arange(STEPS) < LENGTHS[:, None]
# small budgets: here it counts that a method works at all; how well is tested elsewhere
QUICK = {
    "dynamask": "dynamask:iterations=3", "extremal-mask": "extremal-mask:iterations=3", "lime": "lime:samples=50",
    "integrated-gradients": "integrated-gradients:steps=4",
}  # fmt: skip
METHODS = [
    "deeplift",
    "integrated-gradients:steps=4",
    "gradient-x-input",
    "occlusion",
    "permutation",
    "lime:samples=50",
]


def cells(seed=0):
    return torch.randn(ROWS, STEPS, FEATURES, generator=torch.Generator().manual_seed(seed)) * VALID[..., None]


def tokens(seed=0):
    return torch.randint(2, 9, (ROWS, STEPS), generator=torch.Generator().manual_seed(seed)) * VALID


class Plain(nn.Module):
    """The model whose answers the others hide: a GRU's last state, and a head."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.head = nn.GRU(FEATURES, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x, lengths):
        states = self.layer(x)[0]
        return self.head(states[torch.arange(len(x)), lengths - 1])


class Tuple(Plain):
    def forward(self, x, lengths):
        return super().forward(x, lengths), x.mean(2)


class Mapping(Plain):
    def forward(self, x, lengths):
        return {"hidden": x, "logits": super().forward(x, lengths)}


class Output(NamedTuple):
    logits: torch.Tensor
    hidden: torch.Tensor


class Named(Plain):
    def forward(self, x, lengths):
        return Output(super().forward(x, lengths), x)


class TimeFirst(Plain):
    def forward(self, x, lengths):
        return super().forward(x.transpose(0, 1), lengths)


class EveryStep(Plain):
    def forward(self, x):
        return self.head(self.layer(x)[0])


class EveryStepTimeFirst(EveryStep):
    def forward(self, x):
        return super().forward(x.transpose(0, 1)).transpose(0, 1)


HIDDEN = {
    "tuple": (Tuple, {"part": 0}),
    "mapping": (Mapping, {"part": "logits"}),
    "named tuple": (Named, {"part": "logits"}),
    "time first": (TimeFirst, {"batch_first": False}),
    "every step": (EveryStep, {"step": LENGTHS - 1}),
    "every step, time first": (EveryStepTimeFirst, {"step": LENGTHS - 1, "batch_first": False}),
}


@pytest.mark.filterwarnings("ignore:EveryStepTimeFirst does not run on the inputs as")
@pytest.mark.filterwarnings("ignore:Plain asks for lengths, none are given")
@pytest.mark.parametrize("kind", HIDDEN)
@pytest.mark.parametrize("method", METHODS)
def test_a_model_in_another_dress_is_explained_alike(kind, method):
    make, options = HIDDEN[kind]
    # full-length, or the models that are not told lengths would be asked about padding
    lengths = LENGTHS if "step" not in options else None
    options = options | ({"step": STEPS - 1} if "step" in options else {})
    given = {"inputs": cells(), "lengths": lengths, "method": method, "background": cells(1)}
    plain = Plain()
    expected = xrnnbench.explain(plain, **given).values
    assert torch.allclose(xrnnbench.explain(make(), **given, **options).values, expected, atol=1e-6)


@pytest.mark.parametrize("kind", HIDDEN)
def test_a_model_in_another_dress_is_a_task(kind):
    make, options = HIDDEN[kind]
    task = xrnnbench.Task.from_model(make(), cells(), LENGTHS, torch.zeros(ROWS, dtype=torch.int64), **options)
    assert task.subject(0).batch_outputs.shape == (ROWS, 2)
    assert task.subject(0).reference_outputs.shape == (ROWS, 2)
    other = xrnnbench.Task.from_model(Plain(), cells(), LENGTHS, torch.zeros(ROWS, dtype=torch.int64))
    assert task.identity() != other.identity()


@pytest.mark.parametrize(
    ("make", "options", "said"),
    [
        (Tuple, {}, "returns a tuple of (float32[5, 2], float32[5, 6]), not a tensor of scores: say which part"),
        (Mapping, {}, "returns a dict of 'hidden', 'logits', not a tensor of scores: say which part"),
        (Mapping, {"part": "scores"}, "which has no part 'scores'"),
        (Tuple, {"part": 2}, "which has no part 2"),
        (Named, {"part": 1}, "scores of several output steps: say which one"),
        (Tuple, {"part": True}, "part=True names no part"),
        (EveryStep, {}, "scores of several output steps: say which one is explained, such as step=0"),
        (EveryStep, {"step": 6}, "has no output step 6: steps count from 0"),
        (EveryStep, {"step": -1}, "not a whole number from 0"),
        (EveryStep, {"step": 0.5}, "not a whole number from 0"),
        (EveryStep, {"step": [1, 2]}, "2 output steps for 5 sequences"),
        (Plain, {"step": 0}, "an output step was asked for: leave step out"),
        (Plain, {"context": {"static": cells()}}, "has no parameter 'static' for the context of that name: it takes x"),
        (Plain, {"context": {"x": cells()}}, "has no parameter"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_in_one_sentence(make, options, said):
    lengths = None if make is EveryStep else LENGTHS
    with pytest.raises((DataError, UsageError)) as caught:
        xrnnbench.explain(make(), cells(), lengths, **options)
    if said != "has no parameter":
        assert said in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- two inputs -----------------------------------------------------------------------------------------------------


class TwoInputs(nn.Module):
    """A patient's course and what does not change: the second is context."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.head = nn.LSTM(FEATURES, 5, batch_first=True), nn.Linear(5 + 2, 2)

    def forward(self, x, lengths, static):
        states = self.layer(x)[0]
        last = states[torch.arange(len(x)), lengths - 1]
        return self.head(torch.cat([last * (1 + static.sum(1, keepdim=True)), static], 1))


class Fixed(nn.Module):
    """The same for one row of context."""

    def __init__(self, static):
        super().__init__()
        self.inner, self.static = TwoInputs(), static

    def forward(self, x, lengths):
        return self.inner(x, lengths, self.static.expand(len(x), -1))


@pytest.mark.parametrize("method", [name for name in names("method") if "targets" not in find("method", name).needs])
def test_context_is_held_as_it_is(method):
    static = torch.randn(ROWS, 2, generator=torch.Generator().manual_seed(3))
    method = build("method", QUICK.get(method, method))
    # twice the same sequence: only their contexts differ, and nobody may take one's answer for the other's
    inputs = cells()
    inputs[3], lengths = inputs[0], LENGTHS.clone()
    lengths[3] = lengths[0]
    subject = Subject(
        TwoInputs(), Batch(inputs, lengths, torch.zeros(ROWS, dtype=torch.int64), context={"static": static}),
        torch.zeros_like(inputs), background=Batch(cells(1), LENGTHS, torch.zeros(ROWS, dtype=torch.int64)),
    )  # fmt: skip
    if method.applicable(subject):
        pytest.skip(f"not applicable: {method.applicable(subject)}")
    found = method.explain(subject, seed=1).values
    if method.local and not method.stochastic:
        for row in (0, 3):
            own = slice(row, row + 1)
            alone = Subject(
                Fixed(static[row]), subject.batch.select(own).without_context(), torch.zeros_like(inputs[own]),
                target=subject.target[own], background=subject.background,
            )  # fmt: skip
            assert torch.allclose(found[own], method.explain(alone, seed=1).values, atol=1e-5)
    assert torch.isfinite(found).all()


def test_the_explained_one_of_two_sequences_is_the_one_that_is_no_context():
    class Pair(nn.Module):
        def forward(self, premise, hypothesis):
            return torch.cat([premise.sum((1, 2))[:, None], (hypothesis * premise).sum((1, 2))[:, None]], 1)

    premise, hypothesis = cells(), cells(1)
    found = xrnnbench.explain(
        Pair(), hypothesis, context={"premise": premise.numpy()}, target=1, method="gradient-x-input"
    )
    assert torch.allclose(found.values, premise * hypothesis)
    with pytest.raises(DataError, match=r"needs 'hypothesis' besides inputs and lengths: give it as context="):
        xrnnbench.explain(Pair(), premise)


def test_context_goes_with_its_sequence():
    batch = Batch(cells(), LENGTHS, torch.zeros(ROWS), context={"static": torch.arange(ROWS)})
    assert batch.select(slice(1, 3)).context["static"].tolist() == [1, 2]
    with pytest.raises(DataError, match=r"context 'static' has shape \(3,\) for 5 sequences"):
        Batch(cells(), LENGTHS, torch.zeros(ROWS), context={"static": torch.arange(3)})


# ---- plain functions ------------------------------------------------------------------------------------------------


def linear(inputs, lengths):
    """Class 1's score is a weighted sum of the valid cells."""
    assert isinstance(inputs, np.ndarray)
    valid = np.arange(inputs.shape[1]) < lengths[:, None]
    score = (inputs * valid[..., None] * np.array([1.0, -2.0, 0.5])).sum((1, 2))
    return np.stack([np.zeros_like(score), score], 1)


@pytest.mark.parametrize("method", names("method"))
def test_a_plain_function_is_explained_or_refused_by_name(method):
    inputs = cells().double().numpy()
    given = {"targets": [1] * ROWS} if "targets" in find("method", method).needs else {}
    spec = {"temporal-saliency-rescaling": "temporal-saliency-rescaling:of=occlusion"}.get(method, method)
    arguments = {"method": QUICK.get(method, spec), "target": 1, "background": cells(1), **given}
    needs = find("method", method).needs
    if needs & {"gradients", "attention", "truth", "selection"}:
        with pytest.raises(UsageError, match=f"'{method}' cannot explain linear: ") as caught:
            xrnnbench.explain(linear, inputs, LENGTHS.numpy(), **arguments)
        assert "plain function" in str(caught.value) or needs & {"attention", "truth", "selection"}
        return
    # 18 features are too many; numbers are no text; a function has no recurrent layers
    if method in {"exact-shapley", "lime-text", "implicit-attention", "implicit-attention-norm"}:
        with pytest.raises(UsageError, match=f"'{method}' cannot explain linear: "):
            xrnnbench.explain(linear, inputs, LENGTHS.numpy(), **arguments)
        return
    found = xrnnbench.explain(linear, inputs, LENGTHS.numpy(), **arguments).values
    assert found.shape in {(ROWS, STEPS, FEATURES), (ROWS, STEPS)}
    assert torch.isfinite(found).all()
    if method == "occlusion":
        assert torch.allclose(found, torch.tensor(inputs) * torch.tensor([1.0, -2.0, 0.5]), atol=1e-12)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: "no", "no array of scores"),
        (lambda x: x[:2].sum(2), "for 5 sequences"),
        (lambda x: x.sum(2) * np.nan, "not finite"),
        (lambda x: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda: 0, "has no parameter left to take the inputs"),
        (lambda x, temperature: x, "needs 'temperature' besides inputs and lengths"),
    ],
)
def test_a_function_that_does_not_fit_is_refused_in_a_sentence(function, said):
    with pytest.raises((DataError, UsageError)) as caught:
        xrnnbench.explain(function, cells().numpy(), method="occlusion")
    assert said in str(caught.value)


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(0)
    shapes = {"w": (FEATURES, 20), "u": (5, 20), "b": (20,), "head": (5, 2)}
    return {name: (0.6 * rng.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


class Lstm(nn.Module):
    """An LSTM with gates in Keras's order, which is torch's, and one bias."""

    def __init__(self, weights):
        super().__init__()
        self.layer, self.head = nn.LSTM(FEATURES, 5, batch_first=True), nn.Linear(5, 2, bias=False)
        values = (weights["w"].T, weights["u"].T, weights["b"], 0 * weights["b"])
        with torch.no_grad():
            for parameter, value in zip(self.layer.parameters(), values, strict=True):
                parameter.copy_(torch.from_numpy(value))
            self.head.weight.copy_(torch.from_numpy(weights["head"].T))

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


BLACK_BOX = ["occlusion", "permutation", "lime:samples=100", "kernel-shap", "permutation-shapley"]


@pytest.mark.parametrize("method", BLACK_BOX)
@pytest.mark.full
def test_a_keras_model_is_explained_as_the_same_torch_model(method, weights):
    keras = pytest.importorskip("keras", reason="the peer Keras (extra peers) is not installed")
    inputs = keras.Input((None, FEATURES))
    states = keras.layers.LSTM(5, name="lstm")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False, name="head")(states))
    model.get_layer("lstm").set_weights([weights["w"], weights["u"], weights["b"]])
    model.get_layer("head").set_weights([weights["head"]])
    given = {"inputs": cells().numpy(), "background": cells(1), "method": method}
    found = xrnnbench.explain(lambda x: model.predict(x, verbose=0), **given)
    assert torch.allclose(found.values, xrnnbench.explain(Lstm(weights), **given).values, atol=1e-4)


@pytest.mark.parametrize("method", BLACK_BOX)
def test_an_onnx_model_is_explained_as_the_same_torch_model(method, weights):
    onnx = pytest.importorskip("onnx", reason="the peer ONNX (extra peers) is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the peer ONNX Runtime (extra peers) is not installed")
    session = runtime.InferenceSession(_onnx(onnx, weights).SerializeToString())
    given = {"inputs": cells().numpy(), "background": cells(1), "method": method}
    found = xrnnbench.explain(lambda x: session.run(None, {"x": x})[0], **given)
    assert torch.allclose(found.values, xrnnbench.explain(Lstm(weights), **given).values, atol=1e-4)


def _onnx(onnx, weights):
    """The LSTM as an ONNX graph: gates in the order i, o, f, c, and [1, 4H, ·] weights."""

    def gates(values):
        i, f, c, o = np.split(values, 4, -1)
        return np.concatenate([i, o, f, c], -1)

    helper, tensor = onnx.helper, onnx.numpy_helper.from_array
    constants = [
        tensor(gates(weights["w"]).T[None].copy(), "w"), tensor(gates(weights["u"]).T[None].copy(), "u"),
        tensor(np.concatenate([gates(weights["b"]), 0 * weights["b"]])[None], "b"), tensor(weights["head"], "head"),
        tensor(np.array([0]), "zero"),
    ]  # fmt: skip
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["steps", "w", "u", "b"], ["all", "last"], hidden_size=5),
        helper.make_node("Squeeze", ["last", "zero"], ["state"]),
        helper.make_node("MatMul", ["state", "head"], ["scores"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", ["B", "T", FEATURES]), ("scores", ["B", 2]))
    ]
    graph = helper.make_graph(nodes, "lstm", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


# ---- one output step of a translator --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def translator():
    """An encoder-decoder trained to say its source backwards: step u's token is the source's u-th from the end."""
    torch.manual_seed(0)
    # in float64: in float32 the rounding of a processor decides which translator comes out
    model = EncoderDecoder(9, 9, 32, embedding_size=16).double()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(300):
        source = torch.randint(3, 9, (64, 5))
        scores = model(source, None, source.flip(1))
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), source.flip(1).flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.float().eval()


def test_the_translator_says_its_source_backwards(translator):
    source = torch.randint(3, 9, (50, 5), generator=torch.Generator().manual_seed(1))
    assert (translator.generate(source, None, 5) == source.flip(1)).double().mean() > 0.98


@pytest.mark.parametrize(
    "method",
    [
        "attention",
        "attention-gradient",
        "deeplift",
        "integrated-gradients",
        "occlusion",
        "lime:scale=raw",
        "permutation",
    ],
)
@pytest.mark.parametrize("step", [0, 2, 4])
def test_the_source_token_of_an_output_step_is_found(translator, method, step):
    source = torch.randint(3, 9, (40, 5), generator=torch.Generator().manual_seed(2))
    background = torch.randint(3, 9, (40, 5), generator=torch.Generator().manual_seed(3))
    produced = translator.generate(source, None, 5)
    found = xrnnbench.explain(
        translator, source, method=method, context={"produced": produced}, step=step, target=produced[:, step],
        background=background, reference=torch.ones(1, dtype=torch.int64),
    )  # fmt: skip
    assert found.values.shape == (40, 5)
    # the decoder finds its place by what it has said, so that the token said before has a part as well
    assert (found.steps.argmax(1) == 4 - step).double().mean() > 0.7


def test_an_output_step_is_explained_as_the_model_of_that_step_alone():
    class Step(nn.Module):
        def __init__(self, model, produced, step):
            super().__init__()
            self.model, self.produced, self.step = model, produced, step

        def forward(self, source, lengths):
            return self.model(source, lengths, self.produced.expand(len(source), -1))[:, self.step]

    torch.manual_seed(0)
    model = EncoderDecoder(9, 7, 8, cell="lstm")
    produced = torch.randint(3, 7, (ROWS, 4))
    steps = torch.tensor([0, 3, 1, 2, 3])
    for method in (*METHODS, "attention-gradient"):
        if method in {"permutation", "attention-gradient"}:
            continue
        found = xrnnbench.explain(
            model, tokens(), LENGTHS, method=method, context={"produced": produced}, step=steps, target=2
        )
        for row in range(ROWS):
            own = tokens()[row : row + 1, : LENGTHS[row]]
            alone = xrnnbench.explain(Step(model, produced[row], int(steps[row])), own, method=method, target=2)
            if "lime" not in method:
                assert torch.allclose(found.values[row, : LENGTHS[row]], alone.values[0], atol=1e-5), method


def test_later_tokens_do_not_matter_to_an_output_step():
    torch.manual_seed(0)
    model = EncoderDecoder(9, 7, 8)
    produced = torch.randint(3, 7, (ROWS, 4))
    other = produced.clone()
    other[:, 2:] = 1
    first, second = (
        xrnnbench.explain(model, tokens(), LENGTHS, context={"produced": said}, step=2, target=0)
        for said in (produced, other)
    )
    assert torch.equal(first.values, second.values)


def test_a_shared_embedding_is_told_apart_by_its_calls():
    class Shared(nn.Module):
        """One embedding for both languages; the prefix may even be the source itself."""

        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(9, 4)

        def forward(self, source, prefix):
            return self.embedding(prefix).sum(1) - 2 * self.embedding(source).cumsum(1)[:, -1]

    for prefix in (tokens(5), tokens()):
        batch = Batch(tokens(), torch.full((ROWS,), STEPS), torch.zeros(ROWS).long(), context={"prefix": prefix})
        subject = Subject(Shared(), batch, torch.ones_like(tokens()))
        view = subject.continuous()
        assert torch.allclose(view.batch_outputs, subject.batch_outputs)
        scores, gradients = view.gradients(view.batch.inputs)
        expected = -2 * nn.functional.one_hot(subject.target, 4).float()[:, None].expand_as(gradients)
        assert torch.allclose(gradients, expected)
        assert torch.equal(scores, subject.score)


def test_an_embedding_of_time_first_tokens_is_seen():
    class Transposing(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.embedding, self.layer = nn.Embedding(9, 4), nn.GRU(4, 2)

        def forward(self, source):
            return self.layer(self.embedding(source.t()))[0][-1]

    inputs = tokens(4).clamp_min(2)
    model = Transposing()
    entry = find_embedding_call(model, model, inputs[:1], "the model")
    assert entry.time_first
    found = xrnnbench.explain(model, inputs, reference=torch.ones(1, dtype=torch.int64), method="integrated-gradients")
    score, base = (model(x).gather(1, model(inputs).argmax(1, keepdim=True))[:, 0] for x in (inputs, 0 * inputs + 1))
    assert torch.allclose(found.values.sum(1), score - base, atol=1e-4)


@pytest.mark.parametrize("method", ["fit", "winit", "temporal-ig:steps=2", "occlusion:by=delete"])
def test_a_model_of_one_fixed_length_is_refused_by_methods_that_ask_about_shorter_ones(method):
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.head = nn.Linear(STEPS * FEATURES, 2)

        def forward(self, x):
            return self.head(x.flatten(1))

    with pytest.raises(
        UnsupportedModelError, match=r"Flat cannot take sequences shorter .* such as occlusion"
    ) as caught:
        xrnnbench.explain(Flat(), cells(), method=method, background=cells(1))
    assert "\n" not in str(caught.value)
    assert xrnnbench.explain(Flat(), cells(), method="occlusion").values.shape == (ROWS, STEPS, FEATURES)


def test_refusals_name_a_way_out():
    """What a gradient method says of a model that leaves torch, and attention of one that has none."""

    class Leaves(Plain):
        def forward(self, x, lengths):
            return super().forward(x.detach(), lengths)

    with pytest.raises(Exception, match="use a perturbation method such as occlusion"):
        xrnnbench.explain(Leaves(), cells(), LENGTHS, method="gradient-x-input")
    with pytest.raises(UsageError, match="shows no attention"):
        xrnnbench.explain(Plain(), cells(), LENGTHS, method="attention")
    assert re.search("occlusion", str(build("method", "occlusion").spec))


def test_adapted_models_say_what_they_adapt():
    adapted = AdaptedModel(Plain(), part=0, batch_first=False)
    assert "part=0, batch_first=False, steps=False" in repr(adapted)
    assert OUTPUT_STEP not in repr(adapted)
