"""Whatever a plug-in changes, the numbers of the others stay, to the bit, and the failure names it."""

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from xrnnbench import Benchmark, explain
from xrnnbench.errors import ContractError
from xrnnbench.harness.execution.guard.code_state import code_snapshot
from xrnnbench.harness.results.cells import reproducible
from xrnnbench.plugins import load_file

from . import meddling

pytestmark = pytest.mark.filterwarnings("ignore::xrnnbench.errors.FailedCellsWarning")

FILE = Path(meddling.__file__)
METHODS = ("gradient-x-input", "occlusion", "lime:samples=20")
METRICS = ("comprehensiveness", "max-sensitivity:samples=2", "model-seed-agreement", "auroc")


def benchmark(methods=(), metrics=()):
    """The good plug-ins, and some of the file meddling.py before and after them."""
    return Benchmark(
        [f"{FILE}:Nets"],
        [METHODS[0], *(f"{FILE}:Meddler:{each}" for each in methods), *METHODS[1:]],
        [*(f"{FILE}:{each}" for each in metrics), *METRICS, f"{FILE}:Shared", f"{FILE}:SharedAgain"],
        seeds=(0, 1),
        name="meddling",
    )


def numbers(run):
    """What is reproducible of the cells of good methods: the records of good metrics, and all else."""
    found = {}
    for key, cell in run.cells.items():
        if key.method.identity["name"] != "meddler":
            plain = reproducible(json.loads(cell.model_dump_json()))
            records = [
                {name: value for name, value in record.items() if name != "row"}
                for record in plain.pop("records")
                if record["metric"]["identity"]["name"] != "a-meddler"
            ]
            found[str(key)] = (plain, records)
    return found


def failures(run):
    """Sentences about methods and metrics that failed, by what they change."""
    found = {}
    for cell in run.cells.values():
        failed = [(cell.method.spec, cell.failure), *((record.metric.spec, record.failure) for record in cell.records)]
        found |= {spec.partition("what=")[2].partition(",")[0]: failure.sentence for spec, failure in failed if failure}
    return found


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return numbers(benchmark().run(tmp_path_factory.mktemp("good")))


def test_methods_that_change_something_are_named_and_cost_no_other_cell(good, tmp_path):
    what = [*meddling.MODEL, *meddling.DATA, *meddling.CODE]
    run = benchmark([f"what={each}" for each in what]).run(tmp_path)
    assert numbers(run) == good
    assert list(failures(run)) == what
    assert all("ethod 'meddler' changed " in sentence for sentence in failures(run).values())


def test_methods_that_change_something_when_they_are_asked_are_found_too(good, tmp_path):
    what = ["weights", "forward", "class of forward", "inputs", "number", "torch"]
    run = benchmark([f"what={each},when=asked" for each in what]).run(tmp_path)
    assert numbers(run) == good
    assert list(failures(run)) == what


def test_metrics_that_change_something_are_named_and_cost_no_other_record(good, tmp_path):
    what = [*meddling.EVIDENCE, *meddling.MODEL, *meddling.DATA, *meddling.CODE]
    run = benchmark(metrics=[f"MeddlingMetric:what={each}" for each in what]).run(tmp_path)
    assert numbers(run) == good
    # the cell of a local method has no shared tensor before its first metric has scored
    assert set(what) - set(failures(run)) <= {"shared result", "no shared results"}
    assert all("etric 'a-meddler' changed " in sentence for sentence in failures(run).values())


def test_the_sentence_says_what_was_changed(tmp_path):
    run = benchmark(["what=prune", "what=training data", "what=torch"]).run(tmp_path)
    assert failures(run) == {
        "prune": "method 'meddler' changed head.weight of the model it explains; it has been restored.",
        "training data": "Method 'meddler' changed retraining.train.targets of the subject; it has been restored.",
        "torch": "Method 'meddler' changed tanh of torch; it has been restored.",
    }


def test_worker_processes_keep_the_same_promise(good, tmp_path):
    what = ["prune", "forward", "function", "training data"]
    run = benchmark([f"what={each}" for each in what], ["MeddlingMetric:what=attribution"]).run(tmp_path, jobs=2)
    assert numbers(run) == good
    assert set(failures(run)) == {*what, "attribution"}


@pytest.mark.parametrize("kind", ["method", "metric"])
def test_a_process_that_was_changed_for_good_hands_its_work_to_another(kind, good, tmp_path, monkeypatch):
    # only the end of the test puts it back
    monkeypatch.setattr(load_file(str(FILE)), "squashed", load_file(str(FILE)).squashed)
    methods, metrics = (["what=function"], []) if kind == "method" else ([], ["MeddlingMetric:what=function"])
    run = benchmark(methods, metrics).run(tmp_path)
    assert numbers(run) == good
    assert "so that the model computes other outputs than before" in failures(run)["function"]


def test_a_task_that_gives_one_module_for_all_seeds_fails_from_the_second_on(tmp_path):
    run = Benchmark([f"{FILE}:SameNet"], METHODS[:2], METRICS[:1], seeds=(0, 1), name="same").run(tmp_path / "both")
    alone = Benchmark([f"{FILE}:SameNet"], METHODS[:2], METRICS[:1], seeds=(0,), name="same").run(tmp_path / "alone")
    whole = {key: cell for key, cell in run.cells.items() if cell.failure is None}
    assert {key.model_seed for key in whole} == {0}
    assert [cell.records[0].mean for cell in whole.values()] == [cell.records[0].mean for cell in alone.cells.values()]
    sentences = {cell.failure.sentence for cell in run.cells.values() if cell.failure is not None}
    assert len(sentences) == 1
    assert "Task 'same-net' gave a model and changed one that it gave before" in sentences.pop()


def test_a_library_may_replace_functions_of_its_own(monkeypatch):
    snapshot = code_snapshot()
    # as torch does when its compiler is loaded
    monkeypatch.setattr(torch, "tanh", torch._disable_dynamo(torch.tanh))
    assert snapshot.changed() == []
    monkeypatch.setattr(torch, "tanh", torch.sigmoid)
    assert [str(place) for place in snapshot.changed()] == ["tanh of torch"]


@pytest.mark.parametrize("what", sorted(set(meddling.MODEL) - {"class of forward", "other model"}))
def test_a_users_own_module_is_as_it_was_after_an_explanation(what):
    model, inputs = meddling.Net(0), torch.randn(3, 4, 2)
    before, lengths = copy.deepcopy(model), torch.tensor([4, 3, 4])
    with pytest.raises(ContractError, match="method 'meddler' changed"):
        explain(model, inputs, lengths, meddling.Meddler(what=what))
    assert model.state_dict().keys() == before.state_dict().keys()
    assert torch.equal(model(inputs, lengths), before(inputs, lengths))
    assert "forward" not in vars(model)
    assert type(model.head) is nn.Linear
    assert not hasattr(model, "threshold")


def test_what_a_model_writes_itself_is_nobodys_doing():
    model, lengths = meddling.Net(0), torch.tensor([4, 3, 4])
    explained = explain(model, torch.randn(3, 4, 2), lengths, "occlusion")
    assert explained.values.abs().sum() > 0
