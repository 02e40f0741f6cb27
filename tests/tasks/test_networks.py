import itertools

import pytest
import torch

from xrnnbench.tasks.models.networks import AttentionRNN, AttentiveRecurrentNet, RecurrentNet

CELLS = ("rnn", "lstm", "gru")
POOLINGS = ("last", "mean", "max", "attention", "dot-attention")
EVERY = [
    pytest.param(*kind, id="-".join(map(str, kind)))
    for kind in itertools.product(CELLS, POOLINGS, (False, True), (1, 2))
]
LENGTHS = torch.tensor([3, 6, 1, 4])


def net(cell="lstm", pooling="last", *, bidirectional=False, layers=1):
    torch.manual_seed(0)
    model = AttentiveRecurrentNet(
        2, 4, 3, cell=cell, pooling=pooling, bidirectional=bidirectional, layers=layers, dropout=0.5
    )
    return model.double().eval()


def inputs():
    return torch.randn(4, 6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


# ---- a literal re-implementation: one sequence, one step at a time --------------------------------------------------


def rnn_step(x, state, w):
    h = torch.tanh(w["ih"] @ x + w["b_ih"] + w["hh"] @ state[0] + w["b_hh"])
    return (h,)


def lstm_step(x, state, w):
    h, c = state
    gates = w["ih"] @ x + w["b_ih"] + w["hh"] @ h + w["b_hh"]
    i, f, g, o = gates.chunk(4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def gru_step(x, state, w):
    (h,) = state
    r_x, z_x, n_x = (w["ih"] @ x + w["b_ih"]).chunk(3)
    r_h, z_h, n_h = (w["hh"] @ h + w["b_hh"]).chunk(3)
    z = torch.sigmoid(z_x + z_h)
    n = torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h)
    return ((1 - z) * n + z * h,)


STEPS = {"rnn": rnn_step, "lstm": lstm_step, "gru": gru_step}


def one_direction(cell, model, layer, suffix, sequence):
    parameters = dict(model.recurrent.named_parameters())
    names = {"ih": "weight_ih", "hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh"}
    weights = {short: parameters[f"{long}_l{layer}{suffix}"] for short, long in names.items()}
    state = tuple(torch.zeros(4, dtype=torch.float64) for _ in range(2 if cell == "lstm" else 1))
    states = []
    for x in sequence:
        state = STEPS[cell](x, state, weights)
        states.append(state[0])
    return states


def literal(cell, pooling, bidirectional, layers, model, sequence):
    rows = list(sequence)
    for layer in range(layers):
        forward = one_direction(cell, model, layer, "", rows)
        backward = []
        if bidirectional:
            backward = one_direction(cell, model, layer, "_reverse", rows[::-1])[::-1]
        rows = [torch.cat(pair) for pair in zip(forward, backward, strict=True)] if bidirectional else forward
    states = torch.stack(rows)
    if pooling == "last":
        pooled = torch.cat([forward[-1], backward[0]]) if bidirectional else forward[-1]
    elif pooling == "mean":
        pooled = states.mean(0)
    elif pooling == "max":
        pooled = states.max(0).values
    else:
        attention = model.attention
        if pooling == "attention":
            keys = [torch.tanh(attention.project.weight @ h + attention.project.bias) for h in rows]
            energies = [attention.query.weight[0] @ key for key in keys]
        else:
            energies = [attention.query.weight[0] @ h / len(h) ** 0.5 for h in rows]
        weights = torch.stack([energy.exp() for energy in energies])
        pooled = sum(weight * h for weight, h in zip(weights / weights.sum(), rows, strict=True))
    return model.head.weight @ pooled + model.head.bias


@pytest.mark.parametrize(("cell", "pooling", "bidirectional", "layers"), EVERY)
class TestEveryMember:
    def test_is_its_literal_definition(self, cell, pooling, bidirectional, layers):
        model = net(cell, pooling, bidirectional=bidirectional, layers=layers)
        found = model(inputs(), LENGTHS)
        for row, length in enumerate(LENGTHS.tolist()):
            expected = literal(cell, pooling, bidirectional, layers, model, inputs()[row, :length])
            assert torch.allclose(found[row], expected, atol=1e-12)

    def test_padding_and_company_do_not_matter(self, cell, pooling, bidirectional, layers):
        model = net(cell, pooling, bidirectional=bidirectional, layers=layers)
        found = model(inputs(), LENGTHS)
        padded = torch.cat([inputs(), torch.full((4, 3, 2), 9.0, dtype=torch.float64)], 1)
        padded[:, :6][torch.arange(6) >= LENGTHS[:, None]] = -5.0
        assert torch.allclose(model(padded, LENGTHS), found, atol=1e-12)
        alone = [model(inputs()[i : i + 1, :n], torch.tensor([n])) for i, n in enumerate(LENGTHS.tolist())]
        assert torch.allclose(torch.cat(alone), found, atol=1e-12)

    def test_full_sequences_need_no_lengths(self, cell, pooling, bidirectional, layers):
        model = net(cell, pooling, bidirectional=bidirectional, layers=layers)
        assert torch.equal(model(inputs()), model(inputs(), torch.full((4,), 6)))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_mean_pooling_is_the_mean_of_the_steps_scores(cell, bidirectional):
    model = net(cell, "mean", bidirectional=bidirectional)
    scores = model.step_scores(inputs(), LENGTHS)
    means = torch.stack([scores[i, :n].mean(0) for i, n in enumerate(LENGTHS.tolist())])
    assert torch.allclose(model(inputs(), LENGTHS), means, atol=1e-12)


@pytest.mark.parametrize("pooling", ["attention", "dot-attention"])
def test_attention_sums_to_one_and_is_what_was_pooled_with(pooling):
    model = net("gru", pooling, bidirectional=True)
    scores, weights, states = model.forward_with_attention(inputs(), LENGTHS)
    assert torch.allclose(model.head((weights[:, :, None] * states).sum(1)), scores)
    assert torch.equal(scores, model(inputs(), LENGTHS))
    assert torch.allclose(weights.sum(1), torch.ones(4, dtype=torch.float64))
    assert (weights[torch.arange(6) >= LENGTHS[:, None]] == 0).all()


def test_pooling_without_attention_shows_none():
    with pytest.raises(ValueError, match="'mean' has no attention"):
        net(pooling="mean").forward_with_attention(inputs(), LENGTHS)


def test_tokens_are_embedded_and_padding_is_zero():
    model = RecurrentNet(3, 4, 2, vocabulary_size=5)
    assert model(torch.tensor([[1, 2, 0]]), torch.tensor([2])).shape == (1, 2)
    assert (model.embedding.weight[0] == 0).all()


def test_attention_rnn_is_the_plain_member():
    model = AttentionRNN(2, 4, 3)
    assert isinstance(model.recurrent, torch.nn.LSTM)
    assert model.pooling == "attention"
    assert model(inputs().float(), LENGTHS).shape == (4, 3)
