import dataclasses
import json
import logging
import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import pytest
import safetensors
import safetensors.torch
import torch
from torch import nn

from xrnnbench.errors import DataError, ParameterError
from xrnnbench.fingerprints import tensors_fingerprint
from xrnnbench.tasks.builtin.synthetic.adding import Adding
from xrnnbench.tasks.builtin.synthetic.state import State
from xrnnbench.tasks.conformance import check_task
from xrnnbench.tasks.data.batch import Batch, Competence, Names
from xrnnbench.tasks.models import cache
from xrnnbench.tasks.models.networks import RecurrentNet
from xrnnbench.tasks.models.training import Recipe, minibatches, train
from xrnnbench.tasks.trained import Dataset, TrainedTask, background, held_out

SMALL = {"instances": 4, "hidden": 3, "sequences": 64}


@dataclass(frozen=True)
class Quick(Adding):
    recipe: ClassVar[Recipe] = Recipe(epochs=2)


def quick(**changed):
    return Quick(**SMALL | changed)


def equal(model, other):
    return all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def data(targets):
    inputs = torch.randn(len(targets), 5, 2, generator=torch.Generator().manual_seed(0))
    return Batch(inputs, torch.tensor([5, 3, 1, 4] * (len(targets) // 4)), targets)


LOSSES = {
    "classes": (torch.tensor([0, 1] * 8), 2),
    "values": (torch.linspace(-1, 1, 16)[:, None], 1),
    "steps": (torch.tensor([[0, 1, 0, 1, 1]] * 16), 2),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_training_follows_from_its_seed_alone(kind):
    targets, outputs = LOSSES[kind]
    before = torch.get_rng_state()
    threads = torch.get_num_threads()
    models = []
    for seed, used in ((0, 1), (0, 2), (1, 1)):
        torch.set_num_threads(used)
        torch.manual_seed(seed + 10 * used)
        before = torch.get_rng_state()
        models.append(
            train(lambda: RecurrentNet(2, 3, outputs, dropout=0.5), data(targets), Recipe(3, batch_size=4), seed)
        )
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.get_num_threads() == used
    torch.set_num_threads(threads)
    assert equal(models[0], models[1])
    assert not equal(models[0], models[2])
    assert not models[0].training


@pytest.mark.parametrize("kind", LOSSES)
def test_training_learns(kind):
    targets, outputs = LOSSES[kind]
    batch = data(targets)

    def loss(model):
        with torch.no_grad():
            if kind == "steps":
                return nn.functional.cross_entropy(
                    model.step_scores(batch.inputs, batch.lengths)[batch.valid], targets[batch.valid]
                )
            scores = model(batch.inputs, batch.lengths)
            return (
                nn.functional.mse_loss(scores, targets)
                if kind == "values"
                else nn.functional.cross_entropy(scores, targets)
            )

    models = [train(lambda: RecurrentNet(2, 8, outputs), batch, Recipe(epochs), 0) for epochs in (1, 60)]
    assert loss(models[1]) < 0.85 * loss(models[0])


def test_padding_has_no_part_in_the_loss_of_steps():
    targets, _ = LOSSES["steps"]
    batch = data(targets)
    other = dataclasses.replace(batch, targets=torch.where(batch.valid, targets, 0))
    models = [train(lambda: RecurrentNet(2, 3, 2), each, Recipe(2), 0) for each in (batch, other)]
    assert equal(*models)


def test_training_stops_when_it_is_good_enough():
    targets, _ = LOSSES["values"]
    models = [train(lambda: RecurrentNet(2, 3, 1), data(targets), Recipe(epochs, enough=1e6), 0) for epochs in (1, 50)]
    assert equal(*models)


def test_minibatches_hold_every_row_once_and_are_of_similar_length():
    lengths = torch.tensor([3, 9, 1, 7, 2, 8])
    batches = minibatches(lengths, 2, torch.Generator().manual_seed(0))
    assert sorted(torch.cat(batches).tolist()) == list(range(6))
    assert sorted(sorted(lengths[rows].tolist()) for rows in batches) == [[1, 2], [3, 7], [8, 9]]


def test_model_is_trained_once_and_then_found(own_cache):
    first, again = quick().training(0), quick().training(0)
    assert (first.cached, again.cached) == (False, True)
    assert dataclasses.replace(again, cached=False) == first
    assert first.seconds > 0
    assert first.versions["torch"] == torch.__version__
    assert len(list(own_cache.rglob("*.safetensors"))) == 1


def test_found_model_gives_the_same_outputs(own_cache):
    assert torch.equal(quick().subject(0).batch_outputs, quick().subject(0).batch_outputs)
    assert quick().subject(0).label == "task 'adding:instances=4,hidden=3,sequences=64' seed 0"


def test_what_is_explained_does_not_retrain(own_cache):
    assert not quick().training(0).cached
    assert quick(instances=5).training(0).cached


@dataclass(frozen=True)
class Longer(Quick):
    recipe: ClassVar[Recipe] = Recipe(epochs=3)


@dataclass(frozen=True)
class Deeper(Quick):
    def network(self):
        return RecurrentNet(2, self.hidden, 1, cell="lstm", layers=2)


@dataclass(frozen=True)
class Newer(Quick):
    version: ClassVar[int] = 2


@dataclass(frozen=True)
class Shifted(Quick):
    def dataset(self):
        found = super().dataset()
        train = dataclasses.replace(found.train, inputs=found.train.inputs + 1)
        return dataclasses.replace(found, train=train)


@pytest.mark.parametrize("make", [Longer, Deeper, Newer, Shifted])
def test_whatever_the_model_rests_on_retrains(own_cache, make):
    quick().training(0)
    assert not make(**SMALL).training(0).cached
    assert not quick(hidden=4).training(0).cached
    assert not quick().training(1).cached


@dataclass(frozen=True)
class Stricter(Quick):
    def competence(self, model, data):
        return dataclasses.replace(super().competence(model, data), gate=2.0)


def test_edited_gate_holds_for_models_in_the_cache(own_cache):
    quick().training(0)
    found = Stricter(**SMALL).training(0)
    assert found.cached
    assert found.competence.gate == 2.0


def damaged(data, how):
    if how == "cut":
        return data[: len(data) // 2]
    if how == "one bit":
        return data[:-1] + bytes([data[-1] ^ 1])
    if how == "empty":
        return b""
    return data.replace(b'\\"seconds\\"', b'\\"secunds\\"')


@pytest.mark.parametrize("how", ["cut", "one bit", "empty", "field"])
def test_damaged_file_is_trained_again_and_said(own_cache, caplog, how):
    first = quick().training(0)
    (file,) = own_cache.rglob("*.safetensors")
    file.write_bytes(damaged(file.read_bytes(), how))
    with caplog.at_level(logging.WARNING):
        again = quick().training(0)
    assert not again.cached
    assert again.fingerprint == first.fingerprint
    assert "is damaged" in caplog.text
    assert quick().training(0).cached


def test_file_that_was_copied_to_another_name_is_trained_again_and_said(own_cache, caplog):
    """The key of a model is in the name of its file: the file of another one has other weights than the name says."""
    first, other = quick().training(0), quick().training(1)
    files = {file.name.split("seed")[1][0]: file for file in own_cache.rglob("*.safetensors")}
    files["1"].write_bytes(files["0"].read_bytes())
    with caplog.at_level(logging.WARNING):
        again = quick().training(1)
    assert not again.cached
    assert again.fingerprint == other.fingerprint != first.fingerprint
    assert f"it is the model '{files['0'].name}', copied or renamed" in caplog.text
    assert quick().training(1).cached


def test_file_of_an_earlier_version_does_not_name_itself_and_is_taken(own_cache):
    quick().training(0)
    (file,) = own_cache.rglob("*.safetensors")
    with safetensors.safe_open(file, framework="pt") as opened:
        metadata = json.loads(opened.metadata()["xrnnbench"])
        weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # not a dict
    assert metadata.pop("file") == file.name
    file.write_bytes(safetensors.torch.save(weights, {"xrnnbench": json.dumps(metadata)}))
    assert quick().training(0).cached


def test_folder_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file"))
    with pytest.raises(DataError, match="set XRNNBENCH_CACHE to a folder that can be written"):
        quick().training(0)


def test_cache_is_the_users_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv(cache.VARIABLE)
    assert cache.folder().name == "xrnnbench"


PRINTING = """
from xrnnbench.fingerprints import tensors_fingerprint
from xrnnbench.tasks.builtin.synthetic.state import State
data = State(sequences=3).dataset()
print(tensors_fingerprint({"train": data.train.inputs, "labels": data.train.targets, "test": data.explained.inputs}))
"""


@pytest.mark.full
def test_data_are_the_same_in_another_process():
    found = subprocess.run([sys.executable, "-c", PRINTING], capture_output=True, text=True, check=True).stdout
    data = State(sequences=3).dataset()
    tensors = {"train": data.train.inputs, "labels": data.train.targets, "test": data.explained.inputs}
    assert found.strip() == tensors_fingerprint(tensors)


@dataclass(frozen=True)
class Classes(TrainedTask):
    name: ClassVar[str] = "classes"
    recipe: ClassVar[Recipe] = Recipe(epochs=1)
    application: ClassVar[str] = "known truth"
    instances: int = 2
    taught: tuple[int, ...] = (0, 1, 2)

    def dataset(self):
        rng = torch.Generator().manual_seed(0)
        taught = torch.tensor(self.taught * 10)
        train = Batch(torch.randn(len(taught), 4, 2, generator=rng), torch.full((len(taught),), 4), taught)
        test = Batch(torch.randn(9, 4, 2, generator=rng), torch.full((9,), 4), torch.tensor([0, 1, 2] * 3))
        explained = held_out(test, self.instances, self.name)
        reference = torch.zeros_like(explained.inputs)
        return Dataset(train, test, explained, reference, background(train, self.name), Names(outputs=("a", "b", "c")))

    def network(self):
        return RecurrentNet(2, 3, 3)

    def competence(self, model, data):
        return Competence("accuracy", 0.5, 0.6, 0.3)


def test_class_without_training_data_is_named(own_cache):
    with pytest.raises(DataError, match=r"no training sequence of class 1 \(b\)"):
        Classes(taught=(0, 2)).subject(0)


def test_more_instances_than_there_are_is_refused(own_cache):
    with pytest.raises(ParameterError, match="instances=10, but only 9 sequences are held out"):
        Classes(instances=10).subject(0)


@pytest.mark.parametrize("field", ["instances", "hidden", "sequences"])
def test_sizes_are_at_least_one(field):
    with pytest.raises(ParameterError, match=f"{field}=0"):
        Adding(**{field: 0})


def test_kit_finds_what_is_wrong(own_cache):
    failed = {finding.check for finding in check_task(Classes()) if finding.failed}
    assert failed == {"says what it is", "the spec builds the same plug-in", "its model passes the gate"}


@dataclass(frozen=True)
class Wild(Classes):
    """Breaks promises."""

    def dataset(self):
        found = super().dataset()
        torch.rand(1)
        noisy = dataclasses.replace(found.test, inputs=found.test.inputs + torch.rand(1))
        return dataclasses.replace(found, test=noisy, train=found.explained, explained=found.explained)


def test_kit_finds_chance_and_leaks(own_cache):
    failed = {finding.check for finding in check_task(Wild(instances=9)) if finding.failed}
    assert {
        "the same data twice",
        "explains nothing it was trained on",
        "leaves the global random states alone",
    } <= failed


def test_kit_reports_an_error_as_a_finding(own_cache):
    findings = check_task(Classes(taught=(0, 2)))
    assert [finding.detail for finding in findings if finding.check == "gives a subject"] != []
    assert any("FAILED  gives a subject" in str(finding) for finding in findings)
