"""What variants have in common is run once, and nothing shows but the count of steps."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xrnnbench.errors import DataError
from xrnnbench.tasks import running, sharing
from xrnnbench.tasks.data import Batch
from xrnnbench.tasks.models.networks import AttentiveRecurrentNet, RecurrentNet
from xrnnbench.tasks.sharing import bounds_of, reversed_within, shareable
from xrnnbench.tasks.subject import Subject
from xrnnbench.tasks.variants import Given, Masked, Prefix

POOLINGS = ["last", "mean", "max", "attention", "dot-attention"]
KINDS = [
    {"cell": "lstm"}, {"cell": "gru", "bidirectional": True}, {"cell": "rnn", "layers": 2},
    {"cell": "lstm", "layers": 2, "bidirectional": True},
]  # fmt: skip


@pytest.fixture(autouse=True)
def small_models_share_too(monkeypatch):
    monkeypatch.setattr(sharing, "_LARGE", 0)


class Deaf(nn.Module):
    """Is not told lengths, and offers what its inside offers."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.shared_directions, self.shared_width = inner.shared_directions, inner.shared_width

    def forward(self, inputs):
        return self.inner(inputs)

    def advance(self, segment, state, direction):
        return self.inner.advance(segment, state, direction)

    def read_out(self, states, lengths):
        return self.inner.read_out(states, lengths)


def make(kind, pooling="last", lengths=(12, 12, 7, 9), *, tokens=False, dress=lambda model: model, seed=0):
    torch.manual_seed(seed)
    vocabulary = {"vocabulary_size": 6} if tokens else {}
    model = dress(RecurrentNet(3, 5, 2, pooling=pooling, **vocabulary, **kind).double())
    lengths = torch.tensor(lengths)
    steps = int(lengths.max())
    valid = torch.arange(steps) < lengths[:, None]
    if tokens:
        inputs = torch.randint(1, 6, (len(lengths), steps)) * valid
    else:
        inputs = torch.randn(len(lengths), steps, 3).double() * valid[..., None]
    batch = Batch(inputs, lengths, torch.zeros(len(lengths), dtype=torch.int64))
    return Subject(model, batch, torch.ones_like(inputs) * (valid if tokens else valid[..., None]))


def every_kind_of_variants(subject):
    instance, step = subject.batch.valid.nonzero(as_tuple=True)
    single = torch.arange(subject.batch.inputs.shape[1]) != step[:, None]
    nested = torch.arange(subject.batch.inputs.shape[1]) > step[:, None]
    rng = torch.Generator().manual_seed(1)
    return {
        "occlusion": Masked(single, instance),
        "nested": Masked(nested, instance),
        "half": Masked(torch.rand(single.shape, generator=rng) < 0.5, instance),
        "prefix": Prefix(instance, step + 1),
        "deleted": Masked(single, instance).deleted(),
        "twice": Masked(torch.cat([single, single]), torch.cat([instance, instance])),
        "one": Given(subject.batch.inputs[:1]),
    }


def plain_outputs(subject, variants):
    """Each row alone, by the model itself."""
    lengths = variants.lengths(subject.batch)
    rows = variants.rows(torch.arange(len(lengths)), subject.batch, subject.reference)
    deaf = not isinstance(subject.model, RecurrentNet)
    with torch.no_grad():
        found = [
            subject.model.eval()(row[None, :length], *([] if deaf else [length[None]]))
            for row, length in zip(rows, lengths, strict=True)
        ]
    return torch.cat(found)


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_those_of_each_row_alone(kind, pooling, tokens, monkeypatch):
    subject = make(kind, pooling, tokens=tokens)
    for name, variants in every_kind_of_variants(subject).items():
        found = subject.outputs(variants)
        assert torch.allclose(found, plain_outputs(subject, variants), atol=1e-12), name
    # cut into many parts, rows that come again in another part are found
    monkeypatch.setattr(running, "_VALUES_AT_ONCE", 1)
    monkeypatch.setattr(running.Runner, "_rows_at_once", 7)
    for name, variants in every_kind_of_variants(subject).items():
        before = subject.cost.copy()
        found = subject.outputs(variants)
        assert torch.allclose(found, plain_outputs(subject, variants), atol=1e-12), name
        spent = subject.cost.since(before)
        assert spent.forward == len(variants.instance)
        distinct = {(int(n), str(row[:n].tolist())) for n, row in zip(
            variants.lengths(subject.batch),
            variants.rows(torch.arange(len(variants.instance)), subject.batch, subject.reference), strict=True,
        )}  # fmt: skip
        assert spent.executed == len(distinct)


@settings(deadline=None, max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=5), kind=st.sampled_from(KINDS),
    pooling=st.sampled_from(POOLINGS), deaf=st.booleans(),
)  # fmt: skip
def test_any_lengths(lengths, kind, pooling, deaf):
    subject = make(kind, pooling, lengths, dress=Deaf if deaf else lambda model: model)
    for name, variants in every_kind_of_variants(subject).items():
        assert torch.allclose(subject.outputs(variants), plain_outputs(subject, variants), atol=1e-12), name


@pytest.mark.parametrize("kind", KINDS[:3])
def test_half_the_steps_of_occlusion_and_nested_deletion_are_saved(kind):
    subject = make(kind, lengths=[50] * 8)
    variants = every_kind_of_variants(subject)
    subject.outputs(variants["one"])
    for name in ("occlusion", "nested"):
        before = subject.cost.copy()
        subject.outputs(variants[name])
        share = subject.cost.since(before).steps / (8 * 50 * 50)
        assert 0.5 < share < 0.62, name
    before = subject.cost.copy()
    subject.outputs(variants["half"])
    assert subject.cost.since(before).steps == 8 * 50 * 50  # nothing in common that would be worth it


def test_segments_cover_the_sequence_once():
    for steps in (1, 2, 3, 10, 50, 2000):
        bounds = bounds_of(steps, steps)
        assert bounds[0] == 0
        assert bounds[-1] == steps
        assert all(a < b for a, b in itertools.pairwise(bounds))
    assert bounds_of(100, 25) == [0, 10, 20, 25]


def test_reversal_leaves_padding_behind():
    rows = torch.tensor([[1, 2, 3, 0], [1, 2, 3, 4]])
    assert reversed_within(rows, torch.tensor([3, 4])).tolist() == [[3, 2, 1, 0], [4, 3, 2, 1]]
    assert reversed_within(rows[1:], torch.tensor([4])).tolist() == [[4, 3, 2, 1]]


def test_a_class_with_a_forward_of_its_own_shares_nothing_it_inherited():
    class Twice(RecurrentNet):
        def forward(self, inputs, lengths=None):
            return 2 * super().forward(inputs, lengths)

    assert shareable(RecurrentNet(3, 4, 2))
    assert shareable(AttentiveRecurrentNet(3, 4, 2, pooling="attention"))
    assert not shareable(Twice(3, 4, 2))
    assert not shareable(nn.Linear(2, 2))
    stacked = RecurrentNet(3, 4, 2, layers=2, bidirectional=True)
    assert not shareable(stacked)


def test_an_offer_that_does_not_hold_is_refused():
    class Wrong(Deaf):
        def read_out(self, states, lengths):
            return super().read_out(states, lengths) + 1

    with pytest.raises(DataError, match=r"offers to share common beginnings .* do not give what its forward does"):
        make({"cell": "gru"}, dress=Wrong)


def test_small_models_are_run_in_plain_batches(monkeypatch):
    monkeypatch.setattr(sharing, "_LARGE", 900)
    for steps, shares in ((12, False), (200, True)):
        subject = make({"cell": "gru"}, lengths=[steps] * 3)
        before = subject.cost.copy()
        subject.outputs(every_kind_of_variants(subject)["nested"])
        spent = subject.cost.since(before)
        assert (spent.steps < spent.executed * steps) == shares
