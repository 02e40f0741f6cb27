"""Hidden layers explained like inputs: literal definitions in float64."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from xrnnbench import Benchmark, UnsupportedModelError, explain, task_from_model

LENGTHS = torch.tensor([7, 3, 5, 1])


class Words(nn.Module):
    """Embedding, two recurrent layers with a linear one between them, and a mean over the steps."""

    def __init__(self, *, packed=False, time_first=False, sorted_only=False):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(9, 4)
        self.first = nn.LSTM(4, 5, batch_first=not time_first)
        self.between = nn.Linear(5, 5)
        self.second = nn.GRU(5, 6, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, 3)
        self.packed, self.time_first, self.sorted_only = packed, time_first, sorted_only

    def forward(self, tokens, lengths):
        return self.rest(self.between(self.beginning(tokens, lengths)), lengths)

    def beginning(self, tokens, lengths):
        embedded = self.table(tokens)
        if self.time_first:
            return self.first(embedded.transpose(0, 1))[0].transpose(0, 1)
        if not self.packed:
            return self.first(embedded)[0]
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=self.sorted_only)
        return pad_packed_sequence(self.first(packed)[0], batch_first=True, total_length=tokens.shape[1])[0]

    def rest(self, hidden, lengths):
        packed = pack_padded_sequence(hidden, lengths, batch_first=True, enforce_sorted=False)
        states = pad_packed_sequence(self.second(packed)[0], batch_first=True, total_length=hidden.shape[1])[0]
        valid = torch.arange(hidden.shape[1]) < lengths[:, None]
        return self.head((states * valid[..., None]).sum(1))


KINDS = {
    "plain": {}, "packed": {"packed": True}, "time first": {"time_first": True},
    "sorted only": {"packed": True, "sorted_only": True},
}  # fmt: skip


def made(name="plain"):
    return Words(**KINDS[name]).double().eval()


def tokens():
    return torch.randint(1, 9, (4, 7), generator=torch.Generator().manual_seed(1))


def hidden_values(model, ids):
    """Output of the layer between, one sequence at a time, 0 on padding."""
    values = torch.zeros(4, 7, 5, dtype=torch.float64)
    for row, length in enumerate(LENGTHS.tolist()):
        with torch.no_grad():
            own = model.between(model.beginning(ids[row : row + 1, :length], LENGTHS[row : row + 1]))
        values[row, :length] = own[0]
    return values


@pytest.mark.parametrize("name", KINDS)
def test_occlusion_of_a_layer_is_its_definition(name):
    model, ids = made(name), tokens()
    hidden, removed = hidden_values(model, ids), hidden_values(model, torch.zeros_like(ids))
    attribution = explain(model, ids, LENGTHS, layer="between", method="occlusion", target=1)
    expected = torch.zeros_like(hidden)
    with torch.no_grad():
        whole = model.rest(hidden, LENGTHS)[:, 1]
        for row, length in enumerate(LENGTHS.tolist()):
            for step in range(length):
                for unit in range(5):
                    changed = hidden.clone()
                    changed[row, step, unit] = removed[row, step, unit]
                    expected[row, step, unit] = whole[row] - model.rest(changed, LENGTHS)[row, 1]
    assert attribution.values.shape == (4, 7, 5)
    assert float((attribution.values - expected).abs().max()) < 1e-12
    assert float((attribution.reference - removed).abs().max()) < 1e-12


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("layer", ["table", "first", "between", "second"])
def test_deeplift_of_a_layer_sums(name, layer):
    attribution = explain(made(name), tokens(), LENGTHS, layer=layer, target=1)
    assert float(attribution.gap.abs().max()) < 1e-12
    for row, length in enumerate(LENGTHS.tolist()):
        assert (attribution.values[row, length:] == 0).all()


def test_the_embedding_layer_gives_what_tokens_have():
    at_layer = explain(made(), tokens(), LENGTHS, layer="table", target=1).values.sum(2)
    assert float((at_layer - explain(made(), tokens(), LENGTHS, target=1).values).abs().max()) < 1e-12


def test_a_layer_is_explained_like_the_model_behind_it():
    model, ids = made(), tokens()
    hidden, removed = hidden_values(model, ids), hidden_values(model, torch.zeros_like(ids))

    class Behind(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, states, lengths):
            return self.inner.rest(states, lengths)

    for method in ("deeplift", "integrated-gradients", "saliency", "lrp"):
        at_layer = explain(made(), ids, LENGTHS, layer="between", method=method, target=1)
        alone = explain(Behind(), hidden, LENGTHS, method=method, target=1, reference=removed)
        assert float((at_layer.values - alone.values).abs().max()) < 1e-10, method


class Skipping(nn.Module):
    """A layer whose input reaches the scores beside it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head = nn.GRU(2, 2, batch_first=True), nn.Linear(2, 2)

    def forward(self, x):
        return self.head((self.rnn(x)[0] * x).sum(1))


def test_what_goes_beside_the_layer_stays_as_it_is():
    x, model = torch.randn(3, 4, 2).double(), Skipping().double().eval()
    attribution = explain(model, x, layer="rnn", target=0)
    with torch.no_grad():
        hidden, removed = model.rnn(x)[0], model.rnn(torch.zeros_like(x))[0]
        expected = model.head((removed * x).sum(1))[:, 0]
        difference = model.head((hidden * x).sum(1))[:, 0] - expected
    assert float((attribution.reference_score - expected).abs().max()) < 1e-12
    assert float((attribution.values.sum((1, 2)) - difference).abs().max()) < 1e-12


def test_a_task_at_a_layer(tmp_path):
    task = task_from_model(made(), tokens(), LENGTHS, targets=torch.tensor([0, 1, 2, 0]), layer="first", name="words")
    metrics = ["comprehensiveness", "parameter-randomisation", "max-sensitivity:instances=2,samples=2"]
    run = Benchmark(tasks=[task], methods=["deeplift", "random"], metrics=metrics).run(out=tmp_path, jobs=1)
    assert set(run.records()["status"]) == {"scored"}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("head", "returns no sequence .B, T, H. of as many steps"),
        ("nothing", "has no layer 'nothing'; it has table, first, between, second, head"),
    ],
)
def test_layers_that_do_not_fit(layer, message):
    with pytest.raises(UnsupportedModelError, match=message):
        explain(made(), tokens(), LENGTHS, layer=layer)


def test_a_layer_that_is_called_for_each_step():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = nn.GRUCell(2, 3), nn.Linear(3, 2)

        def forward(self, x):
            state = x.new_zeros(len(x), 3)
            for step in range(x.shape[1]):
                state = self.cell(x[:, step], state)
            return self.head(state)

    with pytest.raises(UnsupportedModelError, match="'cell' is called 4 times for a sequence"):
        explain(Loop().double(), torch.randn(2, 4, 2).double(), layer="cell")


def test_functions_and_several_inputs_have_no_layers():
    with pytest.raises(UnsupportedModelError, match="is a function"):
        explain(lambda x: x[:, 0], torch.randn(2, 4, 2).numpy(), layer="rnn", method="occlusion")


class Whole(nn.Module):
    """Reads the padding that it is given: a mean over all steps."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.between, self.head = nn.GRU(2, 4, batch_first=True), nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, inputs):
        return self.rest(self.between(self.rnn(inputs)[0]))

    def rest(self, hidden):
        return self.head(torch.tanh(hidden).cumsum(1).mean(1))


@pytest.mark.parametrize("lengths", [[5, 2, 3], [2, 4, 1]])
def test_a_layer_of_a_model_with_kept_padding(lengths):
    model, sizes = Whole().double().eval(), torch.tensor(lengths)
    inputs = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    valid = (torch.arange(5) < sizes[:, None])[..., None]
    options = {"layer": "between", "padding": "keep", "outputs": "values", "target": 1}
    attribution = explain(model, inputs, sizes, method="occlusion", **options)
    with torch.no_grad():
        hidden = model.between(model.rnn(inputs)[0])
        removed = model.between(model.rnn(torch.where(valid, 0.0, inputs))[0])
        expected = torch.zeros_like(hidden)
        for step in range(5):
            for unit in range(5):
                changed = hidden.clone()
                changed[:, step, unit] = removed[:, step, unit]
                expected[:, step, unit] = (model.rest(hidden) - model.rest(changed))[:, 1]
    assert torch.allclose(attribution.values, expected * valid, rtol=0, atol=1e-12)
    complete = explain(model, inputs, sizes, method="deeplift", **options)
    assert float(complete.gap.abs().max()) < 1e-12


def test_a_layer_of_which_only_the_last_state_is_read_is_refused():
    class Last(Whole):
        def forward(self, inputs):
            return self.head(self.between(self.rnn(inputs)[1][-1]))

    for method in ("occlusion", "deeplift"):
        with pytest.raises(UnsupportedModelError, match="do not change with the output sequence of the layer 'rnn'"):
            explain(Last().double(), torch.randn(3, 5, 2), layer="rnn", method=method, outputs="values")


def test_captum_leaves_nothing_on_modules_before_the_layer():
    class Two(Whole):
        def __init__(self):
            super().__init__()
            self.start = nn.Sequential(nn.Linear(2, 2), nn.Tanh())

        def forward(self, inputs):
            return super().forward(self.start(inputs))

    model = Two().double().eval()
    before = {name: set(vars(module)) for name, module in model.named_modules()}
    explain(model, torch.randn(3, 5, 2), layer="between", method="captum-deeplift", outputs="values")
    assert {name: set(vars(module)) for name, module in model.named_modules()} == before


class TimeFirst(nn.Module):
    """A layer that returns [T, B, H]."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.second, self.head = nn.GRU(2, 4), nn.GRU(4, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, inputs):
        return self.rest(self.rnn(inputs.transpose(0, 1))[0].transpose(0, 1))

    def rest(self, hidden):
        return self.head(self.second(hidden)[0][:, -1])


def assert_gradients_of_the_layer(model, inputs, hidden, layer, **options):
    attribution = explain(model, inputs, layer=layer, method="gradient-x-input", outputs="values", target=1, **options)
    hidden = hidden.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model.rest(hidden)[:, 1].sum(), hidden)
    assert torch.allclose(attribution.values, gradient * hidden, rtol=0, atol=1e-12)
    assert torch.allclose(attribution.score, model(inputs)[:, 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("rows", "steps"), [(4, 4), (3, 4), (3, 1), (1, 1), (2, 2)])
@pytest.mark.parametrize("fixed", [False, True])
def test_a_time_first_layer_where_rows_and_steps_are_equally_many(rows, steps, fixed):
    model = TimeFirst().double().eval()
    inputs = torch.randn(rows, steps, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    hidden = model.rnn(inputs.transpose(0, 1))[0].transpose(0, 1)
    options = {"batch_size": steps} if fixed else {}
    assert_gradients_of_the_layer(model, inputs, hidden, "rnn", **options)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("layer", ["encoder.layers.0", "encoder.layers.0.linear1"])
def test_a_layer_of_a_transformer_that_would_leave_it_out(layer):
    class Transformer(Whole):
        def __init__(self):
            super().__init__()
            self.start = nn.Linear(2, 4)
            self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 2)
            self.last = nn.Linear(4, 2)

        def forward(self, inputs, lengths):
            padding = torch.arange(inputs.shape[1]) >= lengths[:, None]
            states = self.encoder(self.start(inputs), src_key_padding_mask=padding)
            valid = (~padding[:, : states.shape[1]])[..., None]
            return self.last((states * valid).sum(1) / lengths[:, None])

    model, lengths = Transformer().double().eval(), torch.tensor([5, 2, 3])
    inputs = torch.randn(3, 5, 2, dtype=torch.float64)
    fast = torch.backends.mha.get_fastpath_enabled()
    for method in ("occlusion", "deeplift"):
        attribution = explain(model, inputs, lengths, layer=layer, method=method, outputs="values", target=1)
        assert torch.allclose(attribution.score, model(inputs, lengths)[:, 1], rtol=0, atol=1e-6)
        assert bool(attribution.values[1, :2].any())
        assert not bool(attribution.values[1, 2:].any())
    assert torch.backends.mha.get_fastpath_enabled() == fast


def test_attention_over_the_steps_of_a_layer():
    class Attentive(Whole):
        def forward(self, inputs):
            hidden = self.between(self.rnn(inputs)[0])
            weights = torch.softmax(hidden[..., 0], 1)
            return self.head((hidden * weights[..., None]).sum(1)), weights

    model, inputs = Attentive().double().eval(), torch.randn(3, 5, 2, dtype=torch.float64)
    options = {"part": 0, "attention": 1, "outputs": "values", "target": 1}
    for method in ("attention", "attention-gradient"):
        attribution = explain(model, inputs, layer="between", method=method, **options)
        expected = explain(model, inputs, method=method, **options)
        assert torch.allclose(attribution.values, expected.values, rtol=0, atol=1e-12)
