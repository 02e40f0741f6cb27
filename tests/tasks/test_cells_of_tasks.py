"""Every trained task takes its cell as a parameter, and at the default nothing of it shows."""

import dataclasses
import inspect

import pytest
import torch

from xrnnbench.errors import ParameterError
from xrnnbench.plugins import build, find, names
from xrnnbench.tasks.builtin.series.mortality import Mortality
from xrnnbench.tasks.models.recurrences.gru_d import GruD
from xrnnbench.tasks.trained import RecurrentTask

CELLS = ("rnn", "lstm", "gru", "mingru", "slstm", "mlstm", "cfc", "lru", "mamba")
TAKING = [name for name in names("task") if issubclass(find("task", name), (RecurrentTask, Mortality))]
OFFLINE = [
    "adding",
    "subtracting",
    "order",
    "state",
    "spike",
    "moving-box",
    "ecg-lesion",
    "digits",
    "vowels",
    "valence",
]


def test_all_tasks_with_a_recurrent_network_of_the_package_take_it():
    made = {name for name in names("task") if "self.cell" in inspect.getsource(find("task", name).network)}
    assert made - {"csv", "csv-forecast"} == set(TAKING)
    assert set(OFFLINE) < set(TAKING)
    assert len(TAKING) > 20


@pytest.mark.parametrize("name", TAKING)
def test_the_default_is_no_part_of_the_identity(name):
    cls = find("task", name)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    assert fields["cell"].kw_only
    assert fields["layers"].kw_only
    if name in {"ucr", "uea"}:
        return
    task, other = build("task", name), build("task", f"{name}:cell=mingru,layers=2")
    assert not {"cell", "layers"} & task.identity()["parameters"].keys()
    assert {"cell": "mingru", "layers": 2}.items() <= other.identity()["parameters"].items()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", ["adding", "state", "valence", "vowels", "digits", "dates", "gun-point"])
@pytest.mark.pairwise
def test_the_network_has_the_cell_and_the_layers(name, cell):
    task = build("task", f"{name}:cell={cell},layers=2")
    network, data = task._untrained(), task.data()
    few = data.test.select(slice(0, 3))
    scores = network(few.inputs, few.lengths, **few.context)
    assert scores.isfinite().all()
    inner = network.model.encoder if name == "dates" else network.recurrent
    assert inner.num_layers == 2
    kind = type(inner.layers[0] if hasattr(inner, "layers") else inner).__name__.lower()
    assert kind == cell


@pytest.mark.parametrize("cell", ["mingru", "lru"])
def test_it_can_be_learnt(cell):
    task = build("task", f"adding:sequences=300,cell={cell},layers=2")
    assert task._train(0).entry.competence.score > task.before_training().score + 0.5


def test_gru_d_is_for_measurements_with_gaps():
    network = Mortality(cell="grud")._untrained()
    (layer,) = network.recurrent.layers
    assert isinstance(layer, GruD)
    assert (layer.input_size, layer.measured) == (3 * 37 + 8, 37)
    assert network(torch.randn(2, 48, 119)).shape == (2, 2)
    with pytest.raises(ParameterError, match="layers=2 does not fit"):
        Mortality(cell="grud", layers=2)
    with pytest.raises(ParameterError, match="cell=grud does not fit"):
        build("task", "adding:cell=grud")
