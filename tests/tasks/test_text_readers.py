"""Readers of text data: what the genuine files hold, literal re-computations, and every kind of damage."""

import json
import warnings
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrnnbench.errors import DataError
from xrnnbench.tasks.readers import ag_news, docstrings, eraser, glue, imdb, plain_text, ptb, trec

from .shared_data import laid

CLASSES = ("NEG", "POS")
TREE = "(3 (2 It) (4 (2 's) (4 good)))"
EVIDENCE = {"docid": "a.txt", "start_token": 1, "end_token": 3, "text": "was good"}


def written(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def refused(read, path, line, reason):
    """One sentence with the file, the line, the reason and the way out."""
    with pytest.raises(DataError) as caught:
        read(path)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert f", line {line} " in sentence
    assert reason in sentence, sentence
    assert sentence.endswith(": fetch the file again, or correct the line.")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The folder in which genuine copies are laid out."""
    return tmp_path_factory.mktemp("data")


# ---- plain text -----------------------------------------------------------------------------------------------------


def test_lines_end_at_the_newline_and_nowhere_else(tmp_path):
    path = written(tmp_path / "lines.txt", "a\x0bb\u2028c\x85d\r\ne\n\nf\n")
    assert plain_text.lines(path) == ["a\x0bb\u2028c\x85d\r", "e", "", "f"]
    assert plain_text.lines(written(tmp_path / "open.txt", "a\nb")) == ["a", "b"]


def test_what_is_no_text_is_refused(tmp_path):
    refused(plain_text.read, written(tmp_path / "latin", "a\nb\né", "latin-1"), 3, "no utf-8 text")
    refused(plain_text.read, written(tmp_path / "zero", "a\nb\0"), 2, "no utf-8 text")
    refused(plain_text.read, written(tmp_path / "wide", "abc\n", "utf-16-le"), 1, "no utf-8 text")
    with pytest.raises(DataError, match="empty is empty: fetch it again"):
        plain_text.read(written(tmp_path / "empty", ""))
    with pytest.raises(DataError, match=r"none cannot be read \(No such file or directory\): fetch the data set again"):
        plain_text.read(tmp_path / "none")
    with pytest.raises(DataError, match="cannot be read"):
        plain_text.read(tmp_path)


def test_text_in_another_encoding_shows_in_latin_1(tmp_path):
    assert plain_text.read(written(tmp_path / "latin", "Café\n", "latin-1"), "latin-1") == "Café\n"
    with pytest.raises(DataError, match="line 2 holds a byte that is no latin-1 text"):
        plain_text.read(written(tmp_path / "utf-8", "a\n\u2018quoted\u2019\n"), "latin-1")


# ---- trees ----------------------------------------------------------------------------------------------------------


def recursive(text):
    """A tree by its definition: (label word) or (label tree tree …), as [label, [children] or word]."""

    def node(place):
        assert text[place] == "("
        space = text.index(" ", place)
        label, place = int(text[place + 1 : space]), space + 1
        if text[place] != "(":
            end = text.index(")", place)
            return [label, text[place:end]], end + 1
        children = []
        while text[place] != ")":
            child, place = node(place)
            children.append(child)
            place += text[place] == " "
        return [label, children], place + 1

    return node(0)[0]


def spans(node, start=0):
    """Words and labelled spans of a node, itself first."""
    label, inside = node
    if isinstance(inside, str):
        return [inside], [(start, start + 1, label)]
    words, found = [], []
    for child in inside:
        below, within = spans(child, start + len(words))
        words += below
        found += within
    return words, [(start, start + len(words), label), *found]


WORDS = st.text(st.characters(exclude_characters="() \n\0", exclude_categories=["Cs"]), min_size=1, max_size=4)
TREES = st.recursive(
    st.builds("({} {})".format, st.integers(0, 4), WORDS),
    lambda inner: st.builds("({} {} {})".format, st.integers(0, 4), inner, inner),
    max_leaves=8,
)


@given(TREES)
def test_trees_are_what_their_definition_says(text):
    tree = ptb.parse(text, 5)
    words, expected = spans(recursive(text))
    assert list(tree.tokens) == words
    assert [(phrase.start, phrase.end, phrase.label) for phrase in tree.phrases] == expected
    assert tree.label == expected[0][2]
    assert list(tree.labels) == [label for start, end, label in expected if end == start + 1]


def test_every_node_of_a_tree_has_its_span_and_label():
    tree = ptb.parse("(3 (2 It) (4 (2 's) (4 good)))", 5)
    assert tree.tokens == ("It", "'s", "good")
    assert tree.labels == (2, 2, 4)
    found = [(phrase.start, phrase.end, phrase.label) for phrase in tree.phrases]
    assert found == [(0, 3, 3), (0, 1, 2), (1, 3, 4), (1, 2, 2), (2, 3, 4)]


def test_only_plain_spaces_part_tokens():
    tree = ptb.parse("(2 (2 1\xa01/2) (2 (2 -LRB-) (2 a\u2009\tb)))", 5)
    assert tree.tokens == ("1\xa01/2", "-LRB-", "a\u2009\tb")


def test_a_word_alone_is_a_tree_and_a_chain_of_nodes_has_the_lowest_label():
    assert ptb.parse("(4 Good)", 5).labels == (4,)
    chain = ptb.parse("(3 (2 (1 bad)))", 5)
    assert (chain.label, chain.labels, len(chain.phrases)) == (3, (1,), 3)


def test_deep_trees_do_not_exhaust_the_stack():
    depth = 5000
    tree = ptb.parse("(2 " * depth + "word" + ")" * depth, 5)
    assert len(tree.phrases) == depth


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("(3 (2 It) (4 good)", "ends with 1 brackets open"),
        ("(3 (2 It) (4 good)))", "continues with ')' after its last bracket"),
        (f"{TREE} {TREE}", "continues with '(' after its last bracket"),
        (f"{TREE}\r", r"continues with '\r' after its last bracket"),
        ("(5 Good)", "has the label 5, and labels go from 0 to 4"),
        ("(-1 Good)", "begins with '-1', not with a label"),
        ("(² Good)", "begins with '²', not with a label"),
        ("(Good)", "begins with 'Good', not with a label"),
        ("(", "begins with '', not with a label"),
        ("(3 (2 It) ())", "begins with ')', not with a label"),
        ("(3 (2) (4 good))", "has a bracket without a token in it"),
        ("(3 It (4 good))", "has the token 'It' without a label of its own"),
        ("It 's good", "begins with 'It', not with a bracket"),
        ("", "is empty"),
    ],
)
def test_damaged_trees_are_refused(line, reason, tmp_path):
    refused(ptb.read, written(tmp_path / "train.txt", f"{TREE}\n{line}\n{TREE}\n"), 2, reason)


@pytest.mark.full
def test_genuine_trees_have_the_published_numbers(data):
    folder = laid("sst-trees", data) / "trees"
    trees = {split: ptb.read(folder / f"{split}.txt") for split in ("train", "dev", "test")}
    assert {split: len(found) for split, found in trees.items()} == {"train": 8544, "dev": 1101, "test": 2210}
    sided = {split: sum(tree.label != 2 for tree in found) for split, found in trees.items()}
    assert sided == {"train": 6920, "dev": 872, "test": 1821}
    # every tree is binary
    assert all(len(tree.phrases) == 2 * len(tree.tokens) - 1 for tree in trees["test"])
    assert sum("\xa0" in token for tree in trees["train"] for token in tree.tokens) == 3
    assert 0.90 < sum(set(tree.labels) != {2} for tree in trees["test"]) / 2210 < 0.93
    line = plain_text.lines(folder / "test.txt")[100]
    assert spans(recursive(line))[0] == list(trees["test"][100].tokens)


# ---- ERASER ---------------------------------------------------------------------------------------------------------


def movies(folder, evidence=EVIDENCE, document="it was good .\nreally", **changed):
    """A split of one review; returns its path."""
    if document is not None:
        written(folder / "docs" / "a.txt", document)
    entry = {"annotation_id": "a.txt", "classification": "POS", "evidences": [[evidence]]} | changed
    return written(folder / "train.jsonl", json.dumps(entry) + "\n")


def read_movies(path):
    return eraser.read(path, CLASSES)


def test_documents_and_spans(tmp_path):
    found = read_movies(movies(tmp_path))
    assert found == [eraser.Document("a.txt", ("it", "was", "good", ".", "really"), "POS", ((1, 3),))]


def test_documents_may_lie_in_one_file(tmp_path):
    path = movies(tmp_path, document=None)
    written(tmp_path / "docs.jsonl", json.dumps({"docid": "a.txt", "document": "it was good ."}) + "\n")
    assert read_movies(path)[0].tokens == ("it", "was", "good", ".")


def test_a_span_may_end_with_its_document_but_not_beyond(tmp_path):
    last = {"docid": "a.txt", "start_token": 4, "end_token": 5, "text": "really"}
    assert read_movies(movies(tmp_path, last))[0].spans == ((4, 5),)
    beyond = last | {"end_token": 6}
    refused(read_movies, movies(tmp_path, beyond), 1, "has evidence from token 4 to 6, and 'a.txt' has 5 tokens")


def test_empty_spans_mark_nothing_and_equal_ones_count_once(tmp_path):
    empty = {"docid": "a.txt", "start_token": 2, "end_token": 2, "text": ""}
    assert read_movies(movies(tmp_path, empty))[0].spans == ()
    assert read_movies(movies(tmp_path, evidences=[[EVIDENCE], [EVIDENCE, empty]]))[0].spans == ((1, 3),)
    assert read_movies(movies(tmp_path, evidences=[]))[0].spans == ()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"evidence": EVIDENCE | {"text": "was bad"}}, "text is not that of the tokens 1 to 3 of 'a.txt'"),
        ({"evidence": EVIDENCE | {"start_token": -1}}, "has evidence from token -1 to 3"),
        ({"evidence": EVIDENCE | {"start_token": 4}}, "has evidence from token 4 to 3"),
        ({"evidence": EVIDENCE | {"start_token": "1"}}, "has evidence from token 1 to 3"),
        ({"evidence": EVIDENCE | {"docid": "b.txt"}}, "evidence that is not about its document 'a.txt'"),
        ({"evidence": "was good"}, "evidence that is not about its document 'a.txt'"),
        ({"evidences": None}, "has no list of lists 'evidences'"),
        ({"evidences": [EVIDENCE]}, "has no list of lists 'evidences'"),
        ({"classification": "GOOD"}, "has the class 'GOOD', and there are NEG, POS"),
        ({"classification": 1}, "has no text 'classification'"),
        ({"annotation_id": ""}, "has no text 'annotation_id'"),
        ({"annotation_id": "../a.txt"}, "names the document '../a.txt', which is no plain file name"),
        ({"document": " \n "}, "names the document 'a.txt', which is empty or missing"),
    ],
)
def test_damaged_evidence_is_refused(changed, reason, tmp_path):
    refused(read_movies, movies(tmp_path, **changed), 1, reason)


@pytest.mark.parametrize(
    ("line", "reason"), [("{", "is no JSON"), ("[]", "is no JSON object"), ("", "is no JSON"), ("{}", "has no text")]
)
def test_lines_that_are_no_json_object_are_refused(line, reason, tmp_path):
    path = movies(tmp_path)
    path.write_text(path.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    refused(read_movies, path, 2, reason)
    written(tmp_path / "docs.jsonl", line + "\n")
    (tmp_path / "docs" / "a.txt").unlink()
    (tmp_path / "docs").rmdir()
    with pytest.raises(DataError, match=r"docs\.jsonl, line 1 "):
        read_movies(path)


def test_missing_documents_are_named(tmp_path):
    path = movies(tmp_path)
    (tmp_path / "docs" / "a.txt").unlink()
    with pytest.raises(DataError, match=r"docs/a\.txt cannot be read"):
        read_movies(path)
    (tmp_path / "docs").rmdir()
    with pytest.raises(DataError, match=r"holds neither the folder docs nor the file docs\.jsonl"):
        read_movies(path)
    written(tmp_path / "docs.jsonl", json.dumps({"docid": "b.txt", "document": "it"}) + "\n")
    refused(read_movies, path, 1, "names the document 'a.txt', which is empty or missing")


def test_genuine_rationales_are_as_dense_as_published(data):
    folder = laid("eraser-movies", data) / "movies"
    density = {}
    for split, count in (("train", 1600), ("val", 200), ("test", 199)):
        found = read_movies(folder / f"{split}.jsonl")
        assert len(found) == count
        marked = [len({i for start, end in each.spans for i in range(start, end)}) for each in found]
        density[split] = sum(n / len(each.tokens) for n, each in zip(marked, found, strict=True)) / count
    assert {split: round(share, 2) for split, share in density.items()} == {"train": 0.09, "val": 0.07, "test": 0.31}


# ---- GLUE -----------------------------------------------------------------------------------------------------------

GLUE = 'sentence\tlabel\nhide new secretions from the "parental units \t0\na\xa0film , \t1\n'


def test_sentences_are_taken_as_they_stand(tmp_path):
    found = glue.read(written(tmp_path / "train.tsv", GLUE))
    assert found == [
        glue.Sentence('hide new secretions from the "parental units ', 0),
        glue.Sentence("a\xa0film , ", 1),
    ]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (GLUE.split("\n", 1)[1], 1, "not the header 'sentence<tab>label'"),
        ("index\tsentence\n0\tuneasy\n", 1, "not the header"),
        (GLUE + "no class\n", 4, "has 1 columns instead of 2"),
        (GLUE + "too\tmany\t1\n", 4, "has 3 columns instead of 2"),
        (GLUE + "fine\t2\n", 4, "has the class '2', and classes go from 0 to 1"),
        (GLUE + "fine\t1\r\n", 4, "has the class '1\\r'"),
        (GLUE + " \t1\n", 4, "has no sentence"),
    ],
)
def test_damaged_tables_are_refused(text, line, reason, tmp_path):
    refused(glue.read, written(tmp_path / "train.tsv", text), line, reason)


# ---- AG News --------------------------------------------------------------------------------------------------------


def test_articles_are_comma_separated_values(tmp_path):
    text = '"3","A ""quoted"" title","one, two"\n4,plain,"over\ntwo lines"\n'
    found = ag_news.read(written(tmp_path / "train.csv", text))
    assert found == [
        ag_news.Article(3, 'A "quoted" title', "one, two"),
        ag_news.Article(4, "plain", "over\ntwo lines"),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('"3","title"', "has 2 columns instead of 3"),
        ('"3","title","text","more"', "has 4 columns instead of 3"),
        ('"5","title","text"', "has the class '5', and classes go from 1 to 4"),
        ('"0","title","text"', "has the class '0'"),
        ('"3"," ",""', "has no text"),
        ("", "has 0 columns instead of 3"),
        ('"3","title"x,"text"', "is no row of comma-separated values"),
        ('"3","title","never closed', "is no row of comma-separated values"),
    ],
)
def test_damaged_rows_are_refused(row, reason, tmp_path):
    path = written(tmp_path / "train.csv", f'"1","title","text"\n{row}\n')
    refused(ag_news.read, path, 2, reason)


def test_genuine_articles_are_as_many_of_each_topic(data):
    found = ag_news.read(laid("ag-news", data) / "test.csv")
    assert Counter(article.label for article in found) == dict.fromkeys((1, 2, 3, 4), 1900)
    assert found[0].title == "Fears for T N pension after talks"


# ---- TREC -----------------------------------------------------------------------------------------------------------


def test_questions_are_latin_1(tmp_path):
    path = written(tmp_path / "train_5500.label", "ENTY:food What is crème brûlée ?\nNUM:dist How far ?\n", "latin-1")
    assert trec.read(path) == [
        trec.Question("What is crème brûlée ?", "ENTY", "food"),
        trec.Question("How far ?", "NUM", "dist"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("What is it ?", "is not of the form 'COARSE:fine question'"),
        ("NUM How far ?", "is not of the form"),
        ("NUM:dist", "is not of the form"),
        ("NUM:dist  ", "is not of the form"),
        ("", "is not of the form"),
        ("THING:food What ?", "has the class 'THING', and there are ABBR, DESC, ENTY, HUM, LOC, NUM"),
    ],
)
def test_damaged_questions_are_refused(line, reason, tmp_path):
    path = written(tmp_path / "TREC_10.label", f"NUM:dist How far ?\n{line}\n", "latin-1")
    refused(trec.read, path, 2, reason)


def test_genuine_questions_have_the_published_numbers(data):
    folder = laid("trec", data)
    learnt, kept = (trec.read(folder / name) for name in ("train_5500.label", "TREC_10.label"))
    assert (len(learnt), len(kept)) == (5452, 500)
    counts = Counter(question.coarse for question in learnt)
    # Li & Roth 2002
    assert counts == {"ABBR": 86, "DESC": 1162, "ENTY": 1250, "HUM": 1223, "LOC": 835, "NUM": 896}
    assert len({(question.coarse, question.fine) for question in learnt}) == 50


# ---- IMDB -----------------------------------------------------------------------------------------------------------


def reviews(folder):
    """Three reviews; returns the folder."""
    written(folder / "pos" / "10_9.txt", "Great.<br />Really\x85")
    written(folder / "pos" / "2_7.txt", "Good.")
    written(folder / "neg" / "0_1.txt", "Bad…")
    return folder


def test_reviews_come_by_class_and_number(tmp_path):
    assert imdb.read(reviews(tmp_path)) == [
        imdb.Review("Bad…", 0, 1),
        imdb.Review("Good.", 1, 7),
        imdb.Review("Great.<br />Really\x85", 1, 9),
    ]


def test_damaged_folders_are_refused(tmp_path):
    folder = reviews(tmp_path)
    for name in ("3_2.txt", "3.txt", "3_9.txt~"):
        strange = written(folder / "pos" / name, "Bad.")
        with pytest.raises(DataError, match=r"is not named <number>_<stars>\.txt with 7 to 10 stars: take it out"):
            imdb.read(folder)
        strange.unlink()
    empty = written(folder / "pos" / "3_8.txt", "")
    with pytest.raises(DataError, match=r"3_8\.txt is empty: fetch it again"):
        imdb.read(folder)
    empty.write_bytes("né".encode("latin-1"))
    refused(lambda _: imdb.read(folder), empty, 1, "no utf-8 text")
    (folder / "neg" / "0_1.txt").unlink()
    with pytest.raises(DataError, match="neg is missing or holds no reviews: fetch the data set again"):
        imdb.read(folder)
    with pytest.raises(DataError, match="is missing or holds no reviews"):
        imdb.read(tmp_path / "nowhere")


# ---- docstrings -----------------------------------------------------------------------------------------------------

SOURCE = '''
"""Of the module: not a function."""
raise SystemExit("never run")

class Thing:
    """Of a class."""

    def method(self):
        """
        Do it
        now.

        At length.
        """
        def inner():
            r"""Within \\d."""

async def later():
    "One line."

def without(): pass
def blank():
    " "
'''


def test_summaries_are_read_and_nothing_is_run(tmp_path):
    written(tmp_path / "b.py", SOURCE + '"\\d"\n')
    written(tmp_path / "a" / "z.py", 'def f():\n    "First."\n')
    written(tmp_path / "a" / "tests" / "test_z.py", 'def f():\n    "A test."\n')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = docstrings.read(tmp_path)
    assert found[0] == docstrings.Summary("First.", "f", "a/z.py")
    assert {(each.function, each.text) for each in found[1:]} == {
        ("method", "Do it now."),
        ("inner", "Within \\d."),
        ("later", "One line."),
    }


def test_folders_without_source_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds no Python source with docstrings: install its package again"):
        docstrings.read(tmp_path / "nowhere")
    written(tmp_path / "broken.py", "def f(:\n")
    with pytest.raises(DataError, match=r"broken\.py is no Python source \(.*\): install its package again"):
        docstrings.read(tmp_path)
    written(tmp_path / "broken.py", "word = 'caf\xe9'", "latin-1")
    with pytest.raises(DataError, match="is no Python source"):
        docstrings.read(tmp_path)
