import copy

import pytest
import torch
from torch import nn

from xrnnbench.errors import ContractError, DataError, UnsupportedModelError
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.engine.variants import Given, Masked
from xrnnbench.tasks.models.networks import AttentionRNN, RecurrentNet
from xrnnbench.tasks.subject import Cost, Subject


def recurrent(batch, **options):
    torch.manual_seed(1)
    model = RecurrentNet(batch.inputs.shape[2], 5, 3, **options).eval()
    return Subject(model, batch, torch.zeros_like(batch.inputs))


def ordinary_batch():
    rng = torch.Generator().manual_seed(0)
    inputs = torch.randn(4, 5, 3, generator=rng)
    return Batch(inputs, torch.tensor([2, 5, 3, 5]), torch.zeros(4, dtype=torch.int64))


def test_outputs_are_those_of_each_sequence_alone(subject):
    found = subject.outputs(Given(subject.batch.inputs))
    for row, length in enumerate(subject.batch.lengths.tolist()):
        alone = subject.model(subject.batch.inputs[row : row + 1, :length])
        assert torch.allclose(found[row], alone[0], atol=1e-6)


def test_model_without_lengths_never_sees_padding(subject):
    subject.gradients(subject.batch.inputs)
    subject.outputs(Given(subject.batch.inputs))
    assert subject.model.seen
    assert not any((inputs == 77).any() for inputs in subject.model.seen)


def test_nothing_asked_is_nothing_run(subject):
    found = subject.outputs(Given(subject.batch.inputs[:0], torch.empty(0, dtype=torch.int64)))
    assert found.shape == (0, subject.batch_outputs.shape[1])
    assert subject.cost == Cost()


def test_order_is_restored_with_repeated_and_shuffled_instances(subject):
    of = torch.tensor([3, 0, 2, 2, 1, 0])
    found = subject.outputs(Given(subject.batch.inputs[of], of))
    assert torch.allclose(found, subject.batch_outputs[of], atol=1e-6)


def test_forward_is_counted_once_for_each_variant_and_run_once_for_each_different_one(subject):
    keep = torch.ones(6, 5, dtype=torch.bool)
    keep[:2, 0] = False
    subject.outputs(Masked(keep, torch.tensor([0, 0, 0, 1, 1, 2])))
    # two alike without their first step; whole: sequence 0, sequence 1 twice, sequence 2
    assert subject.cost == Cost(forward=6, backward=0, executed=4)


def test_what_is_known_beforehand_is_not_counted(subject):
    assert subject.batch_outputs.shape == subject.reference_outputs.shape == (4, 2)
    assert subject.score.shape == subject.reference_score.shape == (4,)
    assert subject.cost == Cost()


def test_gradients_are_counted_forward_and_backward_and_are_zero_on_padding(subject):
    scores, gradients = subject.gradients(subject.batch.inputs)
    assert subject.cost == Cost(forward=4, backward=4, executed=4)
    assert subject.cost.equivalents == 12
    assert torch.allclose(scores, subject.score, atol=1e-6)
    expected = subject.model.linear.weight[subject.target][:, None, :] * subject.batch.valid[:, :, None]
    assert torch.allclose(gradients, expected.detach())
    assert (gradients[~subject.batch.valid] == 0).all()


def test_passes_of_a_guest_are_counted_exactly(subject):
    inputs = subject.batch.inputs[:3].clone().requires_grad_()
    with subject.isolated("a guest"):
        subject.model(inputs)
        subject.model(inputs=inputs).sum().backward()
    assert subject.cost == Cost(forward=6, backward=3, executed=6)
    assert subject.cost.since(Cost(forward=2)) == Cost(forward=4, backward=3, executed=6)


def test_nothing_is_counted_outside(subject):
    subject.model(subject.batch.inputs)
    assert subject.cost == Cost()


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_size_of_a_batch_does_not_matter(rows):
    subject, other = recurrent(ordinary_batch()), recurrent(ordinary_batch())
    other.__dict__["_rows_per_batch"] = rows
    assert torch.allclose(subject.batch_outputs, other.batch_outputs, atol=1e-6)
    found, expected = other.gradients(subject.batch.inputs)[1], subject.gradients(subject.batch.inputs)[1]
    assert torch.allclose(found, expected, atol=1e-6)


def test_scores_are_of_the_target_on_the_scale_asked_for():
    subject = recurrent(ordinary_batch())
    everything = Given(subject.batch.inputs)
    logits = subject.outputs(everything)
    assert torch.equal(subject.target, logits.argmax(1))
    assert torch.equal(subject.scores(everything), logits.amax(1))
    assert torch.allclose(subject.scores(everything, "probability"), logits.softmax(1).amax(1))


def test_regression_explains_its_first_output_and_has_no_probabilities():
    batch = ordinary_batch()
    model = RecurrentNet(3, 5, 2).eval()
    subject = Subject(model, batch, torch.zeros_like(batch.inputs), outputs_are="values")
    assert subject.target.tolist() == [0] * 4
    everything = Given(batch.inputs)
    assert torch.equal(subject.scores(everything, "probability"), subject.scores(everything))


def test_granularity_is_by_step_where_steps_have_one_feature():
    assert recurrent(ordinary_batch()).shape == (4, 5, 3)
    batch = Batch(torch.randn(2, 4, 1), torch.tensor([4, 3]), torch.tensor([0, 0]))
    found = recurrent(batch)
    assert found.shape == (2, 4)
    assert found.valid.tolist() == batch.valid.tolist()


def test_attention_is_shown_with_its_gradient():
    batch = ordinary_batch()
    torch.manual_seed(0)
    subject = Subject(AttentionRNN(3, 5, 2), batch, torch.zeros_like(batch.inputs))
    weights, gradients = subject.attention_gradients()
    assert torch.equal(subject.attention(), weights)
    assert torch.allclose(weights.sum(1), torch.ones(4))
    assert (weights[~batch.valid] == 0).all()
    assert gradients.shape == weights.shape
    assert subject.cost == Cost(forward=8, backward=4, executed=8)


def test_derivative_by_attention_is_that_of_the_score():
    batch = Batch(
        torch.randn(1, 3, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([3]), torch.tensor([0])
    )
    torch.manual_seed(0)
    model = AttentionRNN(2, 4, 2)
    subject = Subject(model, batch, torch.zeros_like(batch.inputs))
    states = model.states(batch.inputs)[0][0]
    expected = states @ model.head.weight[subject.target[0]]
    assert torch.allclose(subject.attention_gradients()[1][0], expected, atol=1e-6)


def test_no_attention_is_said(subject):
    with pytest.raises(UnsupportedModelError, match="shows no attention"):
        subject.attention()


def test_selection_has_a_cost_of_its_own(subject):
    part = subject.select(torch.tensor([0, 2]))
    part.outputs(Given(part.batch.inputs))
    assert part.batch.inputs.shape == (2, 3, 3)
    assert torch.equal(part.target, subject.target[[0, 2]])
    assert (part.cost.forward, subject.cost.forward) == (2, 0)


def test_replacing_the_inputs_keeps_target_and_reference(subject):
    other = subject.replaced(torch.ones_like(subject.batch.inputs))
    assert torch.equal(other.target, subject.target)
    assert other.reference is subject.reference
    assert not torch.equal(other.batch_outputs, subject.batch_outputs)


class Returning(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, inputs):
        return self.make(inputs)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda x: (x, x), "returns a tuple"),
        (lambda x: x, "several output steps"),
        (lambda x: x[:, :, :, None], "expected scores"),
        (lambda x: x.sum((1, 2)) * torch.nan, "not finite"),
        (lambda x: x.sum(1).softmax(1), "probabilities, not logits"),
        (lambda x: x @ torch.zeros(7, 1), "cannot take the inputs .*RuntimeError"),
    ],
)
def test_unfit_model_is_refused_in_a_sentence(make, words):
    batch = ordinary_batch()
    with pytest.raises(DataError, match=words):
        Subject(Returning(make), batch, torch.zeros_like(batch.inputs)).check()


def test_logits_are_no_probabilities(subject):
    subject.outputs_are = "probabilities"
    with pytest.raises(DataError, match="does not return probabilities"):
        subject.check()


@pytest.mark.parametrize("target", [torch.tensor([0, 1, 2, 0]), torch.tensor([0, -1, 1, 0])])
def test_target_outside_of_the_outputs_is_refused(subject, target):
    subject.target = target
    with pytest.raises(DataError, match="is not among the 2 outputs"):
        subject.check()


@pytest.mark.parametrize("target", [torch.zeros(4), torch.zeros(3, dtype=torch.int64)])
def test_malformed_target_is_refused(subject, target):
    with pytest.raises(DataError, match="The target is"):
        Subject(subject.model, subject.batch, subject.reference, target)


def test_reference_of_another_shape_is_refused(subject):
    with pytest.raises(DataError, match="they must agree"):
        Subject(subject.model, subject.batch, subject.reference[:, :2])


def test_model_that_breaks_on_a_variant_is_one_cells_fault(subject):
    subject.model.linear.weight.data.fill_(1e38)
    with pytest.raises(ContractError, match="not finite"):
        subject.outputs(Given(subject.batch.inputs * 1e20))


def test_subject_leaves_its_model_as_it_was(subject):
    weights = copy.deepcopy(subject.model.state_dict())
    subject.model.train()
    subject.gradients(subject.batch.inputs)
    assert subject.model.training
    assert subject.model.linear.weight.grad is None
    assert all(torch.equal(value, weights[name]) for name, value in subject.model.state_dict().items())
