"""The page of a task: its data, its models, a sequence with its truth; and what is said where something is missing."""

import json
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest

from xrnnbench.errors import DataError, UsageError
from xrnnbench.harness.explore.pictures import Picture, save_picture, terminal_picture
from xrnnbench.harness.explore.task_portrait import PortraitRequest, portrait
from xrnnbench.plugins import build
from xrnnbench.tasks.builtin.text import valence
from xrnnbench.tasks.models import cache

from .conftest import spec

TASKS = '''
from dataclasses import dataclass
from typing import ClassVar

import torch

from xrnnbench import Batch, Competence, Task, Truth, register
from xrnnbench.errors import DataError
from xrnnbench.tasks.engine.signature import OUTPUT_STEP
from xrnnbench.tasks.data.batch import Names
from xrnnbench.tasks.builtin.synthetic.adding import Adding
from xrnnbench.tasks.models.networks import EncoderDecoder, RecurrentNet
from xrnnbench.tasks.models.training import Recipe
from xrnnbench.tasks.trained import Dataset, TrainedTask


@dataclass(frozen=True)
class Small(Adding):
    """A small sum."""

    name: ClassVar[str] = "small-sum"
    recipe: ClassVar[Recipe] = Recipe(epochs=2)
    sequences: int = 64
    hidden: int = 3
    instances: int = 5


@dataclass(frozen=True)
class Absent(Small):
    """Reads a data set that nobody has."""

    name: ClassVar[str] = "absent"
    data_sets: ClassVar[tuple[str, ...]] = ("no-such-set",)

    def dataset(self):
        raise DataError("The data set 'no-such-set' is not here: fetch it.")


@dataclass(frozen=True)
class Broken(Small):
    """Fails."""

    name: ClassVar[str] = "failing"

    def dataset(self):
        raise KeyError("oops")


@dataclass(frozen=True)
class Needy(Task):
    """Needs a value."""

    name: ClassVar[str] = "needy"
    which: str


@dataclass(frozen=True)
class Words(TrainedTask):
    """Long texts with $ signs, of which nothing is known."""

    name: ClassVar[str] = "words"
    recipe: ClassVar[Recipe] = Recipe(epochs=1)
    instances: int = 2

    def dataset(self):
        rng = torch.Generator().manual_seed(0)
        inputs = torch.randint(1, 5, (8, 90), generator=rng)
        batch = Batch(inputs, torch.full((8,), 90), torch.tensor([0, 1] * 4))
        names = Names(outputs=("no", "yes"), vocabulary=("<pad>", "$a", "b$", "\\u5e74", "_long_word_"))
        return Dataset(batch, batch, batch.select(slice(0, 2)), torch.tensor(1), batch, names)

    def network(self):
        return RecurrentNet(2, 2, 2, vocabulary_size=5)

    def competence(self, model, data):
        return Competence("accuracy", 0.5, 0.8, 0.4)


@dataclass(frozen=True)
class Said(Words):
    """A translation, explained at its second step."""

    name: ClassVar[str] = "said"

    def dataset(self):
        source = torch.tensor([[1, 2, 3], [4, 1, 0]] * 4)
        said = torch.tensor([[3, 4, 2], [4, 2, 0]] * 4)
        truth = Truth(torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]), "alignment", "output step 1")
        lengths = torch.tensor([3, 2] * 4)
        batch = Batch(source, lengths, said, context={"produced": said})
        steps = torch.tensor([1, 1])
        truths, context = {"links": truth}, {"produced": said[:2], OUTPUT_STEP: steps}
        explained = Batch(source[:2], lengths[:2], said[:2, 1], truths, context)
        outputs = ("<pad>", "<start>", "<end>", "eins", "zwei")
        names = Names(outputs=outputs, vocabulary=("<pad>", "one", "two", "or", "x"))
        return Dataset(batch, batch, explained, torch.tensor(0), batch, names)

    def network(self):
        return EncoderDecoder(5, 5, 4)
'''


@pytest.fixture(scope="session")  # a second file in one process would have plug-ins of the same names
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "own_tasks.py"
    path.write_text(TASKS, encoding="utf-8")
    return path


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


# ---- what is seen ---------------------------------------------------------------------------------------------------


def test_a_task_says_its_sizes_its_truth_and_what_its_models_can(own_cache, file, invoke):
    status, out, err = invoke("show", f"{file}:Small")
    assert (status, err) == (0, "")
    words = " ".join(out.split())
    for said in (
        "A small sum.",
        "sequences = 64",
        "training 64 sequences",
        "test 1000 other sequences, of which 5 are explained",
        "steps 4 to 10, median",
        "inputs 2 features: first, second",
        "truth coefficient coefficient, signed, of first + second;",
        "reference 0",
        "R2: gate 0.999, baseline 0 seeds 0, 1, 2",
        f"seeds 0, 1, 2: not trained yet; run 'xrnnbench show {file}:Small --train', about 1 second a seed",
        "sequence 0: first + second =",
        "largest: ",
    ):
        assert said in words, said
    assert not list(own_cache.rglob("*.safetensors"))


def test_models_are_trained_if_asked_and_their_scores_shown(own_cache, file, invoke):
    _, out, _ = invoke("show", f"{file}:Small", "--train")
    assert out.count(", unfit, trained in ") == 3
    assert len(list(own_cache.rglob("*.safetensors"))) == 3
    (next(iter(own_cache.rglob("*seed1*")))).unlink()
    facts = portrait(f"{file}:Small", PortraitRequest()).facts["model"]
    assert [each["seed"] for each in facts["scores"]] == [0, 2]
    assert facts["missing"] == [1]
    assert facts["seconds"] == max(each["seconds"] for each in facts["scores"])
    training = build("task", f"{file}:Small").training(2)
    assert facts["scores"][1]["score"] == training.competence.score
    assert "seed 1: not trained yet" in invoke("show", f"{file}:Small")[1]


def test_json_has_all_of_it(own_cache, invoke):
    status, out, _ = invoke("show", "valence:sequences=200,words=20,instances=3", "--json", "--instance", "1")
    found = json.loads(out)
    assert status == 0
    data = valence.Valence(sequences=200, words=20, instances=3).data()
    assert found["name"] == "valence"
    assert found["parameters"]["words"] == 20
    assert found["facts"]["licence"] == "MIT (lexicon)"
    assert {"page", "spec", "problem", "data_sets", "data", "model", "example"} <= found.keys()
    assert (found["data"]["train"], found["data"]["test"]) == (len(data.train), len(data.test))
    assert found["data"]["inputs"] == {"tokens": len(data.names.vocabulary)}
    counts = {each["name"]: each["train"] for each in found["data"]["targets"]["classes"]}
    assert counts == dict(zip(data.names.outputs, data.train.targets.bincount().tolist(), strict=True))
    assert found["data"]["reference"] == "<unk>"
    assert [each["name"] for each in found["data"]["readings"]] == ["rating", "contextual"]
    relevant = data.explained.truths["rating"].relevant.sum() / data.explained.lengths.sum()
    assert found["data"]["readings"][0]["relevant"] == pytest.approx(float(relevant))
    length = int(data.explained.lengths[1])
    assert found["example"]["steps"] == [data.names.vocabulary[token] for token in data.explained.inputs[1, :length]]
    assert found["example"]["truth"] == data.explained.truths["rating"].values[1, :length].tolist()
    assert found["example"]["said"] == data.names.outputs[int(data.explained.targets[1])]


def test_another_reading_is_another_picture(own_cache):
    name = "valence:sequences=200,words=20"
    first, other = (portrait(name, PortraitRequest(2, reading)).pictures[0] for reading in ("rating", "contextual"))
    assert (first.quantity, other.quantity) == ("truth: rating", "truth: contextual")
    data = valence.Valence(sequences=200, words=20).data().explained
    assert other.values.tolist() == data.truths["contextual"].values[2, : len(other.steps)].tolist()


@pytest.mark.parametrize(
    ("name", "published"),
    [("vowels", True), ("el-nino", True), ("state:sequences=20,instances=2", False), ("adding:sequences=50", False)],
)
def test_built_in_tasks_are_seen_without_training(own_cache, invoke, tmp_path, name, published):
    status, out, err = invoke("show", name, "--save", tmp_path / "a.png")
    assert (status, err) == (0, "")
    assert ("not trained yet" in out) != published
    image = matplotlib.image.imread(tmp_path / "a.png")
    assert image.shape[0] > 300
    assert image[..., :3].std() > 0.05


def test_steps_with_targets_of_their_own_are_counted(own_cache):
    facts = portrait("state:sequences=20,instances=2", PortraitRequest()).facts["data"]
    assert facts["targets"]["of"] == "steps"
    assert sum(each["train"] for each in facts["targets"]["classes"]) == 20 * 200
    assert facts["steps"] == {"least": 200, "median": 200, "most": 200}


def test_a_translation_shows_what_was_said_and_its_links(own_cache, file, invoke):
    status, out, _ = invoke("show", f"{file}:Said", "--instance", 1)
    assert status == 0
    assert "tokens, of 5; steps 2 to 3, median 2" in out
    assert "sequence 1, output step 1: <end>" in out
    assert "produced: zwei <end>" in out
    assert "largest: one +1" in out


def test_a_task_that_only_makes_subjects_says_how_to_see_its_sequences(invoke):
    status, out, _ = invoke("show", spec("SmallTask"))
    assert status == 0
    assert "its sequences exist only with its models" in out
    _, out, _ = invoke("show", spec("SmallTask"), "--train", "--instance", 1)
    assert "accuracy: gate 0.8, baseline 0.5" in out
    assert "sequence 1: class 0" in out
    # there is one model, and it is given
    assert "seed 0: 0.9000" in invoke("show", spec("FixedTask"))[1]


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_pictures_are_written_in_every_kind(own_cache, file, tmp_path, invoke, ending):
    for name in ("Small", "Words", "Said"):
        path = tmp_path / f"{name}.{ending}"
        assert invoke("show", f"{file}:{name}", "--save", path)[0] == 0
        start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending]
        assert path.read_bytes().startswith(start)


# ---- what is missing ------------------------------------------------------------------------------------------------


def test_page_of_a_task_without_its_extra_is_shown_with_the_way_out(monkeypatch, invoke):
    monkeypatch.setitem(sys.modules, "vaderSentiment", None)
    valence._lexicon.cache_clear()
    status, out, err = invoke("show", "valence:sequences=123")
    assert (status, err) == (0, "")
    assert "Sentiment classification, positive or negative" in out
    assert "licence: MIT" in out
    assert "Not available: Task 'valence' needs the extra 'data': pip install 'xrnnbench[data]'." in out
    found = json.loads(invoke("show", "valence:sequences=123", "--json")[1])
    assert found["problem"].startswith("Task 'valence' needs the extra")
    assert (found["data"], found["model"], found["example"]) == (None, None, None)
    valence._lexicon.cache_clear()


def test_page_of_a_task_without_its_data_set_is_shown_with_the_way_out(file, invoke, tmp_path):
    status, out, err = invoke("show", f"{file}:Absent")
    assert (status, err) == (0, "")
    assert "Data sets:\n  no-such-set: " in out
    assert "Not available: The data set 'no-such-set' is not here: fetch it." in out
    status, out, err = invoke("show", f"{file}:Absent", "--save", tmp_path / "a.png")
    assert status == 2
    assert err.endswith("Absent to write: The data set 'no-such-set' is not here: fetch it.\n")


def test_page_of_a_task_that_needs_a_value_says_how_to_give_one(file, invoke):
    status, out, _ = invoke("show", f"{file}:Needy")
    assert status == 0
    assert "which = required" in out
    assert "needy needs a value for 'which': write needy:which=…" in out


def test_what_cannot_be_shown_is_one_sentence_and_status_two(own_cache, file, tmp_path, invoke):
    (tmp_path / "folder.png").mkdir()
    small = f"{file}:Small"
    wrong = {
        ("show", small, "--instance", "5"): "There is no sequence 5: they go from 0 to 4.",
        ("show", small, "--instance", "-1"): "There is no sequence -1: they go from 0 to 4.",
        ("show", small, "--reading", "shaply"): "has no reading 'shaply', did you mean 'shapley'?; it has coefficient",
        ("show", "vowels", "--reading", "rating"): "The truth of vowels is not known, so it has no reading 'rating'.",
        ("show", small, "--save", tmp_path / "a.xyz"): "The picture cannot be written to",
        ("show", small, "--save", tmp_path / "folder.png"): "The picture cannot be written to",
        ("show", small, "--save", tmp_path / "none" / "a.png"): "The picture cannot be written to",
        ("show", f"{small}:hidden=0"): "small-sum: hidden=0 does not fit (it must be at least 1).",
        ("show", f"{small}:hiden=3"): "small-sum has no parameter 'hiden', did you mean 'hidden'",
        ("show", f"{small}:entropy=0.5"): "small-sum cannot be trained with entropy=0.5: the network has no attention.",
        ("show", "adding:instances=2000"): "instances=2000, but only 1000 sequences are held out",
        ("show", f"{file}:Broken"): "failed with KeyError: 'oops'",
        ("show", "occlusion", "--instance", "0"): "'occlusion' is a method: --instance, --reading, --train and",
        ("show", "auroc", "--train"): "'auroc' is a metric: --instance",
        ("show", "occlusion:by=nothing"): "There is no intervention named 'nothing'",
    }
    for words, sentence in wrong.items():
        status, _, err = invoke(*words)
        assert (status, err.count("\n")) == (2, 1), (words, err)
        assert sentence in err, (words, err)


def test_parameters_in_the_name_of_a_method_are_shown(invoke):
    assert "steps = 7" in invoke("show", "integrated-gradients:steps=7")[1]
    assert json.loads(invoke("show", "integrated-gradients:steps=7", "--json")[1])["parameters"]["steps"] == 7


@pytest.mark.full
def test_lists_and_methods_need_no_pictures():
    program = (
        "import sys\nfrom xrnnbench.harness import cli\n"
        "sys.argv = ['xrnnbench', 'show', 'occlusion', '--kind', 'method']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "heavy = ('xrnnbench.harness.explore.task_portrait', 'matplotlib', 'sktime')\n"
        "sys.exit(any(name in sys.modules for name in heavy))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0


def test_errors_of_data_and_of_asking_are_apart(file):
    assert portrait(f"{file}:Absent", PortraitRequest(instance=99)).facts["problem"]
    with pytest.raises(UsageError, match="no sequence 99") as caught:
        portrait(f"{file}:Small", PortraitRequest(instance=99))
    assert not isinstance(caught.value, DataError)


# ---- pictures -------------------------------------------------------------------------------------------------------


def lines(picture, width=40):
    return [str(part) for part in terminal_picture(picture, width).renderables]


def test_tokens_of_which_nothing_is_known_have_no_colour():
    plain = Picture("t", None, None, ("a", "b"), ())
    (_, text) = terminal_picture(plain, 40).renderables
    assert not any(span.style for span in text.spans)
    assert lines(plain) == ["t", "a b "]
    (_, text, _) = terminal_picture(Picture("t", np.array([1.0, -2.0]), None, ("a", "b"), ()), 40).renderables
    assert [span.style for span in text.spans] == ["black on rgb(255,128,128)", "black on rgb(0,0,255)"]


def test_numbers_of_which_nothing_is_known_are_seen_themselves():
    inputs = np.array([[0.0, 4.0], [-2.0, 0.0], [0.0, 0.0]])
    plain = Picture("t", None, inputs, ("0", "1", "2"), ("x", "why"))
    assert lines(plain) == ["t", "  x    ", "why    ", "largest: why at step 0 +4, x at step 1 -2"]
    assert lines(plain, 6) == [
        "t",
        "  x   ",
        "why   ",
        "",
        "  x  ",
        "why  ",
        "largest: why at step 0 +4, x at step 1 -2",
    ]


@pytest.mark.parametrize("tokens", [3, 61, 400])
def test_tokens_are_drawn_within_the_page(tmp_path, tokens):
    """Nothing is cut off: the outermost pixels are white."""
    values = np.linspace(-1, 1, tokens)
    picture = Picture("a $title$ of_it\nand more", values, None, tuple(f"w$ord{n}" for n in range(tokens)), ())
    save_picture(picture, tmp_path / "a.png")
    image = matplotlib.image.imread(tmp_path / "a.png")[..., :3]
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        assert (edge == 1).all()
    assert (image != 1).any()
    save_picture(picture, tmp_path / "a.svg")
