import copy
import re

import numpy as np
import pytest
import torch
from torch import nn

from xrnnbench.errors import DataError
from xrnnbench.plugins import build
from xrnnbench.tasks.base import Task
from xrnnbench.tasks.conformance import check_task
from xrnnbench.tasks.custom.given import GivenTask
from xrnnbench.tasks.data.batch import Batch, Names, Truth
from xrnnbench.tasks.models.networks import RecurrentNet

FEATURES = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([4, 2, 3])
CLASSES = torch.tensor([0, 2, 1])
TOKENS = torch.tensor([[1, 2, 3, 4], [5, 1, 0, 0], [2, 2, 2, 0]])


def net(outputs=3, **options):
    torch.manual_seed(0)
    return RecurrentNet(2, 4, outputs, **options)


def given(**changed):
    return Task.from_model(**{"model": net(), "inputs": FEATURES, "lengths": LENGTHS, "targets": CLASSES} | changed)


def test_task_of_a_users_own():
    task = given(name="my-net", names=Names(outputs=("a", "b", "c")))
    subject = task.subject(0)
    assert isinstance(task, GivenTask)
    assert (task.name, task.spec, task.trainable) == ("my-net", "my-net", False)
    assert build("task", task) is task
    assert torch.equal(subject.batch.inputs, FEATURES)
    assert (subject.reference == 0).all()
    assert subject.classification
    assert subject.background is None
    assert subject.names.outputs == ("a", "b", "c")
    assert torch.equal(task.subject(5).batch_outputs, subject.batch_outputs)


def test_arrays_are_taken_in_the_models_precision():
    task = given(inputs=FEATURES.double().numpy(), lengths=LENGTHS.numpy().astype(np.int32), targets=CLASSES.tolist())
    assert task.batch.inputs.dtype == torch.float32
    assert torch.equal(task.batch.inputs, FEATURES)
    assert task.batch.lengths.dtype == task.batch.targets.dtype == torch.int64
    assert given(model=net().double()).batch.inputs.dtype == torch.float64


def test_later_changes_outside_do_not_reach_the_task():
    inputs = FEATURES.clone()
    task = given(inputs=inputs)
    inputs += 1
    assert torch.equal(task.batch.inputs, FEATURES)


def test_no_lengths_are_full_lengths():
    assert given(lengths=None).batch.lengths.tolist() == [4, 4, 4]


def test_values_are_a_regression():
    task = given(model=net(1), targets=np.array([0.5, 1.5, 2.5]))
    assert task.batch.targets.shape == (3, 1)
    assert task.outputs == "values"
    counts = given(model=net(1), targets=CLASSES, outputs="values")
    assert counts.batch.targets.is_floating_point()


def test_reference_of_tokens_is_the_padding():
    model = net(vocabulary_size=6)
    assert (given(model=model, inputs=TOKENS).reference == 0).all()
    model.embedding = nn.Embedding(6, 2, padding_idx=5)
    assert (given(model=model, inputs=TOKENS).reference == 5).all()


def test_reference_may_be_one_step_for_all():
    task = given(reference=np.array([1.0, 2.0]))
    assert task.reference.shape == FEATURES.shape
    assert task.reference[2, 3].tolist() == [1, 2]


def test_background_is_a_batch_or_full_length_inputs():
    assert given(background=FEATURES[:2]).background.lengths.tolist() == [4, 4]
    batch = Batch(FEATURES, LENGTHS, CLASSES)
    assert torch.equal(given(background=batch).subject(0).background.inputs, batch.inputs)


def test_truth_comes_by_itself_or_in_several_readings():
    truth = Truth(torch.tensor([[1.0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]), "planted", "the class")
    assert given(truth=truth).batch.truth is truth
    assert list(given(truth={"one": truth, "other": truth}).batch.truths) == ["one", "other"]


def shifted():
    model = net()
    model.head.bias.data -= 5
    return model


class Softmax(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, inputs, lengths):
        return self.net(inputs, lengths).softmax(1)


class Pair(nn.Module):
    def forward(self, inputs):
        return inputs.sum(1), inputs


def test_probabilities_are_taken_when_said_to_be_that():
    assert given(model=Softmax(), outputs="probabilities").subject(0).outputs_are == "probabilities"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": "  "}, "'  ' is no name for a task"),
        (
            {"model": lambda x: x},
            r"returns float32\[1, 2, 2\], scores of several output steps",
        ),
        ({"model": 3}, "is a int: give a torch.nn.Module, or a function"),
        ({"model": Softmax}, "is a class, Softmax: make an instance"),
        ({"model": net().to("meta")}, r"is on meta: move it with model.cpu\(\)"),
        ({"model": Pair()}, "returns a tuple of .* say which part holds them, such as part=0"),
        ({"model": Softmax()}, "returns probabilities, not logits: say outputs='probabilities'"),
        ({"outputs": "probabilities"}, "in .0, 1. that do not sum to 1: if each is the probability of a label"),
        ({"outputs": "probabilities", "model": shifted()}, "does not return probabilities"),
        ({"model": net(1)}, "returns one score for each sequence: say outputs='binary-logit'"),
        ({"inputs": [[1.0], [1.0, 2.0]]}, "inputs cannot be made a tensor"),
        ({"inputs": FEATURES[..., 0]}, "without an axis of features: give .B, T, 1., as by inputs"),
        ({"inputs": FEATURES[..., :1]}, r"cannot take the inputs torch.float32\[3, 4, 1\]"),
        ({"inputs": FEATURES > 0}, "The inputs are torch.bool"),
        ({"inputs": (FEATURES * 10).int()}, "if they are measurements, give them as floats"),
        ({"inputs": FEATURES + torch.inf}, "Sequence 0 holds a value that is not finite"),
        ({"inputs": FEATURES[:0], "targets": CLASSES[:0], "lengths": None}, "no sequences"),
        ({"lengths": torch.tensor([4, 0, 3])}, "Sequence 1 has length 0"),
        ({"lengths": torch.tensor([4, 2])}, "one for each sequence"),
        ({"lengths": torch.tensor([4, 5, 3])}, "Sequence 1 has length 5"),
        ({"lengths": LENGTHS.float()}, "The lengths are torch.float32"),
        ({"targets": torch.tensor([0, 1, 3])}, "Sequence 2 has target 3, and task 'my-model' has 3 outputs"),
        ({"targets": torch.tensor([0, -1, 2])}, "Sequence 1 has target -1"),
        ({"targets": CLASSES[:2]}, "3 sequences and 2 targets"),
        ({"targets": CLASSES[:, None]}, "classes of shape"),
        ({"targets": CLASSES.float(), "outputs": "logits"}, "classes are whole numbers"),
        ({"targets": CLASSES.float()}, "give a target for each output"),
        ({"targets": CLASSES.float() * torch.nan}, "target of sequence 0 is not finite"),
        ({"reference": torch.zeros(5)}, "The reference has shape"),
        ({"reference": torch.tensor(torch.nan)}, "The reference holds a value that is not finite"),
        ({"background": TOKENS}, "must be of one kind"),
        ({"truth": torch.zeros(3, 4)}, "The truth is a Tensor"),
    ],
)
def test_unfit_things_are_refused_in_a_sentence(changed, words):
    with pytest.raises(DataError, match=words) as caught:
        given(**changed)
    assert "\n" not in str(caught.value)


def test_tokens_beyond_the_vocabulary_are_refused():
    model = net(vocabulary_size=6)
    with pytest.raises(DataError, match=r"Sequence 1 of the inputs holds token 6, .* tokens 0 to 5"):
        given(model=model, inputs=torch.where(TOKENS == 5, 6, TOKENS))
    with pytest.raises(DataError, match="of the reference holds token 9"):
        given(model=model, inputs=TOKENS, reference=9)
    with pytest.raises(DataError, match="of the background holds token -1"):
        given(model=model, inputs=TOKENS, background=TOKENS - 1)


class Doubling(RecurrentNet):
    def forward(self, inputs, lengths=None):
        return 2 * super().forward(inputs, lengths)


def test_identity_changes_with_weights_data_and_code_and_with_nothing_else():
    identity = given().identity()
    assert given(model=copy.deepcopy(net())).identity() == identity
    other = net()
    other.head.bias.data += 1
    truth = Truth(torch.zeros(3, 4), "planted", "the class")
    torch.manual_seed(0)
    others = [
        given(model=other),
        given(model=Doubling(2, 4, 3)),
        given(model=net(dropout=0.5)),
        given(inputs=FEATURES + 1),
        given(lengths=None),
        given(targets=CLASSES.flip(0)),
        given(reference=1.0),
        given(background=FEATURES),
        given(truth=truth),
        given(granularity="step"),
        given(name="other"),
    ]
    assert all(task.identity() != identity for task in others)


def test_kit_is_passed():
    assert [finding for finding in check_task(given()) if finding.failed] == []


class Power(nn.Module):
    """What it does rests on an attribute that is no parameter."""

    def __init__(self, power):
        super().__init__()
        self.power = power

    def forward(self, x):
        return x.abs().sum((1, 2)).pow(self.power)[:, None] * torch.tensor([1.0, 2, 3])


def test_another_behaviour_is_another_identity():
    once, again, other = (given(model=Power(power), padding="cut").identity() for power in (1, 1, 2))
    assert once == again
    assert once["behaviour"] != other["behaviour"]
    assert once["weights"] == other["weights"]


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("outputs", "logit", "outputs='logit' is none of 'logits', 'probabilities'"),
        ("granularity", "nonsense", "granularity='nonsense' is not one of"),
        ("padding", "drop", "padding='drop' is none of 'cut', 'keep'"),
        ("contract", None, "contract=None is none of 'refuse', 'explain'"),
        ("contract_tolerance", -1.0, "contract_tolerance=-1.0 does not fit"),
        ("batch_size", 0, "batch_size=0 does not fit"),
        ("attention", 1.5, "attention=1.5 names no part of what the model returns"),
        ("paddings", "keep", "no option 'paddings', did you mean 'padding' or 'padding_side'?"),
    ],
)
def test_a_choice_that_is_none_is_refused(option, value, words):
    with pytest.raises(DataError, match=re.escape(words)):
        given(**{option: value})
