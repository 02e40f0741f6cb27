"""Every built-in task, with its default parameters: the kit, the gate, and what its page says about it."""

import ast
import importlib.resources
import inspect
import sys

import pytest
import torch
from torch import nn
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from xrnnbench import plugins
from xrnnbench.errors import DataError, ParameterError
from xrnnbench.tasks.builtin.series import el_nino, vowels
from xrnnbench.tasks.builtin.synthetic import adding, state
from xrnnbench.tasks.builtin.text import lexicon, sentences, valence
from xrnnbench.tasks.conformance import check_task
from xrnnbench.tasks.contract import check_contract
from xrnnbench.tasks.engine.variants import Masked
from xrnnbench.tasks.models.evaluation import auroc, pearson, r_squared

# These read files of the user's own, or one of many sets: they have to be told which.
TOLD = {"csv", "csv-forecast", "parallel", "ucr", "uea"}
# Data sets that are fetched on demand are not here; tests of their own read genuine files.
NAMES = [name for name in plugins.names("task") if name not in TOLD and not plugins.find("task", name).data_sets]


@pytest.fixture(scope="module", params=NAMES)
def task(request):
    return plugins.build("task", request.param)


def test_models_keep_the_contract_of_a_subject(task):
    contract = check_contract(task.subject(0))
    assert contract.kept, contract.broken
    assert contract.sequences <= 8
    # what is found is rounding, far below what is allowed
    assert max(promise.difference for promise in contract.promises) < 0.1 * contract.allowed


def test_these_are_the_built_in_tasks():
    generated = {
        *("adding", "subtracting", "order", "counter", "subsequence", "subsequence-automaton", "bracket", "state"),
        *("spike", "rare-feature", "rare-time", "moving-box", "valence", "dates", "ecg-lesion"),
    }
    packaged = {"vowels", "el-nino", "sp500-volatility", "docstrings", "digits", "italy-power", "basic-motions"}
    assert set(NAMES) == generated | packaged | {"gun-point"}
    # other tests of the same process may have loaded tasks from files
    packaged = [plugins.find("task", name) for name in plugins.names("task")]
    fetched = {task.name for task in packaged if task.data_sets and task.__module__.startswith("xrnnbench.")} - TOLD
    assert fetched == {
        *("sst-trees", "sst2", "imdb", "eraser-movies", "trec", "ag-news", "multi30k", "fsdd", "speech-commands"),
        *("physionet2012", "ecg200", "ecg5000", "jena-climate", "beijing-pm25", "etth1", "etth2"),
    }


@pytest.mark.parametrize("name", plugins.names("task"))
def test_every_task_says_what_it_is_for_and_under_which_licence(name):
    cls = plugins.find("task", name)
    assert cls.application
    assert cls.licence


@pytest.mark.no_cover  # see pyproject.toml
@pytest.mark.full_except("adding", "counter", "vowels")
def test_kit_is_passed(task):
    assert [str(finding) for finding in check_task(task) if finding.failed] == []


def test_page_states_the_truth_and_the_source(task):
    assert "Truth" in task.page()
    assert "Source:" in task.page()


@pytest.mark.full
def test_every_truth_says_which_output_it_explains(task):
    for truth in task.data().explained.truths.values():
        assert truth.output


def test_background_comes_from_the_training_data(task):
    data = task.data()
    known = {row.numpy().tobytes() for row in data.train.inputs[:, : data.background.inputs.shape[1]]}
    assert all(row.numpy().tobytes() in known for row in data.background.inputs)


# ---- adding ---------------------------------------------------------------------------------------------------------


def single_removals(subject):
    """What the score loses when one cell is set to the reference, float[B, T, D]."""
    count, steps, features = subject.batch.inputs.shape
    cells = steps * features
    keep = ~torch.eye(cells, dtype=torch.bool).view(cells, steps, features)
    instance = torch.arange(count).repeat_interleave(cells)
    scores = subject.scores(Masked(keep.repeat(count, 1, 1), instance))
    return (subject.score[instance] - scores).view(count, steps, features) * subject.batch.valid[:, :, None]


@pytest.mark.parametrize("name", ["adding", "subtracting"])
@pytest.mark.parametrize("seed", [0, 1])
def test_models_have_learnt_the_rule_off_the_data_too(name, seed):
    subject = plugins.build("task", name).subject(seed)
    truth = subject.batch.truths["coefficient"].values
    assert pearson(single_removals(subject)[subject.valid], truth[subject.valid]) > 0.99
    assert subject.reference_score.abs().max() < 0.1


def test_two_numbers_stand_in_different_steps_and_channels():
    batch = adding.Adding(sequences=500).data().train
    assert ((batch.inputs != 0).sum(1) == 1).all()
    assert ((batch.inputs != 0).sum(2) <= 1).all()
    sizes = batch.inputs[batch.inputs != 0].abs()
    assert sizes.min() >= 0.5
    assert sizes.max() <= 1
    assert set(batch.lengths.tolist()) == set(range(4, 11))
    assert torch.allclose(batch.targets[:, 0], batch.inputs.sum((1, 2)))


def test_contributions_sum_to_the_target():
    for task in (adding.Adding(), adding.Subtracting()):
        batch = task.data().explained
        for truth in batch.truths.values():
            assert torch.allclose(truth.values.sum((1, 2)), batch.targets[:, 0])


# ---- state ----------------------------------------------------------------------------------------------------------


def test_labels_follow_the_active_signal_alone():
    data = state.State(sequences=400).data()
    active = data.test.truths["feature"].values.bool()
    assert (active.sum(2) == 1).all()
    assert not active[:, :, 0].any()
    labels = data.test.targets.flatten()
    signal = (data.test.inputs * active).sum(2).flatten()
    assert 0.95 < auroc(signal, labels) < 0.97
    # calibrated: P(label = 1) = σ(2x)
    for low in (-1.0, -0.5, 0.0, 0.5):
        inside = (signal > low) & (signal < low + 0.5)
        assert abs(labels[inside].double().mean() - torch.sigmoid(2 * signal[inside]).mean()) < 0.02


def test_signals_have_the_published_moments():
    data = state.State().data()
    signals, active = data.test.inputs, data.test.truths["feature"].values.bool()
    for which, means in enumerate([[0.1, 1.6, 0.5], [-0.1, -0.4, -1.5]]):
        chosen = signals[active[:, :, 1 + which]]
        assert torch.allclose(chosen.mean(0), torch.tensor(means), atol=0.03)
        assert torch.allclose(chosen.var(0), torch.full((3,), 0.8), atol=0.03)


def test_states_change_as_often_as_published():
    states = state.State().data().test.truths["feature"].values[:, :, 2].bool()
    now, after = states[:, :-1], states[:, 1:]
    assert abs(after[~now].float().mean() - 0.05) < 0.01
    assert 0.88 < after[now].float().mean() < 0.95  # .95 − δ/500
    changed = torch.zeros_like(states)
    changed[:, 1:] = now != after
    change = state.State().data().test.truths["change"].values
    assert torch.equal(change.sum(2).bool(), changed)


def test_own_class_is_the_label_of_most_steps():
    data = state.State().data()
    rows = [int((data.test.inputs == inputs).flatten(1).all(1).nonzero()) for inputs in data.explained.inputs]
    assert torch.equal(data.explained.targets, (data.test.targets[rows].sum(1) > 100).long())


def test_score_of_a_sequence_is_the_mean_of_its_steps():
    subject = state.State().subject(0)
    with torch.no_grad():
        steps = subject.model.step_scores(subject.batch.inputs, subject.batch.lengths)
    assert torch.allclose(steps.mean(1), subject.batch_outputs, atol=1e-5)


# ---- valence --------------------------------------------------------------------------------------------------------


def test_context_is_valued_as_vader_does():
    found = lexicon.load("valence", 1.0, 1.3)
    vader = SentimentIntensityAnalyzer()
    words = {"excellent": 1, "horrible": -1}
    for word in words:
        for booster in ("", "very", "slightly"):
            for negator in ("", "not"):
                text = [part for part in (negator, booster, word) if part]
                value = found.value(word, booster, negated=bool(negator))
                compound = vader.polarity_scores("it " + " ".join(text))["compound"]
                assert abs(value / (value**2 + 15) ** 0.5 - compound) < 5e-4, text


def test_frames_are_neutral():
    table = importlib.resources.files("vaderSentiment") / "vader_lexicon.txt"
    rated = {line.split("\t")[0] for line in table.read_text(encoding="utf-8").splitlines()}
    whole = lexicon.load("valence", 0, 4)
    assert not sentences.Writer.fillers() & (rated | set(whole.negators) | set(whole.boosters))
    assert set(sentences.NEGATORS) <= set(whole.negators)
    assert set(sentences.BOOSTERS) <= set(whole.boosters)


def test_both_readings_agree_with_the_class():
    data = valence.Valence(instances=500).data()
    ratings, context = (data.explained.truths[name].values for name in ("rating", "contextual"))
    sums = torch.where(ratings != 0, context, 0).sum(1)
    assert torch.equal(sums > 0, data.explained.targets == 1)
    assert sums.abs().min() > 0.999
    # a reading by context has more relevant tokens: negators and boosters
    assert ((context != 0) >= (ratings != 0)).all()
    assert (context != 0).sum() > (ratings != 0).sum()


def test_no_word_is_new_in_the_held_out_sentences():
    data = valence.Valence().data()
    learnt, counts = data.train.inputs[data.train.valid].unique(return_counts=True)
    assert set(data.test.inputs[data.test.valid].tolist()) <= set(learnt.tolist())
    rated = data.test.truths["rating"].relevant
    often = dict(zip(learnt.tolist(), counts.tolist(), strict=True))
    assert min(often[token] for token in data.test.inputs[rated].tolist()) >= 8


def test_reference_is_a_token_the_model_was_trained_with():
    data = valence.Valence().data()
    share = (data.train.inputs == data.reference).sum() / data.train.lengths.sum()
    assert abs(share - 0.1) < 0.01
    assert data.names.vocabulary[int(data.reference)] == "<unk>"
    assert data.names.vocabulary[0] == "<pad>"


@pytest.mark.parametrize("words", [7, 100_000])
def test_number_of_words_has_to_be_even_and_there(words):
    with pytest.raises(ParameterError, match=f"words={words} does not fit"):
        valence.Valence(words=words).data()


# ---- vowels and el-nino ---------------------------------------------------------------------------------------------


def test_utterances_have_their_real_lengths():
    data = vowels.Vowels().data()
    lengths = torch.cat([data.train.lengths, data.test.lengths])
    assert (len(data.train), len(data.test)) == (270, 370)
    assert (int(lengths.min()), int(lengths.max())) == (7, 29)
    frames = data.train.inputs[data.train.valid]
    assert torch.allclose(frames.mean(0), torch.zeros(12), atol=1e-5)
    assert torch.allclose(frames.std(0), torch.ones(12), atol=1e-5)
    assert data.train.targets.bincount().tolist() == [30] * 9


def test_no_month_is_both_learnt_from_and_tested_on():
    data = el_nino.ElNino().data()
    assert data.train.inputs.shape == (45 * 12 - 24 - 6 + 1, 24, 1)
    assert data.test.inputs.shape == (16 * 12 - 24 - 6 + 1, 24, 1)
    # a window's first target is the next window's last input
    assert torch.equal(data.test.targets[:-1, 0], data.test.inputs[1:, -1, 0])


def test_baseline_scores_of_el_nino_are_those_of_its_page():
    data = el_nino.ElNino().data()
    train, test = (nn.functional.pad(part.inputs[:, :, 0], (0, 1), value=1.0) for part in (data.train, data.test))
    predicted = test @ torch.linalg.lstsq(train, data.train.targets[:, :1]).solution
    assert abs(r_squared(predicted, data.test.targets[:, :1]) - 0.948) < 0.001
    assert abs(r_squared(data.test.inputs[:, -1], data.test.targets[:, :1]) - 0.736) < 0.001


@pytest.mark.parametrize(
    ("name", "package"),
    [("vowels", "sktime.datasets"), ("el-nino", "statsmodels.datasets"), ("valence", "vaderSentiment")],
)
def test_missing_extra_is_said_with_the_way_out(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    valence._lexicon.cache_clear()
    task = plugins.build("task", name)
    with pytest.raises(DataError, match=rf"Task '{name}' needs the extra 'data': pip install 'xrnnbench\[data\]'\."):
        task.dataset()
    assert task.extra == "data"
    monkeypatch.undo()
    valence._lexicon.cache_clear()


def test_no_task_uses_the_global_generators():
    for module in (adding, state, valence, vowels, el_nino, sentences):
        tree = ast.parse(inspect.getsource(module))
        calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assert not calls & {"torch.manual_seed", "np.random.seed", "random.seed", "np.random.rand"}
