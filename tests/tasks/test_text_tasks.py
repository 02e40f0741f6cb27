"""Text tasks: tokens, vocabularies, each task on files of its own format, and on genuine data where they are there."""

import collections
import dataclasses
import importlib.util
import json
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xrnnbench.errors import DataError, ParameterError
from xrnnbench.plugins import build
from xrnnbench.tasks.builtin.text import docstrings, vocabulary
from xrnnbench.tasks.builtin.text.classification import TextTask
from xrnnbench.tasks.builtin.text.news import unescaped
from xrnnbench.tasks.builtin.text.treebank import phrase_ratings
from xrnnbench.tasks.builtin.text.vocabulary import PADDING, UNKNOWN, Text, Vocabulary, spaced, words
from xrnnbench.tasks.conformance import check_task
from xrnnbench.tasks.data.batch import Truth
from xrnnbench.tasks.readers import ptb

from .shared_data import laid

ON_DEMAND = ("ag-news", "eraser-movies", "imdb", "sst-trees", "sst2", "trec")
GOOD, BAD = ("good", "fine", "lovely"), ("bad", "dull", "awful")
FILLERS = [f"word{number}" for number in range(30)]


@pytest.fixture(scope="module")
def genuine(tmp_path_factory):
    """The data folder with genuine copies, laid out at the first request."""
    folder = tmp_path_factory.mktemp("genuine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XRNNBENCH_DATA", str(folder))
        yield lambda name: laid(name, folder)


# ---- tokens ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("It ISN'T 3 % off!", ["it", "isn't", "3", "%", "off", "!"]),
        ("a\xa0b\u2009c\td\r\ne", ["a", "b", "c", "d", "e"]),
        ("cafe\u0301 \uff26\uff35\uff2c\uff2c \ufb01ne", ["café", "full", "fine"]),
        ("Straße İZMİR 東京", ["straße", "i\u0307zmi\u0307r", "東京"]),
        ("it\u2019s 'so'", ["it\u2019s", "'", "so", "'"]),
        ("😀👍🏽", ["😀", "👍", "🏽"]),
        ("don''t", ["don", "'", "'", "t"]),
        ("<unk> <pad>", ["<", "unk", ">", "<", "pad", ">"]),
        (" \n\x85", []),
    ],
)
def test_running_text_is_taken_apart(text, tokens):
    assert list(words(text)) == tokens


def test_spaced_text_is_parted_at_plain_spaces_alone():
    assert spaced(" It 's  1\xa01/2\u2009h\t- LRB ") == ("it", "'s", "1\xa01/2\u2009h\t-", "lrb")
    assert spaced("   ") == ()


@given(st.text())
def test_taking_apart_loses_nothing_but_space(text):
    import unicodedata  # noqa: PLC0415  # of this definition alone

    plain_text = unicodedata.normalize("NFKC", text).lower()
    assert "".join(words(text)) == "".join(plain_text.split()) or not plain_text.isprintable()


def test_signs_of_html_are_read():
    assert unescaped(r"Newall #39;s\profit &lt;b&gt;rose #36;3") == "Newall's profit <b>rose $3"


# ---- texts and vocabularies -----------------------------------------------------------------------------------------


def texts_of(*lines):
    return [Text(tuple(line.split()), number % 2) for number, line in enumerate(lines)]


def test_texts_without_tokens_and_values_without_tokens_are_refused():
    with pytest.raises(DataError, match="A text has no tokens: leave empty texts out"):
        Text((), 0)
    with pytest.raises(DataError, match="A text has 2 tokens, but 1 values of the truth 'word': give one for each"):
        Text(("a", "b"), 0, {"word": [1.0]})


@given(st.lists(st.lists(st.sampled_from("abcdef"), min_size=1), min_size=1), st.integers(1, 8), st.integers(1, 3))
def test_vocabulary_is_that_of_the_most_frequent_tokens(rows, size, least):
    found = Vocabulary.of([Text(tuple(row), 0) for row in rows], size, least).tokens
    counts = collections.Counter(token for row in rows for token in row)
    assert found[:2] == (PADDING, UNKNOWN)
    assert list(found[2:]) == sorted(found[2:], key=lambda token: (-counts[token], token))
    assert len(found) <= size + 2
    assert all(counts[token] >= least for token in found[2:])
    left = [counts[token] for token in counts if token not in found and counts[token] >= least]
    assert len(found) == size + 2 or not left
    assert not left or max(left) <= min(counts[token] for token in found[2:])


def test_what_is_not_known_has_one_number_and_padding_is_nothing_a_text_can_say():
    known = Vocabulary.of(texts_of("a a b b", "<pad> <pad> <unk> <unk> c"), 10, 2)
    assert known.tokens == ("<pad>", "<unk>", "a", "b")
    batch = known.batch(texts_of("a b c", "<pad> <unk>", "\xe4"))
    assert batch.inputs.tolist() == [[2, 3, 1], [1, 1, 0], [1, 0, 0]]
    assert batch.lengths.tolist() == [3, 2, 1]
    assert batch.targets.tolist() == [0, 1, 0]


def test_texts_are_cut_with_their_values():
    text = Text(("a", "b", "c"), 1, {"word": [1.0, 2.0, 3.0]})
    assert text.cut(2) == Text(("a", "b"), 1, {"word": [1.0, 2.0]})
    assert text.cut(9) == text


def test_unknown_tokens_are_a_share_and_never_on_padding():
    batch = Vocabulary.of(texts_of("a a"), 10, 2).batch(texts_of(*["a " * n for n in range(1, 200)]))
    found = vocabulary.word_dropout(batch, 1, 0.25, torch.Generator().manual_seed(0))
    assert not found.inputs[~batch.valid].any()
    assert abs((found.inputs[batch.valid] == 1).double().mean() - 0.25) < 0.02


# ---- what all tasks do, on texts made here --------------------------------------------------------------------------


@dataclass(frozen=True)
class Made(TextTask):
    name: ClassVar[str] = "made"
    outputs: ClassVar[tuple[str, ...]] = ("bad", "good")
    gate: ClassVar[float] = 0.9
    truths: ClassVar = {"word": lambda values: Truth(values, "human-rating", output="it", signed=True, toward=1)}

    learnt: ClassVar = ["good film film", "bad film film", "good nice film"] * 40
    kept: ClassVar = ["good nice film", "bad new film here", "bad new words here", "good unseen words here"]

    def texts(self):
        return [[_rated(line) for line in part] for part in (self.learnt, self.kept)]


def _rated(line):
    tokens = tuple(line.split())
    return Text(tokens, int("good" in tokens), {"word": [(t == "good") - float(t == "bad") for t in tokens]})


def test_vocabulary_is_of_the_training_texts_alone():
    found = Made(instances=2).data().names.vocabulary
    # "good nice film" is held out and so not learnt from
    assert found == (PADDING, UNKNOWN, "film", "bad", "good")


def test_no_held_out_text_is_learnt_from_and_none_known_to_the_token_is_explained():
    @dataclass(frozen=True)
    class Alike(Made):
        learnt: ClassVar = ["good film", "bad film", "good known"] * 20 + ["bad strange"]
        kept: ClassVar = ["bad film", "bad other", "good good"]
        unknown_share: ClassVar = 0.0

    data = Alike(instances=1).data()
    assert data.names.vocabulary == (PADDING, UNKNOWN, "good", "film", "known")
    # both "bad film" and "bad other" read as something the model has seen
    assert data.train.inputs.unique(dim=0).tolist() == [[1, 1], [2, 3], [2, 4]]
    assert data.test.inputs.tolist() == [[1, 3], [1, 1], [2, 2]]
    assert sorted(Alike(instances=2).data().explained.inputs.tolist()) == [[1, 3], [2, 2]]
    with pytest.raises(ParameterError, match="instances=3, but only 2 sequences are held out"):
        Alike(instances=3).data()


def test_truth_of_an_unknown_training_token_is_nothing():
    data = Made(instances=2).data()
    truth = data.train.truths["word"].values
    assert not truth[data.train.inputs == int(data.reference)].any()
    assert truth[data.train.inputs == data.names.vocabulary.index("bad")].eq(-1).all()
    assert truth[data.train.inputs == data.names.vocabulary.index("good")].eq(1).all()
    assert data.test.truths["word"].values.tolist() == [[1, 0, 0, 0], *[[-1, 0, 0, 0]] * 2, [1, 0, 0, 0]]


def test_texts_are_cut_to_their_steps():
    @dataclass(frozen=True)
    class Plain(Made):
        unknown_share: ClassVar = 0.0

    data = Plain(instances=2, steps=2).data()
    assert data.train.inputs.shape[1] == data.test.inputs.shape[1] == 2
    assert data.test.truths["word"].values.tolist() == [[1, 0], [-1, 0], [-1, 0], [1, 0]]
    with pytest.raises(DataError, match=r"'made:steps=1' has .*: raise steps|has 0 training texts"):
        Plain(steps=1).data()


def test_nothing_to_learn_from_is_said():
    @dataclass(frozen=True)
    class Same(Made):
        learnt: ClassVar = Made.kept

    with pytest.raises(DataError, match=r"has 0 training texts and 4 held-out texts"):
        Same().data()


def test_bag_of_words_is_that_of_scikit_learn():
    assert Made().bag_of_words() == 1.0


# ---- each task, on files of its format ------------------------------------------------------------------------------


def sentence(rng, good, length=6):
    tokens = [str(word) for word in rng.choice(FILLERS, length)]
    tokens[int(rng.integers(length))] = str(rng.choice(GOOD if good else BAD))
    return tokens


def sentences(seed, count):
    rng = np.random.default_rng(seed)
    return [(sentence(rng, number % 2), number % 2) for number in range(count)]


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))


def tree_of(tokens, label):
    """A chain to the right; only the telling word is rated."""
    leaves = [f"({4 if t in GOOD else 0 if t in BAD else 2} {t})" for t in tokens]
    tree = leaves[-1]
    for place in range(len(leaves) - 2, -1, -1):
        tree = f"({(4 if label else 0) if place == 0 else 2} {leaves[place]} {tree})"
    return tree


def write_sst_trees(folder):
    for seed, (split, count) in enumerate((("train", 2500), ("dev", 2), ("test", 100))):
        lines = [tree_of(*each) for each in sentences(seed, count)]
        write(folder / "trees" / f"{split}.txt", "\n".join(lines) + "\n")


def write_sst2(folder):
    for seed, (split, count) in enumerate((("train", 1200), ("dev", 100))):
        lines = [f"{' '.join(tokens)} \t{label}" for tokens, label in sentences(seed, count)]
        write(folder / "SST-2" / f"{split}.tsv", "\n".join(["sentence\tlabel", *lines]) + "\n")
    write(folder / "SST-2" / "test.tsv", "index\tsentence\n0\tno class is given away\n")


def write_imdb(folder):
    for seed, (split, count) in enumerate((("train", 1200), ("test", 100))):
        for number, (tokens, label) in enumerate(sentences(seed, count)):
            place = folder / "aclImdb" / split / ("pos" if label else "neg")
            write(place / f"{number}_{9 if label else 2}.txt", "<br />".join([" ".join(tokens).title(), "The End."]))


def write_eraser_movies(folder):
    for seed, (split, count) in enumerate((("train", 1200), ("val", 2), ("test", 100))):
        lines = []
        for number, (tokens, label) in enumerate(sentences(seed, count)):
            name = f"{split}{number}.txt"
            start = next(place for place, token in enumerate(tokens) if token in GOOD + BAD)
            span = {"docid": name, "start_token": start, "end_token": start + 1, "text": tokens[start]}
            entry = {"annotation_id": name, "classification": "POS" if label else "NEG", "evidences": [[span]]}
            write(folder / "movies" / "docs" / name, " ".join(tokens))
            lines.append(json.dumps(entry))
        write(folder / "movies" / f"{split}.jsonl", "\n".join(lines) + "\n")


def write_ag_news(folder):
    for seed, (split, count) in enumerate((("train", 4000), ("test", 100))):
        rng = np.random.default_rng(seed)
        rows = [
            f'"{n % 4 + 1}","topic{n % 4} {rng.choice(FILLERS)}","{" ".join(sentence(rng, 0))}"' for n in range(count)
        ]
        write(folder / f"{split}.csv", "\n".join(rows) + "\n")


def write_trec(folder):
    kinds = ("ABBR:exp", "DESC:def", "ENTY:food", "HUM:ind", "LOC:city", "NUM:dist")
    for seed, (name, count) in enumerate((("train_5500.label", 1200), ("TREC_10.label", 100))):
        rng = np.random.default_rng(seed)
        lines = [f"{kinds[n % 6]} topic{n % 6} {' '.join(sentence(rng, 0))} ?" for n in range(count)]
        write(folder / name, "\n".join(lines) + "\n", "latin-1")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data folder with small sets in the formats of the genuine ones."""
    folder = tmp_path_factory.mktemp("made")
    for name in ON_DEMAND:
        globals()[f"write_{name.replace('-', '_')}"](folder / name)
    return folder


@pytest.fixture
def small(made, monkeypatch):
    monkeypatch.setenv("XRNNBENCH_DATA", str(made))
    return made


@pytest.mark.parametrize("name", ON_DEMAND)
@pytest.mark.full
def test_kit_is_passed_on_files_of_its_format(name, small):
    task = build("task", f"{name}:instances=8,hidden=8,embedding=8")
    assert [str(finding) for finding in check_task(task) if finding.failed] == []


@pytest.mark.parametrize("name", ON_DEMAND)
def test_tasks_say_which_data_they_need_and_how_to_get_them(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XRNNBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("XRNNBENCH_CACHE", str(tmp_path / "cache"))
    task = build("task", f"{name}:instances=7")
    assert task.data_sets == (name,)
    with pytest.raises(
        DataError, match=rf"The data set '{name}' is not here .*fetch it with 'xrnnbench download {name}'"
    ):
        task.data()
    assert "Truth" in task.page()
    assert "Source:" in task.page()


@pytest.mark.parametrize("name", ON_DEMAND)
def test_incomplete_sets_are_refused(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XRNNBENCH_DATA", str(tmp_path))
    write(tmp_path / name / "other.txt", "nothing")
    with pytest.raises(DataError, match=r"There is no '.*' in .*: the data set is incomplete"):
        build("task", f"{name}:instances=6").data()


def test_truths_of_the_films_are_their_spans(small):
    data = build("task", "eraser-movies:instances=20").data()
    truth = data.explained.truth
    names = np.array(data.names.vocabulary)[data.explained.inputs]
    assert (truth.semantics, truth.signed, truth.toward) == ("rationale", False, None)
    assert torch.equal(truth.relevant, torch.from_numpy(np.isin(names, GOOD + BAD)))


def test_truths_of_the_trees_are_signed_towards_the_positive_class(small):
    data = build("task", "sst-trees:instances=20").data()
    names = np.array(data.names.vocabulary)[data.explained.inputs]
    expected = 2.0 * np.isin(names, GOOD) - 2.0 * np.isin(names, BAD)
    for truth in data.explained.truths.values():
        assert torch.equal(truth.values, torch.from_numpy(expected).float())
        assert (truth.semantics, truth.signed, truth.toward) == ("human-rating", True, 1)
        turned = truth.turned(data.explained.targets)
        assert (turned.sum(1) == 2).all()


# ---- phrases --------------------------------------------------------------------------------------------------------


def literal_ratings(tree, reach):
    """For each token, all phrases that hold it, and of those that count the smallest and lowest."""
    found = []
    for place in range(len(tree.tokens)):
        sizes = []
        for phrase in tree.phrases:
            size = phrase.end - phrase.start
            whole = size == len(tree.tokens) and size > 1
            if phrase.start <= place < phrase.end and phrase.label != 2 and size <= reach and not whole:
                sizes.append((size, phrase.label))
        size = min((each[0] for each in sizes), default=1)
        last = [label for each, label in sizes if each == size]
        found.append((last[-1] - 2) / size if last else 0.0)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(1 (1 (2 not) (3 good)) (2 .))", [-0.5, 1, 0]),
        ("(1 (2 not) (3 good))", [0, 1]),
        ("(4 Good)", [2]),
        ("(3 (2 (2 a) (2 b)) (3 (2 c) (2 d)))", [0, 0, 0.5, 0.5]),
        ("(1 (2 so) (0 (2 it) (0 (2 (2 is) (2 not)) (2 it))))", [0, -0.5, -2 / 3, -2 / 3]),
    ],
)
def test_ratings_are_shared_by_the_smallest_phrase(text, expected):
    tree = ptb.parse(text, 5)
    assert phrase_ratings(tree, 4)[: len(expected)] == pytest.approx(literal_ratings(tree, 4)[: len(expected)])
    if len(expected) == len(tree.tokens):
        assert phrase_ratings(tree, 4) == pytest.approx(expected)


def test_reach_changes_what_is_explained_and_not_the_model(small):
    near, far = (build("task", f"sst-trees:instances=20,reach={reach}") for reach in (1, 4))
    assert "reach" in near.explaining
    assert torch.equal(near.data().train.inputs, far.data().train.inputs)


# ---- genuine data ---------------------------------------------------------------------------------------------------


@pytest.mark.full
def test_genuine_questions_are_learnt(genuine):
    genuine("trec")
    task = build("task", "trec")
    data = task.data()
    assert (len(data.train), len(data.test)) == (5441, 500)
    found = task.training(0).competence
    assert found.fit
    assert found.gate > found.baseline
    assert 0.83 < task.bag_of_words() < 0.87


@pytest.mark.full
def test_genuine_sentences_have_the_published_sizes_and_their_readings(genuine):
    folder = genuine("sst-trees")
    task = build("task", "sst-trees:phrases=false,instances=1700")
    learnt, kept = task.texts()
    assert len(kept) == 1821
    assert len(learnt) == len({text.tokens for text in learnt})
    trees = [tree for tree in ptb.read(folder / "trees" / "test.txt") if tree.label != 2]
    for text, tree in zip(kept, trees, strict=True):
        assert list(text.readings["word"]) == [label - 2 for label in tree.labels]
        assert list(text.readings["phrase"]) == pytest.approx(literal_ratings(tree, 4))
    data = task.data()
    shares = {
        name: float(truth.relevant.sum() / data.explained.valid.sum()) for name, truth in data.explained.truths.items()
    }
    assert 0.13 < shares["word"] < 0.15
    assert 0.34 < shares["phrase"] < 0.38
    assert any("\xa0" in token for text in learnt for token in text.tokens)


@pytest.mark.full
def test_genuine_phrases_are_learnt_from_once(genuine):
    genuine("sst-trees")
    learnt, kept = build("task", "sst-trees").texts()
    known = {text.tokens for text in learnt}
    assert len(learnt) == len(known) > 70_000
    # those that are held out as well are few; they are not learnt from
    assert len(known & {text.tokens for text in kept}) < 20


@pytest.mark.full
def test_genuine_films_keep_the_rationales_at_their_end(genuine):
    genuine("eraser-movies")
    task = build("task", "eraser-movies")
    data = task.data()
    assert len(data.test) == 199
    assert data.test.inputs.shape[1] == task.steps
    assert data.explained.truth.relevant.any(1).double().mean() > 0.9
    assert 0.25 < data.test.truth.relevant.sum() / data.test.valid.sum() < 0.45


# ---- docstrings -----------------------------------------------------------------------------------------------------


def test_docstrings_have_six_topics_and_no_near_duplicates():
    task = docstrings.Docstrings()
    learnt, kept = task.texts()
    assert len(learnt) > 1500
    assert len(kept) > 300
    assert {text.target for text in kept} == set(range(6))
    sets = [set(text.tokens) for text in learnt]
    for text in kept[::10]:
        own = set(text.tokens)
        assert max(len(own & other) / len(own | other) for other in sets) < 0.7
    assert task.data() is task.data()
    assert max(len(text.tokens) for text in kept) > task.steps == task.data().test.inputs.shape[1]


def test_likeness_is_the_share_of_common_words():
    left, right = texts_of("a b b c", "x"), texts_of("a b", "c d e f")
    assert docstrings.largest_jaccard(left, right) == pytest.approx([2 / 3, 0])


def test_other_texts_are_another_task(monkeypatch):
    task = docstrings.Docstrings()
    before = task.identity()
    fewer = docstrings.summaries()[1:]
    monkeypatch.setattr(docstrings, "summaries", lambda: fewer)
    assert task.identity()["texts"] != before["texts"]
    assert {**task.identity(), "texts": ""} == {**before, "texts": ""}


def test_bag_of_words_does_about_as_well_as_the_model():
    task = docstrings.Docstrings()
    found = task.training(0).competence
    assert found.fit
    assert found.baseline < 0.35
    assert abs(task.bag_of_words() - found.score) < 0.08


def test_packages_that_are_not_there_are_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="The package 'scipy' is not installed: pip install scipy"):
        docstrings.summaries.__wrapped__()


@pytest.mark.full
def test_scikit_learn_is_loaded_by_the_yardstick_alone():
    import subprocess  # noqa: PLC0415  # a fresh process is what is asked for here

    code = "import sys, xrnnbench.tasks.builtin.text.classification; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_same_data_twice(small):
    task = build("task", "sst2:instances=5")
    first, again = task.dataset(), task.dataset()
    for field in dataclasses.fields(first):
        one, two = getattr(first, field.name), getattr(again, field.name)
        if hasattr(one, "inputs"):
            assert torch.equal(one.inputs, two.inputs)
            assert torch.equal(one.targets, two.targets)
    assert first.names == again.names
