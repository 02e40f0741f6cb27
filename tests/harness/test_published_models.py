"""Published models: everybody judges the same, unless they rest on something else, are damaged or not wanted."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from xrnnbench.errors import DataError, UsageError
from xrnnbench.fingerprints import tensors_fingerprint
from xrnnbench.harness import cli
from xrnnbench.harness.execution import jobs as runner
from xrnnbench.harness.execution.benchmark import Benchmark, Run
from xrnnbench.harness.execution.publish_models import publish
from xrnnbench.plugins import build
from xrnnbench.tasks.models import cache, published
from xrnnbench.tasks.models.origins import trained_anew

from .conftest import command, counted, spec, write_sealed

TRAINED = Path(__file__).with_name("trained.py")
TASKS = (f"{TRAINED}:Blink", f"{TRAINED}:Wink")
METHODS, METRICS = ("random", "saliency", "gradient-x-input"), ("gini", "comprehensiveness")
WEIGHTS = Path(published.__file__).parent / "weights"


def benchmark(tasks=TASKS, methods=METHODS, metrics=METRICS, seeds=(0, 1)):
    return Benchmark(tasks, methods, metrics, seeds, name="small")


def origins(run):
    return {cell.model_origin for cell in run.cells.values()}


def prints(run):
    return {(key.task.spec, key.model_seed): cell.fingerprints.model for key, cell in run.cells.items()}


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """A cache of its own, and nothing published."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    (nothing / published.MANIFEST).write_text(published.Manifest().model_dump_json(), encoding="utf-8")
    monkeypatch.setenv(published.VARIABLE, str(nothing))


@pytest.fixture
def first(tmp_path):
    return benchmark().run(tmp_path / "first")


@pytest.fixture
def models(first, tmp_path, monkeypatch):
    """The models of the first run published, and gone from the cache."""
    publish(first, tmp_path / "models")
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setenv(published.VARIABLE, str(tmp_path / "models"))
    return tmp_path / "models"


def test_the_manifest_says_what_is_published(first, models):
    made = json.loads((models / published.MANIFEST).read_text("utf-8"))
    assert [(each["task"], each["seed"]) for each in made["models"]] == [
        ("blink", 0),
        ("blink", 1),
        ("wink", 0),
        ("wink", 1),
    ]
    assert made["origin"] == first.content["provenance"]
    assert {each["file"] for each in made["models"]} | {published.MANIFEST} == {path.name for path in models.iterdir()}
    for each in made["models"]:
        found = next(
            cell
            for key, cell in first.cells.items()
            if (key.task.identity["name"], key.model_seed) == (each["task"], each["seed"])
        )
        assert each["weights"] == found.fingerprints.model
        assert each["competence"]["score"] == found.competence.score
    assert str(models) not in (models / published.MANIFEST).read_text("utf-8")


def test_published_models_are_used_and_nothing_is_trained(first, models, tmp_path, calls):
    calls()
    run = benchmark().run(tmp_path / "second")
    assert counted(calls(), "train") == 0
    assert prints(run) == prints(first)
    assert (origins(first), origins(run)) == ({"trained"}, {"published"})
    assert run.content["models"] == {"published": 4}
    assert not run.content["retrain"]
    assert "Models: 4 published" in run.boards["md"].read_text("utf-8")
    assert not (tmp_path / "cache").exists()


def test_what_is_explained_does_not_matter_and_what_shapes_the_model_does(models):
    assert build("task", f"{TASKS[0]}:instances=3").subject(0).model_origin == "published"
    assert build("task", f"{TASKS[0]}:hidden=4").subject(0).model_origin == "trained"
    assert build("task", TASKS[0]).subject(7).model_origin == "trained"


@pytest.mark.parametrize("part", ["recipe", "network", "data"])
def test_a_model_that_rests_on_something_else_is_trained_and_that_is_said(models, tmp_path, part, caplog, calls):
    path = models / published.MANIFEST
    content = json.loads(path.read_text("utf-8"))
    for each in content["models"]:
        if each["task"] == "blink":
            each["basis"][part] = "0" * 64
    path.write_text(json.dumps(content), encoding="utf-8")
    calls()
    run = benchmark().run(tmp_path / "second")
    assert counted(calls(), "train-blink") == 2
    said = f"trained, for the published one rests on another {part}"
    assert {key.task.identity["name"]: cell.model_origin for key, cell in run.cells.items()} == {
        "blink": said,
        "wink": "published",
    }
    assert f"has another {part} than the task has here" in caplog.text
    assert f"Models: 2 {said}; 2 published" in run.boards["md"].read_text("utf-8")


def test_retrain_trains_anew_and_records_it(first, models, tmp_path, calls):
    run = benchmark().run(tmp_path / "second")
    calls()
    again = benchmark().run(tmp_path / "second", retrain=True)
    assert counted(calls(), "train") == 4
    assert origins(again) == {"trained anew"}
    assert again.content["retrain"]
    assert again.content["models"] == {"trained anew": 4}
    # on the same machine the same seed gives the same weights: what was explained stays as it was
    assert prints(again) == prints(run) == prints(first)
    assert benchmark().run(tmp_path / "second", retrain=True).nothing_to_do
    calls()
    back = benchmark().run(tmp_path / "second")
    assert origins(back) == {"published"}
    assert counted(calls(), "train") == 0
    assert back.complete


def test_retrain_does_not_take_the_cache_either(first, tmp_path, calls):
    calls()
    with trained_anew():
        assert not build("task", TASKS[0]).training(0).cached
    assert build("task", TASKS[0]).training(0).cached
    assert counted(calls(), "train") == 1


def test_other_published_weights_are_explained_anew(models, tmp_path, calls):
    """A manifest with other weights is another plan, and cells of the weights before are found out."""
    run = benchmark().run(tmp_path / "second")
    path = models / published.MANIFEST
    content = json.loads(path.read_text("utf-8"))
    one, other = (each for each in content["models"] if each["task"] == "blink")
    for name in ("file", "sha256", "weights"):
        one[name], other[name] = other[name], one[name]
    path.write_text(json.dumps(content), encoding="utf-8")
    again = benchmark().run(tmp_path / "second")
    swapped = {key: value for key, value in prints(run).items() if key[0].startswith("blink")}
    assert {key[1]: prints(again)[key] for key in swapped} == {1 - key[1]: value for key, value in swapped.items()}
    assert benchmark().run(tmp_path / "second").nothing_to_do


def test_a_damaged_model_is_one_sentence_before_anything_is_run(models, tmp_path):
    file = next(models.glob("wink-*-1.safetensors"))
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(DataError, match=r"wink-\w+-1.safetensors is damaged .* reinstall xrnnbench, or say --retrain"):
        benchmark().run(tmp_path / "second")
    assert not list((tmp_path / "second").rglob("*.npz"))
    assert benchmark().run(tmp_path / "second", retrain=True).complete


def test_a_missing_model_and_a_damaged_or_missing_list_are_said(models, tmp_path, monkeypatch):
    next(models.glob("wink-*-1.safetensors")).unlink()
    with pytest.raises(DataError, match=r"wink-.* cannot be read"):
        benchmark().run(tmp_path / "second")
    (models / published.MANIFEST).write_text('{"format": 1, "models": [{}]}', encoding="utf-8")
    with pytest.raises(DataError, match=r"The list of published models, manifest.json, is damaged"):
        benchmark().run(tmp_path / "second")
    monkeypatch.setenv(published.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(DataError, match=r"There is no manifest\.json"):
        benchmark().run(tmp_path / "second")


def test_published_again_is_the_same_to_the_byte_and_old_files_go(models, tmp_path):
    run = benchmark(seeds=(0,)).run(tmp_path / "second")
    before = {path.name: path.read_bytes() for path in models.glob("*-0.safetensors")}
    publish(run, models)
    assert {path.name: path.read_bytes() for path in models.glob("*.safetensors")} == before


def test_what_was_explained_is_published_even_where_another_model_was(first, models, tmp_path, monkeypatch):
    """The published file of a seed has other weights than a run that trained anew: the run's own are taken."""
    path = models / published.MANIFEST
    content = json.loads(path.read_text("utf-8"))
    one, other = (each for each in content["models"] if each["task"] == "blink")
    for name in ("file", "sha256", "weights"):
        one[name], other[name] = other[name], one[name]
    path.write_text(json.dumps(content), encoding="utf-8")
    run = benchmark().run(tmp_path / "second", retrain=True)
    made = publish(run, tmp_path / "more")
    assert {(each.task, each.seed): each.weights for each in made.models} == {
        (spec.partition(":")[0], seed): value for (spec, seed), value in prints(first).items()
    }


def test_nothing_is_published_that_is_not_whole(first, tmp_path):
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(UsageError, match="seed 0, is not stored on this machine"):
        publish(first, tmp_path / "models")
    unfinished = Run.load(first.folder)
    next(first.folder.rglob("seed-1-0.json")).unlink()
    with pytest.raises(UsageError, match="1 cells of 'small' are not computed yet"):
        publish(unfinished, tmp_path / "models")
    given = Benchmark(
        (spec("SmallTask"), spec("OtherTask")), ("random", "saliency", "recency"), METRICS, (0, 1), name="given"
    ).run(tmp_path)
    assert {cell.model_origin for cell in given.cells.values()} == {"given"}
    with pytest.raises(UsageError, match="has no model that was trained"):
        publish(given, tmp_path / "models")
    assert not (tmp_path / "models").exists()


@pytest.mark.full
def test_publish_is_a_command(first, tmp_path):
    done = CliRunner().invoke(cli.app, ["publish", str(first.folder), str(tmp_path / "models")])
    assert (done.exit_code, done.output) == (0, f"4 models, 0.00 MB: {tmp_path / 'models'}\n")
    assert len(list((tmp_path / "models").iterdir())) == 5
    done = command("publish", tmp_path, tmp_path / "models")
    assert done.returncode == 2
    assert "There is no run" in done.stderr


def test_the_list_is_read_without_torch():
    program = (
        "import sys\nfrom xrnnbench.tasks.models import published\npublished.manifest_hash(), published.manifest()\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.skipif(not (WEIGHTS / published.MANIFEST).is_file(), reason="no models are published with this code")
def test_published_models_are_whole_small_and_of_the_tasks_there_are(monkeypatch):
    monkeypatch.delenv(published.VARIABLE)
    made = published.manifest()
    assert {each.file for each in made.models} == {path.name for path in WEIGHTS.glob("*.safetensors")}
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) <= 20e6
    for each in made.models:
        each.read()
    for name in ("adding", "el-nino"):
        task = build("task", name)
        found = task.training(0)
        assert found.origin == "published"
        assert found.fingerprint == task.published(0).weights == tensors_fingerprint(task.subject(0).model.state_dict())
        assert found.competence.score == pytest.approx(task.published(0).competence.score, abs=1e-3)


@pytest.mark.full
def test_a_portrait_says_that_a_model_is_published(models):
    done = command("show", TASKS[0], "--kind", "task")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(", published, trained in ") == 2


@pytest.mark.parametrize("known", ["trained", ""])
def test_cells_of_the_same_weights_stay_and_say_that_they_are_published(first, models, tmp_path, known, monkeypatch):
    """Also cells of a time when they did not say where their model was from."""
    for path in first.folder.rglob("seed-*.json"):
        content = json.loads(path.read_text("utf-8"))
        assert content["model_origin"] == "trained"
        write_sealed(path, content | {"model_origin": known})
    before = {key: cell.measured.date for key, cell in Run.load(first.folder).cells.items()}

    def explain(*cell):
        raise AssertionError(cell)

    monkeypatch.setattr(runner, "explain_cell", explain)
    run = benchmark().run(tmp_path / "first")
    assert origins(run) == {"published"}
    assert {key: cell.measured.date for key, cell in run.cells.items()} == before
    assert not run.store.notices
    assert benchmark().run(tmp_path / "first").nothing_to_do


def test_a_task_of_a_file_is_published_if_the_file_is_named(first, tmp_path):
    """A run has the names of its tasks only, and a new process knows no file until it is named."""
    words = ("publish", first.folder, tmp_path / "models")
    done = command(*words)
    assert done.returncode == 2
    assert "There is no task 'blink': if it is in a file, name it by --task path/to/file.py:CLASS." in done.stderr
    assert not (tmp_path / "models").exists()
    named = [word for task in TASKS for word in ("--task", task)]
    assert command(*words, *named).stdout.startswith("4 models")
