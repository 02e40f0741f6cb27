"""What a model reads its scores from, and the same question put to another model."""

import copy

import pytest
import torch
from torch import nn

from xrnnbench.errors import UnsupportedModelError
from xrnnbench.tasks.custom.arrays import context_from
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.engine.adapters import AdaptedModel
from xrnnbench.tasks.engine.variants import Given
from xrnnbench.tasks.models.networks import EncoderDecoder, RecurrentNet
from xrnnbench.tasks.subject import Cost, Subject

LENGTHS = torch.tensor([2, 5, 3, 5])


def subject_of(net, *, tokens=False, context=None):
    rng = torch.Generator().manual_seed(0)
    inputs = torch.randint(1, 6, (4, 5), generator=rng) if tokens else torch.randn(4, 5, 3, generator=rng)
    batch = Batch(inputs, LENGTHS, torch.zeros(4, dtype=torch.int64), {}, context or {})
    return Subject(net.eval(), batch, torch.zeros_like(inputs))


@pytest.mark.parametrize("options", [{}, {"pooling": "mean"}, {"pooling": "attention"}, {"bidirectional": True}])
def test_a_representation_is_what_the_head_reads(options):
    torch.manual_seed(0)
    subject = subject_of(RecurrentNet(3, 4, 2, **options))
    instance = torch.tensor([1, 0, 0, 3, 2])
    points = torch.randn(5, 5, 3)
    found = subject.representations(points, instance)
    assert subject.cost == Cost(forward=5, executed=5)
    assert found.shape == (5, 8 if "bidirectional" in options else 4)
    outputs = subject.outputs(Given(points, instance))
    assert torch.allclose(subject.model.head(found), outputs, atol=1e-6)
    assert not found.requires_grad
    assert not subject.model.head._forward_pre_hooks


def test_tokens_and_their_embeddings_have_the_same_representations():
    torch.manual_seed(0)
    subject = subject_of(RecurrentNet(3, 4, 2, vocabulary_size=6), tokens=True)
    smooth = subject.continuous()
    order = torch.arange(4)
    plain = subject.representations(subject.batch.inputs, order)
    assert torch.allclose(smooth.representations(smooth.batch.inputs, order), plain, atol=1e-6)


def test_of_several_output_steps_the_explained_one_counts():
    torch.manual_seed(0)
    net = EncoderDecoder(6, 7, 4)
    model = AdaptedModel(net, steps=True)
    produced = torch.randint(3, 7, (4, 3))
    subject = subject_of(model, tokens=True, context=context_from({"produced": produced}, [0, 2, 1, 2], 4, model))
    order = torch.tensor([3, 1, 2, 0])
    found = subject.representations(subject.batch.inputs[order], order)
    assert torch.allclose(net.head(found), subject.batch_outputs[order], atol=1e-6)
    assert subject.represents


class Steps(nn.Module):
    """Scores every step and averages the scores."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, inputs):
        return self.head(inputs).mean(1)


class Bare(nn.Module):
    """Reads its scores off the last step."""

    def forward(self, inputs):
        return inputs[:, -1, :2]


@pytest.mark.parametrize("net", [Steps(), Bare()])
def test_without_one_vector_for_each_sequence_there_is_none(net):
    subject = subject_of(net)
    before = subject.cost.copy()
    assert not subject.represents
    assert subject.cost == before
    with pytest.raises(UnsupportedModelError, match="has no representation"):
        subject.representations(subject.batch.inputs, torch.arange(4))


def test_the_same_question_is_put_to_another_model():
    torch.manual_seed(0)
    subject = subject_of(RecurrentNet(3, 4, 2))
    other = subject.with_model(RecurrentNet(3, 4, 2))
    assert torch.equal(other.target, subject.target)
    assert other.batch is subject.batch
    assert not torch.allclose(other.batch_outputs, subject.batch_outputs)
    assert other.cost == Cost()
    with other.isolated():
        other.outputs(Given(other.batch.inputs))
    assert (other.cost.forward, subject.cost.forward) == (4, 0)


def test_a_copy_made_while_passes_are_counted_is_not_counted():
    subject = subject_of(RecurrentNet(3, 4, 2))
    with subject.isolated():
        twin = copy.deepcopy(subject.model)
        twin(subject.batch.inputs)
        assert subject.cost == Cost()
        subject.model(subject.batch.inputs)
    assert subject.cost == Cost(forward=4, executed=4)
