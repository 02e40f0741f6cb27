"""Arrays of a user's file: what they hold reaches the model as it is, or is refused in a sentence."""

import numpy as np
import pytest
import torch
from torch import nn

from xrnnbench.errors import DataError
from xrnnbench.harness.explore.own_model import _arrays_of
from xrnnbench.tasks.custom.arrays import background_from, context_from, converted, inputs_from, reference_from


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, inputs, age):
        return self.linear(inputs.sum(1)) + age


INPUTS = np.ones((2, 3, 2), dtype=np.float32)


def arrays(folder, **more):
    np.savez(folder / "x.npz", **{"inputs": INPUTS} | more)
    return _arrays_of(folder / "x.npz", "net", Net())


def test_arrays_of_any_byte_order_and_width_are_read_alike(tmp_path):
    found = arrays(tmp_path, inputs=INPUTS.astype(">f8"), lengths=np.array([3, 2], dtype=">u2"), age=np.ones((2, 1)))
    assert torch.equal(found["inputs"], torch.from_numpy(INPUTS).double())
    assert found["lengths"].dtype == torch.int64
    assert found["lengths"].tolist() == [3, 2]
    assert found["context"]["age"].tolist() == [[1.0], [1.0]]


def test_names_and_ids_may_be_texts_or_numbers(tmp_path):
    found = arrays(
        tmp_path, feature_names=np.array(["a", "b"]), output_names=np.array([0.1, 2], "f4"), ids=np.array([7, 8])
    )
    assert found["names"].features == ("a", "b")
    assert found["names"].outputs == ("0.1", "2.0")
    assert found["ids"] == [7, 8]
    assert arrays(tmp_path, target=np.array("ill"))["target"] == "ill"
    assert arrays(tmp_path, targets=np.array(["ill", "well"]))["targets"] == ["ill", "well"]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"feature_names": np.array([b"a", b"b"])}, r"'feature_names' is \|S1\[2\]: expected a list of names"),
        ({"feature_names": np.array("a")}, r"'feature_names' is <U1\[\]: expected a list of names"),
        ({"ids": np.array([["a", "b"]])}, r"'ids' is <U1\[1, 2\]: expected a list of names"),
        ({"targets": np.array([b"ill", b"well"])}, r"'targets' is of type \|S4: expected numbers"),
        ({"targets": np.array([1, 2**63], dtype=np.uint64)}, "holds 9223372036854775808, and whole numbers go up to"),
        ({"lengths": np.array([(1, 2)], dtype="i4,i4")}, "expected numbers"),
        ({"inputs": INPUTS.astype(np.longdouble)}, "cannot be made a tensor"),
    ],
)
def test_other_arrays_are_refused(tmp_path, more, sentence):
    with pytest.raises(DataError, match=sentence):
        arrays(tmp_path, **more)


def test_what_the_precision_of_the_model_cannot_hold_is_refused():
    large = np.full((2, 3, 2), 1e39)
    said = r"hold a number of the size 1e\+39, which torch\.float32 cannot hold \(up to 3\.4e\+38\): scale them"
    with pytest.raises(DataError, match=f"The inputs {said}"):
        inputs_from(large, Net())
    with pytest.raises(DataError, match=f"The context 'age' {said}"):
        context_from({"age": large}, None, 2, Net())
    with pytest.raises(DataError, match=f"The reference {said}"):
        reference_from(large, torch.from_numpy(INPUTS), Net())
    with pytest.raises(DataError, match=f"The background {said}"):
        background_from(large, torch.from_numpy(INPUTS), nn.Identity())


def test_numbers_that_are_not_finite_stay_what_they_are():
    values = torch.tensor([np.inf, -np.inf, np.nan, 1.0], dtype=torch.float64)
    assert torch.equal(converted(values, torch.float32, "inputs").nan_to_num(5), values.float().nan_to_num(5))
