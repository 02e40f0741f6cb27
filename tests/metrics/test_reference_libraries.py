"""The same numbers from the libraries that also give them, and where theirs are wrong: the peers themselves are called.

Quantus 0.6, captum 0.9 and time-interpret 0.3 on the models, maps, subsets and neighbours that we are given too.
"""

import warnings

import numpy as np
import pytest
import torch
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import sensitivity_max
from metric_literal import Fixed
from torch import nn

from xrnnbench.metrics.conformance.specimens import StandIn, evidence
from xrnnbench.metrics.faithfulness.completeness import CompletenessGap
from xrnnbench.metrics.faithfulness.comprehensiveness import Comprehensiveness, LogProbability, Sufficiency
from xrnnbench.metrics.faithfulness.deletion_insertion import DeletionAuc
from xrnnbench.metrics.faithfulness.infidelity import FaithfulnessCorrelation, Infidelity
from xrnnbench.metrics.faithfulness.monotonicity import Monotonicity
from xrnnbench.metrics.faithfulness.single_features import FaithfulnessEstimate
from xrnnbench.metrics.removal.curves import CurveRequest, RemovalOrder, removal_curve
from xrnnbench.metrics.removal.effects import SubsetSampling
from xrnnbench.metrics.stability.neighbours import Neighbours
from xrnnbench.metrics.stability.relative import RelativeInputStability
from xrnnbench.metrics.stability.sensitivity import MaxSensitivity
from xrnnbench.plugins import build
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.models.networks import RecurrentNet
from xrnnbench.tasks.subject import Subject

pytestmark = pytest.mark.full

ROWS, STEPS, MASKS, SAMPLES, RADIUS = 6, 20, 30, 5, 0.02


@pytest.fixture(scope="module")
def quantus():
    with warnings.catch_warnings():
        # its import warns of what it finds installed
        warnings.simplefilter("ignore")
        return pytest.importorskip("quantus", reason="the peer quantus (extra peers) is not installed")


@pytest.fixture(scope="module")
def tint():
    return pytest.importorskip("tint.metrics", reason="the peer time-interpret (extra peers) is not installed")


def subject_of(model, inputs, lengths=None):
    size = torch.full((len(inputs),), inputs.shape[1]) if lengths is None else torch.tensor(lengths)
    batch = Batch(inputs, size, torch.zeros(len(inputs), dtype=torch.int64))
    return Subject(model.eval(), batch, torch.zeros_like(inputs))


def wild(steps=STEPS, strength=3.0, lengths=None):
    """Return an untrained GRU with strong weights on steps of one feature, and a map of normal numbers."""
    rng = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = RecurrentNet(1, 6, 3, cell="gru")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(strength)
    inputs = torch.randn(ROWS, steps, 1, generator=rng)
    if lengths is not None:
        inputs *= (torch.arange(steps) < torch.tensor(lengths)[:, None])[..., None]
    return subject_of(net, inputs, lengths), torch.randn(ROWS, steps, generator=rng)


class Formula(nn.Module):
    """One class has the score that a formula says of the steps float[B, T], the other has 0."""

    def __init__(self, formula):
        super().__init__()
        self.formula = formula

    def forward(self, inputs):
        score = self.formula(inputs.flatten(1))
        return torch.stack([score, torch.zeros_like(score)], 1)


class ChannelsFirst(nn.Module):
    """A model as Quantus calls it."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs):
        return self.model(inputs.reshape(len(inputs), -1, 1))


def judged(quantus, name, subject, maps, *, shape=(1, -1), softmax=False, explain=None, normalise=False, **options):
    """Return what a metric of Quantus says of maps float[B, T]."""
    inputs = subject.batch.inputs.numpy().copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = getattr(quantus, name)(disable_warnings=True, abs=False, normalise=normalise, **options)
        return metric(
            model=ChannelsFirst(subject.model).eval(),
            x_batch=inputs.reshape(len(inputs), *shape),
            y_batch=subject.target.numpy(),
            a_batch=maps.numpy().reshape(len(inputs), *shape),
            channel_first=True,
            softmax=softmax,
            explain_func=explain,
        )


def asked_again(subject, method):
    """Return a method as Quantus asks it."""

    def explain(model, inputs, targets):
        rows = torch.as_tensor(inputs, dtype=torch.float32).reshape(len(inputs), -1, 1)
        return method.explain(subject.replaced(rows)).values[:, None].numpy()

    return explain


def subsets_of(n, size=0):
    """Return our subsets of n features, bool[MASKS, n]."""
    return SubsetSampling("reference", MASKS, 8, size).subsets(n, torch.arange(MASKS))


def neighbours_in_turn(near):
    """Return a function that hands Quantus our neighbours, one copy of the batch after the other."""
    copies = iter(near.inputs[1:].flatten(2).numpy())
    return lambda arr, indices, **_: next(copies)


# ---- curves ----------------------------------------------------------------------------------------------------------


def test_pixel_flipping_is_our_deletion_curve(quantus):
    subject, maps = wild()
    theirs = judged(quantus, "PixelFlipping", subject, maps, softmax=True, features_in_step=1, perturb_baseline=0.0)
    cell = evidence(subject, Fixed(values=maps))
    curve = removal_curve(cell, CurveRequest(RemovalOrder(), "removed", STEPS)).outcome.score
    assert curve.std() > 0.05
    assert torch.allclose(curve[:, 1:], torch.tensor(theirs).double(), atol=1e-5)
    area = np.trapezoid(np.column_stack([curve[:, :1], theirs]), dx=1 / STEPS, axis=1)
    assert DeletionAuc(points=STEPS).measure(cell).numpy() == pytest.approx(area, abs=1e-5)


def test_reference_bug_the_area_of_pixel_flipping_needs_what_numpy_no_longer_has(quantus, monkeypatch):
    """np.trapz left NumPy with 2.4; where it is put back the area is without its first trapezoid and grows with n."""
    subject, maps = wild()
    call = {"softmax": True, "features_in_step": 1, "perturb_baseline": 0.0, "return_auc_per_sample": True}
    if not hasattr(np, "trapz"):
        with pytest.raises(AttributeError, match="trapz"):
            judged(quantus, "PixelFlipping", subject, maps, **call)
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)
    theirs = np.array(judged(quantus, "PixelFlipping", subject, maps, **call))
    cell = evidence(subject, Fixed(values=maps))
    curve = removal_curve(cell, CurveRequest(RemovalOrder(), "removed", STEPS)).outcome.score.numpy()
    assert theirs.max() > 1
    assert (theirs + (curve[:, 0] + curve[:, 1]) / 2) / STEPS == pytest.approx(
        DeletionAuc(points=STEPS).measure(cell).numpy(), abs=1e-5
    )


def test_reference_bug_ties_go_in_the_order_of_time(quantus):
    """Of a model that reads the first step alone, a map that says nothing: faithful to an argsort, chance to us."""
    subject = subject_of(Formula(lambda x: 4 * x[:, 0]), torch.ones(2, 10, 1))
    maps = torch.tensor([[1.0] * 10, [0.0] * 9 + [1.0]])
    theirs = judged(quantus, "PixelFlipping", subject, maps, softmax=True, features_in_step=1, perturb_baseline=0.0)
    assert theirs[0] == pytest.approx([0.5] * 10)
    many = DeletionAuc(points=10, breaks=512).measure(evidence(subject, Fixed(values=maps)))
    high, low = float(torch.tensor(4.0).sigmoid()), 0.5
    # the first step is as likely at every place: the mean over its places of the area until it is gone, and after
    chance = np.mean([high * (place + 0.5) / 10 + low * (9.5 - place) / 10 for place in range(10)])
    assert float(many[0]) == pytest.approx(chance, abs=0.02)


def test_reference_bug_monotonicity_never_adds_a_feature(quantus):
    """It starts from zeros and writes zeros into them: every map of every model is monotonous, as nothing ever changes.

    All it compares is the model's answer to the empty input with itself.
    """
    contributions = torch.tensor([[0.1, 0.3, 0.2, 0.5], [0.4, -0.2, 0.3, 0.1], [0.8, -0.2, -0.3, 0.1]])
    met = []
    subject = subject_of(Formula(lambda x: (met.append(x), x.sum(1))[1]), contributions[..., None])
    met.clear()
    call = {"softmax": True, "features_in_step": 1, "perturb_baseline": 0.0}
    assert judged(quantus, "Monotonicity", subject, contributions, **call) == [True, True, True]
    assert len(met) == 4
    assert not torch.stack(met).any()
    cell = evidence(subject, Fixed(values=contributions))
    assert Monotonicity(points=4, form="all").measure(cell).tolist() == [1, 0, 0]
    assert Monotonicity(points=4).measure(cell).tolist() == [1, 0.75, 0.5]
    subject, maps = wild()
    assert judged(quantus, "Monotonicity", subject, maps, **call) == [True] * ROWS
    assert not Monotonicity(points=STEPS, form="all").measure(evidence(subject, Fixed(values=maps))).any()


# ---- single features and subsets -------------------------------------------------------------------------------------


def test_faithfulness_estimate_is_that_of_quantus(quantus):
    subject, maps = wild()
    theirs = judged(quantus, "FaithfulnessEstimate", subject, maps, features_in_step=1, perturb_baseline=0.0)
    ours = FaithfulnessEstimate().measure(evidence(subject, Fixed(values=maps)))
    assert ours.tolist() == pytest.approx(theirs, abs=1e-5)


def test_faithfulness_correlation_is_that_of_quantus_on_the_same_subsets(quantus, monkeypatch):
    subject, maps = wild()
    subsets = subsets_of(STEPS, size=5)
    # for each run Quantus draws one subset for each sequence; ours are the same for all of a length
    drawn = iter([subset.nonzero().squeeze(1).numpy() for subset in subsets for _ in range(ROWS)])
    monkeypatch.setattr(np.random, "choice", lambda *_, **__: next(drawn))
    options = {"nr_runs": MASKS, "subset_size": 5, "perturb_baseline": 0.0, "return_aggregate": False}
    theirs = judged(quantus, "FaithfulnessCorrelation", subject, maps, **options)
    ours = FaithfulnessCorrelation(masks=MASKS, size=5).measure(evidence(subject, Fixed(values=maps)))
    assert ours.tolist() == pytest.approx(theirs, abs=1e-5)


def same_masks():
    """Return our subsets of infidelity as captum wants them: what is removed, and what is left."""
    removed = subsets_of(STEPS).float()[..., None]

    def perturb(inputs):
        mask = removed.repeat(len(inputs) // MASKS, 1, 1)
        return mask, inputs * (1 - mask)

    return perturb


@pytest.mark.parametrize("scaled", [False, True])
def test_infidelity_is_that_of_captum_on_the_same_masks(scaled):
    subject, _ = wild()
    maps = build("method", "occlusion").explain(subject).values
    call = {"target": subject.target, "n_perturb_samples": MASKS, "normalize": scaled}
    with torch.no_grad():
        theirs = captum_infidelity(subject.model, same_masks(), subject.batch.inputs, maps[..., None], **call)
    ours = Infidelity(masks=MASKS, scaled=scaled).measure(evidence(subject, Fixed(values=maps)))
    assert ours.min() > 1e-4
    assert ours.tolist() == pytest.approx(theirs.tolist(), abs=1e-5, rel=1e-4)


def test_reference_bug_captum_cannot_tell_a_map_from_its_opposite():
    """Its scale may be negative, as in the authors' code: an exact map and its opposite are both without a fault."""
    weights = torch.linspace(-1, 2, STEPS)
    subject = subject_of(Formula(lambda x: x @ weights), torch.ones(2, STEPS, 1))
    maps = torch.stack([weights, -weights])
    call = {"target": subject.target, "n_perturb_samples": MASKS, "normalize": True}
    with torch.no_grad():
        theirs = captum_infidelity(subject.model, same_masks(), subject.batch.inputs, maps[..., None], **call)
    ours = Infidelity(masks=MASKS).measure(evidence(subject, Fixed(values=maps)))
    effects = subsets_of(STEPS).double() @ weights.double()
    assert theirs.tolist() == pytest.approx([0, 0], abs=1e-4)
    assert ours.tolist() == pytest.approx([0, float(effects.square().mean())], abs=1e-4)


def test_reference_bug_patches_of_quantus_pile_up(quantus):
    """Infidelity perturbs what it has perturbed before: of patches it asks about none but the first.

    What it asks about are the beginnings of the input, the same in every repetition. Of f = x₁ · x₂ at (1, 1), where
    either patch takes everything, two maps that are mirror images of each other get different values; the definition
    over patches gives them the same.
    """
    inputs = torch.ones(2, 4, 1)
    subject = subject_of(Formula(lambda x: x[:, 0] * x[:, 1]), inputs)
    maps = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    options = {"perturb_patch_sizes": [1], "perturb_baseline": 0.0, "shape": (1, 2, 2)}
    theirs = judged(quantus, "Infidelity", subject, maps, n_perturb_samples=1, **options)
    again = judged(quantus, "Infidelity", subject, maps, n_perturb_samples=10, **options)
    beginnings = [[(float(m[:k].sum()) - 1) ** 2 for k in range(1, 5)] for m in maps]
    assert theirs == pytest.approx(np.mean(beginnings, axis=1))
    assert theirs == pytest.approx([0, 0.25])
    assert again == pytest.approx(theirs)
    # the sums pile up as well: where contributions add up nothing is seen of it
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0])
    adding = subject_of(Formula(lambda x: x @ weights), inputs)
    assert judged(quantus, "Infidelity", adding, weights.expand(2, -1), **options) == pytest.approx([0, 0])
    patches = [[(float(m[k]) - float(k < 2)) ** 2 for k in range(4)] for m in maps]
    assert np.mean(patches, axis=1) == pytest.approx([0.25, 0.25])
    ours = Infidelity(masks=MASKS, scaled=False).measure(evidence(subject, Fixed(values=maps)))
    subsets = subsets_of(4)
    literal = [np.mean([(float(m[s].sum()) - float(s[:2].any())) ** 2 for s in subsets]) for m in maps]
    assert ours.tolist() == pytest.approx(literal)


# ---- completeness ----------------------------------------------------------------------------------------------------


def test_reference_bug_completeness_compares_floats_with_equality(quantus):
    """Of an additive model with exact contributions: complete to seven digits, and complete to Quantus by luck."""
    rng = torch.Generator().manual_seed(1)
    inputs, weights = torch.randn(8, STEPS, 1, generator=rng), torch.randn(STEPS, generator=rng)
    # all speak for the class of the formula
    inputs *= (inputs[..., 0] @ weights).sign()[:, None, None]
    subject = subject_of(Formula(lambda x: x @ weights), inputs)
    maps = inputs[..., 0] * weights
    theirs = judged(quantus, "Completeness", subject, maps, perturb_baseline=0.0)
    assert sum(theirs) < 6
    assert CompletenessGap().measure(evidence(subject, Fixed(values=maps))).max() < 1e-5


def test_reference_bug_completeness_divides_the_map_first(quantus):
    """By default the map is divided by its largest value, after which sums of small whole numbers do not fit either."""
    inputs = torch.tensor([[[1.0], [2.0], [4.0]]])
    subject = subject_of(Formula(lambda x: x.sum(1)), inputs)
    assert judged(quantus, "Completeness", subject, inputs[..., 0], perturb_baseline=0.0) == [True]
    assert judged(quantus, "Completeness", subject, inputs[..., 0], normalise=True, perturb_baseline=0.0) == [False]
    assert CompletenessGap().measure(evidence(subject, Fixed(values=inputs[..., 0]))).tolist() == [0]


# ---- neighbours ------------------------------------------------------------------------------------------------------


def test_max_sensitivity_is_that_of_quantus_and_captum_on_the_same_neighbours(quantus):
    subject, _ = wild()
    method = build("method", "gradient-x-input")
    maps = method.explain(subject).values
    near = Neighbours.drawn(subject, torch.arange(ROWS), RADIUS, SAMPLES)
    call = {"nr_samples": SAMPLES, "perturb_func": neighbours_in_turn(near), "explain": asked_again(subject, method)}
    ours = MaxSensitivity(radius=RADIUS, samples=SAMPLES, instances=0).measure(evidence(subject, method))
    assert ours.tolist() == pytest.approx(judged(quantus, "MaxSensitivity", subject, maps, **call), rel=1e-4)

    def explain(inputs):
        moved = subject.select(torch.arange(ROWS).repeat_interleave(len(inputs[0]) // ROWS))
        with torch.enable_grad():
            return (method.explain(moved.replaced(inputs[0])).values[..., None],)

    # captum has the neighbours of a sequence side by side
    moved = near.inputs[1:].transpose(0, 1).flatten(0, 1)
    theirs = sensitivity_max(explain, subject.batch.inputs, lambda _: (moved,), n_perturb_samples=SAMPLES)
    assert ours.tolist() == pytest.approx(theirs.tolist(), rel=1e-4)


def on_the_edge():
    """Return a sum near 0, whose class some neighbours change, and one far from it; with steps that are not tiny."""
    inputs = torch.tensor([[1.0, -1.0, 2.0, -1.999], [1.0, 2.0, 3.0, 4.0]])[..., None]
    return subject_of(Formula(lambda x: x.sum(1) + 0.1 * (x**2).sum(1) - 0.1 * 9.996), inputs)


def test_reference_bug_one_neighbour_of_another_class_undoes_relative_stability(quantus):
    """Quantus takes the plain maximum of values of which one is NaN; of the rest it and we say the same."""
    subject, method = on_the_edge(), build("method", "gradient-x-input")
    maps = method.explain(subject).values
    near = Neighbours.drawn(subject, torch.arange(2), RADIUS, 10)
    kept = near.kept.sum(0).tolist()
    assert 0 < kept[0] < 10
    assert kept[1] == 10
    call = {"nr_samples": 10, "perturb_func": neighbours_in_turn(near), "explain": asked_again(subject, method)}
    theirs = judged(quantus, "RelativeInputStability", subject, maps, **call)
    ours = RelativeInputStability(radius=RADIUS, samples=10, instances=0).measure(evidence(subject, method))
    assert np.isnan(theirs[0])
    assert ours.isfinite().all()
    assert 10 ** float(ours[1]) == pytest.approx(theirs[1], rel=1e-3)
    every = call | {"perturb_func": neighbours_in_turn(near), "return_nan_when_prediction_changes": False}
    literal = judged(quantus, "RelativeInputStability", subject, maps, **every)
    assert 10 ** float(ours[0]) <= literal[0] * (1 + 1e-3)


def test_reference_bug_default_neighbours_of_relative_stability_are_all_on_one_side(quantus):
    """Its noise is uniform between the default lower bound of .02 and an upper bound of .2: no value ever falls."""
    metric = quantus.RelativeInputStability(disable_warnings=True)
    moved = metric.perturb_func(arr=np.zeros((100, 50)), indices=np.tile(np.arange(50), (100, 1)))
    assert moved.min() >= 0.02
    assert moved.mean() == pytest.approx(0.11, abs=0.005)
    subject, _ = wild()
    near = Neighbours.drawn(subject, torch.arange(ROWS), RADIUS, 200)
    assert float((near.inputs[1:] - near.inputs[:1]).mean()) == pytest.approx(0, abs=0.002)


def test_reference_bug_a_map_of_zeros_has_no_max_sensitivity(quantus):
    """0/0: the perfectly stable map of zeros is not a number to Quantus, and 0 to us and to captum."""
    subject, _ = wild()
    maps = torch.zeros(ROWS, STEPS)
    maps[1:] = 1 + torch.rand(ROWS - 1, STEPS, generator=torch.Generator().manual_seed(0))
    call = {"nr_samples": 2, "lower_bound": RADIUS, "explain": lambda **_: maps[:, None].numpy()}
    theirs = judged(quantus, "MaxSensitivity", subject, maps, **call)
    assert np.isnan(theirs[0])
    assert list(theirs[1:]) == [0.0] * (ROWS - 1)
    zeros = evidence(subject, StandIn("constant", scale=0.0))
    assert MaxSensitivity(samples=2, instances=0).measure(zeros).tolist() == [0] * ROWS
    with torch.no_grad():
        theirs = sensitivity_max(lambda inputs: (torch.zeros_like(inputs[0]),), subject.batch.inputs)
    assert theirs.tolist() == [0] * ROWS


# ---- erasure ---------------------------------------------------------------------------------------------------------

PAIRS = [("comprehensiveness", Comprehensiveness), ("sufficiency", Sufficiency), ("log_odds", LogProbability)]


def of_tint(tint, name, subject, maps, fraction, **call):
    """Return a metric of time-interpret, a mean over sequences."""
    found = getattr(tint, name)
    return found(subject.model, subject.batch.inputs, maps[..., None], target=subject.target, topk=fraction, **call)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
@pytest.mark.parametrize(("name", "metric"), PAIRS)
def test_erasure_is_that_of_time_interpret_where_the_fraction_is_whole(tint, name, metric, fraction):
    subject, maps = wild()
    ours = metric(fractions=(fraction,)).measure(evidence(subject, Fixed(values=maps)))
    assert ours.std() > 1e-3
    assert float(ours.mean()) == pytest.approx(of_tint(tint, name, subject, maps, fraction), abs=1e-5)


@pytest.mark.parametrize(("name", "metric"), PAIRS[::2])
def test_reference_bug_of_a_short_text_nothing_is_removed(tint, name, metric):
    """k = ⌊.1 · 9⌋ = 0: whatever the map says, its faithfulness is 0. Of what is kept it is ⌈.1 · 9⌉ = 1."""
    subject, maps = wild(steps=9)
    assert of_tint(tint, name, subject, maps, 0.1) == 0
    ours = metric(fractions=(0.1,)).measure(evidence(subject, Fixed(values=maps)))
    assert ours.abs().min() > 1e-4
    kept = Sufficiency(fractions=(0.1,)).measure(evidence(subject, Fixed(values=maps)))
    assert float(kept.mean()) == pytest.approx(of_tint(tint, "sufficiency", subject, maps, 0.1), abs=1e-5)


def test_reference_bug_the_logarithm_of_a_rounded_softmax(tint):
    """A logit of −200 is a probability of 0 in float32, and its logarithm −∞: one such sequence is the whole mean."""
    subject = subject_of(Formula(lambda x: 200 * (x.sum(1) - 9)), torch.ones(2, 10, 1))
    maps = torch.linspace(1, 2, 10).expand(2, -1)
    assert of_tint(tint, "log_odds", subject, maps, 0.2) == -np.inf
    # ln σ(200 · −1) − ln σ(200)
    ours = LogProbability(fractions=(0.2,)).measure(evidence(subject, Fixed(values=maps)))
    assert ours.tolist() == pytest.approx([-200, -200])


def test_reference_bug_padding_is_ranked_too(tint):
    """The fraction is of the padded width, and steps that speak against the output come after padding: 0 is found."""
    short, maps = wild(steps=10)
    padded = subject_of(short.model, torch.cat([short.batch.inputs, torch.zeros(ROWS, 10, 1)], 1), [10] * ROWS)
    maps = -1 - maps.abs()
    wide = torch.cat([maps, torch.zeros(ROWS, 10)], 1)
    plain = of_tint(tint, "comprehensiveness", short, maps, 0.2)
    call = {"additional_forward_args": (padded.batch.lengths,)}
    assert abs(plain) > 0.01
    assert of_tint(tint, "comprehensiveness", padded, wide, 0.2, **call) == 0
    metric = Comprehensiveness(fractions=(0.2,))
    for subject, values in ((short, maps), (padded, wide)):
        ours = metric.measure(evidence(subject, Fixed(values=values)))
        assert float(ours.mean()) == pytest.approx(plain, abs=1e-5)


def test_reference_bug_sufficiency_of_every_second_draw_keeps_the_rest(tint):
    """Its loop turns p into 1 − p once for each part of the draws: in the second part 80 % are kept instead of 20."""
    subject, maps = wild()
    one, other = (of_tint(tint, "sufficiency", subject, maps, fraction) for fraction in (0.2, 0.8))
    both = of_tint(tint, "sufficiency", subject, maps, 0.2, n_samples=2, n_samples_batch_size=1)
    assert abs(one - other) > 0.01
    assert both == pytest.approx((one + other) / 2, abs=1e-6)
