"""``xrnnbench check`` tells the truth: what failed, why and where, and what was not tested."""

import json
import re
from pathlib import Path

import pytest

from xrnnbench import plugins
from xrnnbench.conformance import Finding, report
from xrnnbench.error_places import Place, own_place, place_in, place_of
from xrnnbench.methods.conformance import check_method
from xrnnbench.plugins import build, names

MISBEHAVING = Path(__file__).with_name("misbehaving.py")
KINDS = ("tokens", "cells", "regression", "no lengths", "output step", "plain function")
PROMISES = (
    "right shape, finite, 0 on padding",
    "the same seed gives the same values",
    "stochastic is declared if seeds matter",
    "other sequences of the batch do not matter",
    "padding does not matter",
    "a claimed completeness holds",
    "leaves no trace",
)
UNCLAIMED = "the method does not claim completeness"
NO_SEED = "not tested  seeds change the result of a stochastic method: the method is not declared stochastic"
METHOD = [
    "passed  the docstring states cost and failures",
    "passed  the spec builds the same plug-in",
    f"passed  applicable: to {', '.join(KINDS)}",
]
METRIC = [
    "passed  declared",
    "passed  the spec builds the same plug-in",
    "passed  applicable: to the regression specimen",
]
NO_ORDER = [
    "not tested  direction on the regression specimen: neither direction is better",
    (
        "not tested  ties on the regression specimen: a complexity metric that reads magnitude need not treat ties in "
        "this way"
    ),
]


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Each test registers into a copy: other tests ask every method."""
    for kind in plugins.FLOORS:
        names(kind)
    monkeypatch.setattr(plugins, "_registry", dict(plugins._registry))


@pytest.fixture
def checked(invoke, monkeypatch):
    """Return a function giving the exit status and the lines of a report; files are named as from their folder."""
    monkeypatch.chdir(MISBEHAVING.parent)

    def check(name):
        status, out, err = invoke("check", f"{MISBEHAVING}:{name}")
        assert err == ""
        return status, out.splitlines()

    return check


def line_of(code):
    """Where a line of the misbehaving file is."""
    lines = MISBEHAVING.read_text("utf-8").splitlines()
    (number,) = (number for number, line in enumerate(lines, 1) if line.strip() == code)
    return f"misbehaving.py, line {number}"


def kind_lines(kind):
    """The lines of a kind of subject on which a method that claims nothing keeps its promises."""
    lines = [f"passed  {kind}: {promise}" for promise in PROMISES]
    lines[5] = f"not tested  {kind}: {PROMISES[5]}: {UNCLAIMED}"
    return lines


def test_a_good_method(checked):
    status, lines = checked("Good")
    kinds = [line for kind in KINDS for line in kind_lines(kind)]
    assert (status, lines) == (0, [*METHOD, *kinds, NO_SEED, "39 passed, 0 failed, 7 not tested"])


def test_a_method_that_raises_says_it_once_and_passes_nothing_that_had_to_run(checked):
    place = line_of('raise RuntimeError("no\\nluck")')
    assert checked("Raises") == (
        1,
        [
            *METHOD,
            f"FAILED  tokens: {PROMISES[0]}: raised RuntimeError: no luck ({place}, in attribute)",
            "not tested  41 more rules, for the same error",
            NO_SEED,
            "3 passed, 1 failed, 42 not tested",
        ],
    )


def test_a_method_cannot_choose_the_exit_status(checked):
    status, lines = checked("Exits")
    assert status == 1
    assert lines[3].endswith(f"raised SystemExit: 0 ({line_of('raise SystemExit(0)')}, in attribute)")
    assert lines[4:] == ["not tested  41 more rules, for the same error", NO_SEED, "3 passed, 1 failed, 42 not tested"]


def test_a_method_that_raises_for_tokens_only(checked):
    status, lines = checked("NoTokens")
    place = line_of("return subject.batch.inputs.mean(-1)")
    raised = "raised RuntimeError: mean(): could not infer output dtype."
    assert status == 1
    assert lines[3].startswith(f"FAILED  tokens: {PROMISES[0]}: {raised}")
    assert lines[3].endswith(f"({place}, in attribute)")
    unclaimed = {kind: f"not tested  {kind}: {PROMISES[5]}: {UNCLAIMED}" for kind in ("tokens", "output step")}
    assert lines[:3] + lines[4:] == [
        *METHOD,
        "not tested  11 more rules, for the same error",
        unclaimed["tokens"],
        *(line for kind in KINDS[1:4] for line in kind_lines(kind)),
        unclaimed["output step"],
        *kind_lines("plain function"),
        NO_SEED,
        "27 passed, 1 failed, 18 not tested",
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Flat", "Method 'flat' on the {kind} specimen returned shape [6]; expected {shape}."),
        ("Infinite", "Method 'infinite' on the {kind} specimen gave a value that is not finite for instance 0."),
    ],
)
def test_an_error_that_names_the_subject_is_said_of_each_kind(checked, name, said):
    expected = list(METHOD)
    for kind in KINDS:
        shape = "[6, 7]" if kind in {"tokens", "output step"} else "[6, 7, 3]"
        expected += [
            f"FAILED  {kind}: {PROMISES[0]}: {said.format(kind=kind, shape=shape)}",
            "not tested  5 more rules, for the same error",
            f"not tested  {kind}: {PROMISES[5]}: {UNCLAIMED}",
        ]
    assert checked(name) == (1, [*expected, NO_SEED, "3 passed, 6 failed, 37 not tested"])


def test_a_claim_of_completeness_that_does_not_hold(checked):
    status, lines = checked("Claims")
    lines = [re.sub(r"\(by .+\)", "(by x)", line) for line in lines]
    kinds = [line for kind in KINDS for line in kind_lines(kind)]
    missed = "the values do not sum to f(x) − f(x⁰) (by x)"
    kinds = [re.sub("not tested  (.*): the method.*", rf"FAILED  \1: {missed}", line) for line in kinds]
    assert (status, lines) == (1, [*METHOD, *kinds, NO_SEED, "39 passed, 6 failed, 1 not tested"])


def test_a_method_for_no_specimen_is_not_tested_and_fails(checked):
    assert checked("Nowhere") == (
        1,
        [
            *METHOD[:2],
            *(f"not tested  {kind}: every promise: not applicable: it is for no one" for kind in KINDS),
            "FAILED  applicable: to none of the specimens, so nothing that it computes was tested",
            NO_SEED,
            "2 passed, 1 failed, 7 not tested",
        ],
    )


def test_a_method_that_raises_when_asked_whether_it_applies(checked):
    place = line_of("return self.reasons[subject.label]")
    assert checked("Undecided") == (
        1,
        [
            *METHOD[:2],
            (
                "FAILED  tokens: every promise: raised AttributeError: 'Undecided' object has no attribute 'reasons' "
                f"({place}, in applicable)"
            ),
            "not tested  5 more rules, for the same error",
            NO_SEED,
            "2 passed, 1 failed, 6 not tested",
        ],
    )


def test_a_stochastic_method_whose_values_are_0_is_not_judged():
    class Zero(type(build("method", f"{MISBEHAVING}:Good"))):
        """Nothing.

        Cost: none.
        Fails where: always.
        """

        stochastic = True

        def attribute(self, subject, rng):
            return super().attribute(subject, rng) * 0

    finding = check_method(Zero())[-1]
    assert str(finding) == "not tested  seeds change the result of a stochastic method: all values are 0"


def test_a_metric_that_raises(checked):
    place = line_of('return {}["score"]')
    assert checked("RaisingMetric") == (
        1,
        [
            *METRIC,
            f"FAILED  range on the regression specimen: raised KeyError: 'score' ({place}, in score)",
            "not tested  7 more rules, for the same error",
            *NO_ORDER,
            "3 passed, 1 failed, 9 not tested",
        ],
    )


def test_a_metric_that_is_always_undefined(checked):
    undefined = "on the regression specimen: it is NaN for every sequence"
    assert checked("UndefinedMetric") == (
        1,
        [
            *METRIC,
            f"not tested  range {undefined}",
            "FAILED  defined on the regression specimen: NaN for every sequence, with a random attribution",
            *NO_ORDER,
            f"not tested  padding {undefined}",
            f"not tested  batch mates {undefined}",
            "passed  non finite on the regression specimen",
            "passed  one step on the regression specimen",
            f"not tested  repeatable {undefined}",
            "passed  no trace on the regression specimen",
            "6 passed, 1 failed, 6 not tested",
        ],
    )


def test_a_metric_that_changes_its_attribution_in_place(checked):
    status, lines = checked("InPlaceMetric")
    assert status == 1
    said = "Metric 'in-place' changed values of the attribution it scores; it has been restored."
    assert f"FAILED  no trace on the regression specimen: {said}" in lines


def test_a_metric_that_refuses_everything_has_not_refused_what_is_not_finite(checked):
    assert checked("RefusingMetric") == (
        1,
        [
            *METRIC,
            (
                "FAILED  range on the regression specimen: Metric 'refusing' gave 0.0 to an attribution of 'stand-in', "
                "outside its range from 5.0 to 6.0."
            ),
            "not tested  7 more rules, for the same error",
            *NO_ORDER,
            "3 passed, 1 failed, 9 not tested",
        ],
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("RaisingIntervention", "raised TypeError: 'int' object is not iterable ({place}, in views)"),
        ("NoViews", "it returns no view"),
    ],
)
def test_an_intervention_without_views(checked, name, said):
    assert checked(name) == (
        1,
        [
            "passed  declared",
            "passed  the spec builds the same plug-in",
            "passed  applicable: to numbers, tokens",
            f"FAILED  views on numbers: {said.format(place=line_of('return tuple(len(subject))'))}",
            "not tested  13 more rules, for the same error",
            "3 passed, 1 failed, 13 not tested",
        ],
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("RaisingTask", "raised IndexError: list index out of range ({place}, in subject)"),
        ("NoSubject", "it gave a int, not a Subject"),
    ],
)
def test_a_task_without_a_subject(checked, name, said):
    assert checked(name) == (
        1,
        [
            "passed  the spec builds the same plug-in",
            "passed  says what it is",
            f"FAILED  gives a subject: {said.format(place=line_of('return [][seed]'))}",
            "not tested  7 more rules, for the same error",
            "2 passed, 1 failed, 7 not tested",
        ],
    )


def test_json_keeps_every_finding(invoke):
    status, out, _ = invoke("check", f"{MISBEHAVING}:RaisingTask", "--json")
    findings = json.loads(out)
    assert status == 1
    assert [finding["status"] for finding in findings] == ["passed"] * 2 + ["failed"] + ["not tested"] * 7
    assert [finding["passed"] for finding in findings] == [True] * 2 + [False] + [None] * 7
    assert findings[3] == {
        "check": "its model passes the gate",
        "passed": None,
        "status": "not tested",
        "detail": "not judged, for the error of 'gives a subject'",
    }


def test_one_more_rule_is_one_rule():
    findings = [Finding("a", passed=False, detail="x"), Finding("b", None, "for a", hidden_by="a")]
    assert list(report(findings)) == [
        "FAILED  a: x",
        "not tested  1 more rule, for the same error",
        "0 passed, 1 failed, 1 not tested",
    ]


def raised(call):
    """The exception that a call raises."""
    try:
        call()
    except Exception as error:  # noqa: BLE001  # any exception is what is looked at
        return error
    raise AssertionError


def test_the_place_of_an_error_is_in_the_authors_own_file():
    error = raised(lambda: json.loads("{"))
    assert place_of(error).file == __file__
    assert place_of(ValueError("never raised")) is None


def test_the_place_of_an_error_without_an_own_file_is_in_the_file_of_the_plug_in():
    cls = type(build("method", "saliency"))
    plugin = Place(str(Path(cls.attribute.__code__.co_filename)), 3, "attribute")
    other = Place(re.__file__, 9, "compile")
    assert own_place([plugin, other], cls) == plugin
    assert own_place([plugin, other]) == other
    assert own_place([]) is None


def test_the_place_in_a_text_is_that_of_the_last_exception():
    trace = (
        'Traceback (most recent call last):\n  File "first.py", line 1, in first\n    a()\nKeyError: 1\n\n'
        "During handling of the above exception, another exception occurred:\n\n"
        'Traceback (most recent call last):\n  File "second.py", line 2, in second\n    b()\n'
        '  File "<string>", line 7, in third\nValueError: no\n'
    )
    assert place_in(trace) == Place("second.py", 2, "second")
    assert place_in("") is None
