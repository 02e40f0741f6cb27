"""Several inputs on the command line."""

from pathlib import Path

import numpy as np
import pytest

MODEL = """
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.kinds = nn.Embedding(4, 2)
        self.rnn = nn.GRU(2 + 2, 4, batch_first=True)
        self.head = nn.Linear(4 + 3, 2)

    def forward(self, x):
        states, _ = self.rnn(torch.cat([x["past"], self.kinds(x["kind"])], 2))
        return self.head(torch.cat([states[:, -1] * x["scale"][:, None], x["static"]], 1))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MODEL, "utf-8")
    rng = np.random.default_rng(0)
    arrays = {
        "inputs.past": rng.normal(size=(4, 5, 2)).astype("float32"),
        "inputs.kind": rng.integers(1, 4, (4, 5)),
        "inputs.static": rng.normal(size=(4, 3)).astype("float32"),
        "context.scale": np.ones(4, "float32"),
        "feature_names.past": np.array(["price", "sales"]),
        "output_names": np.array(["down", "up"]),
    }
    np.savez(tmp_path / "x.npz", **arrays)
    monkeypatch.chdir(tmp_path)
    return arrays


def test_explain_shows_the_features_of_all_inputs(folder, invoke):
    status, out, err = invoke("explain", "mine.py:Model", "--data", "x.npz", "--target", "up", "--save", "p.png")
    assert (status, err) == (0, "")
    assert "past.price" in out
    assert "static.0" in out
    assert "largest:" in out


def test_inspect_and_run(folder, invoke):
    status, out, _ = invoke("inspect", "mine.py:Model", "--data", "x.npz")
    assert status == 0
    assert "4 sequences of 3 inputs: past 2 values in each of 5 steps" in out
    words = ["-t", "mine.py:Model", "--data", "x.npz", "-m", "deeplift", "-m", "occlusion", "-x", "completeness-gap"]
    status, _, err = invoke("run", *words, "--out", "r", "--jobs", "1")
    assert (status, err.count("Traceback")) == (0, 0)
    (board,) = (place for place in (Path("r") / "runs" / "quick").glob("*.md"))
    assert "| deeplift |" in board.read_text("utf-8")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"inputs": np.zeros((4, 5, 2))}, "'inputs' and others 'inputs.…'"),
        ({"inputs.kind": np.array(list("abcd"))}, "of type"),
        ({"lengths.pas": np.ones(4, int)}, "lengths of 'pas', and no such input, did you mean 'past'"),
        ({"context.scale": None}, "scale"),
        ({"surprise": np.zeros(4)}, "has an array 'surprise'"),
    ],
)
def test_files_that_do_not_fit(folder, invoke, changed, message):
    arrays = {name: value for name, value in {**folder, **changed}.items() if value is not None}
    np.savez("y.npz", **arrays)
    status, _, err = invoke("explain", "mine.py:Model", "--data", "y.npz")
    assert status == 2
    assert message in err.replace("\n", " ")


def test_arrays_by_input_need_the_inputs(folder, invoke):
    np.savez("y.npz", **{"lengths.past": np.ones(4, int)})
    status, _, err = invoke("explain", "mine.py:Model", "--data", "y.npz")
    assert status == 2
    assert "no 'inputs.…': name the inputs too" in err.replace("\n", " ")
