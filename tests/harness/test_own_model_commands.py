"""A model of one's own on the command line: every option that Python has, in explain, inspect and run."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from xrnnbench import Run, explain, task_from_csv
from xrnnbench.plugins import load_file

NETS = '''
import torch
from torch import nn

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self, outputs=2):
        super().__init__()
        self.rnn = nn.GRU(2, 6, batch_first=True)
        self.head = nn.Linear(6, outputs)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.rnn(packed)[1][-1])


class Shifted(Net):
    """Takes a further input of each sequence."""

    def forward(self, x, lengths, age):
        return super().forward(x, lengths) + age[:, None]


class Many(Net):
    """Scores of every step, steps first, and something else."""

    def forward(self, x):
        return {"scores": self.head(self.rnn(x)[0]).transpose(0, 1), "other": x.sum()}


net, shifted, many, nets = Net(), Shifted(), Many(), [Net(), Net()]


def make():
    return net


def task():
    """A task that the file makes itself."""
    import numpy as np
    from xrnnbench import task_from_model

    arrays = np.load("x.npz")
    return task_from_model(net, arrays["inputs"], arrays["lengths"], arrays["targets"], name="Made in a file")


def predict(x, lengths):
    """Scores of arrays, as a model of another library gives them."""
    with torch.no_grad():
        return net(torch.from_numpy(x), torch.from_numpy(lengths)).numpy()
'''
LENGTHS = np.array([6, 3, 5, 2, 6, 4, 6, 6])
INPUTS = np.random.default_rng(0).normal(size=(8, 6, 2)).astype(np.float32)
SHORT = ("-m", "deeplift", "-x", "comprehensiveness")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "nets.py").write_text(NETS, "utf-8")
    names = {"output_names": np.array(["well", "ill"]), "feature_names": np.array(["pulse", "pressure"])}
    targets, ids = np.arange(8) % 2, np.array([f"p{place}" for place in range(8)])
    np.savez(folder / "x.npz", inputs=INPUTS, lengths=LENGTHS, targets=targets, ids=ids, **names)
    np.savez(folder / "plain.npz", inputs=INPUTS, lengths=LENGTHS)
    np.savez(folder / "aged.npz", inputs=INPUTS, lengths=LENGTHS, age=np.linspace(0, 1, 8).astype(np.float32))
    np.savez(folder / "full.npz", inputs=INPUTS)
    np.savez(folder / "misspelt.npz", inputs=INPUTS, lenghts=LENGTHS)
    rows = ["patient,hour,pulse,pressure,outcome"]
    for patient in range(8):
        rows += [
            f"{patient},{hour},{60 + 5 * patient + hour},{100 + hour * patient},{'ill' if patient % 2 else 'well'}"
            for hour in range(int(LENGTHS[patient]))
        ]
    (folder / "patients.csv").write_text("\n".join(rows) + "\n", "utf-8")
    return folder


@pytest.fixture
def call(folder, invoke, monkeypatch):
    """A command in the folder, in this process."""
    monkeypatch.chdir(folder)

    def called(*words):
        status, out, err = invoke(*map(str, words))
        return SimpleNamespace(returncode=status, stdout=out, stderr=err)

    return called


def run(call, folder, *words):
    done = call("run", *words, "--out", folder / "out")
    assert done.returncode == 0, done.stderr
    boards = done.stdout.rpartition("Board: ")[2].strip()
    assert boards.endswith(".md")
    (file,) = (folder / "out" / "runs" / "quick").glob(f"run-{boards.rpartition('-')[2].removesuffix('.md')}.json")
    return Run.load(file)


def test_a_model_is_a_task_of_a_grid(call, folder):
    found = run(call, folder, "-t", "nets.py:net", "--data", "x.npz", *SHORT, "-m", "occlusion")
    assert {key.task.spec for key in found.cells} == {"net"}
    net = load_file(str(folder / "nets.py")).net
    expected = explain(net, INPUTS, LENGTHS).values
    stored = found.scored_cells[next(key for key in found.cells if key.method.spec == "deeplift")].read()
    np.testing.assert_allclose(stored.values, expected, rtol=0, atol=1e-6)
    assert list(found.scores(method="deeplift")["id"]) == [f"p{place}" for place in range(8)]
    again = call("run", "-t", "nets.py:net", "--data", "x.npz", *SHORT, "-m", "occlusion", "--out", folder / "out")
    assert again.returncode == 0
    assert "explaining 0.0 s" in again.stdout
    assert "No stored results" not in again.stdout + again.stderr


def test_a_suite_file_may_name_a_model(call, folder):
    """As a gate in CI does: one command without a changed suite, whose run folder has one run."""
    suite = {"name": "gate", "tasks": ["nets.py:net"], "methods": ["deeplift"], "metrics": ["gini"], "seeds": [0]}
    (folder / "gate.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in suite.items()))
    words = ("run", "gate.toml", "--data", "x.npz", "--out", "gate-out")
    done = call(*words)
    assert done.returncode == 0, done.stderr
    assert call("bless", "gate-out/runs/gate", "gate-base").returncode == 0
    assert call("compare", "gate-out/runs/gate", "gate-base").returncode == 0
    refused = call("run", "gate.toml", "--out", "none")
    assert refused.returncode == 2
    assert "nets.py:net is a model: give it sequences with --data" in refused.stderr


def test_functions_factories_and_lists_are_models_too(call, folder):
    words = ("-t", "nets.py:nets", "-t", "nets.py:make", "-t", "nets.py:predict", "--data", "plain.npz")
    found = run(call, folder, *words, "-m", "occlusion", "-x", "comprehensiveness")
    seeds = sorted((key.task.spec, key.model_seed) for key in found.cells)
    assert seeds == [("make", 0), ("nets", 0), ("nets", 1), ("predict", 0)]
    scores = found.records().set_index("task")["mean"]
    assert scores["make"] == pytest.approx(scores["predict"], rel=1e-6)


def test_a_file_may_make_the_task_itself(call, folder):
    found = run(call, folder, "-t", "nets.py:task", *SHORT)
    assert {key.task.spec for key in found.cells} == {"Made in a file"}
    assert call("explain", "nets.py:task", "--target", "1").returncode == 0
    assert call("inspect", "nets.py:task").returncode == 0
    done = call("run", "-t", "nets.py:task", "--data", "x.npz")
    assert done.returncode == 2
    assert "nets.py:task is a task, which brings its own data and model: leave out --data" in done.stderr


def test_a_table_gives_the_sequences_of_a_model(call, folder):
    spec = "csv:path=patients.csv,id=patient,time=hour,predict=outcome"
    found = run(call, folder, "-t", "nets.py:net", "--data", spec, *SHORT)
    table = found.scores()
    assert list(table["id"]) == [str(place) for place in range(8)]
    net = load_file(str(folder / "nets.py")).net
    task = task_from_csv(folder / "patients.csv", net, id="patient", time="hour", predict="outcome", name="net")
    (key,) = found.cells
    subject = task.subject(0)
    np.testing.assert_allclose(found.scored_cells[key].read().lengths, subject.batch.lengths)
    assert call("explain", "nets.py:net", "--data", spec, "--target", "ill").returncode == 0
    refused = call("run", "-t", "nets.py:net", "--data", f"{spec},epochs=3")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "epochs=… is for a network that is trained here" in refused.stderr


@pytest.mark.parametrize(
    ("words", "python"),
    [
        (["nets.py:net", "--data", "plain.npz", "--target", "1"], {"target": 1}),
        (["nets.py:net", "--data", "plain.npz", "--reference", "0.5"], {"reference": 0.5}),
        (["nets.py:net", "--data", "plain.npz", "--reference", "0.5,-1"], {"reference": [0.5, -1.0]}),
        (["nets.py:net", "--data", "plain.npz", "--granularity", "step"], {"granularity": "step"}),
        (["nets.py:net", "--data", "plain.npz", "--padding", "cut", "--batch-first"], {"padding": "cut"}),
    ],
)
def test_options_mean_what_they_mean_in_python(call, folder, words, python):
    """The largest contributions that the command line names are those of Python."""
    done = call("explain", *words, "-m", "occlusion")
    assert done.returncode == 0, done.stderr
    net = load_file(str(folder / "nets.py")).net
    values = explain(net, INPUTS, LENGTHS, method="occlusion", **python).values[0]
    largest = float(values.flatten()[values.abs().argmax()])
    assert f"{largest:+.3g}" in done.stdout.replace("\n", " ")


def test_a_part_a_step_and_scores_with_the_steps_first(call, folder):
    words = ("nets.py:many", "--data", "full.npz", "--part", "scores", "--step", "2", "--time-first-scores")
    done = call("explain", *words, "-m", "occlusion")
    assert done.returncode == 0, done.stderr
    many = load_file(str(folder / "nets.py")).many
    values = explain(many, INPUTS, method="occlusion", part="scores", step=2, time_first_scores=True).values[0]
    assert (values[3:] == 0).all()
    assert f"{float(values.flatten()[values.abs().argmax()]):+.3g}" in done.stdout.replace("\n", " ")
    told = call("inspect", *words, "--json")
    assert json.loads(told.stdout)["outputs"] == "logits"


def test_context_is_an_array_by_the_name_of_the_parameter(call, folder):
    assert call("explain", "nets.py:shifted", "--data", "aged.npz").returncode == 0
    done = call("explain", "nets.py:net", "--data", "aged.npz")
    assert done.returncode == 2
    assert "has an array 'age'" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "-t", "nets.py:net"], "give it sequences with --data file.npz"),
        (["run", "-t", "nets.py:net", "--data", "misspelt.npz"], "an array 'lenghts', did you mean 'lengths'"),
        (["run", "-t", "nets.py:net", "--data", "none.npz"], "There is no file 'none.npz'"),
        (["run", "-t", "nets.py:net", "--data", "nets.py"], "is not a .npz file of plain arrays"),
        (["run", "-t", "nets.py:net", "--data", "patients.csv"], "say what its columns are"),
        (
            ["run", "-t", "adding", "--data", "x.npz"],
            "adding is a task, which brings its own data and model: leave out",
        ),
        (["run", "--outputs", "values"], "--outputs is for a model of yours: name one by -t file.py:NAME"),
        (["run", "-t", "nets.py:net", "--data", "x.npz", "--target", "sick"], "'sick' is the name of no output; there"),
        (["run", "-t", "nets.py:nett", "--data", "x.npz"], "nets.py has no 'nett', did you mean 'net'"),
        (["explain", "nets.py:torch", "--data", "x.npz"], "nets.py:torch is a module"),
        (["explain", "nets.py:net", "--data", "x.npz", "--reference", "a"], "--reference a is no number"),
        (["run", "-t", "nets.py:nets", "--data", "x.npz", "--seeds", "0"], "brings its 2 models along, all of which"),
        (["explain", "nets.py:nets", "--data", "x.npz", "--seed", "2"], "has 2 models, and no seed 2"),
        (["explain", "adding", "--padding", "cut"], "leave out --padding"),
        (["explain", "nets.py:net", "--data", "x.npz", "--instance", "8"], "There is no sequence 8"),
    ],
)
def test_what_does_not_fit_is_one_sentence(call, folder, words, said):
    done = call(*words)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert said in done.stderr


def test_names_of_features_and_outputs_are_shown(call, folder):
    done = call("explain", "nets.py:net", "--data", "x.npz", "--target", "ill")
    assert done.returncode == 0
    assert "ill = " in done.stdout
    assert "pressure" in done.stdout
    assert torch.is_tensor(explain(load_file(str(folder / "nets.py")).net, INPUTS, LENGTHS).values)
