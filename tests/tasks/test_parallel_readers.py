"""Readers of parallel text, of subwords and of word alignments: properties, published figures, and bad files."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xrnnbench.errors import DataError, ParameterError
from xrnnbench.tasks.readers import alignments, parallel, subwords

LETTERS = "abcdeäß,.'-"
WORDS = st.text(LETTERS, min_size=1, max_size=8)
TEXT = st.lists(st.lists(WORDS, min_size=1, max_size=6).map(" ".join), min_size=1, max_size=8)


def file(folder, content, name="text"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# ---- parallel text --------------------------------------------------------------------------------------------------


def test_lines_end_at_a_line_feed_and_nowhere_else(tmp_path):
    odd = "one\x0btwo\x0cthree\x85four\u2028five\xa0six"
    assert parallel.lines(file(tmp_path, f"{odd}\nlast")) == [odd, "last"]
    assert len(odd.splitlines()) == 5


def test_what_no_reader_sees_is_taken_off(tmp_path):
    assert parallel.lines(file(tmp_path, b"\xef\xbb\xbfa  b \r\n c\r\n\n")) == ["a b", "c"]


def test_each_line_goes_with_the_same_line(tmp_path):
    found = parallel.pairs(file(tmp_path, "a\nb\n"), file(tmp_path, "c\nd", "other"))
    assert found == [("a", "c"), ("b", "d")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "'.*text' is empty"),
        (b"\n\n", "'.*text' is empty"),
        (b"a\n \nb\n", "Line 2 of '.*text' is empty"),
        (b"a\nb\nf\xfcr\n", "Line 3 of '.*text' is not UTF-8 .byte 0xfc."),
        (b"a\n", "'.*text' has 1 lines and '.*other' has 2"),
    ],
)
def test_what_is_no_parallel_text_is_named_with_file_and_line(tmp_path, content, said):
    with pytest.raises(DataError, match=said):
        parallel.pairs(file(tmp_path, content), file(tmp_path, "c\nd\n", "other"))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"'.*gone' cannot be read .No such file"):
        parallel.lines(tmp_path / "gone")
    with pytest.raises(DataError, match=r"cannot be read .it is a folder"):
        parallel.lines(tmp_path)


# ---- subwords -------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(TEXT, st.integers(0, 30))
def test_text_comes_back_from_its_pieces(lines, more):
    pieces = subwords.learn(lines, len(set(LETTERS)) + 2 + more)
    assert [pieces.decoded(row) for row in pieces.encoded(lines)] == lines
    assert len(pieces.vocabulary) <= len(set(LETTERS)) + 2 + more


@settings(max_examples=50, deadline=None)
@given(TEXT)
def test_each_piece_is_a_part_of_its_word(lines):
    pieces = subwords.learn(lines, 40)
    for line, row in zip(lines, pieces.encoded(lines), strict=True):
        words = line.split(" ")
        built = [""] * len(words)
        for number, word in zip(row, pieces.words(row), strict=True):
            built[word] += pieces.vocabulary[number].lstrip("▁")
        assert built == words


def test_pairs_are_joined_as_published():
    # Sennrich et al. 2016, section 3.2 and algorithm 1, whose words end where ours begin: first e s, then es t
    text = ["low"] * 5 + ["lower"] * 2 + ["newest"] * 6 + ["widest"] * 3
    characters = {*"lowernstid", "▁"}
    found = subwords.learn(text, 1 + len(characters) + 2).vocabulary
    assert set(found[1 : 1 + len(characters)]) == characters
    assert found[-2:] == ("es", "est")


def test_same_text_gives_the_same_pieces_in_another_process():
    code = (
        "from xrnnbench.tasks.readers.subwords import learn\n"
        "print(learn(['der Hund', 'die Hunde', 'das Haus', 'ein Haus am See'] * 3, 40).vocabulary)"
    )
    here = subwords.learn(["der Hund", "die Hunde", "das Haus", "ein Haus am See"] * 3, 40).vocabulary
    assert subprocess.check_output([sys.executable, "-c", code], encoding="utf-8").strip() == repr(here)


def test_text_that_looks_special_is_text():
    special = ("<pad>", "<s>", "</s>", "<unk>")
    pieces = subwords.learn(["a <s> b </s> <unk>"], 60, special)
    (row,) = pieces.encoded(["a <s> b </s> <unk>"])
    assert pieces.vocabulary[:4] == special
    assert min(row) >= 4
    assert pieces.decoded(row) == "a <s> b </s> <unk>"


def test_an_unknown_character_is_unknown():
    pieces = subwords.learn(["a b"], 10, ("<pad>", "<unk>"))
    assert pieces.encoded(["aŋ b"])[0].count(1) == 1
    assert pieces.decoded(pieces.encoded(["aŋ b"])[0]) == "a<unk> b"


def test_punctuation_is_a_piece_by_itself():
    pieces = subwords.learn(["a house.", "the house."] * 20, 60)
    assert [pieces.vocabulary[number] for number in pieces.encoded(["a house."])[0]][-2:] == ["▁house", "."]


def test_a_vocabulary_without_room_is_refused():
    with pytest.raises(DataError, match="vocabulary of 5 pieces has no room for the 7 characters"):
        subwords.learn(["abcdef"], 5)


# ---- alignments -----------------------------------------------------------------------------------------------------

LINKS = st.lists(
    st.dictionaries(st.tuples(st.integers(0, 9), st.integers(0, 9)), st.booleans(), min_size=1, max_size=8),
    min_size=1,
    max_size=5,
)


def written(sentences, form):
    first = int(form in {"naacl", "pharaoh-1"})
    if form.startswith("pharaoh"):
        rows = [
            " ".join(f"{i + first}{'-' if sure else '?'}{j + first}" for (i, j), sure in links.items())
            for links in sentences
        ]
    else:
        rows = [
            f"{number:04d} {i + first} {j + first} {'S' if sure else 'P'}"
            for number, links in enumerate(sentences, 1)
            for (i, j), sure in links.items()
        ]
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("form", ["naacl", "naacl-0", "pharaoh", "pharaoh-1"])
@settings(max_examples=30, deadline=None)
@given(sentences=LINKS)
def test_links_come_back_as_they_were_written(tmp_path_factory, form, sentences):
    found = alignments.read(file(tmp_path_factory.mktemp("links"), written(sentences, form)), form)
    assert sorted(found) == list(range(len(sentences)))
    for number, links in enumerate(sentences):
        values = found[number].values(10, 10)
        assert values.shape == (10, 10)
        expected = torch.zeros(10, 10)
        for (source, target), sure in links.items():
            expected[target, source] = 1 if sure else 0.5
        assert torch.equal(values, expected)


def test_naacl_has_marks_confidences_and_words_linked_with_nothing(tmp_path):
    found = alignments.read(file(tmp_path, "18 1 1\n18 2 2 P 0.7\n18 3 0 S\n18 4 4 S 1.0\n"), "naacl")
    assert set(found) == {17}
    assert found[17].sure == {(0, 0), (3, 3)}
    assert found[17].possible == {(1, 1)}


def test_a_link_that_is_sure_once_is_sure(tmp_path):
    found = alignments.read(file(tmp_path, "1 1 1 P\n1 1 1 S\n1 2 2 S\n1 2 2 P\n"), "naacl")
    assert found[0].sure == {(0, 0), (1, 1)}
    assert not found[0].possible


def test_a_sentence_of_pharaoh_may_have_no_links(tmp_path):
    found = alignments.read(file(tmp_path, "0-0\n\n1-0 0p1\n"))
    assert [sorted(found[number].sure) for number in range(3)] == [[(0, 0)], [], [(1, 0)]]
    assert found[2].possible == {(0, 1)}


@pytest.mark.parametrize(
    ("form", "content", "said"),
    [
        ("naacl", "1 1 1 S\n1 1\n", "Line 2 of '.*text' is '1 1': expected 'sentence source target'"),
        ("naacl", "0 1 1 S\n", "Line 1 of '.*text' is '0 1 1 S': expected .* sentences from 1"),
        ("naacl", "0-0 1-1\n", "Line 1 of '.*text' is '0-0 1-1'"),
        ("pharaoh", "0-0\n1 1 1 S\n", "Line 2 of '.*text' has '1': expected links such as '0-0'"),
        ("pharaoh-1", "0-1\n", "Line 1 of '.*text' has '0-1': expected links such as '1-1'.* words counted from 1"),
        ("pharaoh", "\n\n", "have no link"),
        ("naacl", "", "have no link"),
        ("pharaoh", b"0-0\n\xff\n", "Line 2 of '.*text' is not UTF-8"),
    ],
)
def test_what_is_no_alignment_is_named_with_file_and_line(tmp_path, form, content, said):
    with pytest.raises(DataError, match=said):
        alignments.read(file(tmp_path, content), form)


def test_a_link_to_a_word_that_is_not_there_is_named(tmp_path):
    found = alignments.read(file(tmp_path, "0-0\n3-1\n"))
    with pytest.raises(DataError, match=r"Line 2 of .*: a link joins words 4 and 2 of a sentence of 3 words"):
        found[1].values(3, 2)


def test_there_are_four_formats(tmp_path):
    with pytest.raises(ParameterError, match="no format 'giza' of alignments: say one of pharaoh, pharaoh-1, naacl"):
        alignments.read(file(tmp_path, "0-0\n"), "giza")
