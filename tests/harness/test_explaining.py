"""A user's own module, explained by one call."""

import numpy as np
import pytest
import torch
from torch import nn

import xrnnbench
from xrnnbench.errors import DataError, UsageError
from xrnnbench.tasks.custom.calling_options import Calling
from xrnnbench.tasks.custom.own_subject import own_subject

from .conftest import spec

# the method of these tests claims completeness for a plain gradient, and the models take no lengths
pytestmark = [
    pytest.mark.filterwarnings("ignore::xrnnbench.errors.CompletenessWarning"),
    pytest.mark.filterwarnings("ignore::xrnnbench.errors.XrnnbenchWarning"),
]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, inputs):
        return self.head(self.lstm(inputs)[0][:, -1])


class One(Net):
    def forward(self, inputs):
        return super().forward(inputs)[:, :1]


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 4, padding_idx=3)
        self.head = nn.Linear(4, 2)

    def forward(self, inputs, lengths):
        return self.head(self.embedding(inputs).sum(1) / lengths[:, None])


@pytest.fixture
def inputs():
    return torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0))


def test_one_call(inputs):
    found = xrnnbench.explain(Net(), inputs, method=spec("Gradient"))
    assert found.values.shape == inputs.shape
    assert found.signed


def test_lengths_are_respected(inputs):
    found = xrnnbench.explain(Net(), inputs, torch.tensor([6, 4, 2, 1]), method=spec("Gradient"))
    assert (found.values[1, 4:] == 0).all()
    assert (found.values[1, :4] != 0).all()


def test_target_for_all_or_each(inputs):
    model = Net()
    one = xrnnbench.explain(model, inputs, method=spec("Gradient"), target=1)
    each = xrnnbench.explain(model, inputs, method=spec("Gradient"), target=torch.ones(4, dtype=torch.int64))
    assert torch.equal(one.values, each.values)
    other = xrnnbench.explain(model, inputs, method=spec("Gradient"), target=0)
    assert not torch.equal(one.values, other.values)


def test_seed_decides(inputs):
    model = Net()
    found = [xrnnbench.explain(model, inputs, method=spec("Chance"), seed=seed).values for seed in (1, 1, 2)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])


def test_tokens_and_their_reference():
    tokens = torch.randint(4, 10, (3, 5), generator=torch.Generator().manual_seed(0))
    found = xrnnbench.explain(Words(), tokens, method=spec("Chance"))
    assert found.values.shape == (3, 5)


def test_reference_broadcasts(inputs):
    xrnnbench.explain(Net(), inputs, method=spec("Gradient"), reference=inputs.mean((0, 1)))
    with pytest.raises(DataError, match="one that broadcasts to it"):
        xrnnbench.explain(Net(), inputs, method=spec("Gradient"), reference=torch.zeros(5))


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"model": lambda values: values}, DataError, "scores of several output steps: say which one is explained"),
        ({"inputs": "text"}, DataError, "The inputs cannot be made a tensor"),
        ({"inputs": torch.zeros(3)}, DataError, "have shape (3,); expected"),
        ({"inputs": torch.zeros(0, 3, 3)}, DataError, "There are no sequences"),
        ({"inputs": torch.full((2, 3, 3), torch.nan)}, DataError, "not finite"),
        ({"lengths": torch.tensor([6, 0, 1, 1])}, DataError, "Sequence 1 has length 0"),
        ({"target": 2}, DataError, "Target 2 is not among the 2 outputs"),
        ({"target": -1}, DataError, "Target -1 is not among"),
        ({"target": 1.7}, DataError, "The target is torch.float32, not a whole number: give the number"),
        ({"target": True}, DataError, "The target is torch.bool, not a whole number"),
        ({"target": "first"}, DataError, "The target 'first' is the name of no output: give the numbers"),
        ({"target": torch.zeros(3, dtype=torch.int64)}, DataError, "not int64[4]"),
        ({"lengths": [6, 4]}, DataError, "expected int64[4], one for each sequence"),
        ({"lengths": [6, 4.5, 2, 1]}, DataError, "not whole numbers"),
        ({"lengths": "long"}, DataError, "The lengths cannot be made a tensor"),
        ({"reference": "nothing"}, DataError, "The reference is the text 'nothing': give numbers"),
        ({"reference": torch.tensor(torch.nan)}, DataError, "The reference holds a value that is not finite"),
        ({"reference": torch.ones(3) > 0}, DataError, "The reference is torch.bool: give numbers like the inputs"),
        ({"background": torch.zeros(9, 6, 5)}, DataError, "they must be of one kind"),
        ({"background": torch.ones(9, 6, dtype=torch.int64)}, DataError, "they must be of one kind"),
        ({"outputs": "scores"}, DataError, "outputs='scores' is none of 'logits', 'probabilities', 'values'"),
        ({"model": One(), "outputs": "logits"}, DataError, "say outputs='binary-logit'"),
        ({"model": nn.Sequential(One(), nn.Softmax(1)), "outputs": "probabilities"}, DataError, "'binary-probability'"),
        ({"model": One(), "method": "lime", "outputs": "probabilities"}, DataError, "'values' if it is a quantity"),
        ({"targets": torch.tensor([0, 1, 2, 0])}, DataError, "Sequence 2 has target 2, and Net has 2 outputs"),
        ({"targets": torch.zeros(4)}, DataError, "give a target for each output"),
        ({"targets": torch.zeros(4), "outputs": "logits"}, DataError, "classes are whole numbers"),
        ({"targets": torch.zeros(4, 3), "outputs": "values"}, DataError, "give a target for each output"),
        ({"targets": torch.zeros(3, dtype=torch.int64)}, DataError, "4 sequences and 3 targets"),
        ({"method": 3}, UsageError, "The method is a int: give its name"),
        (
            {"method": "permutation-importance"},
            UsageError,
            "measures the quality of the model, which needs the correct outputs",
        ),
        ({"method": "no-such"}, UsageError, "no method named 'no-such'"),
        ({"method": spec("Attentive")}, UsageError, "cannot explain Net: the model shows no attention"),
        ({"model": nn.Sequential(Net(), nn.Softmax(1))}, DataError, "returns probabilities, not logits"),
        ({"model": nn.LSTM(3, 4, batch_first=True)}, UsageError, "a tuple of (float32"),
    ],
)
def test_what_does_not_fit_is_said(inputs, change, error, said):
    arguments = {"model": Net(), "inputs": inputs, "method": spec("Gradient")} | change
    with pytest.raises(error) as caught:
        xrnnbench.explain(**arguments)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_background_reaches_the_method(inputs):
    assert xrnnbench.explain(Net(), inputs, method=spec("Chance"), background=inputs[:2]).values.isfinite().all()


def test_targets_are_what_a_global_method_scores_against(inputs):
    model = Net()
    predicted = model(inputs).argmax(1)
    words = {"method": "permutation-importance:repeats=20,score=accuracy", "seed": 1}
    right = xrnnbench.explain(model, inputs, targets=predicted, **words).values
    wrong = xrnnbench.explain(model, inputs, targets=1 - predicted, **words).values
    # a model that is always right can only lose by a shuffle, one that is always wrong only gain
    assert (right >= 0).all()
    assert torch.equal(right, -wrong)


def test_arrays_and_lists_are_as_good_as_tensors(inputs):
    model = Net()
    lengths, background = [6, 4, 2, 1], np.asarray(inputs)[:2]
    one = xrnnbench.explain(model, inputs, torch.tensor(lengths), "permutation", background=inputs[:2])
    other = xrnnbench.explain(model, inputs.double().numpy(), lengths, "permutation", background=background)
    assert torch.equal(one.values, other.values)


def test_a_single_score_is_explained_as_a_value(inputs):
    assert xrnnbench.explain(One(), inputs, method="lime", outputs="values").values.any()


@pytest.mark.parametrize("tokens", [True, False])
def test_the_reference_is_that_of_a_task(inputs, tokens):
    values = torch.randint(4, 10, (4, 5), generator=torch.Generator().manual_seed(0)) if tokens else inputs
    model = Words() if tokens else Net()
    task = xrnnbench.Task.from_model(model, values, None, torch.zeros(4, dtype=torch.int64))
    own = own_subject(model, values, label="model", calling=Calling()).subject
    assert torch.equal(own.reference, task.subject(0).reference)


@pytest.mark.parametrize("reference", [torch.tensor(0.5), torch.tensor(torch.nan)])
def test_a_reference_of_tokens_is_a_token(reference):
    with pytest.raises(DataError, match=r"The reference is torch.float32: give tokens as whole numbers\."):
        xrnnbench.explain(Words(), torch.full((3, 5), 4), method=spec("Chance"), reference=reference)


def test_nothing_is_written_into_what_was_given(inputs):
    given = {
        "inputs": inputs,
        "lengths": torch.tensor([6, 4, 2, 1]),
        "target": torch.tensor([0, 1, 0, 1]),
        "reference": torch.zeros(4, 6, 3),
        "background": xrnnbench.Batch(inputs.clone(), torch.full((4,), 6), torch.zeros(4, dtype=torch.int64)),
        "targets": torch.tensor([0, 1, 1, 1]),
    }
    subject = own_subject(Net(), **given, label="Net", calling=Calling()).subject
    held = [subject.batch.inputs, subject.batch.lengths, subject.batch.targets, subject.target, subject.reference]
    held += [subject.background.inputs, subject.background.lengths, subject.background.targets]
    for tensor in held:
        tensor.fill_(7)
    assert torch.equal(inputs, torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0)))
    assert not any((given[name] == 7).any() for name in ("lengths", "target", "reference", "targets"))
    assert not any((getattr(given["background"], name) == 7).any() for name in ("inputs", "lengths", "targets"))
