"""What variants have in common is run once, and nothing shows but the count of steps."""

import copy
import dataclasses
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from xrnnbench.errors import DataError
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.engine import run_variants as running
from xrnnbench.tasks.engine import shared_prefixes as sharing
from xrnnbench.tasks.engine.prefix_tree import reversed_within
from xrnnbench.tasks.engine.shared_prefixes import shareable
from xrnnbench.tasks.engine.variants import Given, Masked, Prefix
from xrnnbench.tasks.models.networks import AttentiveRecurrentNet, RecurrentNet
from xrnnbench.tasks.subject import Subject

POOLINGS = ["last", "mean", "max", "attention", "dot-attention"]
KINDS = [
    {"cell": "lstm"}, {"cell": "gru", "bidirectional": True}, {"cell": "rnn", "layers": 2},
    {"cell": "lstm", "layers": 2, "bidirectional": True},
]  # fmt: skip


@pytest.fixture(autouse=True)
def small_models_share_too(monkeypatch):
    monkeypatch.setattr(sharing, "_LARGE", 0)
    monkeypatch.setattr(sharing, "_CALL", 0)


class Deaf(nn.Module):
    """Is not told lengths, and offers what its inside offers."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.shared_directions, self.shared_width = inner.shared_directions, inner.shared_width
        self.shared_reading, self.shared_rate = inner.shared_reading, inner.shared_rate

    def forward(self, inputs):
        return self.inner(inputs)

    def reader(self, direction):
        return self.inner.reader(direction)

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
@pytest.mark.pairwise
def test_outputs_are_those_of_each_row_alone(kind, pooling, tokens, monkeypatch):
    subject = make(kind, pooling, tokens=tokens)
    for name, variants in every_kind_of_variants(subject).items():
        found = subject.outputs(variants)
        assert torch.allclose(found, plain_outputs(subject, variants), atol=1e-12), name
    # cut into many parts, rows that come again in another part are found
    monkeypatch.setattr(running, "_VALUES_AT_ONCE", 1)
    monkeypatch.setattr(running, "_HASHES_KEPT", 0)
    monkeypatch.setattr(sharing, "_BYTES_AT_ONCE", 0)
    monkeypatch.setattr(sharing, "_LEAST_ROWS", 7)
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
@pytest.mark.full
def test_any_lengths(lengths, kind, pooling, deaf):
    subject = make(kind, pooling, lengths, dress=Deaf if deaf else lambda model: model)
    for name, variants in every_kind_of_variants(subject).items():
        assert torch.allclose(subject.outputs(variants), plain_outputs(subject, variants), atol=1e-12), name


def nodes(subject, variants, *, backwards=False):
    """How many different beginnings the different rows have, counted one by one."""
    lengths = variants.lengths(subject.batch)
    rows = variants.rows(torch.arange(len(lengths)), subject.batch, subject.reference)
    words = {tuple(map(str, row[:n].tolist())) for row, n in zip(rows, lengths.tolist(), strict=True)}
    words = [word[::-1] if backwards else word for word in words]
    return len({word[:end] for word in words for end in range(1, len(word) + 1)})


@pytest.mark.parametrize("kind", KINDS[:3])
def test_each_beginning_is_run_once(kind):
    subject = make(kind, lengths=[20] * 8)
    subject.outputs(Given(subject.batch.inputs[:1]))
    for name, variants in every_kind_of_variants(subject).items():
        before = subject.cost.copy()
        subject.outputs(variants)
        ways = [False, True][: subject.model.shared_directions]
        counted = sum(nodes(subject, variants, backwards=way) for way in ways) // len(ways)
        assert subject.cost.since(before).steps == counted, name


@pytest.mark.parametrize("kind", KINDS[:3])
def test_half_the_steps_of_occlusion_and_nested_deletion_are_saved(kind):
    subject = make(kind, lengths=[50] * 8)
    variants = every_kind_of_variants(subject)
    for name in ("occlusion", "nested"):
        before = subject.cost.copy()
        subject.outputs(variants[name])
        assert 0.48 < subject.cost.since(before).steps / (8 * 50 * 50) < 0.54, name


def test_what_has_nothing_in_common_is_run_in_plain_batches(monkeypatch):
    monkeypatch.setattr(sharing, "_CALL", 10)
    subject = make({"cell": "lstm"}, lengths=[20] * 8)
    monkeypatch.setattr(RecurrentNet, "reader", lambda *_: pytest.fail("shared"))
    before = subject.cost.copy()
    subject.outputs(Given(torch.randn(40, 20, 3).double(), torch.arange(40) % 8))
    assert subject.cost.since(before).steps == 40 * 20


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4), kind=st.sampled_from(KINDS), cells=st.booleans(),
    pooling=st.sampled_from(POOLINGS), count=st.integers(1, 20), share=st.sampled_from([0.1, 0.5, 0.9]),
    seed=st.integers(0, 99), chunk=st.integers(1, 30),
)  # fmt: skip
def test_any_masks_in_any_chunks(lengths, kind, cells, pooling, count, share, seed, chunk):
    subject = make(kind, pooling, lengths)
    rng = torch.Generator().manual_seed(seed)
    shape = subject.batch.inputs.shape[1:] if cells else subject.batch.inputs.shape[1:2]
    keep = torch.rand(count, *shape, generator=rng) < share
    variants = Masked(keep, torch.randint(len(lengths), (count,), generator=rng))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharing, "rows_at_once", lambda *_: chunk)
        patch.setattr(running, "rows_at_once", lambda *_: chunk)
        patch.setattr(running, "_VALUES_AT_ONCE", chunk)
        patch.setattr(running, "_HASHES_KEPT", chunk * 8)
        subject.__dict__["_rows_per_batch"] = chunk
        assert torch.allclose(subject.outputs(variants), plain_outputs(subject, variants), atol=1e-12)


def test_float32_differs_in_the_last_bits_only():
    torch.manual_seed(0)
    for kind in KINDS[:3]:
        model = RecurrentNet(6, 32, 2, pooling="mean", **kind)
        inputs = torch.randn(4, 60, 6)
        subject = Subject(model, Batch(inputs, torch.full((4,), 60), torch.zeros(4, dtype=torch.int64)), 0 * inputs)
        variants = every_kind_of_variants(subject)["nested"]
        assert (subject.outputs(variants) - plain_outputs(subject, variants)).abs().max() < 1e-6


SEEDED = """
import torch
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.models.networks import RecurrentNet
from xrnnbench.tasks.subject import Subject
from xrnnbench.tasks.engine.variants import Masked
torch.set_num_threads(1); torch.manual_seed(0)
inputs = torch.randn(6, 20, 3)
model = RecurrentNet(3, 64, 2)
subject = Subject(model, Batch(inputs, torch.full((6,), 20), torch.zeros(6, dtype=torch.int64)), 0 * inputs)
outputs = subject.outputs(Masked(torch.rand(90, 20) < 0.9, torch.arange(90) % 6))
print(outputs.numpy().tobytes().hex(), subject.cost.steps)
"""


@pytest.mark.full
def test_every_process_gives_the_same_bits():
    found = [
        subprocess.run(
            [sys.executable, "-c", SEEDED], env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert found[0] == found[1] != b""


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

    with pytest.raises(DataError, match=r"shares prefixes .* the scores differ from those of its forward"):
        make({"cell": "gru"}, dress=Wrong)


def test_small_models_are_run_in_plain_batches(monkeypatch):
    monkeypatch.setattr(sharing, "_LARGE", 900)
    for steps, shares in ((12, False), (200, True)):
        subject = make({"cell": "gru"}, lengths=[steps] * 3)
        before = subject.cost.copy()
        subject.outputs(every_kind_of_variants(subject)["nested"])
        spent = subject.cost.since(before)
        assert (spent.steps < spent.executed * steps) == shares


class Elsewhere(torch.Tensor):
    """Stands for a tensor on a GPU, where :class:`Pretending` is."""


class Pretending(TorchFunctionMode):
    """A GPU that is none: tensors sent there are marked, and whatever mixes them with others fails, as there."""

    PLACE = torch.device("cuda")

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [part for part in tree_leaves((args, kwargs)) if isinstance(part, torch.Tensor)]
        there = [isinstance(tensor, Elsewhere) for tensor in tensors]
        if getattr(function, "__self__", None) is torch.Tensor.device and any(there):
            return self.PLACE
        if function is torch.Tensor.cpu:
            return function(*args).as_subclass(torch.Tensor)
        if self.PLACE in args[1:] or kwargs.pop("device", None) == self.PLACE:
            found = args[0] if function is torch.Tensor.to else function(*args, **kwargs)
            return found.as_subclass(Elsewhere)
        if function.__name__ in {"_pack_padded_sequence", "_pad_packed_sequence"}:  # whose sizes stay on the CPU
            data, sizes = function(*args, **kwargs)
            return data, sizes.as_subclass(torch.Tensor)
        alike = all(own or not tensor.dim() for own, tensor in zip(there, tensors, strict=True))
        if any(there) and not alike and function.__name__ not in {"lstm", "gru"}:
            raise RuntimeError(f"{function} mixes devices")
        return function(*args, **kwargs)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.pairwise
def test_a_model_elsewhere_is_run_there(kind, pooling):
    subject = make(kind, pooling)
    variants = every_kind_of_variants(subject)
    model = copy.deepcopy(subject.model)
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                module._parameters[name] = nn.Parameter(parameter.detach().as_subclass(Elsewhere))
    other = dataclasses.replace(subject, model=model)
    for name, asked in variants.items():
        with Pretending():
            found = other.outputs(asked)
        assert type(found) is torch.Tensor
        assert torch.equal(found, subject.outputs(asked)), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_on_a_gpu_gives_what_it_gives_on_the_cpu(kind, pooling):
    subject = make(kind, pooling)
    variants = every_kind_of_variants(subject)
    expected = {name: subject.outputs(asked) for name, asked in variants.items()}
    other = dataclasses.replace(subject, model=copy.deepcopy(subject.model).cuda())
    for name, asked in variants.items():
        found = other.outputs(asked)
        assert found.device.type == "cpu"
        assert torch.allclose(found, expected[name], atol=1e-10), name
