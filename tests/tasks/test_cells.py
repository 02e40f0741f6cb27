"""The cells of today: each is its equations, one sequence and one step at a time, and equal however it is computed."""

import itertools
import math

import pytest
import torch
from torch.overrides import TorchFunctionMode

from xrnnbench.errors import ParameterError, UnsupportedModelError
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.engine import shared_prefixes
from xrnnbench.tasks.engine.variants import Masked
from xrnnbench.tasks.models.networks import AttentiveRecurrentNet, EncoderDecoder, RecurrentNet
from xrnnbench.tasks.models.recurrences.cfc import Cfc
from xrnnbench.tasks.models.recurrences.gru_d import GruD
from xrnnbench.tasks.models.recurrences.layer import decays_between, linear_scan
from xrnnbench.tasks.models.recurrences.lru import Lru
from xrnnbench.tasks.models.recurrences.mamba import Mamba
from xrnnbench.tasks.models.recurrences.min_gru import MinGru
from xrnnbench.tasks.models.recurrences.xlstm import MLstm, SLstm
from xrnnbench.tasks.subject import Subject

D, H, P = 5, 8, 1
LAYERS = {
    "mingru": MinGru, "slstm": SLstm, "mlstm": MLstm, "cfc": Cfc, "lru": Lru, "mamba": Mamba,
    "grud": lambda inputs, hidden: GruD(inputs, hidden, P),
}  # fmt: skip
LINEAR = ("mingru", "mlstm", "lru", "mamba")
POOLINGS = ("last", "mean", "max", "attention", "dot-attention")
LENGTHS = torch.tensor([3, 6, 1, 4])
sigmoid = torch.sigmoid


def layer(name, seed=0, inputs=D, hidden=H):
    torch.manual_seed(seed)
    made = LAYERS[name](inputs, hidden)
    with torch.no_grad():
        for parameter in made.parameters():  # no parameter at a special value, such as 0
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made.double()


def sequences(rows=3, steps=40, features=D, seed=1):
    return torch.randn(rows, steps, features, generator=torch.Generator().manual_seed(seed)).double()


def weights_of(made):
    return {name: parameter.detach() for name, parameter in made.named_parameters()}


# ---- the equations, written down again: one sequence, plain numbers where they are scalars --------------------------


def mingru(made, rows):
    w, h, found = weights_of(made), torch.zeros(H).double(), []
    for x in rows:
        a = w["weight"] @ x + w["bias"]
        candidate = torch.where(a[:H] >= 0, a[:H] + 0.5, sigmoid(a[:H]))
        z = sigmoid(a[H:])
        h = (1 - z) * h + z * candidate
        found.append(h)
    return torch.stack(found)


def slstm(made, rows):
    """Without a stabiliser."""
    w = weights_of(made)
    h = c = n = torch.zeros(H).double()
    found = []
    for x in rows:
        i, f, z, o = (w["weight"] @ x + w["recurrent"] @ h + w["bias"]).chunk(4)
        c = sigmoid(f) * c + i.exp() * torch.tanh(z)
        n = sigmoid(f) * n + i.exp()
        h = sigmoid(o) * c / n
        found.append(h)
    return torch.stack(found)


def mlstm(made, rows):
    """Without a stabiliser, head by head."""
    w, heads = weights_of(made), made.heads
    d, found = H // heads, []
    memory, norm = torch.zeros(heads, d, d).double(), torch.zeros(heads, d).double()
    for x in rows:
        a = w["weight"] @ x + w["bias"]
        q, k, v, o = (part.view(heads, d) for part in a[: 4 * H].chunk(4))
        i, f = a[4 * H :].chunk(2)
        outputs = []
        for head in range(heads):
            key = k[head] / math.sqrt(d)
            memory[head] = sigmoid(f[head]) * memory[head] + i[head].exp() * torch.outer(v[head], key)
            norm[head] = sigmoid(f[head]) * norm[head] + i[head].exp() * key
            outputs.append(memory[head] @ q[head] / max(abs(float(norm[head] @ q[head])), 1.0))
        found.append((sigmoid(o) * torch.stack(outputs)).flatten())
    return torch.stack(found)


def cfc(made, rows):
    w, h, found = weights_of(made), torch.zeros(H).double(), []
    for x in rows:
        u = 1.7159 * torch.tanh(0.666 * (w["weight"] @ x + w["recurrent"] @ h + w["bias"]))
        g, other, rate, offset = (w["heads"] @ u + w["heads_bias"]).chunk(4)
        gate = sigmoid(-(rate + offset))
        h = gate * torch.tanh(g) + (1 - gate) * torch.tanh(other)
        found.append(h)
    return torch.stack(found)


def lru(made, rows):
    """In complex numbers."""
    w, found = weights_of(made), []
    state = torch.zeros(H, dtype=torch.complex128)
    decay = torch.exp(torch.complex(-w["decay"].exp(), w["phase"].exp()))
    inner, outer = torch.complex(*w["input"]), torch.complex(*w["output"])
    for x in rows:
        state = decay * state + w["scale"].exp() * (inner @ x.to(inner.dtype))
        g = torch.nn.functional.gelu((outer @ state).real + w["skip"] @ x)
        a, b = (w["gated"] @ g + w["gated_bias"]).chunk(2)
        found.append(a * sigmoid(b))
    return torch.stack(found)


def mamba(made, rows):
    """Channel by channel, with the window of the convolution written out."""
    w, found = weights_of(made), []
    channels, states = w["decay"].shape
    state = torch.zeros(channels, states).double()
    read = [torch.zeros(channels).double()] * 3
    for x in rows:
        entered, z = (w["input"] @ x + w["input_bias"]).chunk(2)
        read.append(entered)
        u = sum(w["window"][:, place] * read[place - 4] for place in range(4)) + w["window_bias"]
        u = u * sigmoid(u)
        low, b, c = (w["selection"] @ u).split([made.rank, states, states])
        size = torch.log1p((w["step_size"] @ low + w["step_size_bias"]).exp())
        y = torch.empty(channels).double()
        for e in range(channels):
            state[e] = torch.exp(-size[e] * w["decay"][e].exp()) * state[e] + size[e] * b * u[e]
            y[e] = c @ state[e] + w["skip"][e] * u[e]
        found.append(w["output"] @ (y * z * sigmoid(z)))
    return torch.stack(found)


def grud(made, rows):
    w, h, found = weights_of(made), torch.zeros(H).double(), []
    for step in rows:
        x, m, gap, others = step[:P], step[P : 2 * P], step[2 * P : 3 * P], step[3 * P :]
        decay = torch.exp(-torch.clamp(w["value_decay"] * gap + w["value_decay_bias"], min=0))
        read = torch.cat([m * x + (1 - m) * (decay * x + (1 - decay) * 0), m, others])
        h = torch.exp(-torch.clamp(w["state_decay"] @ gap + w["state_decay_bias"], min=0)) * h
        a, u = w["weight"] @ read + w["bias"], w["recurrent"]
        r, z = sigmoid(a[:H] + u[:H] @ h), sigmoid(a[H : 2 * H] + u[H : 2 * H] @ h)
        candidate = torch.tanh(a[2 * H :] + u[2 * H :] @ (r * h))
        h = (1 - z) * h + z * candidate
        found.append(h)
    return torch.stack(found)


LITERAL = {"mingru": mingru, "slstm": slstm, "mlstm": mlstm, "cfc": cfc, "lru": lru, "mamba": mamba, "grud": grud}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_equations(name):
    made, inputs = layer(name), sequences()
    expected = torch.stack([LITERAL[name](made, rows) for rows in inputs])
    assert torch.allclose(made(inputs), expected, atol=1e-12)
    assert torch.allclose(made.by_step(made.features(inputs)), expected, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 31, 32, 33, 100])
@pytest.mark.parametrize("name", LINEAR)
def test_all_steps_at_once_are_the_steps_one_by_one(name, steps):
    made, inputs = layer(name), sequences(steps=steps)
    one, other = made.at_once(made.features(inputs)), made.by_step(made.features(inputs))
    assert (one - other).abs().max() < 1e-10


@pytest.mark.parametrize("name", LINEAR)
def test_so_are_their_gradients(name):
    made, inputs = layer(name), sequences(steps=40).requires_grad_()
    several = [inputs, *made.parameters()]
    one, other = (run(made.features(inputs)).square().sum() for run in (made.at_once, made.by_step))
    for mine, literal in zip(torch.autograd.grad(one, several), torch.autograd.grad(other, several), strict=True):
        assert torch.allclose(mine, literal, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_scan_can_be_differentiated_twice(dtype):
    torch.manual_seed(0)
    decay, update = (torch.randn(2, 4, 3, dtype=dtype, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(linear_scan, (decay, update))
    assert torch.autograd.gradgradcheck(linear_scan, (decay, update))


def test_torch_func_differentiates_it():
    made, inputs = layer("mamba"), sequences(rows=2, steps=9).requires_grad_()
    found = torch.func.grad(lambda values: made(values).square().sum())(inputs)
    assert torch.allclose(found, torch.autograd.grad(made(inputs).square().sum(), inputs)[0], atol=1e-12)


def test_decays_between_steps_are_products():
    logarithms = -torch.rand(6, 2).double()
    found = decays_between(logarithms)
    for t, s in itertools.product(range(6), repeat=2):
        expected = logarithms[s + 1 : t + 1].sum(0).exp() if s <= t else torch.zeros(2)
        assert torch.allclose(found[t, s], expected.double(), atol=1e-12)


class Watching(TorchFunctionMode):
    """Follows the operations of a model, as the propagation methods do."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.names.append(getattr(function, "__name__", ""))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", LAYERS)
def test_whoever_follows_the_operations_sees_the_definition(name):
    made, inputs = layer(name), sequences(rows=2, steps=7)
    with Watching() as watching:
        found = made(inputs)
    assert "apply" not in watching.names
    assert torch.equal(found, made.by_step(made.features(inputs)))


@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0, 1e3])
@pytest.mark.parametrize("name", LAYERS)
def test_outputs_and_gradients_are_numbers_in_float32(name, size):
    made = layer(name).float()
    inputs = (size * sequences(rows=2, steps=150)).float().requires_grad_()
    for outputs in (made(inputs), made.by_step(made.features(inputs))):
        assert outputs.isfinite().all()
        assert torch.autograd.grad(outputs.square().mean(), inputs, retain_graph=True)[0].isfinite().all()


@pytest.mark.parametrize("name", LAYERS)
def test_float32_is_float64_rounded(name):
    made, inputs = layer(name), sequences(rows=2, steps=100)
    expected = made(inputs)
    assert (made.float()(inputs.float()) - expected).abs().max() < 3e-5 * expected.abs().max()


@pytest.mark.parametrize("name", LINEAR)
def test_mixed_values_are_what_the_outputs_are_computed_from(name):
    made, rows = layer(name), sequences(rows=1, steps=9)[0]
    weights, values = made.mixing(rows)
    assert (
        (weights.abs().triu(1) == 0).all()
        if weights.dim() == 2
        else all((weights[..., channel].abs().triu(1) == 0).all() for channel in range(weights.shape[2]))
    )
    mixed = torch.einsum("tsc,scd->tcd", weights, values)
    features = made.features(rows)
    if name == "mingru":
        outputs = mixed.flatten(1)
    elif name == "mlstm":
        outputs = features[:, 3 * H : 4 * H].sigmoid() * mixed.flatten(1)
    elif name == "lru":
        outputs = made._output(mixed[..., 0].real, mixed[..., 0].imag, features[:, 2 * H :])
    else:
        read, gate = made._convolved(features[None])
        outputs = made._output(mixed[..., 0], read[0], gate[0])
    assert torch.allclose(outputs, made(rows[None])[0], atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_new_parameters_are_drawn_in_place(name):
    made = layer(name).float()
    before = weights_of(layer(name).float())
    torch.manual_seed(3)
    made.reset_parameters()
    fresh = torch.manual_seed(3) and LAYERS[name](D, H)
    for key, values in weights_of(made).items():
        assert not torch.equal(values, before[key])
        assert torch.equal(values, dict(fresh.named_parameters())[key])


# ---- in a network ---------------------------------------------------------------------------------------------------


def net(cell, pooling="last", *, bidirectional=False, layers=1):
    torch.manual_seed(0)
    options = {"measured": P} if cell == "grud" else {}
    made = AttentiveRecurrentNet(
        D, 4, 3, cell=cell, pooling=pooling, bidirectional=bidirectional, layers=layers, dropout=0.5, **options
    )
    return made.double().eval()


KINDS = itertools.product(LAYERS, POOLINGS, (False, True), (1, 2))
MEMBERS = [kind for kind in KINDS if kind[0] != "grud" or kind[3] == 1]


@pytest.mark.parametrize(("cell", "pooling", "bidirectional", "layers"), MEMBERS)
class TestEveryMember:
    def test_padding_and_company_do_not_matter(self, cell, pooling, bidirectional, layers):
        model, inputs = net(cell, pooling, bidirectional=bidirectional, layers=layers), sequences(4, 6)
        found = model(inputs, LENGTHS)
        padded = torch.cat([inputs, torch.full((4, 3, D), 9.0).double()], 1)
        padded[:, :6][torch.arange(6) >= LENGTHS[:, None]] = torch.inf
        assert torch.allclose(model(padded, LENGTHS), found, atol=1e-12)
        alone = [model(inputs[i : i + 1, :n], torch.tensor([n])) for i, n in enumerate(LENGTHS.tolist())]
        assert torch.allclose(torch.cat(alone), found, atol=1e-12)
        assert torch.equal(model(inputs), model(inputs, torch.full((4,), 6)))


@pytest.mark.parametrize("cell", LAYERS)
def test_backwards_is_forwards_over_the_reversed_sequence(cell):
    model, inputs = net(cell, bidirectional=True), sequences(1, 6)
    states = model.states(inputs)[0]
    one, other = model.recurrent.layers
    assert torch.allclose(states[..., :4], one(inputs), atol=1e-12)
    assert torch.allclose(states[..., 4:], other(inputs.flip(1)).flip(1), atol=1e-12)


@pytest.mark.parametrize("cell", [name for name in LAYERS if name != "grud"])
def test_a_translator_encodes_with_it_and_decodes_with_a_gru(cell):
    model = EncoderDecoder(9, 6, 8, embedding_size=5, cell=cell).double().eval()
    source = torch.randint(1, 9, (3, 5))
    produced = model.generate(source, torch.tensor([5, 3, 2]), 4)
    scores = model(source, torch.tensor([5, 3, 2]), produced)
    assert scores.shape == (3, 4, 6)
    assert torch.equal(scores.argmax(2)[:, 0], produced[:, 0])


@pytest.mark.parametrize(
    "options", [{"cell": "grud"}, {"cell": "gru", "measured": 1}, {"cell": "grud", "measured": 1, "layers": 2}]
)
def test_gaps_are_for_gru_d_alone(options):
    with pytest.raises(ValueError, match="GRU-D alone reads gaps"):
        RecurrentNet(D, 4, 2, **options)


@pytest.mark.parametrize("cell", ["foo", "", "LSTM"])
def test_a_cell_that_does_not_exist_is_refused(cell):
    with pytest.raises(ParameterError, match=f"cell='{cell}' does not fit .it is one of rnn, lstm, gru, mingru"):
        RecurrentNet(D, 4, 2, cell=cell)


def test_there_is_at_least_one_layer():
    with pytest.raises(ValueError, match="num_layers=0"):
        RecurrentNet(D, 4, 2, cell="lru", layers=0)


def test_gru_d_needs_values_masks_and_times():
    with pytest.raises(ValueError, match="of 2 parameters, not 5 features"):
        RecurrentNet(D, 4, 2, cell="grud", measured=2)


def test_a_network_says_what_it_is_made_of():
    assert "MinGru(5, 4)" in repr(net("mingru"))
    assert "GruD(5, 4, measured=1)" in repr(net("grud"))


# ---- prefixes are shared --------------------------------------------------------------------------------------------


def subject_of(cell, pooling="last", *, lengths=(12, 12, 7, 9), **kind):
    torch.manual_seed(0)
    options = {"measured": P} if cell == "grud" else {}
    model = RecurrentNet(D, 5, 2, cell=cell, pooling=pooling, **kind, **options).double()
    inputs = sequences(len(lengths), max(lengths))
    batch = Batch(inputs, torch.tensor(lengths), torch.zeros(len(lengths), dtype=torch.int64))
    return Subject(model, batch, torch.ones_like(inputs))


@pytest.mark.parametrize("kind", [{}, {"bidirectional": True}, {"layers": 2}])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.pairwise
def test_shared_prefixes_give_the_scores_of_each_row_alone(cell, pooling, kind, monkeypatch):
    if cell == "grud" and "layers" in kind:
        kind = {}
    monkeypatch.setattr(shared_prefixes, "_LARGE", 0)
    monkeypatch.setattr(shared_prefixes, "_CALL", 0)
    subject = subject_of(cell, pooling, **kind)
    instance, step = subject.batch.valid.nonzero(as_tuple=True)
    for keep in (torch.arange(12) != step[:, None], torch.arange(12) > step[:, None]):
        variants = Masked(keep, instance)
        before = subject.cost.copy()
        found = subject.outputs(variants)
        spent = subject.cost.since(before)
        assert spent.steps < 0.8 * float(subject.batch.lengths[instance].sum())
        lengths = variants.lengths(subject.batch)
        rows = variants.rows(torch.arange(len(lengths)), subject.batch, subject.reference)
        with torch.no_grad():
            alone = [subject.model.eval()(row[None, :n], n[None]) for row, n in zip(rows, lengths, strict=True)]
        assert torch.allclose(found, torch.cat(alone), atol=1e-12)


# ---- implicit attention ---------------------------------------------------------------------------------------------


def literal_attention(made, rows):
    """Weights by differences: what one step adds to the mixed values of each later one, channel by channel."""
    weights = made.mixing(rows).weights
    found = torch.zeros(len(rows), len(rows)).double()
    for t, s in itertools.product(range(len(rows)), repeat=2):
        found[t, s] = weights[t, s].abs().mean()
    return found / found.sum(1, keepdim=True)


@pytest.mark.parametrize("cell", LINEAR)
def test_implicit_attention_is_read_as_the_states_are(cell):
    for pooling in ("last", "mean", "attention"):
        model = net(cell, pooling)
        rows = sequences(1, 6)[0]
        matrix = literal_attention(model.recurrent.layers[0], rows)
        shares = {"last": torch.eye(6).double()[-1], "mean": torch.full((6,), 1 / 6).double()}
        if pooling == "attention":
            shares["attention"] = model.forward_with_attention(rows[None], torch.tensor([6]))[1][0]
        found = model.implicit_attention(rows[None], torch.tensor([6]))[0]
        assert torch.allclose(found, shares[pooling] @ matrix, atol=1e-12)


@pytest.mark.parametrize("cell", LINEAR)
def test_two_layers_in_two_directions_are_rolled_out(cell):
    model, rows = net(cell, bidirectional=True, layers=2), sequences(1, 6)[0]
    first = [
        literal_attention(layer, way)
        for layer, way in zip(model.recurrent.layers[:2], (rows, rows.flip(0)), strict=True)
    ]
    lower = (first[0] + first[1].flip(0, 1)) / 2
    one, other = model.recurrent.layers[:2]
    inside = torch.cat([one(rows[None]), other(rows.flip(0)[None]).flip(1)], 2)[0]
    second = [
        literal_attention(layer, way)
        for layer, way in zip(model.recurrent.layers[2:], (inside, inside.flip(0)), strict=True)
    ]
    expected = (second[0][-1] + second[1].flip(0, 1)[0]) / 2 @ lower
    assert torch.allclose(model.implicit_attention(rows[None], torch.tensor([6]))[0], expected, atol=1e-12)


@pytest.mark.parametrize("norms", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("cell", LINEAR)
def test_implicit_attention_sums_to_one_and_reads_no_padding(cell, pooling, norms):
    model, inputs = net(cell, pooling, bidirectional=True, layers=2), sequences(4, 6)
    found = model.implicit_attention(inputs, LENGTHS, norms=norms)
    valid = torch.arange(6) < LENGTHS[:, None]
    assert (found >= 0).all()
    assert (found[~valid] == 0).all()
    assert torch.allclose(found.sum(1), torch.ones(4).double())
    other = inputs.masked_fill(~valid[:, :, None], 7.0)
    assert torch.allclose(model.implicit_attention(other, LENGTHS, norms=norms), found, atol=1e-12)


def test_norms_weigh_what_is_mixed():
    model, rows = net("mingru"), sequences(1, 6)[0]
    weights, values = model.recurrent.layers[0].mixing(rows)
    expected = (weights[-1] * values[:, :, 0].abs()).mean(1)
    found = model.implicit_attention(rows[None], torch.tensor([6]), norms=True)[0]
    assert torch.allclose(found, expected / expected.sum(), atol=1e-12)


@pytest.mark.parametrize("cell", ["lstm", "slstm"])
def test_other_cells_have_none(cell):
    model = net(cell)
    assert not model.implicitly_attentive
    with pytest.raises(ValueError, match="not linear in their states"):
        model.implicit_attention(sequences(1, 6), torch.tensor([6]))
    with pytest.raises(UnsupportedModelError, match="no recurrent layers that are linear in their states"):
        subject_of(cell).implicit_attention()
