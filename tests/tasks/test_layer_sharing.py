"""Recurrent layers inside any module run equal beginnings once, and nothing shows but the count of steps."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from xrnnbench import explain
from xrnnbench.errors import UnsupportedModelError
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.engine import fused_kernel, layer_sharing, shared_layer
from xrnnbench.tasks.engine.adapters import AdaptedModel, StateArgument
from xrnnbench.tasks.engine.layer_sharing import LayerSharing
from xrnnbench.tasks.engine.prefix_chunks import chunk_bounds, chunks, find_beginnings, run_steps
from xrnnbench.tasks.engine.shared_layer import Tally, pays, run_layer
from xrnnbench.tasks.engine.variants import Given, Masked, Prefix
from xrnnbench.tasks.models.networks import EncoderDecoder, RecurrentNet
from xrnnbench.tasks.subject import Subject

KINDS = {
    "lstm": lambda: nn.LSTM(3, 4, batch_first=True),
    "projected": lambda: nn.LSTM(3, 5, 2, proj_size=2),
    "gru": lambda: nn.GRU(3, 4, 2, batch_first=True, bias=False),
    "both": lambda: nn.GRU(3, 4, bidirectional=True),
    "rnn": lambda: nn.RNN(3, 4, nonlinearity="relu", batch_first=True),
    "stacked": lambda: nn.LSTM(3, 4, 3, bidirectional=True, batch_first=True),
    "projected stack": lambda: nn.LSTM(3, 5, 2, bidirectional=True, proj_size=2, bias=False),
}


@pytest.fixture(autouse=True)
def everything_pays(monkeypatch):
    """Small layers share too, and a call costs nothing."""
    monkeypatch.setattr(layer_sharing, "_LARGE", 0)
    monkeypatch.setattr(layer_sharing, "_LITTLE", 9)
    monkeypatch.setattr(shared_layer, "_LEAST_GAIN", -9)
    monkeypatch.setattr(shared_layer, "_LEAST_CALLS", 0)
    for cost in ("_BY_LAYER", "_CALL_BY_WEIGHT", "_BY_STEP", "_BY_VALUE"):
        monkeypatch.setattr(fused_kernel, cost, 0)


def layer_of(kind):
    torch.manual_seed(0)
    return KINDS[kind]().double().eval()


def occluded(count, steps, seed=0):
    """Sequences of which each differs from one of three in a step, or in none."""
    rng = torch.Generator().manual_seed(seed)
    base = torch.randn(3, steps, 3, generator=rng).double()
    rows = base[torch.randint(3, (count,), generator=rng)]
    rows[torch.arange(count), torch.randint(steps, (count,), generator=rng)] = 0
    return rows


def states_of(layer, count, *, alike):
    levels = layer.num_layers * (2 if layer.bidirectional else 1)
    widths = [layer.proj_size or layer.hidden_size, layer.hidden_size][: 2 if isinstance(layer, nn.LSTM) else 1]
    states = [torch.randn(levels, 1 if alike else 2, width).double() for width in widths]
    return tuple(state[:, torch.arange(count) % state.shape[1]] for state in states)


def alone(layer, rows, lengths, states):
    """Outputs and last states of each row by itself."""
    found = []
    for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        begin = None if states is None else tuple(state[:, place : place + 1].contiguous() for state in states)
        begin = begin if begin is None or isinstance(layer, nn.LSTM) else begin[0]
        one = row[None, :length] if layer.batch_first else row[:length, None]
        outputs, after = layer(one, begin)
        found.append((outputs.flatten(0, 1), after if isinstance(after, tuple) else (after,)))
    return [outputs for outputs, _ in found], tuple(
        torch.cat(part, 1) for part in zip(*(s for _, s in found), strict=True)
    )


@settings(deadline=None, max_examples=150)
@given(
    kind=st.sampled_from(list(KINDS)), lengths=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    packed=st.booleans(), falling=st.booleans(), given_states=st.sampled_from(["none", "alike", "different"]),
    call=st.sampled_from([0, 1, 5, 1e9]), rounded=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_layer_gives_what_each_row_gives_alone(kind, lengths, packed, falling, given_states, call, rounded, seed):
    layer, count = layer_of(kind), len(lengths)
    lengths = sorted(lengths, reverse=True) if falling else lengths
    lengths = torch.tensor(lengths if packed else [max(lengths)] * count)
    rows = occluded(count, int(lengths.max()), seed)
    states = None if given_states == "none" else states_of(layer, count, alike=given_states == "alike")
    inputs = rows if layer.batch_first else rows.transpose(0, 1)
    if packed:
        inputs = pack_padded_sequence(inputs, lengths, batch_first=layer.batch_first, enforce_sorted=falling)
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused_kernel.FusedKernel, "call", call)
        patch.setattr(fused_kernel.FusedKernel, "compiled_by_size", rounded)
        found = run_layer(layer, inputs, states, tally := Tally())
        expected = layer(inputs, states if states is None or isinstance(layer, nn.LSTM) else states[0])
        separate = alone(layer, rows, lengths.tolist(), states)
    if found is None:
        assert tally.run == tally.whole
        return
    outputs, after = found
    if packed:
        assert [torch.equal(a, b) for a, b in zip(outputs[1:], expected[0][1:], strict=True) if a is not None].count(
            True
        )
        assert outputs.data.shape == expected[0].data.shape
        assert (outputs.sorted_indices is None) == (expected[0].sorted_indices is None)
        padded = pad_packed_sequence(outputs, batch_first=True)[0]
    else:
        assert outputs.shape == expected[0].shape
        padded = outputs if layer.batch_first else outputs.transpose(0, 1)
    for row, length, one in zip(padded, lengths.tolist(), separate[0], strict=True):
        assert torch.allclose(row[:length], one, atol=1e-12, rtol=0)
    assert all(torch.allclose(a, b, atol=1e-12, rtol=0) for a, b in zip(after, separate[1], strict=True))


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.one_of(
        st.lists(st.integers(1, 12), min_size=2, max_size=14),
        st.builds(lambda count, steps: [steps] * count, st.integers(2, 14), st.integers(1, 12)),
    ),
    seed=st.integers(0, 99), call=st.floats(0, 30), rounded=st.booleans(),
)  # fmt: skip
def test_the_steps_that_will_be_run_are_known_before(lengths, seed, call, rounded):
    lengths = sorted(lengths, reverse=True)
    rows = occluded(len(lengths), lengths[0], seed)
    packed = shared_layer.packed_rows(pack_padded_sequence(rows, torch.tensor(lengths), batch_first=True))
    beginnings = find_beginnings(packed, None, 9)
    bounds = chunk_bounds(beginnings, lengths[0], call, rounded=rounded)
    run = list(chunks(beginnings, bounds, rounded=False))
    if len(set(lengths)) == 1:
        assert run_steps(beginnings, bounds) == sum(chunk.steps for chunk in run)
    assert sum(chunk.steps for chunk in run) <= sum(lengths)
    words = {tuple(map(str, row[:n].tolist())) for row, n in zip(rows, lengths, strict=True)}
    if not call and len(set(lengths)) == 1:
        assert run_steps(beginnings, bounds) == len({word[:end] for word in words for end in range(1, len(word) + 1)})


def test_numbers_of_nodes_are_rounded_up_by_copies():
    rows = occluded(70, 9)
    beginnings = find_beginnings(shared_layer.padded_rows(rows, batch_first=True), None, 9)
    for exact, rounded in zip(
        chunks(beginnings, [0, 4, 9], rounded=False), chunks(beginnings, [0, 4, 9], rounded=True), strict=True
    ):
        count = len(exact.row)
        assert np.array_equal(rounded.row[:count], exact.row)
        assert set(rounded.row[count:]) <= {exact.row[-1]}
        assert count <= len(rounded.row) < count * 17 / 16 + 1


# ---- models -------------------------------------------------------------------------------------------------------


class Last(nn.Module):
    """A layer that reads padding, and its last output."""

    def __init__(self, kind="gru", layer=None):
        super().__init__()
        self.layer = KINDS[kind]() if layer is None else layer
        self.head = nn.LazyLinear(2)

    def forward(self, inputs):
        return self.head(self.layer(inputs)[0][:, -1])


class Packed(Last):
    """Packed rows, and the last state."""

    def forward(self, inputs, lengths):
        packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
        state = self.layer(packed)[1]
        return self.head((state[0] if isinstance(state, tuple) else state)[-1])


class Mixed(nn.Module):
    """A convolution, two layers with an activation between, and attention over all outputs of one more."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv1d(3, 4, 3, padding=1)
        self.first = nn.LSTM(4, 5, batch_first=True, bidirectional=True)
        self.second = nn.GRU(10, 4)
        self.third = nn.RNN(4, 3, batch_first=True)
        self.energy = nn.Linear(3, 1)
        self.head = nn.Linear(3, 2)

    def forward(self, inputs):
        mixed = self.mix(inputs.transpose(1, 2)).transpose(1, 2)
        between = torch.relu(self.first(mixed)[0])
        states = self.third(self.second(between.transpose(0, 1))[0].transpose(0, 1))[0]
        return self.head((self.energy(states).softmax(1) * states).sum(1))


class Started(Last):
    """Starts from a learnt state, the same for all rows."""

    def __init__(self):
        super().__init__("gru")
        self.begin = nn.Parameter(torch.randn(2, 1, 4))

    def forward(self, inputs):
        return self.head(self.layer(inputs, self.begin.expand(-1, len(inputs), -1).contiguous())[0][:, -1])


class Rowwise(Last):
    """Starts each row from a state of its own."""

    def forward(self, inputs):
        begin = inputs.new_zeros(2, len(inputs), 4) + inputs.mean((1, 2))[:, None]
        return self.head(self.layer(inputs, begin)[0][:, -1])


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 3)
        self.inner = Last("lstm")

    def forward(self, tokens):
        return self.inner(self.embedding(tokens))


MODELS = {
    **{f"last {kind}": lambda kind=kind: Last(kind) for kind in ("lstm", "gru", "rnn", "stacked")},
    **{f"packed {kind}": lambda kind=kind: Packed(kind) for kind in ("lstm", "gru", "stacked")},
    "mixed": Mixed, "started": Started, "rowwise": Rowwise, "tokens": Tokens,
}  # fmt: skip


def make(name, lengths=(12, 12, 7, 9), wrap=lambda model: model):
    torch.manual_seed(0)
    model = MODELS[name]() if isinstance(name, str) else name
    lengths = torch.tensor(lengths)
    valid = torch.arange(int(lengths.max())) < lengths[:, None]
    if isinstance(model, Tokens):
        inputs = torch.randint(1, 7, valid.shape) * valid
    else:
        inputs = torch.randn(*valid.shape, 3).double() * valid[..., None]
    model.eval()
    with torch.no_grad():  # lazy layers learn their shape
        model.double()(inputs[:1], *([lengths[:1]] if isinstance(model, Packed) else []))
    batch = Batch(inputs, lengths, torch.zeros(len(lengths), dtype=torch.int64))
    return Subject(wrap(model), batch, torch.zeros_like(inputs) + (inputs.dtype == torch.int64) * 6)


def variants_of(subject):
    instance, step = subject.batch.valid.nonzero(as_tuple=True)
    steps = torch.arange(subject.batch.inputs.shape[1])
    rng = torch.Generator().manual_seed(1)
    single = steps != step[:, None]
    return {
        "occlusion": Masked(single, instance),
        "nested": Masked(steps > step[:, None], instance),
        "half": Masked(torch.rand(single.shape, generator=rng) < 0.5, instance),
        "prefix": Prefix(instance, step + 1),
        "deleted": Masked(single, instance).deleted(),
        "one": Given(subject.batch.inputs[:1]),
    }


def each_alone(subject, variants):
    """The scores of each row, run alone by the module as it is."""
    lengths = variants.lengths(subject.batch)
    rows = variants.rows(torch.arange(len(lengths)), subject.batch, subject.reference)
    told = isinstance(subject.model, Packed)
    with torch.no_grad():
        found = [
            subject.model.eval()(row[None, :length], *([length[None]] if told else []))
            for row, length in zip(rows, lengths, strict=True)
        ]
    return torch.cat(found)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("call", [0, 20])
@pytest.mark.pairwise
def test_outputs_are_those_of_each_row_alone(name, call, monkeypatch):
    monkeypatch.setattr(fused_kernel.FusedKernel, "call", call)
    subject = make(name)
    before = {key: value.clone() for key, value in subject.model.state_dict().items()}
    for what, variants in variants_of(subject).items():
        spent = subject.cost.copy()
        assert torch.allclose(subject.outputs(variants), each_alone(subject, variants), atol=1e-12, rtol=0), what
        spent = subject.cost.since(spent)
        assert spent.forward == len(variants.instance)
        assert spent.executed <= spent.forward
    assert all(torch.equal(value, before[key]) for key, value in subject.model.state_dict().items())
    assert no_trace(subject.model)


def no_trace(model):
    hooks = [getattr(module, name) for module in model.modules() for name in ("_forward_hooks", "_forward_pre_hooks")]
    return not any(hooks) and not any("forward" in vars(module) for module in model.modules())


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(list(MODELS)), lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    count=st.integers(1, 20), share=st.sampled_from([0.1, 0.5, 0.9]), rows=st.integers(1, 30), seed=st.integers(0, 99),
    call=st.sampled_from([0, 3]),
)  # fmt: skip
@pytest.mark.full
def test_any_masks_in_any_batches(name, lengths, count, share, rows, seed, call):
    subject = make(name, lengths)
    rng = torch.Generator().manual_seed(seed)
    keep = torch.rand(count, max(lengths), generator=rng) < share
    variants = Masked(keep, torch.randint(len(lengths), (count,), generator=rng))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Subject, "_rows_if_shared", rows)
        patch.setattr(fused_kernel.FusedKernel, "call", call)
        assert torch.allclose(subject.outputs(variants), each_alone(subject, variants), atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_float32_differs_in_the_last_bits_only(kind):
    torch.manual_seed(0)
    cell = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind]
    subject = make(Last(layer=cell(3, 32, 2, bidirectional=kind == "gru", batch_first=True)), [40] * 4)
    subject = Subject(
        subject.model.float(), Batch(subject.batch.inputs.float(), subject.batch.lengths, subject.batch.targets),
        subject.reference.float(),
    )  # fmt: skip
    variants = variants_of(subject)["nested"]
    assert (subject.outputs(variants) - each_alone(subject, variants)).abs().max() < 1e-6


def prefixes(subject, variants, *, backwards=False):
    rows = variants.rows(torch.arange(len(variants.instance)), subject.batch, subject.reference)
    words = {tuple(map(str, row.tolist())) for row in rows}
    words = [word[::-1] if backwards else word for word in words]
    return len({word[:end] for word in words for end in range(1, len(word) + 1)})


@pytest.mark.parametrize("name", ["occlusion", "nested", "half"])
def test_steps_are_those_that_were_run(name):
    subject = make("last lstm", [12] * 4)
    variants = variants_of(subject)[name]
    before = subject.cost.copy()
    subject.outputs(variants)
    assert subject.cost.since(before).steps == prefixes(subject, variants)


def test_steps_are_the_mean_over_directions_and_layers():
    subject = make(Last(layer=nn.LSTM(3, 4, bidirectional=True, batch_first=True)), [12] * 4)
    variants = variants_of(subject)["occlusion"]
    before = subject.cost.copy()
    subject.outputs(variants)
    both = [prefixes(subject, variants, backwards=way) for way in (False, True)]
    whole = 4 * 12 * 12
    saved = 2 * whole - sum(both)
    assert subject.cost.since(before).steps == whole - whole * saved // (2 * whole)
    # a second layer that reads both directions at once finds nothing in common
    subject = make("last stacked", [12] * 4)
    before = subject.cost.copy()
    subject.outputs(variants)
    assert subject.cost.since(before).steps > whole - whole * saved // (4 * whole) - 24


def test_half_the_steps_of_occlusion_and_nested_deletion_are_saved():
    subject = make("packed gru", [50] * 4)
    for name in ("occlusion", "nested"):
        before = subject.cost.copy()
        subject.outputs(variants_of(subject)[name])
        assert 0.48 < subject.cost.since(before).steps / (4 * 50 * 50) < 0.54, name


# ---- what is left alone -------------------------------------------------------------------------------------------


@pytest.fixture
def runs(monkeypatch):
    """Layers that were asked to share."""
    asked = []

    def noted(layer, *arguments):
        asked.append(layer)
        return run_layer(layer, *arguments)

    monkeypatch.setattr(layer_sharing, "run_layer", noted)
    return asked


class Doubled(nn.GRU):
    def forward(self, inputs, state=None):
        outputs, state = super().forward(inputs, state)
        return 2 * outputs, state


def with_forward(layer):
    layer.forward = lambda *arguments: nn.GRU.forward(layer, *arguments)
    return layer


def compiled_in_place(layer):
    layer._compiled_call_impl = layer._call_impl  # as module.compile() leaves it
    return layer


@pytest.mark.parametrize(
    "layer",
    [
        lambda: Doubled(3, 4, batch_first=True),
        lambda: with_forward(nn.GRU(3, 4, batch_first=True)),
        lambda: compiled_in_place(nn.GRU(3, 4, batch_first=True)),
        lambda: nn.utils.parametrizations.weight_norm(nn.GRU(3, 4, batch_first=True), "weight_hh_l0"),
    ],
    ids=["subclass", "own forward", "compiled", "parametrised"],
)
def test_layers_of_other_kinds_are_left_alone(layer, runs):
    subject = make(Last(layer=layer().double()))
    variants = variants_of(subject)["occlusion"]
    assert torch.allclose(subject.outputs(variants), each_alone(subject, variants), atol=1e-12, rtol=0)
    assert not runs


def test_layers_inside_a_compiled_module_are_left_alone():
    model = Last("gru")
    assert LayerSharing(model, 100, 8, None)
    wrapper = nn.Module()
    wrapper._orig_mod = model  # as torch.compile wraps it
    assert not LayerSharing(wrapper, 100, 8, None)


@pytest.mark.filterwarnings(
    "ignore:.*torch.jit.*deprecated:DeprecationWarning", "ignore:.*TorchScript:DeprecationWarning"
)
def test_scripted_layers_are_left_alone():
    assert not LayerSharing(torch.jit.script(KINDS["gru"]()), 100, 8, None)


class Odd(Last):
    """Runs its layer in a way of its own."""

    def __init__(self, how):
        super().__init__("gru")
        self.how = how

    def forward(self, inputs):
        return self.head(self.how(self.layer, inputs)[:, -1])


def with_gradients(layer, inputs):
    with torch.enable_grad():
        outputs = layer(inputs.requires_grad_())[0]
        return torch.autograd.grad(outputs.sum(), inputs)[0].repeat(1, 1, 2)[..., :4]


def with_dropout(layer, inputs):
    layer.train()
    layer.dropout = 0.5
    torch.manual_seed(0)
    outputs = torch.stack([layer(row[None])[0][0] for row in inputs])
    layer.eval()
    layer.dropout = 0.0
    return 0 * outputs


def one_by_one(layer, inputs):
    return torch.stack([layer(row)[0] for row in inputs])


@pytest.mark.parametrize("how", [with_gradients, with_dropout, one_by_one])
def test_unusual_calls_are_run_by_torch(how, runs):
    subject = make(Odd(how))
    variants = variants_of(subject)["occlusion"]
    assert torch.allclose(subject.outputs(variants), each_alone(subject, variants), atol=1e-12, rtol=0)
    assert not runs


def test_half_precision_and_autocast_are_run_by_torch(runs):
    layer = KINDS["gru"]().eval()
    sharing = LayerSharing(layer, 100, 8, None)
    inputs = torch.randn(6, 9, 3)
    with torch.no_grad(), sharing.active():
        layer(inputs)
        assert runs
        runs.clear()
        with torch.autocast("cpu"):
            layer(inputs)
        layer.to(torch.bfloat16)(inputs.to(torch.bfloat16))
    assert not runs


def test_torch_says_what_is_wrong_with_inputs(runs):
    layer = KINDS["lstm"]().eval()
    state = torch.zeros(1, 5, 4)
    with torch.no_grad(), LayerSharing(layer, 100, 8, None).active():
        for wrong in ((torch.randn(6, 9, 4),), (torch.randn(6, 9, 3), (state, state)), (torch.randn(6, 9, 3), state)):
            with pytest.raises((RuntimeError, ValueError, IndexError)) as shared:
                layer(*wrong)
            with pytest.raises(type(shared.value)) as plain:
                nn.LSTM.forward(layer, *wrong)
            assert str(shared.value) == str(plain.value)
        assert layer(input=torch.randn(6, 9, 3), hx=None)[0].shape == (6, 9, 4)
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("model", "shares"),
    [
        (lambda: RecurrentNet(3, 4, 2, layers=2, bidirectional=True), False),
        (lambda: AdaptedModel(RecurrentNet(3, 4, 2)), False),
        (lambda: EncoderDecoder(5, 5, 4), False),
        (lambda: Last("gru"), True),
        (lambda: AdaptedModel(Last("gru")), True),
    ],
)
def test_a_model_may_speak_for_itself(model, shares):
    assert bool(LayerSharing(model(), 100, 8, None)) == shares


def test_a_subclass_with_a_forward_of_its_own_does_not_speak_by_what_it_inherits():
    class Twice(RecurrentNet):
        def forward(self, inputs, lengths=None):
            return 2 * super().forward(inputs, lengths)

    assert LayerSharing(Twice(3, 4, 2), 100, 8, None)
    refusing = Last("gru")
    refusing.shared_directions = 0
    assert not LayerSharing(refusing, 100, 8, None)


# ---- no trace -----------------------------------------------------------------------------------------------------


def test_layers_are_as_before_after_an_exception():
    class Failing(Last):
        def forward(self, inputs):
            found = super().forward(inputs)
            if self.fails:
                assert "forward" in vars(self.layer)
                raise ValueError("no more")
            return found

    model = Failing("gru")
    model.fails = False
    subject = make(model)
    model.fails = True
    with pytest.raises(UnsupportedModelError, match="no more"):
        subject.outputs(variants_of(subject)["occlusion"])
    assert no_trace(subject.model)


def test_hooks_on_the_layer_are_run():
    subject, seen = make("last gru"), []
    handles = [
        subject.model.layer.register_forward_hook(lambda module, inputs, output: seen.append(output[0].shape)),
        subject.model.layer.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2,)),
    ]
    variants = variants_of(subject)["occlusion"]
    assert torch.allclose(subject.outputs(variants), each_alone(subject, variants), atol=1e-12, rtol=0)
    assert {shape[2] for shape in seen} == {4}
    assert len(subject.model.layer._forward_hooks) == len(subject.model.layer._forward_pre_hooks) == 1
    for handle in handles:
        handle.remove()


def test_nested_contexts_leave_the_layer_as_it_was():
    layer = KINDS["gru"]()
    with LayerSharing(layer, 100, 8, None).active():
        first = vars(layer)["forward"]
        with LayerSharing(layer, 100, 8, None).active():
            assert vars(layer)["forward"] is first
        assert vars(layer)["forward"] is first
    assert "forward" not in vars(layer)


def test_a_copy_that_a_model_makes_of_its_layer_is_a_layer_of_its_own():
    layer, inputs = KINDS["gru"]().eval(), torch.randn(6, 9, 3)
    with torch.no_grad(), LayerSharing(layer, 100, 8, None).active():
        copied = copy.deepcopy(layer)
        copied.weight_hh_l0.zero_()
        assert torch.equal(copied(inputs)[0], nn.GRU.forward(copied, inputs)[0])
        assert not torch.allclose(copied(inputs)[0], layer(inputs)[0])


def test_weights_that_change_between_calls_are_read_anew():
    layer, inputs = KINDS["lstm"]().eval(), torch.randn(6, 9, 3)
    with torch.no_grad(), LayerSharing(layer, 100, 8, None).active():
        layer(inputs)
        layer.weight_hh_l0.mul_(2)
        assert torch.allclose(layer(inputs)[0], nn.LSTM.forward(layer, inputs)[0], atol=1e-6)


def test_what_a_layer_returns_is_what_torch_returns():
    for kind in KINDS:
        layer = layer_of(kind)
        rows = occluded(8, 6)
        packed = pack_padded_sequence(rows, torch.tensor([6, 6, 5, 5, 4, 3, 2, 1]), batch_first=True)
        for inputs in (rows if layer.batch_first else rows.transpose(0, 1), packed):
            with torch.no_grad():
                expected = layer(inputs)
                with LayerSharing(layer, 100, 8, None).active():
                    found = layer(inputs)
            assert type(found[1]) is type(expected[1])
            assert isinstance(found[0], PackedSequence) == isinstance(expected[0], PackedSequence)


# ---- through the front door ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", [{"batch_size": 5}, {"state": True}, {"batch_first": False}, {"part": 1}])
def test_adapted_models_share(adapter, runs):
    class Adapted(Last):
        def forward(self, inputs, begin=None):
            time_first = not adapter.get("batch_first", True)
            outputs = self.layer(inputs.transpose(0, 1) if time_first else inputs, begin)[0]
            scores = self.head(outputs[:, -1])
            return (None, scores) if "part" in adapter else scores

    options = dict(adapter)
    if "state" in options:
        options["state"] = (StateArgument("begin", ((2, 4),)),)
    plain = Last("gru")
    torch.manual_seed(0)
    subject = make(plain, [8] * 3)
    model = Adapted("gru").double().eval()
    model.head = nn.Linear(4, 2).double()
    model.load_state_dict(plain.state_dict())
    adapted = Subject(AdaptedModel(model, **options), subject.batch, subject.reference)
    variants = variants_of(subject)["nested"]
    assert torch.allclose(adapted.outputs(variants), each_alone(subject, variants), atol=1e-12, rtol=0)
    assert runs


def test_an_explanation_is_that_of_plain_batches(monkeypatch):
    model = make("packed lstm").model
    inputs, lengths = torch.randn(5, 15, 3).double(), torch.tensor([15, 15, 9, 4, 1])
    shared = explain(model, inputs, method="occlusion", lengths=lengths).values
    monkeypatch.setattr(layer_sharing, "_shareable_layers", lambda *_: [])
    plain = explain(model, inputs, method="occlusion", lengths=lengths).values
    assert torch.allclose(torch.as_tensor(shared), torch.as_tensor(plain), atol=1e-12)


# ---- what pays ----------------------------------------------------------------------------------------------------


@pytest.fixture
def measured_costs(monkeypatch):
    monkeypatch.undo()


def test_rows_that_share_nothing_are_run_by_torch(measured_costs):
    layer = nn.GRU(16, 128, batch_first=True).eval()
    tally = Tally()
    with torch.no_grad():
        assert run_layer(layer, torch.randn(200, 100, 16), None, tally) is None
    assert tally.run == tally.whole == 200 * 100


@pytest.mark.parametrize(
    ("units", "steps", "worth"), [(128, 20_000, True), (256, 20_000, True), (8, 20_000, False), (128, 200, False)]
)
def test_small_layers_and_few_rows_do_not_pay(units, steps, worth, measured_costs):
    assert pays(nn.LSTM(16, units), 0.5, steps) == worth
    assert not pays(nn.LSTM(16, units), 0.95, steps)


def test_what_varies_little_is_run_in_larger_batches(measured_costs, monkeypatch):
    sizes = []

    class Noting(Last):
        def forward(self, inputs):
            sizes.append(len(inputs))
            return super().forward(inputs)

    model = Noting(layer=nn.GRU(3, 128, batch_first=True))
    subject = make(model, [100] * 8)
    for name, most in (("occlusion", 512), ("half", 128)):
        sizes.clear()
        subject.outputs(variants_of(subject)[name])
        assert most / 2 < max(sizes) <= most, name
