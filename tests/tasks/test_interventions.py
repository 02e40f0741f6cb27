"""Interventions: every built-in keeps its promises, each is its definition, and what does not fit is refused."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from xrnnbench.errors import ParameterError, UnknownNameError, UnsupportedModelError
from xrnnbench.plugins import build, names
from xrnnbench.tasks.data.batch import Names
from xrnnbench.tasks.engine.adapters import PredictFunction
from xrnnbench.tasks.engine.variants import Masked
from xrnnbench.tasks.interventions.base import Intervention, intervention, views_of
from xrnnbench.tasks.interventions.conformance import check_intervention, specimen
from xrnnbench.tasks.interventions.values import Reference


@pytest.mark.parametrize("name", names("intervention"))
def test_every_intervention_keeps_its_promises(name):
    findings = check_intervention(build("intervention", name))
    assert [str(found) for found in findings if found.failed] == []
    assert len(findings) >= 10


def rows(by, subject, keep):
    """Return what the model is given instead of the first sequence, for each draw."""
    found = []
    for view in by.views(subject):
        variants = by.variants(Masked(keep[None], torch.tensor([0])))
        length = int(variants.lengths(view.batch)[0])
        found.append(variants.rows(torch.tensor([0]), view.batch, view.reference)[0, :length])
    return found


KEEP = torch.tensor([True, False, True, False, False, True])


def test_values_are_what_they_say():
    subject = specimen()
    x, background = subject.batch.inputs[0], subject.background
    mean = torch.cat([row[:length] for row, length in zip(background.inputs, background.lengths, strict=True)]).mean(0)
    for name, value in (("reference", torch.zeros(2)), ("zero", torch.zeros(2)), ("mean", mean)):
        (found,) = rows(intervention(name), subject, KEEP)
        assert torch.equal(found[KEEP], x[KEEP])
        assert torch.allclose(found[~KEEP], value.expand(3, 2))


def test_marginal_takes_the_steps_of_sequences_that_are_long_enough():
    subject = specimen()
    found = rows(intervention("marginal:draws=12"), subject, KEEP)
    assert len(found) == 12
    donors = set()
    for row in found:
        assert torch.equal(row[KEEP], subject.batch.inputs[0][KEEP])
        (donor,) = [n for n, other in enumerate(subject.background.inputs) if torch.equal(row[~KEEP], other[~KEEP])]
        donors.add(donor)
    # the first sequence has six steps, as the first five of the background have
    assert len(donors) > 1
    assert donors <= set(range(5))
    short = replace(subject, background=subject.background.select(slice(5, 9)))
    (row,) = rows(intervention("marginal:draws=1"), short, KEEP)
    assert torch.equal(row[3], row[4])  # only three steps: the last one stays


def test_tokens_are_replaced_by_tokens_and_embeddings_by_embeddings():
    subject = specimen(tokens=True)
    tokens = subject.batch.inputs[0]
    for name, token in (("pad", 0), ("unk", 1), ("token:id=7", 7)):
        (found,) = rows(intervention(name), subject, KEEP)
        assert found.tolist() == [int(word) if kept else token for word, kept in zip(tokens, KEEP, strict=True)]
    (found,) = rows(intervention("zero"), subject, KEEP)
    assert torch.equal(found[KEEP], subject.model.embedding(tokens)[KEEP])
    assert not found[~KEEP].any()


def test_deletion_moves_up_what_followed():
    subject = specimen()
    (found,) = rows(intervention("delete"), subject, KEEP)
    assert torch.equal(found, subject.batch.inputs[0][KEEP])
    (nothing,) = rows(intervention("delete"), subject, torch.zeros(6, dtype=torch.bool))
    assert nothing.tolist() == [[0.0, 0.0]]


def test_parameters_parted_by_semicolons_are_read():
    @dataclass(frozen=True)
    class Two(Reference):
        """Two parameters."""

        name: ClassVar[str] = "two"
        a: int = 1
        b: int = 2

    from xrnnbench.plugins import _registry, register  # noqa: PLC0415  # to forget it again

    register(Two)
    try:
        assert intervention("two:a=3;b=4") == Two(3, 4)
    finally:
        del _registry["intervention", "two"]


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("pad", specimen, "numbers have no padding token"),
        (
            "unk",
            lambda: replace(specimen(tokens=True), names=Names()),
            "names no token of unknown words: give its number by token:id",
        ),
        ("token:id=99", lambda: specimen(tokens=True), "has 8 tokens, numbered from 0, and no token 99"),
        ("mean", lambda: replace(specimen(), background=None), "no background data to take the mean of"),
        ("marginal", lambda: replace(specimen(), background=None), "no background data to draw from"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(name, make, words):
    subject = make()
    assert words in intervention(name).unfit(subject)
    with pytest.raises(UnsupportedModelError, match="cannot be explained or judged by removing features by"):
        views_of(subject, intervention(name))


def test_a_plain_function_of_tokens_has_no_zero():
    subject = specimen(tokens=True)
    function = PredictFunction(lambda tokens, lengths: subject.model(torch.as_tensor(tokens)).detach().numpy(), "mine")
    plain = replace(subject, model=function)
    assert "without an embedding" in intervention("zero").unfit(plain)
    assert intervention("pad").unfit(plain) == ""


def test_one_from_a_file_is_found_by_its_path(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import dataclasses\nfrom typing import ClassVar\nimport torch\n"
        "from xrnnbench.tasks.interventions.base import Intervention\n\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Seven(Intervention):\n"
        "    name: ClassVar[str] = 'seven'\n"
        "    more: int = 0\n"
        "    def views(self, subject):\n"
        "        value = torch.full_like(subject.reference, 7 + self.more)\n"
        "        return (dataclasses.replace(subject, reference=value),)\n",
        "utf-8",
    )
    (found,) = rows(intervention(f"{file}:Seven:more=2"), specimen(), KEEP)
    assert found[~KEEP].unique().tolist() == [9.0]


def test_names_and_parameters_that_mean_nothing_are_refused():
    with pytest.raises(UnknownNameError, match="There is no intervention named 'nought'"):
        intervention("nought")
    for spec in ("marginal:draws=0", "token:id=-1", "marginal:donors=3"):
        with pytest.raises(ParameterError):
            intervention(spec)


@dataclass(frozen=True)
class Broken(Reference):
    """Breaks one promise at a time."""

    name: ClassVar[str] = "broken"
    how: str = ""

    def views(self, subject):
        match self.how:
            case "views":
                return ()
            case "cost":
                return (replace(subject, cost=type(subject.cost)()),)
            case "everything":
                return (replace(subject, reference=subject.batch.inputs.clone()),)
            case "mates":
                return (
                    replace(subject, reference=subject.batch.inputs.flip(0).roll(1, 1) * 0 + subject.batch.inputs[1]),
                )
            case "trace":
                subject.reference.add_(1)
        return (subject,)


@pytest.mark.parametrize(
    ("how", "check"),
    [("views", "views"), ("cost", "views"), ("everything", "everything"), ("mates", "mates"), ("trace", "no trace")],
)
def test_a_broken_promise_is_found(how, check):
    failed = [found.check for found in check_intervention(Broken(how=how)) if found.failed]
    assert any(name.startswith(check) for name in failed), failed


def test_the_base_class_gives_nothing():
    with pytest.raises(NotImplementedError):
        Intervention().views(specimen())
