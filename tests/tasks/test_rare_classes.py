"""Rare classes of a user's own table: weights in training, balanced accuracy, and the warning about accuracy."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, recall_score
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.nn import functional as F

from xrnnbench import AssumptionWarning, Batch, Recipe, build, task_from_csv
from xrnnbench.errors import ParameterError
from xrnnbench.plugins import kebab
from xrnnbench.tasks.models.evaluation import balanced_accuracy
from xrnnbench.tasks.models.training import train

LONG = {"id": "who", "time": "hour", "predict": "outcome"}
RARE = "say measure=balanced-accuracy, and class_weights=balanced to learn it"


def patients(count=400, share=0.03, seed=0):
    """A few are ill, and the pulse tells them apart only roughly."""
    rng = np.random.default_rng(seed)
    ill = np.arange(count) < round(share * count)
    frame = pd.DataFrame({"who": np.repeat(np.arange(count), 3), "hour": np.tile(np.arange(3), count)})
    frame["pulse"] = np.repeat(ill, 3) * 0.8 + rng.normal(size=3 * count)
    return frame.assign(outcome=np.where(np.repeat(ill, 3), "ill", "well"))


# ---- weights --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [(30, 970), (5, 5), (1, 2, 97)])
def test_balanced_weights_are_those_of_scikit_learn(counts):
    targets = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    expected = compute_class_weight("balanced", classes=np.arange(len(counts)), y=targets.numpy())
    assert Recipe(1, class_weights="balanced").weights_of(targets).tolist() == pytest.approx(expected, rel=1e-6)


def test_given_weights_are_scaled_to_a_mean_of_one():
    targets = torch.tensor([0, 0, 0, 1])
    weights = Recipe(1, class_weights=(20.0, 100.0)).weights_of(targets)
    assert (weights[1] / weights[0]).item() == pytest.approx(5)
    assert weights[targets].mean().item() == pytest.approx(1)
    assert Recipe(1).weights_of(targets) is None


def test_recipe_without_weights_is_written_as_before():
    expected = "Recipe(epochs=3, learning_rate=0.01, batch_size=64, clip=1.0, weight_decay=0.0, enough=0.0)"
    assert repr(Recipe(3)) == expected
    assert "class_weights" not in Recipe(3).parameters()
    assert "class_weights='balanced'" in repr(Recipe(3, class_weights="balanced"))


class Bias(nn.Module):
    """Scores that depend on no input."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(2))

    def forward(self, inputs, lengths):
        return self.bias.expand(len(inputs), 2)


def test_training_descends_the_weighted_loss():
    targets = torch.tensor([0] * 30 + [1] * 10)
    data = Batch(torch.zeros(40, 1, 1), torch.ones(40).long(), targets)
    expected = nn.Parameter(torch.zeros(2))
    F.cross_entropy(expected.expand(40, 2), targets, weight=torch.tensor([1.0, 9.0])).backward()
    optimizer = torch.optim.AdamW([expected], lr=0.1, weight_decay=0)
    optimizer.step()
    recipe = Recipe(1, learning_rate=0.1, batch_size=40, clip=1e9, class_weights=(1.0, 9.0))
    assert torch.allclose(train(Bias, data, recipe, 0).bias, expected, atol=1e-6)
    # balanced: both classes weigh the same, so nothing is learnt from their numbers, whatever the minibatches
    many = Recipe(300, learning_rate=0.003, batch_size=4, class_weights="balanced")
    probabilities = train(Bias, data, many, 0).bias.detach().softmax(0)
    assert probabilities.tolist() == pytest.approx([0.5, 0.5], abs=0.03)
    plain = train(Bias, data, Recipe(300, learning_rate=0.03, batch_size=4), 0).bias.detach().softmax(0)
    assert plain.tolist() == pytest.approx([0.75, 0.25], abs=0.03)


@pytest.mark.parametrize(
    ("targets", "weights", "sentence"),
    [
        (torch.zeros(4, 1), "balanced", "class_weights=… is for sequences with one class each: leave it out."),
        (torch.zeros(4, 2).long(), "balanced", "class_weights=… is for sequences with one class each: leave it out."),
        (torch.arange(4), (1.0, 2.0), "class_weights=… has 2 weights for 4 classes: give one for each."),
    ],
)
def test_weights_that_do_not_fit_are_refused(targets, weights, sentence):
    with pytest.raises(ParameterError) as caught:
        Recipe(1, class_weights=weights).weights_of(targets)
    assert str(caught.value) == sentence


def recalls(task):
    """Recall of the ill and of the well among the held-out sequences."""
    test = task.data().test
    with torch.no_grad():
        scores = task.subject(0).model(test.inputs, test.lengths)
    return recall_score(test.targets, scores.argmax(1), average=None, zero_division=0)


@pytest.mark.parametrize("weights", ["balanced", {"ill": 30, "well": 1}])
def test_weights_make_a_network_recognise_a_rare_class(weights):
    frame = patients(600)
    options = {"measure": "balanced-accuracy", "epochs": 8, "held_out_share": 0.5, "hidden": 8, **LONG}
    plain, weighted = task_from_csv(frame, **options), task_from_csv(frame, class_weights=weights, **options)
    assert recalls(plain)[0] < 0.3
    assert recalls(weighted)[0] > recalls(plain)[0] + 0.3
    found = weighted.training(0).competence
    assert (found.measure, found.baseline) == ("balanced accuracy", 0.5)
    assert found.gate == pytest.approx(0.6)
    assert found.score == pytest.approx(recalls(weighted).mean())


def test_weights_are_written_in_a_spec(tmp_path, monkeypatch):
    patients(60, 0.5).to_csv(tmp_path / "data.csv", index=False)
    monkeypatch.chdir(tmp_path)
    spec = "csv:path=data.csv,predict=outcome,id=who,time=hour,class_weights=ill:5.0/well:1"
    task = build("task", spec)
    assert task.spec == spec
    assert task.recipe.class_weights == (5.0, 1.0)
    assert build("task", "csv:path=data.csv,predict=outcome,id=who,time=hour,class_weights=ill:5").recipe == task.recipe
    assert build("task", spec.partition(",class")[0] + ",class_weights=balanced").recipe.class_weights == "balanced"
    given = task_from_csv("data.csv", class_weights={"ill": 5.0, "well": 1}, **LONG)
    assert given.identity() == task.identity()
    assert given.identity() != task_from_csv("data.csv", **LONG).identity()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"class_weights": "balance"},
            "csv: class_weights=balance names no class; write balanced, or name:weight for 'ill', 'well'.",
        ),
        (
            {"class_weights": {"sick": 2}},
            "csv: class_weights=sick:2 names no class; write balanced, or name:weight for 'ill', 'well'.",
        ),
        (
            {"class_weights": {"ill": -1}},
            "csv: class_weights=ill:-1 does not fit (a weight is a number above 0).",
        ),
        ({"class_weights": "ill:many"}, "csv: class_weights=ill:many does not fit (a weight is a number above 0)."),
        ({"class_weights": ("ill:1", "ill:2")}, "csv: class_weights=… gives a class two weights: give it one."),
        (
            {"class_weights": "balanced", "predict": "pulse", "features": "hour2"},
            "csv: class_weights=… is for classes, and pulse holds values.",
        ),
        (
            {"measure": "balanced-accuracy", "predict": "pulse"},
            "csv: measure=… is for classes, and pulse holds values.",
        ),
        (
            {"measure": "f1"},
            "from_csv: measure='f1' does not fit (Input should be 'accuracy' or 'balanced-accuracy').",
        ),
    ],
)
def test_options_for_rare_classes_that_do_not_fit_are_refused(options, sentence):
    with pytest.raises(ParameterError) as caught:
        task_from_csv(patients(40), **LONG | options)
    assert str(caught.value) == sentence


# ---- the measure ----------------------------------------------------------------------------------------------------


def test_balanced_accuracy_is_that_of_scikit_learn():
    rng = torch.Generator().manual_seed(0)
    scores, targets = torch.randn(300, 4, generator=rng), torch.randint(0, 4, (300,), generator=rng)
    expected = balanced_accuracy_score(targets, scores.argmax(1))
    assert balanced_accuracy(scores, targets) == pytest.approx(expected)
    # a class that is predicted and does not occur is no class to recognise
    two = targets.clamp(max=1)
    assert balanced_accuracy(scores, two) == pytest.approx(
        np.mean([(scores.argmax(1)[two == own] == own).float().mean().item() for own in (0, 1)])
    )


def test_measure_does_not_retrain(own_cache):
    frame = patients(60, 0.5)
    task_from_csv(frame, epochs=2, **LONG).training(0)
    found = task_from_csv(frame, epochs=2, measure="balanced-accuracy", **LONG).training(0)
    assert found.cached
    assert found.competence.measure == "balanced accuracy"
    assert not task_from_csv(frame, epochs=2, class_weights="balanced", **LONG).training(0).cached


def test_accuracy_of_a_rare_class_is_warned_of():
    frame = patients(100, 0.04)
    with pytest.warns(AssumptionWarning, match=r"only 4\.0% of the sequences have the class 'ill'.*" + RARE):
        task_from_csv(frame, **LONG).data()
    task_from_csv(frame, measure="balanced-accuracy", **LONG).data()
    task_from_csv(patients(100, 0.05), **LONG).data()


def test_many_classes_of_equal_size_are_not_rare():
    frame = patients(300).assign(outcome=lambda table: table["who"] % 30)
    options = LONG | {"targets_are": "classes"}
    assert len(task_from_csv(frame, **options).names.outputs) == 30
    frame["outcome"] = frame["outcome"].where(frame["who"] > 250, frame["outcome"].clip(upper=28))
    with pytest.warns(AssumptionWarning, match="have the class '29'"):
        task_from_csv(frame, **options).data()


# ---- folder names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("My patients", "my-patients"),
        ("Ünïcode — (2nd) ﬁle", "unicode-2nd-file"),
        ("already-kebab-2", "already-kebab-2"),
        ("../etc", "etc"),
        ("患者", "task-9db4a3b3"),
    ],
)
def test_folders_are_named_in_kebab_case(text, found):
    assert kebab(text) == found
