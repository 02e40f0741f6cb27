"""Models trained anew: known answers on tiny tasks, and the definitions by loops."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from xrnnbench.errors import ParameterError
from xrnnbench.fingerprints import seed_from
from xrnnbench.methods.base import Explainer
from xrnnbench.methods.controls.informed import Oracle
from xrnnbench.methods.controls.uninformed import Magnitude, Random, Uniform
from xrnnbench.metrics.base import Probes
from xrnnbench.metrics.conformance.specimens import StandIn, evidence, specimen
from xrnnbench.metrics.faithfulness.f_fidelity import FFidelity, FFidelityKept, removal_keys
from xrnnbench.metrics.faithfulness.roar import Racu, RecursiveRoar, Roar, RoarLeak
from xrnnbench.metrics.removal.features import random_orders
from xrnnbench.metrics.removal.retraining import RankedSequences, endpoints, random_curve, retraining_curve
from xrnnbench.metrics.sanity.label_randomisation import LabelRandomisation, shuffled
from xrnnbench.plugins import build
from xrnnbench.tasks.data.batch import Batch, Truth
from xrnnbench.tasks.interventions.mask_training import mask_trained
from xrnnbench.tasks.models.networks import RecurrentNet
from xrnnbench.tasks.models.retraining import Retraining
from xrnnbench.tasks.models.training import Recipe
from xrnnbench.tasks.subject import Subject

STEPS, FEATURES, PLACE = 4, 3, 1
LENGTHS = (9, 7, 4, 2, 1, 1)
NAMES = ["regression", "classification", "tokens"]
ALL = [Roar, RecursiveRoar, Racu, RoarLeak, FFidelity, FFidelityKept, LabelRandomisation]


@dataclass(frozen=True)
class Said(Explainer):
    """Says what a function of the subject gives."""

    name: ClassVar[str] = "said"
    how: Callable = None

    def attribute(self, subject, rng):
        return self.how(subject)


def sequences(count, seed, *, copy=False):
    """Return sequences whose class is the sign of the one number in feature 0; feature 1 may hold a copy of it."""
    rng = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, STEPS, FEATURES, generator=rng)
    cause = inputs[:, PLACE, 0].sign() * (0.5 + inputs[:, PLACE, 0].abs())
    inputs[:, :, :2] *= 0 if copy else torch.tensor([0.0, 1.0])
    inputs[:, PLACE, 0] = cause
    if copy:
        inputs[:, PLACE, 1] = cause
    truth = torch.zeros_like(inputs)
    truth[:, PLACE, 0] = 1.0
    return Batch(
        inputs, torch.full((count,), STEPS), (cause > 0).long(), {"place": Truth(truth, "planted", "the class")}
    )


def trained(train, test, explained, epochs=12):
    """Return the subject of a small GRU that has learnt a task."""
    again = Retraining(
        train,
        test,
        lambda batch: torch.zeros_like(batch.inputs),
        lambda: RecurrentNet(train.inputs.shape[2], 6, 2, cell="gru"),
        Recipe(epochs, learning_rate=0.05, batch_size=30),
    )
    reference = torch.zeros_like(explained.inputs)
    return Subject(again.fit(train, 0), explained, reference, retraining=again)


@pytest.fixture(scope="module")
def one():
    """One cell decides."""
    found = trained(sequences(240, 0), sequences(60, 1), sequences(60, 2))
    assert (found.batch_outputs.argmax(1) == found.batch.targets).double().mean() > 0.9
    return found, Probes(found)


@pytest.fixture(scope="module")
def two():
    """Two cells say the same."""
    found = trained(sequences(240, 0, copy=True), sequences(60, 1, copy=True), sequences(60, 2, copy=True))
    return found, Probes(found)


def mean(metric, subject, explainer, probes=None):
    return float(metric.measure(evidence(subject, explainer, shared=probes)).mean())


# ---- known answers --------------------------------------------------------------------------------------------------


def test_removing_the_one_cause_leaves_chance(one):
    metric = Roar(fractions=(0.05, 0.3), seeds=1)
    oracle, drawn = (mean(metric, one[0], method, one[1]) for method in (Oracle(), Random()))
    assert oracle > 0.3
    assert drawn < 0.5 * oracle


def test_area_between_curves_is_above_chance_for_the_oracle_and_zero_for_a_constant_map(one):
    metric = Racu(fractions=(0.1, 0.4), seeds=1, recursive=False)
    assert mean(metric, one[0], Oracle(), one[1]) > 0.3
    assert (metric.measure(evidence(one[0], Uniform(), shared=one[1])) == 0).all()


def foremost(subject):
    """1 for the cell, of the two that may cause the class, whose gradient × input is larger; 0 elsewhere."""
    values = (subject.gradients(subject.batch.inputs)[1] * subject.batch.inputs).abs()[:, PLACE, :2]
    found = torch.zeros_like(subject.batch.inputs)
    found[:, PLACE, 0] = (values[:, 0] >= values[:, 1]).float()
    found[:, PLACE, 1] = 1 - found[:, PLACE, 0]
    return found


def test_only_asking_again_finds_the_copy_of_a_cause(two):
    """A method that names one of two equal causes: without it the other serves as well, until it is named in turn."""
    settings = {"fractions": (0.08, 0.16), "seeds": 1}
    cell = evidence(two[0], Said(foremost), shared=two[1])
    once, again = Roar(**settings).measure(cell), RecursiveRoar(**settings).measure(cell)
    assert float(once.mean()) < 0.12
    assert float(again.mean()) > float(once.mean()) + 0.1


def test_a_mask_that_tells_the_class_is_a_leak(one):
    def telling(subject):
        """Early steps for one predicted class, late ones for the other."""
        time = torch.arange(float(STEPS))[None, :, None].expand(subject.shape)
        return torch.where(subject.target.bool()[:, None, None], time, -time) + STEPS

    metric = RoarLeak(fractions=(0.3,), seeds=1)
    assert mean(metric, one[0], Said(telling), one[1]) > 0.3
    assert abs(mean(metric, one[0], Random(), one[1])) < 0.12


def test_a_length_that_tells_the_class_shows_in_every_mask(one):
    def cut(batch):
        return dataclasses.replace(batch, lengths=torch.where(batch.targets == 1, STEPS, 1), truths={})

    batches = [cut(sequences(120, seed)) for seed in (0, 1, 2)]
    assert mean(RoarLeak(fractions=(0.3,), seeds=1), trained(*batches), Random()) > 0.3


def test_ranking_by_sign_gives_the_answer_away():
    """What is left without all that spoke for an output speaks against it, and a new model reads it the other way."""
    subject = specimen("classification", (9, 7, 5, 4) * 8)
    truth, drawn = (mean(Roar(rank="evidence"), subject, StandIn(says)) for says in ("truth", "random"))
    assert truth < drawn - 0.1
    assert mean(Roar(), subject, StandIn("truth")) > drawn + 0.1


# ---- definitions ----------------------------------------------------------------------------------------------------


def explained_output(subject, model, inputs, row):
    length = int(subject.batch.lengths[row])
    with torch.no_grad():
        return model(inputs[row : row + 1, :length], subject.batch.lengths[row : row + 1])[0].double()


def quality(subject, model, inputs, row):
    found = explained_output(subject, model, inputs, row)
    if subject.outputs_are != "values":
        return float(found.argmax() == subject.batch.targets[row])
    targets = subject.retraining.test.targets[:, 0].double()
    variance = float(((targets - targets.mean()) ** 2).mean())
    return 1 - float(found[0] - subject.batch.targets[row, 0]) ** 2 / variance


def literal_removal(batch, reference, values, fraction):
    """Return inputs without the ⌈p·n⌉ features of largest |Φ|; none are tied."""
    inputs = batch.inputs.clone()
    for row in range(len(batch)):
        length = int(batch.lengths[row])
        own = values[row, :length].abs().double().flatten().tolist()
        k = max(1, math.ceil(fraction * len(own) - 1e-9))
        width = len(own) // length
        for feature in sorted(range(len(own)), key=lambda place: -own[place])[:k]:
            if batch.tokens:
                inputs[row, feature] = reference[row, feature]
            else:
                inputs[row, feature // width, feature % width] = reference[row, feature // width, feature % width]
    return inputs


def literal_curve(subject, explainer, fractions, seeds, seed=0):
    """Return q without the method's first features [P][B], mean over seeds."""
    again = subject.retraining
    learnt = Subject(
        subject.model,
        again.train,
        again.reference_of(again.train),
        outputs_are=subject.outputs_are,
        granularity=subject.granularity,
    )
    said = [explainer.explain(of, seed).values for of in (learnt, subject)]
    found = []
    for fraction in fractions:
        inputs = literal_removal(again.train, learnt.reference, said[0], fraction)
        shown = literal_removal(subject.batch, subject.reference, said[1], fraction)
        rows = [0.0] * len(subject)
        for number in range(seeds):
            model = again.fit(dataclasses.replace(again.train, inputs=inputs), seed_from("retraining", number))
            for row in range(len(subject)):
                rows[row] += quality(subject, model, shown, row) / seeds
        found.append(rows)
    return torch.tensor(found, dtype=torch.float64)


def whole(subject, seeds):
    again = subject.retraining
    models = [again.fit(again.train, seed_from("retraining", number)) for number in range(seeds)]
    rows = range(len(subject))
    return torch.tensor([sum(quality(subject, m, subject.batch.inputs, row) for m in models) / seeds for row in rows])


@pytest.mark.parametrize("name", NAMES)
def test_roar_is_its_definition(name):
    subject, method = specimen(name, LENGTHS), StandIn("random")
    metric = Roar(fractions=(0.07, 0.4, 1.0), seeds=2)
    expected = whole(subject, 2) - literal_curve(subject, method, metric.fractions, 2).mean(0)
    assert torch.allclose(metric.measure(evidence(subject, method)), expected.double(), atol=1e-5)


def test_roar_of_trained_models_is_its_definition(one):
    few = one[0].select(slice(0, 8))
    method = Magnitude()
    metric = Roar(fractions=(0.25,), seeds=1)
    expected = whole(few, 1) - literal_curve(few, method, (0.25,), 1).mean(0)
    assert torch.allclose(metric.measure(evidence(few, method)), expected.double(), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_recursion_keeps_what_is_gone_and_asks_about_the_new_model(name):
    subject = specimen(name, LENGTHS)
    asked = []

    def shifting(of):
        """Another map for every model: its first weight decides."""
        asked.append(of)
        shift = int(float(of.model.recurrent.all_weights[0][0].detach().abs().sum()) * 1e7) % 1000
        rng = torch.Generator().manual_seed(shift)
        found = torch.rand(len(of), 9, 3, generator=rng)[:, : of.shape[1]]
        return found if of.granularity == "cell" else found.sum(2)

    again = subject.retraining
    method = Said(shifting)
    measured = RecursiveRoar(fractions=(0.3, 0.7), seeds=1).measure(evidence(subject, method))
    # the chain by hand: removed first stays removed, the rest is ranked by what is said of the new model
    learnt = Subject(
        subject.model,
        again.train,
        again.reference_of(again.train),
        outputs_are=subject.outputs_are,
        granularity=subject.granularity,
    )
    values = [method.explain(of).values.double() for of in (learnt, subject)]
    found = []
    for fraction in (0.3, 0.7):
        inputs = [
            literal_removal(of.batch, of.reference, said, fraction)
            for of, said in zip((learnt, subject), values, strict=True)
        ]
        model = again.fit(dataclasses.replace(again.train, inputs=inputs[0]), seed_from("retraining", 0))
        found.append([quality(subject, model, inputs[1], row) for row in range(len(subject))])
        for place, (of, said) in enumerate(zip((learnt, subject), values, strict=True)):
            new = method.explain(of.with_model(model).replaced(inputs[place])).values.double()
            for row in range(len(of)):
                length = int(of.batch.lengths[row])
                own = said[row, :length].flatten()
                k = max(1, math.ceil(fraction * len(own) - 1e-9))
                first = own.argsort(descending=True)[:k]
                renewed = new[row, :length].flatten()
                renewed[first] = 1000.0 + own[first]
                values[place][row, :length] = renewed.view(values[place][row, :length].shape)
    expected = whole(subject, 1) - torch.tensor(found, dtype=torch.float64).mean(0)
    assert torch.allclose(measured, expected.double(), atol=1e-5)
    targets = [of.target for of in asked if len(of) == len(subject)]
    assert all(torch.equal(target, subject.target) for target in targets)


@pytest.mark.parametrize("name", NAMES)
def test_area_between_curves_is_its_definition(name):
    subject, method = specimen(name, LENGTHS), StandIn("random")
    metric = Racu(fractions=(0.2, 0.6), seeds=1, recursive=False, threshold=1e-9)
    measured = metric.measure(evidence(subject, method))
    p = literal_curve(subject, method, (0.2, 0.6), 1)
    again, x = subject.retraining, (0.0, 0.2, 0.6, 1.0)

    def drawn(of):
        """Numbers that fall in the random order of the features."""
        valid = of.features("step" if of.granularity == "step" else "cell")
        ranks = random_orders(valid, torch.arange(len(of)), 1).ranks
        return (1e4 - ranks.double()).view(of.shape)

    def curve(of):
        """Return b at 0, .2, .6 and 1, [4][B]."""
        inner = literal_curve(of, Said(drawn), (0.2, 0.6), 1)
        blank = dataclasses.replace(again.train, inputs=again.reference_of(again.train))
        none = again.fit(blank, seed_from("retraining", 0))
        last = torch.tensor([[quality(of, none, of.reference, row) for row in range(len(of))]], dtype=torch.float64)
        return torch.cat([whole(of, 1)[None].double(), inner, last])

    tested = Subject(
        subject.model,
        again.test,
        again.reference_of(again.test),
        outputs_are=subject.outputs_are,
        granularity=subject.granularity,
        retraining=again,
    )
    b, on_test = curve(subject), curve(tested).mean(1)
    denominator = sum(
        (x[i + 1] - x[i]) / 2 * ((on_test[i] - on_test[3]) + (on_test[i + 1] - on_test[3])) for i in range(3)
    )
    for row in range(len(subject)):
        gap = [0.0, *(b[1:3, row] - p[:, row]).tolist(), 0.0]
        expected = sum((x[i + 1] - x[i]) / 2 * (gap[i] + gap[i + 1]) for i in range(3)) / float(denominator)
        assert math.isclose(float(measured[row]), expected, abs_tol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_leak_is_its_definition(name):
    subject, method = specimen(name, LENGTHS), StandIn("random")
    again = subject.retraining
    measured = RoarLeak(fractions=(0.4,), seeds=1).measure(evidence(subject, method))

    def marks(batch, said):
        one, nothing = torch.ones_like(batch.inputs), torch.zeros_like(batch.inputs)
        if batch.tokens:
            seen = batch.inputs[batch.valid].tolist()
            one *= min(set(seen) - {0}, key=lambda token: (-seen.count(token), token))
        return literal_removal(dataclasses.replace(batch, inputs=one), nothing, said, 0.4)

    learnt = Subject(
        subject.model,
        again.train,
        again.reference_of(again.train),
        outputs_are=subject.outputs_are,
        granularity=subject.granularity,
    )
    train = dataclasses.replace(again.train, inputs=marks(again.train, method.explain(learnt).values))
    model = again.fit(train, seed_from("retraining", 0))
    shown = marks(subject.batch, method.explain(subject).values)
    for row in range(len(subject)):
        if name == "regression":
            targets = again.test.targets[:, 0].double()
            error = float(again.train.targets.double().mean() - subject.batch.targets[row, 0])
            base = 1 - error**2 / float(targets.var(correction=0))
        else:
            base = float(subject.batch.targets[row] == again.train.targets.mode().values)
        assert math.isclose(float(measured[row]), quality(subject, model, shown, row) - base, abs_tol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("says", ["random", "constant"])
def test_f_fidelity_is_its_definition(name, says):
    """Every variant by a call of its own; the same tuned model and the same keys."""
    subject = specimen(name, LENGTHS)
    settings = {"sizes": (0.25, 0.6), "alpha": 0.5, "beta": 0.2, "samples": 3, "epochs": 1}
    cell = evidence(subject, StandIn(says))
    measured = [kind(**settings).measure(cell) for kind in (FFidelity, FFidelityKept)]
    model = mask_trained(subject, 0.2, 1).model
    granularity = cell.attribution.granularity
    valid = subject.features(granularity)
    keys = removal_keys(valid, torch.arange(len(subject)), 3)
    breaks = random_orders(valid, torch.arange(len(subject)), 3).ranks.view(len(subject), 3, -1)

    def score(inputs, row, sign):
        found = explained_output(subject, model, inputs, row)
        target = int(subject.target[row])
        return sign * float(found[0] if name == "regression" else found.softmax(0)[target])

    for row in range(len(subject)):
        sign = -1 if name == "regression" and subject.score[row] < subject.reference_score[row] else 1
        n = int(valid[row].sum())
        values = (cell.attribution.values[row].flatten()[:n] * sign).tolist()
        drops = [[], []]
        for size in settings["sizes"]:
            k = max(1, math.ceil(size * n - 1e-9))
            for draw in range(3):
                order = sorted(range(n), key=lambda f: (-values[f], int(breaks[row, draw, f])))
                for part, features in enumerate((order[:k], order[k:])):
                    count = min(math.ceil(0.5 * len(features)), math.ceil(0.2 * n - 1e-9))
                    gone = sorted(features, key=lambda f: float(keys[row, draw, f]))[:count]
                    inputs = subject.batch.inputs.clone()
                    for f in gone:
                        place = (row, f) if granularity == "step" else (row, f // 3, f % 3)
                        inputs[place] = subject.reference[place]
                    drops[part].append(score(subject.batch.inputs, row, sign) - score(inputs, row, sign))
        for part in (0, 1):
            assert math.isclose(float(measured[part][row]), sum(drops[part]) / len(drops[part]), abs_tol=1e-5)


def test_fidelity_knows_the_truth_from_its_opposite():
    subject = specimen("classification", (9, 7, 5, 4) * 4)
    for metric, sign in ((FFidelity(), 1), (FFidelityKept(), -1)):
        truth, drawn, opposite = (
            sign * mean(metric, subject, StandIn(says)) for says in ("truth", "random", "opposite")
        )
        assert truth > drawn > opposite


# ---- shuffled labels ------------------------------------------------------------------------------------------------


def gradient(subject):
    return subject.gradients(subject.batch.inputs)[1]


def test_a_method_that_ignores_the_model_says_the_same_of_one_that_learnt_nonsense(one):
    ignoring = LabelRandomisation().measure(evidence(one[0], Magnitude(), shared=one[1]))
    assert torch.allclose(ignoring, torch.ones_like(ignoring))
    assert mean(LabelRandomisation(), one[0], Said(gradient), one[1]) < 0.6


def test_sign_is_compared_if_asked(one):
    def turned(subject):
        return subject.batch.inputs * (1 if subject.model is one[0].model else -1)

    cell = evidence(one[0], Said(turned), shared=one[1])
    assert torch.allclose(LabelRandomisation().measure(cell), torch.ones(60).double())
    assert torch.allclose(LabelRandomisation(sign=True).measure(cell), -torch.ones(60).double())


def test_what_is_constant_or_alone_has_no_correlation():
    subject = specimen("tokens", (4, 1))
    assert LabelRandomisation().measure(evidence(subject, StandIn("constant"))).isnan().all()
    assert LabelRandomisation().measure(evidence(subject, StandIn("random"))).isnan().tolist() == [False, True]


def test_labels_are_dealt_out_anew():
    train = sequences(100, 0)
    found = shuffled(train, torch.Generator().manual_seed(0)).targets
    assert found.sum() == train.targets.sum()
    assert 0.3 < (found == train.targets).double().mean() < 0.7


def test_labels_of_steps_stay_on_the_steps_there_are():
    targets = torch.arange(20).view(4, 5)
    lengths = torch.tensor([5, 2, 3, 1])
    batch = Batch(torch.zeros(4, 5, 1), lengths, targets)
    found = shuffled(batch, torch.Generator().manual_seed(0)).targets
    assert found[batch.valid].sort().values.tolist() == targets[batch.valid].tolist()
    assert torch.equal(found[~batch.valid], targets[~batch.valid])
    assert not torch.equal(found, targets)


# ---- edges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_nothing_is_said_where_no_model_can_be_trained_again(kind):
    subject = dataclasses.replace(specimen("regression"), retraining=None)
    assert kind().applicable(StandIn(), subject) == "the task cannot train its model again"
    assert kind().applicable(StandIn(), specimen("regression")) == ""


def test_a_method_that_cannot_explain_the_training_data_is_not_judged(one):
    again = one[0].retraining
    blind = dataclasses.replace(again, train=dataclasses.replace(again.train, truths={}))
    subject = dataclasses.replace(one[0], retraining=blind)
    assert Roar().applicable(Oracle(), subject) == "of the training data, the truth is not known"
    assert Roar().applicable(Random(), subject) == ""
    assert FFidelity().applicable(Oracle(), subject) == ""


def test_outputs_that_differ_between_sequences_have_no_common_scale():
    rng = torch.Generator().manual_seed(0)
    batch = Batch(torch.randn(4, 3, 1, generator=rng), torch.full((4,), 3), torch.randn(4, 2, generator=rng))
    again = Retraining(
        batch, batch, lambda other: torch.zeros_like(other.inputs), lambda: RecurrentNet(1, 2, 2), Recipe(1)
    )
    model = again.fit(batch, 0)
    settings = {"outputs_are": "values", "retraining": again}
    apart = Subject(model, batch, torch.zeros_like(batch.inputs), target=torch.tensor([0, 1, 0, 1]), **settings)
    assert "scale of its own" in Roar().applicable(Random(), apart)
    second = Subject(model, batch, torch.zeros_like(batch.inputs), target=torch.ones(4, dtype=torch.int64), **settings)
    assert Roar().applicable(Random(), second) == ""
    constant = dataclasses.replace(batch, targets=torch.cat([batch.targets[:, :1], torch.ones(4, 1)], 1))
    flat = dataclasses.replace(second, retraining=dataclasses.replace(again, test=constant))
    assert Roar(fractions=(0.5,), seeds=1).measure(evidence(flat, Random())).isnan().all()
    assert not Roar(fractions=(0.5,), seeds=1).measure(evidence(second, Random())).isnan().any()


def test_area_is_undefined_where_nothing_is_lost_by_losing_all():
    subject = specimen("classification", (4, 3))
    assert Racu(seeds=1, threshold=10.0, recursive=False).measure(evidence(subject, StandIn())).isnan().all()


def test_a_constant_map_is_removed_as_the_random_baseline():
    subject = specimen("tokens", (7, 5, 4))
    cell = evidence(subject, StandIn("constant"))
    metric = Roar(seeds=2)
    drawn = random_curve(cell, metric.fractions, 2)
    assert torch.equal(retraining_curve(cell, metric.plan, recursive=False), drawn.explained)
    assert torch.equal(retraining_curve(cell, metric.plan, recursive=True), drawn.explained)
    assert torch.equal(metric.measure(cell), (endpoints(cell, 2).explained[0] - drawn.explained).mean(0))


def test_ties_are_broken_anew_for_each_seed_and_what_is_untied_is_not_moved():
    subject = specimen("classification", (9, 7))
    valid = subject.features("cell")
    values = torch.rand(valid.shape, generator=torch.Generator().manual_seed(0)).double()
    values[0] = 1.0
    side = RankedSequences(subject, "cell", values)
    first, second = side.ranks(0, 2), side.ranks(1, 2)
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert first[1][valid[1]].tolist() == (-values[1][valid[1]]).argsort().argsort().tolist()


@pytest.mark.parametrize(
    "spec",
    [
        "roar:fractions=0.5/0.2",
        "roar:fractions=0/0.2",
        "recursive-roar:fractions=0.2/1.2",
        "roar-leak:seeds=0",
        "racu:fractions=0.5/1.0",
        "racu:threshold=0.0",
        "f-fidelity:alpha=0.0",
        "f-fidelity-kept:beta=1.5",
        "f-fidelity:samples=0",
        "f-fidelity:epochs=0",
        "f-fidelity:sizes=0.1/2.0",
    ],
)
def test_parameters_that_do_not_fit_are_refused(spec):
    with pytest.raises(ParameterError, match="does not fit"):
        build("metric", spec)
