"""The cells of today are explained as LSTM and GRU are: exactly, and the same however their steps are computed."""

import itertools

import pytest
import torch
from torch import nn

from xrnnbench.methods.attention.attention_weights import Attention
from xrnnbench.plugins import build
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.models.networks import AttentiveRecurrentNet, EncoderDecoder, RecurrentNet
from xrnnbench.tasks.subject import Subject

CELLS = ("mingru", "slstm", "mlstm", "cfc", "lru", "mamba", "grud")
LINEAR = ("mingru", "mlstm", "lru", "mamba")
KINDS = {
    "one layer": {},
    "both directions, attention": {"bidirectional": True, "pooling": "attention"},
    "two layers, mean": {"layers": 2, "pooling": "mean"},
}
D, LENGTHS = 4, torch.tensor([12, 9, 1, 5])
WHICH = [
    pytest.param(cell, kind, id=f"{cell}-{kind}")
    for cell, kind in itertools.product(CELLS, KINDS)
    if cell != "grud" or KINDS[kind].get("layers", 1) == 1
]


def inputs_of(seed=0):
    values = torch.randn(len(LENGTHS), 12, D, generator=torch.Generator().manual_seed(seed)).double()
    return values * (torch.arange(12) < LENGTHS[:, None])[:, :, None]


def subject_of(cell, kind="one layer", reference=None):
    torch.manual_seed(0)
    options = {"measured": 1} if cell == "grud" else {}
    model = AttentiveRecurrentNet(D, 8, 3, cell=cell, **KINDS[kind], **options).double()
    inputs = inputs_of()
    batch = Batch(inputs, LENGTHS, torch.zeros(len(LENGTHS), dtype=torch.int64))
    return Subject(model, batch, torch.zeros_like(inputs) if reference is None else reference)


@pytest.mark.parametrize(("cell", "kind"), WHICH)
def test_deeplift_is_exact(cell, kind):
    for reference in (None, inputs_of(seed=1)):
        subject = subject_of(cell, kind, reference)
        values = build("method", "deeplift").explain(subject).values
        difference = subject.score - subject.reference_score
        assert torch.allclose(values.flatten(1).sum(1), difference, atol=1e-12)


class Looped(nn.Module):
    """The same network as somebody else would write it: a loop over the steps of a sequence."""

    def __init__(self, net):
        super().__init__()
        self.layer, self.head = net.recurrent.layers[0], net.head

    def forward(self, inputs, lengths):
        state, outputs = self.layer.begin(), []
        for step in range(inputs.shape[1]):
            output, state = self.layer.advance(self.layer.features(inputs[:, step]), state)
            outputs.append(output)
        return self.head(torch.stack(outputs, 1)[torch.arange(len(inputs)), lengths - 1])


@pytest.mark.parametrize("method", ["deeplift", "contextual-decomposition", "integrated-gradients", "occlusion"])
@pytest.mark.parametrize("cell", CELLS)
def test_explanations_are_those_of_the_loop_over_the_steps(cell, method):
    subject = subject_of(cell)
    looped = subject.with_model(Looped(subject.model))
    found, literal = (build("method", method).explain(each).values for each in (subject, looped))
    assert torch.allclose(found, literal, atol=1e-10)
    assert found.abs().max() > 1e-3


@pytest.mark.parametrize("cell", LINEAR)
def test_implicit_attention_is_a_method(cell):
    subject = subject_of(cell)
    for name, norms in (("implicit-attention", False), ("implicit-attention-norm", True)):
        method = build("method", name)
        assert not method.applicable(subject)
        before = subject.cost.copy()
        values = method.explain(subject).values
        assert subject.cost.since(before).forward == len(subject)
        assert torch.allclose(values, subject.implicit_attention(norms=norms))
        assert torch.allclose(values.sum(1), torch.ones(len(subject)).double())
        assert (values[~subject.batch.valid] == 0).all()
    assert not torch.allclose(values, build("method", "implicit-attention").explain(subject).values)


@pytest.mark.parametrize("cell", ["lstm", "gru", "slstm", "cfc"])
def test_it_is_not_applicable_to_others_and_says_why(cell):
    for subject in (subject_of(cell), subject_of(cell).with_model(Looped(subject_of("mingru").model))):
        reason = build("method", "implicit-attention").applicable(subject)
        assert (
            reason == "the model has no recurrent layers that are linear in their states (minGRU, mLSTM, LRU or Mamba)"
        )


def test_nor_to_a_translator():
    model = EncoderDecoder(6, 7, 4, cell="mlstm")
    assert not getattr(model, "implicitly_attentive", False)


@pytest.mark.parametrize("cell", LINEAR)
def test_tokens_have_it_too(cell):
    torch.manual_seed(0)
    model = RecurrentNet(D, 8, 2, cell=cell, vocabulary_size=9, pooling="max", bidirectional=True)
    tokens = torch.randint(1, 9, (3, 7))
    batch = Batch(tokens, torch.full((3,), 7), torch.zeros(3, dtype=torch.int64))
    subject = Subject(model, batch, torch.ones_like(tokens))
    assert build("method", "implicit-attention").explain(subject).values.sum(1) == pytest.approx(torch.ones(3))
    assert Attention().applicable(subject)


def test_an_open_gate_keeps_the_first_step():
    """Of a minGRU whose gate opens at one step only, this step has all the weight."""
    subject = subject_of("mingru")
    layer = subject.model.recurrent.layers[0]
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[8:, 0] = 100
        layer.bias[8:] = -50
    subject.batch.inputs[:, :, 0] = 0
    subject.batch.inputs[:, 0, 0] = 1
    values = build("method", "implicit-attention").explain(subject).values
    assert torch.allclose(values[:, 0], torch.ones(4).double())
