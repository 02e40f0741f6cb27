"""Tasks of translation: what is explained, what its alignment is, and how good the translators are."""

import collections
import dataclasses
import datetime as dt
import math
import sys

import pytest
import torch
from babel.dates import format_date
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from xrnnbench import plugins
from xrnnbench.errors import DataError, ParameterError
from xrnnbench.methods.base import Attribution
from xrnnbench.metrics.conformance.specimens import StandIn, evidence
from xrnnbench.metrics.truth.alignment_error import AlignmentErrorRate
from xrnnbench.tasks.builtin.translation import calendar, dates
from xrnnbench.tasks.builtin.translation.base import forced_accuracy, references
from xrnnbench.tasks.builtin.translation.multi30k import Multi30k
from xrnnbench.tasks.builtin.translation.pairs import OutputStep, SentencePairs, by_output_step
from xrnnbench.tasks.builtin.translation.text import bleu, disjoint
from xrnnbench.tasks.custom import parallel_text as own
from xrnnbench.tasks.downloads import locate as downloads
from xrnnbench.tasks.engine.signature import OUTPUT_STEP
from xrnnbench.tasks.models.networks import EncoderDecoder
from xrnnbench.tasks.readers import subwords

from .shared_data import laid

LOCALES = ("en", "de", "fr", "hu", "ja")
DATES = st.dates(dt.date(1600, 1, 1), dt.date(2399, 12, 31))
WIDTHS = st.sampled_from(calendar.WIDTHS)


# ---- the network ----------------------------------------------------------------------------------------------------


def generated_literally(model, source, lengths, steps):
    """Return what a model produces by running everything anew for each step: the definition, and quadratic."""
    produced = torch.zeros(len(source), steps, dtype=torch.int64)
    ended = torch.zeros(len(source), dtype=torch.bool)
    with torch.no_grad():
        for step in range(steps):
            best = model(source, lengths, produced[:, : step + 1])[:, step].argmax(1)
            produced[:, step] = best.masked_fill(ended, 0)
            ended |= best == model.END
    return produced


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize("seed", range(4))
def test_generating_step_by_step_is_generating_by_definition(cell, seed):
    torch.manual_seed(seed)
    # few tokens, so that some sentences end early; dropout must not matter outside training
    model = EncoderDecoder(9, 6, 8, embedding_size=5, cell=cell, dropout=0.5).double().eval()
    source = torch.randint(1, 9, (12, 7))
    lengths = torch.randint(1, 8, (12,))
    source[torch.arange(7) >= lengths[:, None]] = 0
    for given_lengths in (lengths, None):
        found = model.generate(source, given_lengths, 15)
        assert torch.equal(found, generated_literally(model, source, given_lengths, 15))


def test_generating_takes_one_step_of_the_decoder_for_each_token():
    model = EncoderDecoder(9, 6, 8).eval()
    seen = collections.Counter()
    model.encoder.register_forward_hook(lambda *_: seen.update(encoded=1))
    model.decoder.register_forward_hook(lambda _, inputs, __: seen.update(decoded=inputs[0].shape[1]))
    model.head.bias.data[model.END] = -1e9
    model.generate(torch.ones(3, 4, dtype=torch.int64), None, 10)
    assert seen == {"encoded": 1, "decoded": 10}
    model.head.bias.data[model.END] = 1e9
    model.generate(torch.ones(3, 4, dtype=torch.int64), None, 10)
    assert seen == {"encoded": 2, "decoded": 11}


def test_generating_trains_nothing_and_drops_nothing_in_evaluation():
    model = EncoderDecoder(9, 6, 8, dropout=0.9).eval()
    source = torch.randint(1, 9, (5, 4))
    assert torch.equal(model.generate(source, None, 6), model.generate(source, None, 6))
    assert all(parameter.grad is None for parameter in model.parameters())


# ---- pairs ----------------------------------------------------------------------------------------------------------


def some_pairs():
    return SentencePairs.of([[2, 3], [4, 5, 6, 7], [8]], [[4, 2], [5, 6, 7, 8, 2], [9, 4, 2]])


def test_pairs_are_cut_to_their_longest_translation():
    pairs = some_pairs()
    assert pairs.steps.tolist() == [2, 5, 3]
    cut = pairs.select(torch.tensor([2, 0]))
    assert cut.targets.tolist() == cut.context["produced"].tolist() == [[9, 4, 2], [4, 2, 0]]
    assert cut.inputs.tolist() == [[8, 0], [2, 3]]
    assert references(pairs) == [[4], [5, 6, 7, 8], [9, 4]]


def test_cutting_changes_no_score():
    model = EncoderDecoder(9, 10, 8).double().eval()
    pairs = some_pairs()
    whole = model(pairs.inputs, pairs.lengths, **pairs.context)
    cut = pairs.select(torch.tensor([0, 2]))
    assert torch.allclose(model(cut.inputs, cut.lengths, **cut.context), whole[[0, 2], :3])


def test_an_output_step_has_its_token_as_target_and_its_links_as_truth():
    links = [torch.tensor([[1, 0.5]]), torch.eye(4), torch.tensor([[0.0], [1]])]
    batch = by_output_step(some_pairs(), [OutputStep(1, 2), OutputStep(0, 0), OutputStep(2, 1)], links)
    assert batch.targets.tolist() == [7, 4, 4]
    assert batch.context[OUTPUT_STEP].tolist() == [2, 0, 1]
    assert batch.inputs.tolist() == [[4, 5, 6, 7], [2, 3, 0, 0], [8, 0, 0, 0]]
    assert batch.truths["alignment"].values.tolist() == [[0, 0, 1, 0], [1, 0.5, 0, 0], [1, 0, 0, 0]]
    assert batch.truths["sure"].values.tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
    assert not by_output_step(some_pairs(), [OutputStep(1, 2)]).truths


# ---- dates ----------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(DATES, WIDTHS, st.sampled_from(LOCALES))
def test_tokens_joined_are_the_date_as_babel_writes_it(date, width, locale):
    tokens = calendar.date_tokens(date, width, locale)
    assert "".join(token.text for token in tokens) == format_date(date, width, locale)
    assert all(len(token.text) == 1 for token in tokens if token.text.isdecimal())
    assert {token.field for token in tokens} >= {"day", "month", "year"}


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("de", "Donnerstag, 7. März 2024"),
        ("fr", "jeudi 7 mars 2024"),
        ("hu", "2024. március 7., csütörtök"),
        ("ja", "2024年3月7日木曜日"),
    ],
)
def test_dates_are_written_as_cldr_has_them(locale, expected):
    assert "".join(token.text for token in calendar.date_tokens(dt.date(2024, 3, 7), "full", locale)) == expected


def linked(source, target):
    """Return the texts that each token of a translation is linked with."""
    rows = calendar.links(source, target)
    return [
        (token.text, "".join(t.text for t, on in zip(source, row, strict=True) if on))
        for token, row in zip(target, rows, strict=True)
    ]


def test_links_by_hand():
    english = calendar.date_tokens(dt.date(2024, 3, 7), "medium", "en")
    german = calendar.date_tokens(dt.date(2024, 3, 7), "medium", "de")
    assert linked(english, german) == [
        ("0", "7"), ("7", "7"), (".", ""), ("0", "Mar"), ("3", "Mar"), (".", ""),
        ("2", "2"), ("0", "0"), ("2", "2"), ("4", "4"),
    ]  # fmt: skip
    english = calendar.date_tokens(dt.date(2024, 10, 17), "full", "en")
    japanese = calendar.date_tokens(dt.date(2024, 10, 17), "full", "ja")
    assert [pair for pair in linked(english, japanese) if pair[1]] == [
        ("2", "2"), ("0", "0"), ("2", "2"), ("4", "4"), ("1", "October"), ("0", "October"),
        ("1", "1"), ("7", "7"), ("木曜日", "Thursday"),
    ]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(DATES, DATES, WIDTHS, st.sampled_from(LOCALES[1:]))
def test_what_changes_with_the_source_is_linked_with_what_changed_in_it(first, second, width, locale):
    """Where two dates are written with as many tokens, a token that differs is linked with one that differs."""
    english = [calendar.date_tokens(date, width, "en") for date in (first, second)]
    other = [calendar.date_tokens(date, width, locale) for date in (first, second)]
    if len(english[0]) != len(english[1]) or len(other[0]) != len(other[1]):
        return
    changed = [one != another for one, another in zip(*english, strict=True)]
    rows = calendar.links(english[0], other[0])
    for one, another, row in zip(*other, rows, strict=True):
        if one != another:
            assert any(on and differs for on, differs in zip(row, changed, strict=True))
        assert any(row) == bool(one.field)


@pytest.fixture(scope="module")
def dated():
    return dates.Dates().data()


def test_no_date_is_both_learnt_and_held_out(dated):
    names = dated.names.vocabulary

    def days(batch, rows):
        found = set()
        for row, length in zip(batch.inputs[rows].tolist(), batch.lengths[rows].tolist(), strict=True):
            text = "".join(names[number] for number in row[1:length])
            month, _, rest = (
                text.rpartition(", ")[0].partition(" ")
                if text.count(",") == 1
                else (text.split(", ")[1].partition(" "))
            )
            found.add((month[:3], rest, text[-4:]))
        return found

    whole = (dated.train.inputs != 1).all(1)
    assert whole.sum() > 500
    assert not days(dated.train, whole) & days(dated.test, torch.ones(len(dated.test), dtype=torch.bool))
    assert len(days(dated.test, torch.ones(len(dated.test), dtype=torch.bool))) == len(dated.test)


def test_each_explained_token_has_a_sure_link_and_the_language_is_possible(dated):
    values = dated.explained.truths["alignment"].values
    assert (values == 1).any(1).all()
    assert (values[:, 0] == 0.5).all()
    assert all(dated.names.vocabulary[number].startswith("<") for number in dated.explained.inputs[:, 0].tolist())
    assert torch.equal(
        dated.explained.targets,
        dated.explained.context["produced"][torch.arange(64), dated.explained.context[OUTPUT_STEP]],
    )


def test_languages_and_patterns_are_about_as_frequent(dated):
    counts = dated.test.inputs[:, 0].bincount()
    assert (counts > 0).sum() == 4
    assert counts[counts > 0].min() > 200


def test_one_source_has_one_translation(dated):
    said = collections.defaultdict(set)
    for source, target in zip(dated.test.inputs.tolist(), dated.test.targets.tolist(), strict=True):
        said[tuple(source)].add(tuple(target))
    assert {len(found) for found in said.values()} == {1}
    may = calendar.date_tokens(dt.date(2024, 5, 5), "long", "en")
    assert may == calendar.date_tokens(dt.date(2024, 5, 5), "medium", "en")


def test_one_in_ten_training_tokens_is_the_reference(dated):
    share = (dated.train.inputs == dated.reference).sum() / dated.train.lengths.sum()
    assert abs(share - dates.Dates.unknown) < 0.01
    assert dated.names.vocabulary[int(dated.reference)] == "<unk>"
    assert not (dated.test.inputs == dated.reference).any()


def test_another_cldr_is_another_task(monkeypatch):
    task = dates.Dates()
    before = task.identity()
    assert before["cldr"]
    known = calendar.cldr_data(("en", "de"))
    monkeypatch.setattr(dates, "cldr_data", lambda _: known)
    assert task.identity() != before


def test_translator_of_dates_is_competent_and_explains_itself():
    task = dates.Dates(instances=200)
    subject = task.subject(0)
    assert subject.competence.fit
    assert subject.competence.baseline < 0.01
    data = task.data()
    with torch.no_grad():
        assert forced_accuracy(subject.model, data.test) > 0.99
        said = task.translated(subject.model, data.test, 13)
        literal = generated_literally(subject.model.model, data.test.inputs[:50], data.test.lengths[:50], 13)
    wanted = references(data.test)
    assert sum(a == b for a, b in zip(said, wanted, strict=True)) / len(wanted) == subject.competence.score
    assert [[token for token in row if token > 2] for row in literal.tolist()] == said[:50]
    # explained is the reference's token, and a competent model says it
    assert torch.equal(subject.target, data.explained.targets)
    assert (subject.batch_outputs.argmax(1) == subject.target).double().mean() > 0.98

    def error(values):
        told = dataclasses.replace(
            evidence(subject, StandIn("constant")), attribution=Attribution(values, signed=False)
        )
        return AlignmentErrorRate().measure(told).mean()

    truth = subject.batch.truths["alignment"].values
    assert error(truth) == 0
    at_random = error(torch.zeros_like(truth))
    occlusion = plugins.build("method", "occlusion").explain(subject).values.abs()
    assert error(occlusion) < 0.5 * at_random


def test_models_are_trained_again_on_single_output_steps():
    task = dates.Dates()
    again = task.retraining()
    assert len(again.train) == task.steps_again
    assert again.train.targets.dim() == 1
    assert OUTPUT_STEP in again.train.context
    assert again.test is task.data().explained


@pytest.mark.parametrize("parameters", ["hidden=33", "sequences=300000", "hidden=0"])
def test_parameters_that_do_not_fit_are_refused(parameters):
    with pytest.raises(ParameterError, match=f"dates: {parameters} does not fit"):
        plugins.build("task", f"dates:{parameters}").data()


def test_too_many_output_steps_are_refused():
    with pytest.raises(ParameterError, match=r"dates: instances=100000, but there are [0-9]+ output steps"):
        dates.Dates(instances=100_000).data()


# ---- running text ---------------------------------------------------------------------------------------------------


def literal_bleu(said, wanted):
    """Return BLEU of texts whose words are parted by spaces: Papineni et al. 2002, section 2.3."""
    logs, length, reference = [], sum(map(len, said)), sum(map(len, wanted))
    for n in range(1, 5):
        right = total = 0
        for one, other in zip(said, wanted, strict=True):
            grams = [collections.Counter(zip(*(row[k:] for k in range(n)), strict=False)) for row in (one, other)]
            right += (grams[0] & grams[1]).total()
            total += grams[0].total()
        logs.append(math.log(right / total))
    return 100 * math.exp(min(0, 1 - reference / length) + sum(logs) / 4)


def test_bleu_is_the_published_formula():
    said = ["the cat sat on the mat today", "there is a dog in the big house"]
    wanted = ["the cat sat on the mat", "there is a big dog in the big house over there"]
    expected = literal_bleu([line.split() for line in said], [line.split() for line in wanted])
    assert bleu(said, wanted) == pytest.approx(expected)
    assert bleu(wanted, wanted) == pytest.approx(100)


def test_held_out_sentences_are_not_learnt():
    assert disjoint([("a", "b"), ("c", "d")], [("a", "e")], "x") == [("c", "d")]
    with pytest.raises(DataError, match="Task 'x' has no training sentence that is not also held out"):
        disjoint([("a", "b")], [("a", "e")], "x")


NOUNS = {"dog": "Hund", "cat": "Kater", "bird": "Vogel", "horse": "Hengst"}
ADJECTIVES = {"big": "grand", "small": "petit", "old": "vieux", "young": "jeune"}
VERBS = {"sees": "sieht", "hears": "hoert", "likes": "mag"}


def small_language(count, seed=0):
    """Return sentences, translations that put adjectives behind their nouns, and links (source, target)."""
    rng = torch.Generator().manual_seed(seed)

    def one(words):
        return list(words)[int(torch.randint(len(words), (1,), generator=rng))]

    found = {}
    while len(found) < count:
        adjective, noun, verb, thing = one(ADJECTIVES), one(NOUNS), one(VERBS), one(NOUNS)
        found[f"{adjective} {noun} {verb} {thing}"] = (
            f"{NOUNS[noun]} {ADJECTIVES[adjective]} {VERBS[verb]} {NOUNS[thing]}"
        )
    return list(found.items()), "0-1 1-0 2-2 3?3"


@pytest.fixture
def files(tmp_path):
    pairs, links = small_language(150)
    for name, rows in (("en", [a for a, _ in pairs]), ("xx", [b for _, b in pairs]), ("links", [links] * len(pairs))):
        (tmp_path / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
        (tmp_path / f"held.{name}").write_text("\n".join(rows[:30]) + "\n", encoding="utf-8")
    return tmp_path


def parallel(files, **options):
    small = {"vocabulary": 60, "hidden": 32, "embedding": 16, "epochs": 200}
    paths = {"sources": files / "en", "translations": files / "xx"} | {
        name: files / options.pop(name)
        for name in ("held_sources", "held_translations", "alignments")
        if name in options
    }
    return own.Parallel(**small | {name: str(path) for name, path in paths.items()} | options)


def test_own_text_is_learnt_and_explained_with_its_alignments(files):
    held = {"held_sources": "held.en", "held_translations": "held.xx", "alignments": "held.links"}
    task = parallel(files, **held, gate=60.0)
    data = task.data()
    assert (len(data.train), len(data.test)) == (120, 30)
    subject = task.subject(0)
    assert subject.competence.measure == "BLEU"
    assert subject.competence.fit
    truth = subject.batch.truths["alignment"].values
    names = task.data().names
    words = NOUNS | ADJECTIVES | VERBS
    for row, (target, step) in enumerate(
        zip(subject.target.tolist(), subject.batch.context[OUTPUT_STEP].tolist(), strict=True)
    ):
        source = subwords_joined(names.vocabulary, subject.batch.inputs[row][truth[row] == 1])
        whole = subject.batch.context["produced"][row].tolist()
        word = word_at(names.outputs, whole, step)
        assert names.outputs[target].lstrip("▁") in word
        assert words[source] == word
    # the last word is possibly linked, and so not explained
    assert not (truth == 0.5).any()


def subwords_joined(vocabulary, numbers):
    return "".join(vocabulary[number] for number in numbers.tolist()).replace("▁", " ").strip()


def word_at(vocabulary, numbers, step):
    """Return the whole word of which the piece at a step is a part."""
    pieces = [vocabulary[number] for number in numbers if number > 2]
    word = sum(piece.startswith("▁") for piece in pieces[: step + 1]) - 1
    return "".join(pieces).split("▁")[1:][word]


def test_without_held_out_files_a_tenth_is_held_out(files):
    assert (len(parallel(files).data().test), len(parallel(files).data().train)) == (15, 135)
    assert not parallel(files).data().explained.truths
    # all pairs have links: a tenth of them
    assert len(parallel(files, alignments="links", instances=20).data().test) == 15


def test_the_aligned_pairs_are_held_out_where_they_are_few(files):
    rows = [f"{number} {i} {j} S" for number in range(11, 31) for i, j in ((1, 2), (2, 1), (3, 3))]
    (files / "gold").write_text("\n".join(rows), encoding="utf-8")
    data = parallel(files, alignments="gold", form="naacl", instances=30).data()
    assert len(data.test) == 20
    assert (data.explained.truths["alignment"].values == 1).any(1).all()


def test_other_content_is_another_task(files):
    task = parallel(files)
    before = task.identity()
    assert task.identity() == before
    with (files / "xx").open("a", encoding="utf-8") as text:
        text.write("\n")
    assert task.identity() != before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"held_sources": "held.en"}, "needs the file 'held_translations'"),
        ({"alignments": "held.links"}, "are of 30 sentences, and there are 150 pairs"),
        ({"alignments": "en"}, "Line 1 of '.*en' has '.*': expected links such as '0-0'"),
        ({"alignments": "links", "form": "pharaoh-1"}, "Line 1 of '.*' has '0-1'"),
        ({"held_sources": "held.en", "held_translations": "xx"}, "has 30 lines and '.*xx' has 150"),
        ({"held_sources": "en", "held_translations": "xx"}, "no training sentence that is not also held out"),
    ],
)
def test_files_that_do_not_belong_together_are_named(files, options, said):
    with pytest.raises(DataError, match=said):
        parallel(files, **options).data()


def test_files_have_to_be_told_and_there(tmp_path):
    with pytest.raises(DataError, match="Task 'parallel' needs the file 'sources': write parallel:sources=PATH"):
        plugins.build("task", "parallel").data()
    task = plugins.build("task", f"parallel:sources={tmp_path}/a,translations={tmp_path}/b")
    for ask in (task.data, task.identity):
        with pytest.raises(DataError, match=r"'.*a' cannot be read"):
            ask()


# ---- Multi30k -------------------------------------------------------------------------------------------------------


@pytest.mark.full
def test_multi30k_is_read_as_it_was_published(tmp_path, monkeypatch):
    laid("multi30k", tmp_path)
    monkeypatch.setenv(downloads.VARIABLE, str(tmp_path))
    task = Multi30k(instances=50)
    text = task.text()
    assert len(text.test) == 1000
    assert text.test[0] == (
        "A man in an orange hat starring at something.",
        "Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt.",
    )
    assert 28_900 < len(text.train) <= 29_000
    data = task.data()
    assert len(data.names.outputs) == len(data.names.vocabulary) == 4000
    assert data.train.context["produced"].shape == data.train.targets.shape
    # every token of every translation but its end may be explained
    assert (data.explained.targets > 2).all()
    assert task.retraining() is None
    # leaving the sentences in English is no translation
    assert bleu([source for source, _ in text.test], [target for _, target in text.test]) < 5


def test_multi30k_that_is_not_there_says_how_to_fetch_it(tmp_path, monkeypatch):
    monkeypatch.setenv(downloads.VARIABLE, str(tmp_path))
    monkeypatch.setenv("XRNNBENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="xrnnbench download multi30k"):
        Multi30k().data()


def test_loss_of_pairs_counts_no_padding():
    pairs = some_pairs()
    model = EncoderDecoder(9, 10, 8).double().eval()
    scores = model(pairs.inputs, pairs.lengths, **pairs.context).log_softmax(2)
    literal = [
        -scores[row, step, token].item()
        for row, tokens in enumerate(pairs.targets.tolist())
        for step, token in enumerate(tokens)
        if token
    ]
    found = F.cross_entropy(scores.flatten(0, 1), pairs.targets.flatten(), ignore_index=0)
    assert found.item() == pytest.approx(sum(literal) / len(literal))


@pytest.mark.parametrize(
    ("module", "ask"),
    [
        ("babel.core", lambda: calendar.cldr_data(("en",))),
        ("sacrebleu", lambda: bleu(["a"], ["a"])),
        ("tokenizers", lambda: subwords.learn(["a"], 9)),
    ],
)
def test_an_extra_that_is_not_installed_is_named(monkeypatch, module, ask):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=r"needs the extra 'data': pip install 'xrnnbench\[data\]'"):
        ask()
