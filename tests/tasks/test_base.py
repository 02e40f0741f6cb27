import pytest
import torch

from xrnnbench.errors import DataError
from xrnnbench.tasks.data.batch import Batch, Competence, Truth

FLOATS = torch.zeros(2, 3, 4)
LENGTHS = torch.tensor([3, 2])
TARGETS = torch.tensor([0, 1])


def truth(values, **options):
    return Truth(values, "planted", "the output", **options)


@pytest.mark.parametrize(
    ("inputs", "lengths", "targets", "words"),
    [
        (torch.zeros(2, 3), LENGTHS, TARGETS, "expected int64"),
        (torch.zeros(2, 3, dtype=torch.int32), LENGTHS, TARGETS, "expected int64"),
        (FLOATS + torch.nan, LENGTHS, TARGETS, "Sequence 0 holds a value that is not finite"),
        (FLOATS[:0], LENGTHS[:0], TARGETS[:0], "no sequences"),
        (FLOATS, torch.tensor([3, 0]), TARGETS, "Sequence 1 has length 0"),
        (FLOATS, torch.tensor([4, 1]), TARGETS, "Sequence 0 has length 4"),
        (FLOATS, torch.tensor([3]), TARGETS, "one for each sequence"),
        (FLOATS, LENGTHS.float(), TARGETS, "Lengths are torch.float32"),
        (FLOATS, LENGTHS, TARGETS[:1], "2 sequences and 1 targets"),
    ],
)
def test_malformed_batch_is_refused(inputs, lengths, targets, words):
    with pytest.raises(DataError, match=words):
        Batch(inputs, lengths, targets)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (torch.zeros(2, 4), "has shape"),
        (torch.full((2, 3), torch.inf), "not finite"),
        (torch.ones(2, 3), "not 0 on padding"),
    ],
)
def test_malformed_truth_is_refused(values, words):
    with pytest.raises(DataError, match=words):
        Batch(FLOATS, LENGTHS, TARGETS, {"main": truth(values)})


def test_selection_is_cut_to_its_longest():
    values = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    batch = Batch(FLOATS, LENGTHS, TARGETS, {"main": truth(values)}).select(torch.tensor([1]))
    assert batch.inputs.shape == (1, 2, 4)
    assert batch.truth.values.tolist() == [[0, 1]]
    assert batch.targets.tolist() == [1]


def test_truth_of_two_classes_is_turned_to_the_explained_one():
    found = truth(torch.tensor([[1.0, -2], [1, -2]]), signed=True, toward=1)
    assert found.turned(torch.tensor([1, 0])).tolist() == [[1, -2], [-1, 2]]
    assert torch.equal(truth(found.values, signed=True).turned(TARGETS), found.values)


def test_gate_is_passed_by_reaching_it():
    assert Competence("accuracy", 0.9, 0.9, 0.5).fit
    assert not Competence("accuracy", 0.89, 0.9, 0.5).fit
