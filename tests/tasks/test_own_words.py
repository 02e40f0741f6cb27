"""One argument has one meaning in explain, in task_from_model and on the command line."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import xrnnbench
from xrnnbench import AssumptionWarning, Benchmark, DataError, Names, Truth, UsageError, explain, task_from_model
from xrnnbench.plugins import kebab


class Words(nn.Module):
    """Classifier of tokens that reads every step, padding too."""

    def __init__(self, padding_idx=0, outputs=3):
        super().__init__()
        self.embedding = nn.Embedding(9, 4, padding_idx=padding_idx)
        self.rnn = nn.LSTM(4, 5, batch_first=True)
        self.head = nn.Linear(5, outputs)

    def forward(self, tokens):
        return self.head(self.rnn(self.embedding(tokens))[0][:, -1])


class Series(nn.Module):
    """Classifier of features that reads every step, padding too, with the attention of its last step."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(2, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        states = self.rnn(x)[0]
        weights = (states @ states[:, -1:].transpose(1, 2)).softmax(1)
        return self.head((weights * states).sum(1)), weights.squeeze(2)


@pytest.fixture
def words():
    torch.manual_seed(3)
    return Words().double().eval()


LENGTHS = torch.tensor([6, 2, 4, 3])


def left_padded(values, lengths=LENGTHS):
    padded = torch.zeros_like(values)
    for row, length in enumerate(lengths.tolist()):
        padded[row, values.shape[1] - length :] = values[row, :length]
    return padded


TOKENS = left_padded(torch.randint(1, 9, (4, 6), generator=torch.Generator().manual_seed(0)))


def test_lengths_and_targets_may_be_left_out_of_a_task(words):
    task = task_from_model(words, TOKENS[:1].repeat(4, 1))
    run = task.subject(0)
    assert run.batch.lengths.tolist() == [6] * 4
    assert not run.targets_known
    reason = xrnnbench.build("method", "permutation-importance").applicable(run)
    assert reason == "the correct outputs are not known; give targets"


@pytest.mark.parametrize("entry", ["explain", "task"])
def test_left_padded_tokens_are_explained_where_they_stand(words, entry):
    """Occlusion by its definition, on the very arrays that the model is given."""
    target = words(TOKENS).argmax(1)
    expected = torch.zeros(TOKENS.shape, dtype=torch.float64)
    for row in range(4):
        for step in range(6 - int(LENGTHS[row]), 6):
            changed = TOKENS[row : row + 1].clone()
            changed[0, step] = 0
            with torch.no_grad():
                expected[row, step] = (words(TOKENS[row : row + 1]) - words(changed))[0, target[row]]
    if entry == "explain":
        found = explain(words, TOKENS, method="occlusion", padding_side="left").values
    else:
        subject = task_from_model(words, TOKENS, padding_side="left").subject(0)
        assert torch.equal(subject.batch.lengths, LENGTHS)
        found = left_padded(xrnnbench.build("method", "occlusion").explain(subject).values)
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:the attention that Series returns:xrnnbench.AssumptionWarning")
@pytest.mark.parametrize("method", ["deeplift", "integrated-gradients", "saliency", "lime", "attention"])
@pytest.mark.parametrize("tokens", [True, False])
def test_left_padding_and_gradients(words, method, tokens):
    if tokens and method == "attention":
        return
    torch.manual_seed(5)
    model = words if tokens else Series().double().eval()
    values = torch.randn(4, 6, 2, dtype=torch.float64)
    inputs = TOKENS if tokens else left_padded(values)
    options = {} if tokens else {"part": 0, "attention": 1}
    found = explain(model, inputs, LENGTHS, method=method, padding_side="left", **options)
    outside = torch.arange(6) < 6 - LENGTHS[:, None]
    assert (found.values[outside] == 0).all()
    assert (found.values != 0).flatten(1).any(1).all()
    if method in {"deeplift", "integrated-gradients"}:
        scores = model(inputs) if tokens else model(inputs)[0]
        zeros = model(torch.zeros_like(inputs)) if tokens else model(torch.zeros_like(inputs))[0]
        fall = (scores - zeros).gather(1, found.target[:, None])[:, 0]
        tolerance = 1e-10 if method == "deeplift" else 0.02 * float(fall.detach().abs().max())
        assert torch.allclose(found.values.flatten(1).sum(1), fall, rtol=0, atol=tolerance)
    if method == "saliency" and not tokens:
        point = inputs.clone().requires_grad_()
        model(point)[0].gather(1, found.target[:, None]).sum().backward()
        own = point.grad.abs().masked_fill(outside[..., None], 0)
        assert torch.allclose(found.values, own, rtol=0, atol=1e-12)
    if method == "attention":
        weights = model(inputs)[1].masked_fill(outside, 0)
        assert torch.allclose(found.steps, weights, rtol=0, atol=1e-12)


def test_left_padded_sequences_that_are_not_declared_are_refused(words):
    with pytest.raises(DataError, match="look left-padded: sequence 1 has length 2 and begins with 4 steps of padding"):
        explain(words, TOKENS, LENGTHS, method="occlusion")
    with pytest.warns(AssumptionWarning, match="3 of 4 sequences that begin with the padding token 0"):
        explain(words, TOKENS, method="occlusion")
    with pytest.raises(DataError, match="needs the lengths of sequences of features"):
        explain(Series(), torch.randn(4, 6, 2), method="occlusion", part=0, padding_side="left")
    with pytest.raises(DataError, match="padding_side='top' is none of 'right', 'left'"):
        explain(words, TOKENS, method="occlusion", padding_side="top")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explain(words, TOKENS, padding_side="left", method="occlusion")


def test_left_padded_truths_and_references_turn_with_the_inputs(words):
    truth = Truth((TOKENS > 4).double(), "planted", "the predicted class")
    reference = torch.full_like(TOKENS, 2).masked_fill(TOKENS == 0, 0)
    subject = task_from_model(words, TOKENS, truth=truth, reference=reference, padding_side="left").subject(0)
    assert torch.equal(left_padded(subject.batch.truth.values), truth.values)
    assert torch.equal(left_padded(subject.reference) * (TOKENS > 0), reference)


@pytest.mark.parametrize(
    ("name", "folder"),
    [("My Net (v2)", "my-net-v2"), ("über, alles: ja=1", "uber-alles-ja-1"), ("模型", kebab("模型"))],
)
def test_any_text_is_the_name_of_a_task(words, name, folder, tmp_path):
    task = task_from_model(words, TOKENS[:1].repeat(3, 1), targets=[0, 1, 2], name=name)
    run = Benchmark([task], ["occlusion", "random"], ["comprehensiveness"]).run(tmp_path)
    assert set(run.records()["task"]) == {name}
    assert [path.name.rpartition("-")[0] for path in (run.folder / "cells").iterdir()] == [folder]
    assert name in (tmp_path / "leaderboard.md").read_text("utf-8").replace("\\", "")
    again = Benchmark([task], ["occlusion", "random"], ["comprehensiveness"]).run(tmp_path)
    assert again.times["explaining"] == 0
    assert xrnnbench.Run.load(run.folder).cells.keys() == run.cells.keys()


def test_two_names_of_one_folder_are_two_tasks(words):
    first, second = (task_from_model(words, TOKENS[:1].repeat(3, 1), name=name) for name in ("My net", "my-net"))
    assert first.name == second.name == "my-net"
    assert first.identity() != second.identity()


def test_the_explained_output_may_be_chosen_in_a_grid(words):
    names = Names(outputs=("good", "bad", "ugly"))
    inputs = TOKENS[:1].repeat(3, 1)
    expected = explain(words, inputs, method="occlusion", target=2).values
    for target in (2, [2, 2, 2], "ugly", np.array(["ugly"] * 3)):
        subject = task_from_model(words, inputs, target=target, names=names).subject(0)
        assert subject.target.tolist() == [2, 2, 2]
        assert torch.equal(xrnnbench.build("method", "occlusion").explain(subject).values, expected)
        assert torch.equal(explain(words, inputs, method="occlusion", target=target, names=names).values, expected)
    others = task_from_model(words, inputs, target=2), task_from_model(words, inputs)
    assert others[0].identity() != others[1].identity()


def test_targets_by_name(words):
    names = Names(outputs=("good", "bad", "ugly"))
    task = task_from_model(words, TOKENS[:1].repeat(3, 1), targets=["bad", "good", "ugly"], names=names)
    assert task.batch.targets.tolist() == [1, 0, 2]
    with pytest.raises(DataError, match="The targets 'godo' is the name of no output, did you mean 'good'"):
        task_from_model(words, TOKENS[:1].repeat(3, 1), targets=["godo", "good", "ugly"], names=names)


def test_wrong_words_are_answered_with_the_nearest(words):
    for call in (explain, task_from_model, xrnnbench.inspect):
        with pytest.raises(DataError, match="There is no option 'lenghts', did you mean 'lengths'"):
            call(words, TOKENS, lenghts=LENGTHS)


def test_several_trainings_are_the_seeds_of_a_task(words, tmp_path):
    torch.manual_seed(8)
    models, inputs = [words, Words().double().eval(), Words().double().eval()], TOKENS[:1].repeat(3, 1)
    task = task_from_model(models, inputs, targets=[0, 1, 2], name="three")
    run = Benchmark([task], ["occlusion"], ["comprehensiveness"]).run(tmp_path)
    assert sorted(run.records()["model_seed"]) == [0, 1, 2]
    for seed, model in enumerate(models):
        assert torch.equal(task.subject(seed).batch_outputs, task_from_model(model, inputs).subject(0).batch_outputs)
    assert task.identity() != task_from_model(models[:2], inputs, targets=[0, 1, 2], name="three").identity()
    with pytest.raises(DataError, match="has 3 models, and no seed 3"):
        task.subject(3)
    with pytest.raises(DataError, match="given no model"):
        task_from_model([], inputs)
    with pytest.raises(DataError, match="have different outputs"):
        task_from_model([words, Words(outputs=2).double()], inputs)


def test_ids_are_checked(words):
    inputs = TOKENS[:1].repeat(3, 1)
    assert task_from_model(words, inputs, ids=np.array([7, 8, 9])).batch.ids == ("7", "8", "9")
    for ids, said in ((["a", "b"], "3 sequences and 2 ids"), (["a", "b", "a"], "Two sequences have the id 'a'")):
        with pytest.raises(DataError, match=said):
            task_from_model(words, inputs, ids=ids)
    with pytest.raises(UsageError, match="no identifiers"):
        task_from_model(words, inputs, ids="abc")


class One(nn.Module):
    """Binary classifier with one logit, which asks for lengths."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(2, 4, batch_first=True)
        self.head = nn.Linear(4, 1)

    def forward(self, x, lengths):
        states = self.rnn(x)[0]
        return self.head(states[torch.arange(len(x)), lengths - 1])


FEATURES = torch.randn(6, 5, 2, generator=torch.Generator().manual_seed(2))


def test_the_only_name_of_a_binary_classifier_is_that_of_class_1():
    """A newcomer's one name was taken for class 0: every sign was turned."""
    model = One().eval()
    options = {"targets": [0, 1, 0, 1, 0, 1], "method": "occlusion", "outputs": "binary-logit"}
    one = explain(model, FEATURES, target="ill", names=Names(outputs=("ill",)), **options)
    both = explain(model, FEATURES, target="ill", names=Names(outputs=("well", "ill")), **options)
    assert torch.equal(one.values, both.values)
    assert torch.allclose(one.score, model(FEATURES, torch.full((6,), 5))[:, 0])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"names": Names(features=("a", "b", "c"))}, "There are 3 names of features, and the inputs have 2"),
        ({"names": Names(outputs=("a", "b", "c"))}, "There are 3 names of outputs, and One has 2"),
        ({"targets": [-1.0, 1.0, 1.0, -1.0, 1.0, 1.0]}, "The targets are −1 and 1, and the model has one output"),
        (
            {"lengths": torch.ones(6, 5, dtype=torch.bool)},
            "a mask of truth values: give the numbers of steps",
        ),
        ({"baseline": 0}, "There is no option 'baseline', which is called 'reference' here"),
        ({"reference": "mine"}, "The reference is the text 'mine'"),
    ],
)
def test_natural_mistakes_are_answered_with_the_way_out(options, said):
    options = {"targets": [0, 1, 0, 1, 0, 1]} | options
    with pytest.raises(DataError, match=said):
        explain(One(), FEATURES, method="occlusion", **options)


def test_swapped_axes_are_guessed():
    with pytest.raises(DataError, match="the inputs are \\[B, T, D\\], so swap their last two axes"):
        explain(One(), FEATURES.transpose(1, 2), torch.full((6,), 5), method="occlusion")


def test_forgotten_lengths_are_asked_for():
    padded = FEATURES.clone()
    padded[1:3, 2:] = 0
    with pytest.warns(AssumptionWarning, match="none are given, and 2 of 6 sequences end in steps of 0"):
        task_from_model(One(), padded, targets=[0, 1, 0, 1, 0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task_from_model(One(), padded, torch.tensor([5, 2, 2, 5, 5, 5]), targets=[0, 1, 0, 1, 0, 1])


def test_probabilities_that_are_called_logits_are_doubted():
    model = nn.Sequential(nn.Flatten(), nn.Linear(10, 1), nn.Sigmoid())
    with pytest.warns(AssumptionWarning, match="returns scores in .0, 1., as probabilities are"):
        explain(model, FEATURES, method="occlusion", outputs="binary-logit", targets=[0, 1, 0, 1, 0, 1])


def test_one_plug_in_needs_no_list(words, tmp_path):
    task = task_from_model(words, TOKENS[:1].repeat(3, 1), name="alone")
    assert len(Benchmark(task, "occlusion", "gini").run(tmp_path).cells) == 1


class TimeFirst(nn.Module):
    """Takes [T, B, D] and its hidden state, whose number of rows shows it."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(2, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x, hidden):
        return self.head(self.rnn(x, hidden)[0][-1])


class Wide(nn.Module):
    """Takes one width only."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(10, 2)

    def forward(self, x):
        return self.head(x.reshape(len(x), 10))


def test_the_option_under_which_a_model_runs_is_named():
    with pytest.raises(DataError, match="runs otherwise: say batch_first=False"):
        explain(TimeFirst(), FEATURES, method="occlusion")
    explain(TimeFirst(), FEATURES.transpose(0, 1), method="occlusion", batch_first=False)
    lengths = torch.tensor([5, 3, 2, 5, 4, 5])
    with pytest.raises(DataError, match="runs with the given width: say padding='keep'"):
        explain(Wide(), FEATURES, lengths, method="occlusion")
    explain(Wide(), FEATURES, lengths, method="occlusion", padding="keep")


def test_a_function_is_told_which_methods_apply():
    with pytest.raises(UsageError, match="which has no gradients; use one that only runs it, such as occlusion"):
        explain(lambda x: x.sum(1), FEATURES)
    assert "does not apply here" in xrnnbench.inspect(lambda x: x.sum(1), FEATURES).defaults["method"]
