"""What comes before a cell: what ends the run instead, and what is paid once and not measured."""

import pytest
import torch
from torch import nn

from xrnnbench import Cost, Task
from xrnnbench.errors import FailedCellsWarning, ParameterError, UsageError
from xrnnbench.harness.execution.benchmark import Benchmark
from xrnnbench.harness.execution.steps.build_model import build_model
from xrnnbench.harness.execution.steps.time_and_memory import measured
from xrnnbench.plugins import find

from .conftest import cell_files, counted, kept, small_benchmark, spec


@pytest.mark.parametrize("fresh", [False, True])
def test_what_does_not_fit_the_data_is_said_before_anything_is_run(tmp_path, calls, fresh):
    small_benchmark(tasks=("SmallTask",), metrics=("Size",), seeds=(0,)).run(tmp_path)
    before, file = kept(tmp_path), (tmp_path / "runs" / "small" / "run.json").read_bytes()
    calls()
    lists = [[spec("SmallTask"), "adding:sequences=500,instances=99999"], [spec("Gradient")], [spec("Size")]]
    with pytest.raises(ParameterError, match="instances=99999, but only"):
        Benchmark(*lists, name="small").run(tmp_path, fresh=fresh)
    assert calls() == []
    assert kept(tmp_path) == before
    assert (tmp_path / "runs" / "small" / "run.json").read_bytes() == file


@pytest.mark.parametrize(("way", "said"), [("extra", "needs the extra 'data'"), ("parameter", "size=8 does not fit")])
def test_what_a_task_says_to_its_user_ends_the_run_and_keeps_the_cells(tmp_path, broken, calls, way, said):
    benchmark = small_benchmark(tasks=("SmallTask",))
    broken(way)
    with pytest.raises(UsageError, match=said):
        benchmark.run(tmp_path)
    # the model of seed 0 was made before anybody could know
    assert len(cell_files(tmp_path, "**/*.json")) == 2
    broken()
    calls()
    assert benchmark.run(tmp_path).complete
    assert counted(calls(), "explain") == 4


def test_a_model_that_did_not_learn_fails_its_cells(tmp_path, broken):
    broken("diverged")
    with pytest.warns(
        FailedCellsWarning, match=r"6 of 6 .* first: the model of task 'small' .model seed 0.: DataError"
    ):
        run = small_benchmark(tasks=("SmallTask",)).run(tmp_path)
    assert run.failed == len(run.cells)
    assert {cell.failure.kind for cell in run.cells.values()} == {"DataError"}


def test_data_that_break_are_a_failure_of_their_task(tmp_path, monkeypatch):
    def lost(_self):
        raise ConnectionError("no network")

    monkeypatch.setattr(find("task", "adding"), "dataset", lost)
    lists = [["adding:sequences=501", spec("SmallTask")], [spec("Gradient")], [spec("Size")]]
    with pytest.warns(FailedCellsWarning, match="ConnectionError: no network"):
        run = Benchmark(*lists, name="small").run(tmp_path)
    assert [cell.status for cell in run.cells.values()] == ["failed", "explained"]
    assert next(iter(run.cells.values())).failure.kind == "ConnectionError"


def test_what_is_paid_once_is_not_measured(tmp_path, calls, broken, monkeypatch):
    ready = []

    def watched():
        ready.append(counted(calls(), "prepare-heavy"))
        return measured()

    monkeypatch.setattr("xrnnbench.harness.execution.steps.explain_cell.measured", watched)
    run = small_benchmark(methods=("Heavy",), seeds=(0,)).run(tmp_path / "a")
    assert run.complete
    assert ready == [1, 1]  # calls since the last look
    broken("library")
    with pytest.warns(FailedCellsWarning, match="method 'heavy' .* ImportError: no such library"):
        run = small_benchmark(methods=("Heavy", "Gradient"), seeds=(0,)).run(tmp_path / "b")
    assert run.failed == 2
    assert {cell.failure.kind for cell in run.cells.values() if cell.failure} == {"ImportError"}


class Words(nn.Module):
    def __init__(self, layers=1):
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(9, 4) for _ in range(layers))
        self.head = nn.Linear(4, 2)

    def forward(self, inputs):
        return self.head(sum(layer(inputs) for layer in self.embeddings).mean(1))


@pytest.mark.parametrize("layers", [1, 2])
def test_a_token_model_is_seen_from_its_embeddings_before_anything_is_measured(layers):
    """Two embeddings cannot be; that is no failure of the model."""
    task = Task.from_model(Words(layers), torch.randint(9, (5, 4)), None, torch.zeros(5, dtype=torch.int64))
    subject = build_model(task, 0).subject
    assert ("_embedded" in vars(subject)) == (layers == 1)
    assert subject.cost == Cost()
