"""Options that change how explainable a model is: the penalties against their formulas, and what tasks make of them."""

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from xrnnbench.errors import ParameterError
from xrnnbench.fingerprints import seed_from, tensors_fingerprint
from xrnnbench.plugins import build
from xrnnbench.tasks.base import Task
from xrnnbench.tasks.builtin.series.vowels import Vowels
from xrnnbench.tasks.builtin.synthetic.adding import Adding
from xrnnbench.tasks.builtin.text.valence import Valence
from xrnnbench.tasks.data.batch import Batch, Truth
from xrnnbench.tasks.data.masking import features_of, granularity_of
from xrnnbench.tasks.models import interpretability
from xrnnbench.tasks.models.interpretability import Interpretability, internals, mask_batch, penalty, unsupported_option
from xrnnbench.tasks.models.networks import AttentiveRecurrentNet, EncoderDecoder, RecurrentNet
from xrnnbench.tasks.models.retraining import Retraining
from xrnnbench.tasks.models.training import PLAIN, Recipe, minibatches, train, tune

OPTIONS = ("entropy", "diversity", "supervision")
LENGTHS = (5, 3, 1, 6)
UNSUPERVISED = "the training sequences have no truth to serve as rationale."


def sequences(semantics="rationale"):
    """Four sequences with a rationale each, but for the second, which has none."""
    rng = torch.Generator().manual_seed(0)
    inputs = torch.randn(4, 6, 2, generator=rng, dtype=torch.float64)
    lengths = torch.tensor(LENGTHS)
    valid = torch.arange(6) < lengths[:, None]
    relevant = (torch.rand(4, 6, generator=rng) < 0.5) & valid
    relevant[:, 0] = True
    relevant[1] = False
    truth = Truth(relevant.double(), semantics, output="the class")
    return Batch(inputs, lengths, torch.tensor([0, 1, 0, 1]), {"why": truth})


def network(pooling="attention", *, bidirectional=False):
    torch.manual_seed(3)
    return AttentiveRecurrentNet(2, 3, 2, cell="gru", pooling=pooling, bidirectional=bidirectional).double()


def reference_of(batch):
    return torch.zeros_like(batch.inputs)


# ---- the formulas, literally ----------------------------------------------------------------------------------------


def literal(name, attention, states, batch):
    """The mean over the sequences, one step at a time, in Python's own floats."""
    total = 0.0
    for row, length in enumerate(batch.lengths.tolist()):
        a, h = attention[row, :length].tolist(), states[row, :length].tolist()
        if name == "entropy":
            total += -sum(x * math.log(x) for x in a) / math.log(length) if length > 1 else 0.0
        elif name == "diversity":
            mean = [sum(column) / length for column in zip(*h, strict=True)]

            def cosine(v, mean=mean):
                return sum(x * y for x, y in zip(v, mean, strict=True)) / (math.hypot(*v) * math.hypot(*mean))

            total += max(0.0, sum(cosine(v) for v in h) / length)
        else:
            why = batch.truths["why"].values[row, :length].tolist()
            mass = sum(x for x, marked in zip(a, why, strict=True) if marked)
            total += -math.log(mass) if any(why) else 0.0
    return total / len(batch)


def added(name, model, batch, weight=1.0):
    return slope_of(name, model, batch, weight).detach()


def slope_of(name, model, batch, weight=1.0):
    return penalty(Interpretability(**{name: weight}), internals(model, batch), batch)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("pooling", ["attention", "dot-attention"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_penalties_are_their_formulas(name, pooling, bidirectional):
    model, batch = network(pooling, bidirectional=bidirectional), sequences()
    found = internals(model, batch)
    expected = literal(name, found.attention, found.states, batch)
    assert float(added(name, model, batch)) == pytest.approx(expected, abs=1e-12)
    assert float(added(name, model, batch, 0.3)) == pytest.approx(0.3 * expected, abs=1e-12)


@pytest.mark.parametrize("name", OPTIONS)
def test_gradients_are_finite_differences(name):
    model, batch = network(bidirectional=True), sequences()
    slope_of(name, model, batch).backward()
    for parameter in (model.attention.project.weight, model.recurrent.weight_hh_l0, model.recurrent.weight_ih_l0):
        slope = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for place in ((0, 0), (1, 1), (2, 0)):
            values = []
            for step in (1e-5, -1e-5):
                with torch.no_grad():
                    parameter[place] += step
                    values.append(float(added(name, model, batch)))
                    parameter[place] -= step
            assert float(slope[place]) == pytest.approx((values[0] - values[1]) / 2e-5, abs=1e-8)


@pytest.mark.parametrize("name", OPTIONS)
def test_penalties_know_nothing_of_padding_or_of_batch_mates(name):
    model, batch = network(bidirectional=True), sequences()
    filled = dataclasses.replace(batch, inputs=batch.inputs.masked_fill(~batch.valid[:, :, None], 99.0))
    assert torch.equal(added(name, model, filled), added(name, model, batch))
    alone = [added(name, model, batch.select(torch.tensor([row]))) for row in range(len(batch))]
    assert float(added(name, model, batch)) == pytest.approx(float(torch.stack(alone).mean()), abs=1e-12)


@pytest.mark.parametrize("name", OPTIONS)
def test_gradients_are_finite_at_the_ends(name):
    """Attention that underflows to 0, states that are all 0, a sequence of one step."""
    batch = sequences()
    weights = torch.zeros(4, 6, dtype=torch.float64)
    weights[:, 0] = 2000.0
    energy, states = weights.requires_grad_(), torch.zeros(4, 6, 3, dtype=torch.float64).requires_grad_()
    attention = energy.masked_fill(~batch.valid, -torch.inf).softmax(1)
    found = interpretability.Internals(torch.zeros(4, 2, dtype=torch.float64), states, attention)
    penalty(Interpretability(**{name: 1.0}), found, batch).backward()
    for tensor in (energy, states):
        assert tensor.grad is None or torch.isfinite(tensor.grad).all()


def test_bounds_of_the_quantities():
    valid = torch.tensor([[True] * 4, [True, True, False, False], [True, False, False, False]])
    even = valid / valid.sum(1, keepdim=True)
    assert interpretability.normalised_entropy(even, valid).tolist() == pytest.approx([1.0, 1.0, 0.0])
    one = torch.eye(4)[[2, 1, 0]]
    assert interpretability.normalised_entropy(one, valid).tolist() == pytest.approx([0.0] * 3, abs=1e-6)
    same = torch.ones(3, 4, 2)
    assert interpretability.conicity(same, valid).tolist() == pytest.approx([1.0] * 3)
    opposed = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]).expand(3, 4, 2)
    assert interpretability.conicity(opposed, valid).tolist() == pytest.approx([0.0, 0.0, 1.0])
    assert interpretability.supervision_loss(even, one.bool()).tolist() == pytest.approx(
        [math.log(4), math.log(2), 0.0]
    )


def test_states_that_stand_against_each_other_are_diverse_enough():
    states = torch.tensor([[[9.0], [-1.0], [-1.0], [-1.0]]], requires_grad=True)
    batch = Batch(torch.zeros(1, 4, 1), torch.tensor([4]), torch.tensor([0]))
    assert float(interpretability.conicity(states, batch.valid).detach()) == pytest.approx(-0.5)
    found = penalty(Interpretability(diversity=1.0), interpretability.Internals(torch.zeros(1, 2), states, None), batch)
    found.backward()
    assert float(found.detach()) == 0
    assert not states.grad.any()


def test_a_decoder_has_an_entropy_for_each_output_step_that_is_none_of_padding():
    torch.manual_seed(0)
    model = EncoderDecoder(7, 5, 4).double()
    source = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]])
    said = torch.tensor([[3, 4, 2], [4, 2, 0]])
    batch = Batch(source, torch.tensor([4, 2]), said, context={"produced": said})
    found = internals(model, batch)
    expected = 0.0
    for row, (steps, length) in enumerate([(3, 4), (2, 2)]):
        for step in range(steps):
            a = found.attention[row, step, :length].tolist()
            expected += -sum(x * math.log(x) for x in a) / math.log(length) / steps / 2
    assert float(added("entropy", model, batch)) == pytest.approx(expected, abs=1e-12)
    assert unsupported_option(Interpretability(entropy=1.0, diversity=1.0), model, batch, None) == ""
    reason = unsupported_option(Interpretability(supervision=1.0), model, batch, None)
    assert reason == (
        "supervision=1.0: the network has one attention for each output step, and a rationale is about the whole output"
    )


def test_what_a_network_shows_are_the_scores_it_is_trained_by():
    for pooling in ("last", "mean", "max", "attention"):
        model, batch = network(pooling).eval(), sequences()
        assert torch.equal(internals(model, batch).scores, model(batch.inputs, batch.lengths))
        steps = dataclasses.replace(batch, targets=torch.zeros(4, 6, dtype=torch.int64))
        assert torch.equal(internals(model, steps).scores, model.step_scores(batch.inputs, batch.lengths))


# ---- masks ----------------------------------------------------------------------------------------------------------


def test_masks_take_the_share_of_the_reference_and_of_the_truth():
    rng = torch.Generator().manual_seed(0)
    batch = Batch(
        torch.rand(500, 10, 2) + 1, torch.full((500,), 10), torch.zeros(500, dtype=torch.int64),
        {"step": Truth(torch.ones(500, 10), "planted", "all"), "cell": Truth(torch.ones(500, 10, 2), "planted", "all")},
    )  # fmt: skip
    found = mask_batch(batch, 0.3, reference_of, rng)
    gone = found.inputs == 0
    counts = gone.flatten(1).sum(1)
    assert set(counts.tolist()) == set(range(7))  # 0 … ⌈.3 · 20⌉ cells
    assert abs(float(counts.double().mean()) - 3) < 0.3
    assert torch.equal(found.inputs[~gone], batch.inputs[~gone])
    assert torch.equal(found.truths["cell"].values == 0, gone)
    assert torch.equal(found.truths["step"].values == 0, gone.all(2))


def test_tokens_and_single_series_are_masked_by_step():
    tokens = Batch(torch.ones(2, 5, dtype=torch.int64), torch.tensor([5, 3]), torch.tensor([0, 1]))
    single = Batch(torch.ones(2, 5, 1), torch.tensor([5, 3]), torch.tensor([0, 1]))
    several = Batch(torch.ones(2, 5, 3), torch.tensor([5, 3]), torch.tensor([0, 1]))
    assert [granularity_of(batch) for batch in (tokens, single, several)] == ["step", "step", "cell"]
    found = mask_batch(several, 1.0, reference_of, torch.Generator().manual_seed(0))
    assert (found.inputs[1, 3:] == 1).all()  # padding is no feature
    assert features_of(several, "cell").sum(1).tolist() == [15, 9]


# ---- training -------------------------------------------------------------------------------------------------------


def learnt(options=PLAIN, seed=0, epochs=3, batch=None):
    return train(network, batch or sequences(), Recipe(epochs, batch_size=2), seed, options, reference_of)


def equal(model, other):
    return tensors_fingerprint(model.state_dict()) == tensors_fingerprint(other.state_dict())


def test_without_options_training_is_to_the_bit_what_it_was():
    """The whole of it, written out: nothing is drawn and nothing is added."""
    batch, recipe = sequences(), Recipe(3, batch_size=2, weight_decay=0.1)
    model = network().train()
    order = torch.Generator().manual_seed(seed_from("order of the batches", 5))
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)
    for _ in range(3):
        for rows in minibatches(batch.lengths, 2, order):
            part = batch.select(rows)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(part.inputs, part.lengths), part.targets).backward()
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()
        schedule.step()
    assert equal(train(network, batch, recipe, 5), model)


@pytest.mark.parametrize("name", [*OPTIONS, "masking"])
def test_each_option_changes_the_weights_and_follows_from_the_seed(name):
    plain, options = learnt(), Interpretability(**{name: 0.5})
    before = torch.get_rng_state()
    found = learnt(options)
    assert torch.equal(torch.get_rng_state(), before)
    assert not found.training
    assert not equal(found, plain)
    assert equal(found, learnt(options))
    assert not equal(found, learnt(options, seed=1))
    assert equal(learnt(Interpretability()), plain)


def test_penalties_do_not_count_for_being_good_enough():
    recipe = Recipe(5, batch_size=4, enough=0.9)  # ln 2 is the loss of knowing nothing
    found = train(network, sequences(), recipe, 0, Interpretability(entropy=50.0))
    assert equal(
        found, train(network, sequences(), dataclasses.replace(recipe, enough=1e6), 0, Interpretability(entropy=50.0))
    )


def test_training_on_keeps_the_penalties_and_leaves_the_masks_to_whoever_trains_on():
    model, batch, recipe = learnt(), sequences(), Recipe(1, batch_size=2)
    seen = []

    def make_batch(batch, rng):
        seen.append(batch)
        return batch

    tuned = [
        tune(model, batch, recipe, 0, make_batch, options)
        for options in (PLAIN, Interpretability(masking=1.0), Interpretability(diversity=1.0))
    ]
    assert all(torch.equal(part.inputs, batch.select(torch.tensor(rows_of(part, batch))).inputs) for part in seen)
    assert equal(tuned[0], tuned[1])
    assert not equal(tuned[0], tuned[2])


def rows_of(part, batch):
    return [
        next(row for row in range(len(batch)) if torch.equal(inputs[:length], batch.inputs[row, :length]))
        for inputs, length in zip(part.inputs, part.lengths.tolist(), strict=True)
    ]


class Scaled(RecurrentNet):
    """Returns something else than it shows."""

    def forward(self, inputs, lengths=None):
        return 2 * super().forward(inputs, lengths)


class Opaque(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2, 2).double()

    def forward(self, inputs, lengths):
        return self.head(inputs.sum(1))


@pytest.mark.parametrize(
    ("options", "make", "reason"),
    [
        ({"entropy": 0.5}, lambda: network("last"), "entropy=0.5: the network has no attention"),
        ({"supervision": 1}, lambda: network("mean"), "supervision=1.0: the network has no attention"),
        ({"diversity": 0.5}, Opaque, "diversity=0.5: the network does not show its states"),
        ({"entropy": 0.5}, Opaque, "entropy=0.5: the network has no attention"),
        ({"diversity": 0.5}, lambda: Scaled(2, 3, 2).double(), "diversity=0.5: the scores that the network shows with"),
    ],
)
def test_networks_that_do_not_serve_are_refused(options, make, reason):
    assert unsupported_option(Interpretability(**options), make(), sequences(), reference_of).startswith(reason)
    with pytest.raises(ParameterError, match=f"cannot be trained with {reason}"):
        train(make, sequences(), Recipe(1), 0, Interpretability(**options), reference_of)


def test_a_network_that_shows_nothing_can_be_trained_with_masks():
    assert not unsupported_option(Interpretability(masking=0.5), Opaque(), sequences(), reference_of)
    reason = unsupported_option(Interpretability(masking=0.5), Opaque(), sequences(), None)
    assert reason == "masking=0.5: the reference serves no other sequences than the explained ones"


def test_attention_is_not_supervised_by_alignments_or_by_nothing():
    plain = dataclasses.replace(sequences(), truths={})
    for batch in (plain, sequences("alignment")):
        reason = unsupported_option(Interpretability(supervision=1.0), network(), batch, None)
        assert f"{reason}." == f"supervision=1.0: {UNSUPERVISED}"


# ---- tasks ----------------------------------------------------------------------------------------------------------

SMALL = {"instances": 20, "sequences": 400, "words": 40}


@dataclass(frozen=True)
class Quick(Adding):
    recipe: ClassVar[Recipe] = Recipe(epochs=2)


def quick(**options):
    return Quick(instances=4, hidden=3, sequences=64, **options)


def seen(task):
    """Entropy, conicity and attention on the rationale of the explained sequences."""
    subject = task.subject(0)
    batch = subject.batch
    with torch.no_grad():
        found = internals(subject.model, batch)
    relevant = interpretability.relevant_steps(interpretability.rationale_of(batch))
    return {
        "entropy": float(interpretability.normalised_entropy(found.attention, batch.valid).mean()),
        "diversity": float(interpretability.conicity(found.states, batch.valid).mean()),
        "supervision": float(interpretability.supervision_loss(found.attention, relevant).mean()),
    }


@pytest.fixture(scope="module")
def plain():
    return seen(Valence(**SMALL))


@pytest.mark.parametrize("name", OPTIONS)
def test_each_penalty_lowers_what_it_penalises(name, plain):
    found = seen(Valence(**SMALL, **{name: 0.5}))
    assert found[name] < plain[name] - 0.2


@pytest.mark.full
def test_masks_teach_to_do_without():
    def loss(task):
        subject = task.subject(0)
        lost = mask_batch(subject.batch, 1.0, subject.retraining.reference_of, torch.Generator().manual_seed(0))
        with torch.no_grad():
            return float((subject.model(lost.inputs, lost.lengths).argmax(1) == lost.targets).double().mean())

    recipe = {"instances": 300, "hidden": 8}
    assert loss(Vowels(**recipe, masking=1.0)) > loss(Vowels(**recipe)) + 0.1


def test_options_that_are_off_leave_everything_as_it_was():
    task = quick()
    assert task.spec == "adding:instances=4,hidden=3,sequences=64"
    assert task.identity()["parameters"] == {"instances": 4, "hidden": 3, "sequences": 64}
    assert quick(diversity=0.0).identity() == task.identity()
    for name in ("adding", "state", "valence", "vowels", "el-nino"):
        assert not {*OPTIONS, "masking"} & build("task", name).identity()["parameters"].keys()


def test_options_that_are_on_are_in_the_spec_the_identity_and_the_key(own_cache):
    assert build("task", "adding:diversity=0.5").spec == "adding:diversity=0.5"
    assert build("task", "valence:entropy=0.1,masking=0.3").interpretability == Interpretability(0.1, 0, 0, 0.3)
    assert quick(diversity=0.5).identity()["parameters"]["diversity"] == 0.5
    models = [quick(**options).training(0) for options in ({}, {"diversity": 0.5}, {"masking": 0.5}, {"masking": 0.4})]
    assert not any(model.cached for model in models)
    assert len({model.fingerprint for model in models}) == 4
    assert quick(diversity=0.5).training(0).cached


def test_an_author_may_make_an_option_a_default(own_cache):
    @dataclass(frozen=True)
    class Always(Quick):
        masking: float = 0.5

    task = Always(instances=4, hidden=3, sequences=64)
    assert task.identity()["parameters"]["masking"] == 0.5
    assert task.training(0).fingerprint == quick(masking=0.5).training(0).fingerprint


@dataclass(frozen=True)
class Marked(Valence):
    shift: ClassVar[int] = 0

    def dataset(self):
        data = super().dataset()
        values = data.train.truths["rating"].values.roll(self.shift, 0)
        truths = {"rating": dataclasses.replace(data.train.truths["rating"], values=values * data.train.valid)}
        return dataclasses.replace(data, train=dataclasses.replace(data.train, truths=truths))


@dataclass(frozen=True)
class Shifted(Marked):
    shift: ClassVar[int] = 1


def test_models_rest_on_rationales_only_where_these_supervise():
    def key(cls, **options):
        task = cls(instances=4, sequences=60, words=20, **options)
        return task._key(0, task._untrained())

    assert key(Marked) == key(Shifted)
    assert key(Marked, supervision=0.5) != key(Shifted, supervision=0.5)


def test_training_again_asks_the_same_of_the_model(own_cache):
    subject = quick(diversity=0.5, masking=0.3).subject(0)
    again = subject.retraining
    assert equal(again.fit(again.train, 0), subject.model)
    assert not equal(dataclasses.replace(again, options=PLAIN).fit(again.train, 0), subject.model)


def test_results_on_a_given_model_rest_on_what_it_is_trained_for():
    batch = sequences()
    batch = dataclasses.replace(batch, inputs=batch.inputs.float())
    model = network().float()

    def identity(**options):
        again = Retraining(
            batch, batch, reference_of, lambda: network().float(), Recipe(1), Interpretability(**options)
        )
        given = Task.from_model(model, batch.inputs, batch.lengths, batch.targets, name="given", retraining=again)
        return str(given.identity())

    assert len({identity(), identity(entropy=1.0), identity(supervision=1.0)}) == 3
    assert identity(entropy=1.0) == identity(entropy=1.0)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("valence:entropy=-0.1", "valence: entropy=-0.1 does not fit (it is a weight of at least 0)."),
        ("valence:diversity=nan", "valence: diversity=nan does not fit (it is a weight of at least 0)."),
        ("valence:supervision=inf", "valence: supervision=inf does not fit (it is a weight of at least 0)."),
        ("vowels:masking=1.5", "vowels: masking=1.5 does not fit (it is a share from 0 to 1)."),
        ("vowels:masking=-1", "vowels: masking=-1.0 does not fit (it is a share from 0 to 1)."),
    ],
)
def test_values_that_do_not_fit_are_refused(spec, sentence):
    with pytest.raises(ParameterError) as caught:
        build("task", spec)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        (quick(entropy=1.0), "adding cannot be trained with entropy=1.0: the network has no attention."),
        (quick(supervision=1.0), "adding cannot be trained with supervision=1.0: the network has no attention."),
        (
            Vowels(supervision=1.0),
            "vowels cannot be trained with supervision=1.0: " + UNSUPERVISED,
        ),
    ],
)
def test_options_that_a_task_does_not_serve_are_refused_when_it_is_trained(task, sentence):
    with pytest.raises(ParameterError) as caught:
        task.subject(0)
    assert str(caught.value) == sentence


def test_a_model_that_is_given_is_not_trained_for_anything():
    @dataclass(frozen=True)
    class Given(Quick):
        name: ClassVar[str] = "given-weights"
        trainable: ClassVar[bool] = False

    assert Given().interpretability == PLAIN
    with pytest.raises(ParameterError, match=r"given-weights: masking=0.3 does not fit \(its model is given"):
        Given(masking=0.3)


def test_a_reference_of_the_explained_sequences_alone_masks_no_others(own_cache):
    @dataclass(frozen=True)
    class Fixed(Quick):
        def dataset(self):
            found = super().dataset()
            return dataclasses.replace(found, reference=torch.zeros_like(found.explained.inputs))

    with pytest.raises(ParameterError, match=r"adding cannot be trained with masking=0\.3: the reference serves no"):
        Fixed(instances=4, hidden=3, sequences=64, masking=0.3).subject(0)


def test_what_is_kept_can_be_asked_for_without_training(own_cache):
    assert quick().trained(0) is None
    made = quick().training(0)
    assert quick().trained(0) == dataclasses.replace(made, cached=True)
    assert quick().trained(1) is None
