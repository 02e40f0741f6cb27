"""The suites that come with the package: what they promise to hold, they hold."""

import itertools

import pytest
import torch

from xrnnbench.harness.execution.grid import Grid
from xrnnbench.harness.suites.suite import packaged, read_suite
from xrnnbench.plugins import build, find, names

# Tasks made of a file, an archive or a pair of files of the user's own.
_GENERIC = {"csv", "csv-forecast", "parallel", "ucr", "uea"}
_RETRAINING = {"roar", "recursive-roar", "roar-leak", "f-fidelity", "f-fidelity-kept", "label-randomisation"}
# They explain the linear recurrences of the suite ``networks``, and no network of ``core``.
_OF_NETWORKS = {"implicit-attention", "implicit-attention-norm"}
_CELLS = ("rnn", "lstm", "gru", "slstm", "mingru", "mlstm", "lru", "mamba")
_LARGE = 200


def built_in(kind):
    """Plug-ins of the package; other tests of the process may have made known their own."""
    return [name for name in names(kind) if find(kind, name).__module__.startswith("xrnnbench.")]


def offline():
    return {name for name in built_in("task") if not find("task", name).data_sets} - _GENERIC


def of(suite, axis):
    return [spec.partition(":")[0] for spec in getattr(read_suite(suite), axis)]


@pytest.mark.parametrize("name", packaged())
@pytest.mark.full_except("quick")
def test_every_plugin_is_built_and_none_needs_a_download(name):
    suite = read_suite(name)
    Grid.of(suite.tasks, suite.methods, suite.metrics, suite.seeds, suite.explainer_seeds)
    assert set(of(name, "tasks")) <= offline()
    assert suite.seeds == (0, 1, 2)


def test_core_has_every_task_without_a_download_and_every_method():
    assert sorted(of("core", "tasks")) == sorted(offline())
    of_other_models = _OF_NETWORKS | {"variable-selection"}  # which no network of core has
    assert sorted({*of("core", "methods"), *of_other_models}) == built_in("method")


def test_networks_has_every_cell_on_every_task_at_one_size():
    suite = read_suite("networks")
    assert set(of("networks", "methods")) >= _OF_NETWORKS
    tasks = [build("task", spec) for spec in suite.tasks]
    names_of = {task.name for task in tasks}
    assert {(task.name, task.cell) for task in tasks} == set(itertools.product(names_of, _CELLS))
    deeper = {(task.name, task.cell) for task in tasks if task.layers > 1}
    assert deeper == {("adding", "mingru"), ("valence", "mingru"), ("digits", "mingru"), ("digits", "mlstm")}
    assert all(len({task.instances for task in tasks if task.name == name}) == 1 for name in names_of)
    assert (len(tasks), len(names_of), len(suite.methods)) == (48, 6, 12)


@pytest.mark.parametrize("name", packaged())
def test_metrics_are_of_every_family_and_train_nothing(name):
    families = {find("metric", metric).family for metric in of(name, "metrics")}
    assert families == {"faithfulness", "truth", "stability", "sanity", "complexity", "cost"}
    assert not set(of(name, "metrics")) & _RETRAINING


def test_applications_has_one_task_of_each():
    applications = [find("task", name).application for name in of("applications", "tasks")]
    assert len(set(applications)) == len(applications)
    assert set(applications) == {find("task", name).application for name in offline()}
    assert set(of("applications", "methods")) <= set(of("core", "methods"))
    # the same sequences, so that both speak of the same
    assert set(read_suite("applications").tasks) <= set(read_suite("core").tasks)


@pytest.mark.parametrize("spec", read_suite("core").tasks)
@pytest.mark.full
def test_core_explains_fewer_of_large_sequences_by_one_rule(spec):
    task = build("task", spec)
    batch = task.data().explained if hasattr(task, "data") else task.subject(0).batch
    cells = 1 if batch.tokens else batch.inputs.shape[2]
    mean = float(batch.lengths.to(torch.float64).mean()) * cells
    assert len(batch) == (16 if mean > _LARGE else 32)
