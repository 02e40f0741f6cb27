"""White-box LSTMs: they answer by their rules, always; what is said of the rules is what counting all cases gives."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xrnnbench import plugins
from xrnnbench.errors import ParameterError
from xrnnbench.methods.surrogate.shapley import ExactShapley
from xrnnbench.metrics.conformance.specimens import evidence
from xrnnbench.metrics.faithfulness.decision_flips import FlipFraction
from xrnnbench.tasks.builtin.synthetic import subsequence
from xrnnbench.tasks.builtin.synthetic.bracket import Bracket, last_open
from xrnnbench.tasks.builtin.synthetic.counter import Counter
from xrnnbench.tasks.builtin.synthetic.rules import Brackets, More, Pairs, Removals, classify
from xrnnbench.tasks.builtin.synthetic.subsequence import Subsequence, SubsequenceAutomaton
from xrnnbench.tasks.models import white_box
from xrnnbench.tasks.subject import Subject

TASKS = [Counter(), Subsequence(), SubsequenceAutomaton(), Bracket()]
LENGTHS = {"counter": 20, "subsequence": 16, "subsequence-automaton": 16, "bracket": 16}
UNKNOWN = 1
by_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


def literal_answer(task, letters):
    """Return the class of a sequence by the words of the task's page."""
    if task.name == "counter":
        return int(letters.count("a") > letters.count("b"))
    if task.name != "bracket":
        pairs = itertools.combinations(letters, 2)
        return int(any(first + second in {"ab", "bc", "cd", "dc"} for first, second in pairs))
    waiting = []
    for letter in letters:
        if letter in "([":
            waiting.append(letter)
        elif waiting:
            waiting.pop()
    return {"(": 1, "[": 2}[waiting[-1]] if waiting else 0


def outputs(task, tokens, lengths=None, model=None):
    """Return scores float[B, K] of tokens int64[B, T]."""
    lengths = torch.full((len(tokens),), tokens.shape[1]) if lengths is None else lengths
    with torch.no_grad():
        return (model or task.network())(tokens, lengths)


def letters_of(task, row):
    """Return the letters of a row of tokens, without those that stand for absence."""
    return "".join(("", "", *task.alphabet)[token] for token in row)


def subject_of(task, sequences):
    """Return the task's network on some sequences."""
    batch = task.batch(sequences)
    return Subject(task.network(), batch, torch.full_like(batch.inputs, UNKNOWN))


def random_sequences(task, count, longest, seed=0):
    """Return sequences of uniform letters."""
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice([*task.alphabet], rng.integers(1, longest + 1))) for _ in range(count)]


# ---- the networks ---------------------------------------------------------------------------------------------------


@by_task
def test_answers_by_its_rule_on_every_short_sequence_with_and_without_absent_letters(task):
    model = task.network()
    count = len(task.alphabet)
    for steps in range(1, 7 if count > 2 else 11):
        tokens = torch.tensor([*itertools.product(range(UNKNOWN, count + 2), repeat=steps)])
        expected = torch.tensor([literal_answer(task, letters_of(task, row)) for row in tokens.tolist()])
        assert torch.equal(outputs(task, tokens, model=model).argmax(1), expected), steps


@by_task
def test_answers_by_its_rule_on_random_long_sequences(task):
    rng = torch.Generator().manual_seed(1)
    tokens = torch.randint(UNKNOWN, len(task.alphabet) + 2, (5000, LENGTHS[task.name]), generator=rng)
    lengths = torch.randint(1, tokens.shape[1] + 1, (5000,), generator=rng)
    cut = [row[:n] for row, n in zip(tokens.tolist(), lengths.tolist(), strict=True)]
    expected = torch.tensor([literal_answer(task, letters_of(task, row)) for row in cut])
    assert torch.equal(outputs(task, tokens, lengths).argmax(1), expected)


@by_task
def test_no_decision_is_close(task):
    two = outputs(task, task.data().test.inputs, task.data().test.lengths).topk(2).values
    assert (two[:, 0] - two[:, 1]).min() > 0.2


@by_task
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_replaced_letter_is_as_one_that_is_not_there(task, data):
    letters = st.integers(2, len(task.alphabet) + 1)
    row = data.draw(st.lists(letters, min_size=1, max_size=LENGTHS[task.name]))
    gone = data.draw(st.lists(st.booleans(), min_size=len(row), max_size=len(row)))
    left = [token for token, out in zip(row, gone, strict=True) if not out] or [UNKNOWN]
    masked = [UNKNOWN if out else token for token, out in zip(row, gone, strict=True)]
    assert torch.allclose(outputs(task, torch.tensor([masked])), outputs(task, torch.tensor([left])), atol=1e-6)


@by_task
def test_absence_alone_is_answered_as_nothing(task):
    assert int(outputs(task, torch.full((1, 5), UNKNOWN)).argmax()) == classify(task.rule, "") == 0


@pytest.mark.parametrize(
    ("name", "units", "letters"),
    [("counter", 1, 2), ("subsequence", 7, 4), ("subsequence-automaton", 36, 4), ("bracket", 34, 4)],
)
def test_sizes_are_those_of_the_page(name, units, letters):
    model = plugins.build("task", name).network()
    assert (model.recurrent.hidden_size, model.recurrent.input_size) == (units, letters)
    assert torch.equal(model.embedding.weight[2:], torch.eye(letters))
    assert not model.embedding.weight[:2].any()


def test_counter_counts():
    for row in ("a", "b", "aab", "babab", "aaaaab"):
        lead = row.count("a") - row.count("b")
        expected = math.tanh(math.tanh(0.5) * lead) - math.tanh(math.tanh(0.5)) / 2
        found = outputs(Counter(), Counter().batch([row]).inputs)[0].double()
        assert float(found[1] - found[0]) == pytest.approx(expected, abs=1e-6)
        assert float(found.sum()) == pytest.approx(0, abs=1e-6)


def test_automaton_is_in_the_state_of_its_rule():
    """Exactly one unit is on: that of the state and the last letter."""
    task = SubsequenceAutomaton()
    states = task._states()
    assert len(states) == 9
    for row in random_sequences(task, 50, 12):
        with torch.no_grad():
            hidden, _ = task.network().states(task.batch([row]).inputs)
        state = task.rule.start
        for place, letter in enumerate(row):
            state = task.rule.step(state, letter)
            on = hidden[0, place].abs() > 0.1
            assert on.nonzero().flatten().tolist() == [states.index(state) * 4 + "abcd".index(letter)]


def test_stack_holds_the_open_brackets():
    task = Bracket()
    sign = {"(": 1.0, "[": -1.0}
    for row in random_sequences(task, 50, 16):
        with torch.no_grad():
            hidden = task.network().states(task.batch([row]).inputs)[0][0] / math.tanh(1)
        state = ""
        for place, letter in enumerate(row):
            state = task.rule.step(state, letter)
            under = [sign[bracket] for bracket in state[:-1]]
            expected = torch.zeros(34)
            expected[: len(under)] = torch.tensor(under)
            expected[16 : 16 + len(state)] = 1.0
            expected[32] = sign[state[-1]] if state else 0.0
            expected[33] = -1.0 if state else 1.0
            assert torch.allclose(hidden[place], expected, atol=1e-5), (row, place)


def test_what_a_gate_cannot_see_is_not_counted():
    """The published bound, u > atanh(atanh ½): a gate does not open for a letter below it."""
    assert math.atanh(math.atanh(0.5)) == pytest.approx(0.6176, abs=1e-3)
    tokens = Subsequence().batch(["ab"]).inputs
    for increment, found in ((0.55, 0), (0.65, 1)):
        model = white_box.pair_counter("abcd", {"b": "a", "c": "bd", "d": "c"}, 50.0, increment)
        assert int(outputs(Subsequence(), tokens, model=model).argmax()) == found


@pytest.mark.parametrize("name", ["subsequence", "subsequence-automaton"])
def test_increment_below_the_bound_is_refused(name):
    with pytest.raises(ParameterError, match=rf"{name}: increment=0.6 does not fit \(above atanh\(atanh ½\) ≈ .618"):
        plugins.build("task", f"{name}:increment=0.6")


@by_task
@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ("instances=0", r"instances=0 does not fit \(it must be at least 1\)"),
        ("instances=9999", r"instances=9999, but only \d+ sequences can be explained"),
        ("saturation=0", r"saturation=0.0 does not fit \(it must be above 0\)"),
    ],
)
def test_bad_parameters_are_refused_in_a_sentence(task, parameters, reason):
    with pytest.raises(ParameterError, match=f"{task.name}: {reason}"):
        plugins.build("task", f"{task.name}:{parameters}").subject(0)


def test_counter_that_does_not_count_is_refused():
    with pytest.raises(ParameterError, match=r"counter: increment=0.0 does not fit \(it must be above 0\)"):
        plugins.build("task", "counter:increment=0")


def test_gates_that_leak_cost_competence():
    """Which the gate of 1 then tells: half-open gates are no automaton."""
    competence = SubsequenceAutomaton(saturation=2.0).subject(0).competence
    assert competence.score < 1
    assert not competence.fit


# ---- the rules ------------------------------------------------------------------------------------------------------


RULES = [(More("a"), "ab"), (Pairs(("ab", "bc", "cd", "dc")), "abcd"), (Brackets(("()", "[]")), "()[]")]
sequences = st.sampled_from(RULES).flatmap(
    lambda found: st.tuples(st.just(found[0]), st.text(alphabet=found[1], min_size=1, max_size=7))
)


def remainders(letters):
    """Return every set of places, with the letters that are left at them."""
    places = range(len(letters))
    sets = itertools.chain.from_iterable(itertools.combinations(places, size) for size in range(len(letters) + 1))
    return [(chosen, "".join(letters[place] for place in chosen)) for chosen in sets]


@given(found=sequences)
@settings(max_examples=150, deadline=None)
def test_best_flip_is_that_of_all_removals(found):
    rule, letters = found
    own = classify(rule, letters)
    flips = [set(range(len(letters))) - set(left) for left, text in remainders(letters) if classify(rule, text) != own]
    least = min(map(len, flips), default=None)
    places = sorted(set().union(*(gone for gone in flips if len(gone) == least)))
    flip = Removals(rule, letters).best_flip()
    assert flip.count == least
    assert list(flip.places) == places


@given(found=sequences)
@settings(max_examples=150, deadline=None)
def test_shapley_values_are_those_of_all_coalitions(found):
    rule, letters = found
    n = len(letters)
    worth = {chosen: float(classify(rule, text)) for chosen, text in remainders(letters)}
    expected = [
        sum(
            math.factorial(len(chosen))
            * math.factorial(n - 1 - len(chosen))
            / math.factorial(n)
            * (worth[tuple(sorted({*chosen, place}))] - value)
            for chosen, value in worth.items()
            if place not in chosen
        )
        for place in range(n)
    ]
    values = Removals(rule, letters).shapley(lambda state: float(rule.answer(state)))
    assert values == pytest.approx(expected, abs=1e-12)


@given(found=sequences)
@settings(max_examples=50, deadline=None)
def test_share_of_answers_is_that_of_all_coalitions(found):
    rule, letters = found
    for own in range(3):
        expected = [
            np.mean([classify(rule, text) == own for chosen, text in remainders(letters) if len(chosen) == size])
            for size in range(len(letters) + 1)
        ]
        assert Removals(rule, letters).class_shares(own) == pytest.approx(expected)


def test_what_never_flips_says_so():
    assert Removals(More("a"), "bbb").best_flip().count is None
    assert Removals(Pairs(("ab",)), "bbaa").best_flip().count is None
    task = Counter()
    assert task.best_flip_fraction(task.batch(["bbb", "aab", "ba"])).tolist() == [1.0, 1 / 3, 0.5]


def test_longest_free_subsequence_of_long_sequences():
    """What is left after the best flip is the longest subsequence without pairs, here by its literal recursion."""
    rule = Pairs(("ab", "bc", "cd", "dc"))

    def longest(letters, state):
        if not letters:
            return 0
        best = longest(letters[1:], state)
        after = rule.step(state, letters[0])
        return best if after is None else max(best, 1 + longest(letters[1:], after))

    for letters in random_sequences(Subsequence(), 20, 12, seed=3):
        if classify(rule, letters):
            assert Removals(rule, letters).best_flip().count == len(letters) - longest(letters, "")


# ---- flips beside the metrics ---------------------------------------------------------------------------------------


@by_task
def test_best_flip_is_the_smallest_removal_that_flips_the_network(task):
    for row in [one for one in random_sequences(task, 12, 8, seed=2) if len(one) > 2]:
        n = len(row)
        keep = torch.tensor([*itertools.product([False, True], repeat=n)])
        tokens = task.batch([row]).inputs.where(keep, UNKNOWN)
        other = outputs(task, tokens).argmax(1) != classify(task.rule, row)
        gone = n - keep.sum(1)
        expected = int(gone[other].min()) if other.any() else None
        assert task.best_flips(task.batch([row]))[0].count == expected


@by_task
@pytest.mark.parametrize("method", ["occlusion", "deeplift", "random"])
def test_no_method_flips_with_less_than_the_best(task, method):
    subject = type(task)(instances=24).subject(0)
    found = FlipFraction(points=20).score(evidence(subject, plugins.build("method", method)))
    best = task.best_flip_fraction(subject.batch)
    assert (found >= best - 1e-9).all()
    if task.name == "counter" and method != "random":
        # all letters of a kind are alike, so any method that has the signs right is as good as the best
        assert torch.allclose(found, best)


def test_random_removals_flip_when_counted_over_all_orders():
    """flip-fraction of the control ``random`` is the mean over orders, which the rule gives exactly."""
    subject = Subsequence(instances=64).subject(0)
    task = Subsequence()
    expected = []
    for letters in task.sequences(subject.batch):
        # a removal takes away pairs and never makes one: P(not flipped after k) is the share of remainders with one
        still = Removals(task.rule, letters).class_shares(1)
        expected.append(sum(still) / len(letters))
    scores = [
        FlipFraction(points=20).score(evidence(subject, plugins.build("method", "random"), seed=seed))
        for seed in range(8)
    ]
    assert float(torch.stack(scores).mean()) == pytest.approx(np.mean(expected), abs=0.03)


# ---- the truths -----------------------------------------------------------------------------------------------------


@by_task
def test_truths_agree_with_the_decision(task):
    batch = task.data().explained
    for truth in batch.truths.values():
        assert truth.retrospective
        assert not truth.values[~batch.valid].any()
    assert torch.equal(task.subject(0).target, batch.targets)


@by_task
def test_shapley_truth_is_what_the_network_gives(task):
    """exact-shapley of the network's own score, where the truth claims to be that; else of the rule."""
    chosen = [one for one in task.sequences(task.data().explained) if len(one) <= 9][:6]
    subject = subject_of(task, chosen)
    truth = task.truths(chosen)["shapley"]
    expected = truth.turned(subject.target).double()
    found = ExactShapley().attribute(subject, torch.Generator().manual_seed(0)).double()
    if task.name == "subsequence-automaton":
        # the score of a class moves by half, as do both
        expected = expected * white_box.hidden_after_one(task.increment)
        found = found * 2
    if task.name == "subsequence":
        # the score grows with the pairs, the decision does not: the same letters, other sizes
        assert ((found.abs() > 1e-6) == (expected != 0)).all()
        return
    assert torch.allclose(found, expected, atol=1e-5)


def test_letters_of_the_counter_speak_for_their_side_wherever_they_stand():
    truths = Counter().truths(["aabab"])
    assert truths["coefficient"].values.tolist() == [[1, 1, -1, 1, -1]]
    shares = truths["shapley"].values[0]
    assert shares[0] == shares[1] == shares[3] > 0 > shares[2] == shares[4]
    empty, whole = Counter().score(0), Counter().score(1)
    assert float(shares.sum()) == pytest.approx(whole - empty, abs=1e-6)


def test_letters_in_pairs_are_the_smallest_sets_that_suffice():
    task = Subsequence()
    for letters in random_sequences(task, 100, 9, seed=4):
        # the smallest coalitions of the class "contains" whose parts are not
        enough = [set(chosen) for chosen, text in remainders(letters) if classify(task.rule, text)]
        smallest = [one for one in enough if not any(other < one for other in enough)]
        expected = [float(any(place in one for one in smallest)) for place in range(len(letters))]
        assert subsequence.in_pairs(letters) == expected
        shares = Removals(task.rule, letters).shapley(lambda state: float(task.rule.answer(state)))
        assert [float(share > 1e-12) for share in shares] == expected
        assert sum(shares) == pytest.approx(classify(task.rule, letters))


def test_explained_sequences_have_letters_with_and_without_a_part():
    truth = Subsequence().data().explained.truths["pair"]
    batch = Subsequence().data().explained
    part = truth.values.sum(1) / batch.lengths
    assert batch.targets.all()
    assert (part < 1).float().mean() > 0.9
    assert 0.4 < part.mean() < 0.7


def test_both_forms_explain_the_same_sequences():
    one, other = Subsequence().data().explained, SubsequenceAutomaton().data().explained
    assert torch.equal(one.inputs, other.inputs)


@pytest.mark.parametrize(
    ("row", "expected"),
    [("([]", "100"), ("()[", "001"), ("[(]", "100"), ("([])", "0000"), (")(", "01"), ("((", "01")],
)
def test_last_open_bracket(row, expected):
    assert last_open(row) == [float(mark) for mark in expected]


def test_last_open_bracket_is_the_one_that_has_to_be_closed():
    """Turned into the other kind it turns the answer; no other bracket of the same sequence does."""
    task = Bracket()
    other = str.maketrans("()[]", "[]()")
    batch = task.data().explained
    for letters, marks in zip(task.sequences(batch), batch.truths["open"].values.tolist(), strict=True):
        own = literal_answer(task, letters)
        for place, letter in enumerate(letters):
            turned = letters[:place] + letter.translate(other) + letters[place + 1 :]
            assert (literal_answer(task, turned) != own) == bool(marks[place])


@by_task
def test_sequences_are_written_as_the_page_says(task):
    test = task.data().test
    lengths = {"counter": (5, 20), "bracket": (5, 16)}.get(task.name, (6, 16))
    assert (int(test.lengths.min()), int(test.lengths.max())) == lengths
    rows = task.sequences(test)
    assert [len(row) for row in rows] == test.lengths.tolist()
    assert torch.equal(test.targets, torch.tensor([literal_answer(task, row) for row in rows]))
    assert set(test.targets.tolist()) == set(range(len(task.classes)))
    if task.name == "bracket":
        for row in rows:
            state = ""
            for letter in row:
                assert letter in "([" or {"(": ")", "[": "]"}[state[-1]] == letter  # well-formed so far
                state = task.rule.step(state, letter)
