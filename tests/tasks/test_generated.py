"""Generated series with known truth: the published processes, labels that follow from inputs, causes where they are."""

import ast
import inspect
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import auc, precision_recall_curve

from xrnnbench import plugins
from xrnnbench.errors import ParameterError
from xrnnbench.methods.base import Attribution
from xrnnbench.metrics.conformance.specimens import StandIn, evidence
from xrnnbench.metrics.truth.mask_figures import AreaUnderPrecision, AreaUnderRecall, Information, MaskEntropy
from xrnnbench.metrics.truth.retrieval import AveragePrecision, TruthCorrelation
from xrnnbench.tasks.builtin.synthetic import ecg_lesion, moving_box, rare, spike
from xrnnbench.tasks.builtin.synthetic.ecg_lesion import EcgLesion
from xrnnbench.tasks.builtin.synthetic.moving_box import MovingBox
from xrnnbench.tasks.builtin.synthetic.rare import RareFeature, RareTime
from xrnnbench.tasks.builtin.synthetic.spike import Spike

LAYOUTS = ["middle", "moving", "rare-time", "rare-feature", "positional"]
LESIONS = ["premature-beat", "st-segment"]


def precision(subject, method):
    return float(AveragePrecision().measure(evidence(subject, plugins.build("method", method))).mean())


# ---- all of them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [Spike(), MovingBox(), RareFeature(), RareTime(), EcgLesion()])
def test_what_is_held_out_was_not_trained_on(task):
    data = task.data()
    train, test = ({row.numpy().tobytes() for row in part.inputs} for part in (data.train, data.test))
    assert not train & test
    assert len(train) == len(data.train)
    assert len(test) == len(data.test)


@pytest.mark.parametrize("module", [spike, moving_box, rare, ecg_lesion])
def test_nothing_uses_the_global_generators(module):
    tree = ast.parse(inspect.getsource(module))
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    drawing = {call for call in calls if call.startswith(("np.random.", "torch.rand", "random."))}
    assert drawing <= {"np.random.default_rng"}


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("spike:delay=-1", r"spike: delay=-1 does not fit \(it must be from 0 to 79\)\."),
        ("spike:delay=80", r"spike: delay=80 does not fit \(it must be from 0 to 79\)\."),
        ("spike:hidden=0", r"spike: hidden=0 does not fit \(it must be at least 1\)\."),
        ("spike:delay=2,hidden=0", r"spike: hidden=0 does not fit"),
        ("rare-time:instances=0", r"rare-time: instances=0 does not fit \(it must be at least 1\)\."),
        ("moving-box:layout=corner", r"moving-box: layout=corner does not fit \(Input should be 'middle', 'moving'"),
        ("ecg-lesion:lesion=flu", r"ecg-lesion: lesion=flu does not fit"),
    ],
)
def test_parameters_that_do_not_fit(spec, sentence):
    with pytest.raises(ParameterError, match=sentence):
        plugins.build("task", spec)


@pytest.mark.parametrize("name", ["spike", "rare-feature", "moving-box", "ecg-lesion"])
def test_more_instances_than_there_are(name):
    with pytest.raises(ParameterError, match=rf"{name}: instances=5000, but only \d+ sequences are held out\."):
        plugins.build("task", f"{name}:instances=5000").data()


# ---- spike ----------------------------------------------------------------------------------------------------------


def narma(u, factors, *, published):
    """Return TimeSynth's NARMA of order 2, step by step; or as the formula is published, which sums the last two."""
    a, b, c, d = factors
    values = [0.0, 0.0]
    for step in range(2, len(u)):
        past = sum(values[step - 2 : step]) if published else sum(values[step - 2 : 2])
        values.append(a * values[-1] + b * values[-1] * past + c * u[step - 2] * u[step] + d)
    return np.array(values[2:])


def test_series_are_what_the_published_generator_draws():
    found = spike._series(2, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    u, noise = rng.uniform(0, 0.5, (2, 82, 3)), 0.001 * rng.standard_normal((2, 80, 3))
    numerator, denominator = spike.butter(6, 6.8 / 15)
    published = [(0.5, 0.5, 1.5, 0.5), (0.5, 0.5, 1.5, 0.5), (0.3, 0.05, 1.5, 0.1)]
    for row, series in itertools.product(range(2), range(3)):
        values = narma(u[row, :, series], published[series], published=False) + noise[row, :, series]
        values += [0.003, 0.065, 0.0][series] * np.arange(80)
        values = values / (values.max() - values.min()) - [0, 0, 0.5][series]
        smooth = spike.lfilter(numerator, denominator, values)
        assert np.allclose(found[row, :, series], smooth, atol=1e-12)


def test_as_its_formula_is_written_the_series_would_grow_without_bound():
    u = np.random.default_rng(0).uniform(0, 0.5, 82)
    with np.errstate(over="ignore"):
        values = narma(u[:30], (0.5, 0.5, 1.5, 0.5), published=True)
    assert values.max() > 1e6


def test_spikes_are_as_frequent_as_published():
    spikes = spike._spikes(20000, np.random.default_rng(0))
    number = spikes.sum(1)
    assert abs((number > 0).mean() - 0.4 * (1 - math.exp(-3))) < 0.01
    assert abs(number.mean() - 1.2) < 0.03
    assert abs(number[number > 0].mean() - 3 / (1 - math.exp(-3))) < 0.05
    assert np.abs(spikes.mean((0, 2)) - 1.2 / 80).max() < 0.002


def drawn(part, count):
    """Return the series without spikes, and the spikes, that the task draws for a part."""
    rng = np.random.default_rng(spike.seed_from("spike", part))
    return spike._series(count, rng), spike._spikes(count, rng)


def labelled(spikes, delay):
    """Return the labels int64[B, T], one step after the other."""
    labels = np.zeros(spikes.shape[:2], dtype=np.int64)
    for row, step in itertools.product(range(len(spikes)), range(80)):
        labels[row, step] = any(spikes[row, : max(step - delay + 1, 0), 0])
    return labels


@pytest.mark.parametrize("delay", [0, 2])
def test_labels_and_truth_follow_from_the_spikes(delay):
    data = Spike(delay=delay).data()
    series, spikes = drawn("test", 500)
    assert np.allclose(data.test.inputs.numpy(), series + 1.5 * spikes, atol=1e-6)
    labels = labelled(spikes, delay)
    assert np.array_equal(data.test.targets.numpy(), labels)
    truth = data.test.truths["spike"].values.numpy()
    turning = labels.any(1)
    assert np.array_equal(truth.sum((1, 2)), turning)
    # the label turns so many steps after the true cell
    assert np.array_equal(labels[turning].argmax(1), truth[turning][:, :, 0].argmax(1) + delay)


@pytest.mark.parametrize("delay", [0, 2])
def test_the_true_spike_is_the_only_one_without_which_a_label_changes(delay):
    spikes = drawn("test", 500)[1][:120]
    labels, truth = labelled(spikes, delay), Spike(delay=delay).data().test.truths["spike"].values.numpy()
    for row, step, series in zip(*np.nonzero(spikes), strict=True):
        without = spikes[row : row + 1].copy()
        without[0, step, series] = False
        changes = bool((labelled(without, delay) != labels[row]).any())
        assert changes == bool(truth[row, step, series])


@pytest.mark.parametrize("delay", [0, 2])
@pytest.mark.full
def test_the_model_turns_by_the_true_spike(delay):
    task = Spike(delay=delay)
    subject = task.subject(0)
    assert subject.competence.score > 0.995
    assert subject.competence.baseline < 0.75
    batch, truth = subject.batch, subject.batch.truths["spike"].values
    turn = truth[:, :, 0].argmax(1) + delay
    rows = torch.arange(len(batch))
    with torch.no_grad():
        before = subject.model.step_scores(batch.inputs)[rows, turn].argmax(1)
        after = subject.model.step_scores(batch.inputs - 1.5 * truth)[rows, turn].argmax(1)
    assert before.double().mean() > 0.9
    assert after.double().mean() < 0.1


def test_of_a_spike_only_sequences_whose_label_turns_are_explained():
    data = Spike(delay=20).data()
    assert (data.explained.truths["spike"].values.sum((1, 2)) == 1).all()
    assert data.explained.truths["spike"].retrospective
    assert data.explained.truths["spike"].values[:, 60:].sum() == 0


def test_methods_find_the_spike():
    subject = Spike().subject(0)
    assert precision(subject, "deeplift") > 0.8
    assert precision(subject, "occlusion") > 0.6
    assert precision(subject, "random") < 0.1


# ---- moving-box -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "size", "steps", "features"),
    [
        ("middle", (30, 30), {10}, {10}),
        ("moving", (30, 30), set(range(20)), set(range(20))),
        ("rare-time", (6, 40), {22}, {5}),
        ("rare-feature", (40, 6), {5}, {22}),
        ("positional", (20, 20), {1, 29}, set(range(30))),
    ],
)
def test_boxes_have_the_published_sizes_and_places(layout, size, steps, features):
    batch = MovingBox(layout=layout).data().test
    truth = batch.truths["box"].values
    rows, columns = truth.any(2), truth.any(1)
    assert torch.equal(truth.bool(), rows[:, :, None] & columns[:, None, :])
    assert (rows.sum(1) == size[0]).all()
    assert (columns.sum(1) == size[1]).all()
    for inside, begins, extent in ((rows, steps, size[0]), (columns, features, size[1])):
        first = inside.int().argmax(1)
        assert set(first.tolist()) == begins
        assert all(inside[row, begin : begin + extent].all() for row, begin in enumerate(first.tolist()))


def counterpart(batch, layout):
    """Return the inputs as they would be in the other class: the box shifted the other way, or at the other time."""
    box = batch.truths["box"].values
    if layout != "positional":
        return batch.inputs - 2 * box * (2 * batch.targets - 1)[:, None, None]
    elsewhere = torch.where(batch.targets[:, None, None] == 1, box.roll(28, 1), box.roll(-28, 1))
    return batch.inputs - box + elsewhere


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_class_is_in_the_box(layout):
    batch = MovingBox(layout=layout).data().test
    box = batch.truths["box"].values
    mean = (batch.inputs * box).sum((1, 2)) / box.sum((1, 2))
    if layout == "positional":
        assert torch.equal(box[:, 10, :].any(1), batch.targets == 1)
        assert mean.min() > 0.7
    else:
        assert torch.equal(mean > 0, batch.targets == 1)
        assert abs(mean.abs().mean() - 1) < 0.01
    outside = batch.inputs[box == 0]
    assert abs(outside.mean()) < 0.005
    assert abs(outside.var() - 1) < 0.01
    # nothing else tells the class
    rest = (batch.inputs * (1 - box)).sum((1, 2)) / (1 - box).sum((1, 2))
    assert abs(rest[batch.targets == 1].mean() - rest[batch.targets == 0].mean()) < 0.01


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.full
def test_the_model_decides_by_the_box(layout):
    task = MovingBox(layout=layout)
    model, batch = task.subject(0).model, task.data().test
    assert task.training(0).competence.fit
    rng = torch.Generator().manual_seed(0)
    box = batch.truths["box"].values
    other_noise = torch.where(box == 1, batch.inputs, torch.randn(batch.inputs.shape, generator=rng))
    with torch.no_grad():
        said, turned, kept = (model(x).argmax(1) for x in (batch.inputs, counterpart(batch, layout), other_noise))
    assert (turned != said).double().mean() > 0.95
    assert (kept == said).double().mean() > 0.95


def test_autoregressive_noise_has_its_moments():
    values = moving_box._noise("autoregressive", 400, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    drawn_noise, seen = rng.standard_normal(values.shape), rng.standard_normal(values.shape)
    hidden = np.zeros(values.shape)
    for step in range(50):
        hidden[:, step] = 0.9 * (hidden[:, step - 1] if step else 0) + 0.5 * drawn_noise[:, step]
    assert np.allclose(values, hidden + 0.3 * seen)
    late = values[:, 40:]
    assert abs(late.var() - (0.25 / (1 - 0.81) + 0.09)) < 0.02
    lagged = (late[:, 1:] * late[:, :-1]).mean()
    assert abs(lagged - 0.9 * 0.25 / (1 - 0.81)) < 0.02


@pytest.mark.full
def test_autoregressive_noise_is_learnt_too():
    found = MovingBox(layout="positional", noise="autoregressive").training(0).competence
    assert found.fit
    assert found.baseline < 0.6


def test_methods_find_the_box_better_than_chance():
    subject = MovingBox(layout="rare-time").subject(0)
    assert precision(subject, "random") == pytest.approx(0.096, abs=0.01)
    assert precision(subject, "integrated-gradients") > 0.2


# ---- rare-feature and rare-time -------------------------------------------------------------------------------------

RARE = [RareFeature, RareTime]


def test_series_follow_the_published_recursion():
    found = rare._noise(2, np.random.default_rng(5))
    drawn_noise = np.random.default_rng(5).standard_normal((2, 50, 50))
    # ArmaProcess(ar=[2, .5, .2, .1], ma=[2]): 2 x_t + .5 x_{t−1} + .2 x_{t−2} + .1 x_{t−3} = 2 ε_t
    values = np.zeros((2, 53, 50))
    for step in range(50):
        past = 0.5 * values[:, step + 2] + 0.2 * values[:, step + 1] + 0.1 * values[:, step]
        values[:, step + 3] = (2 * drawn_noise[:, step] - past) / 2
    assert np.allclose(found, values[:, 3:])
    statsmodels = pytest.importorskip("statsmodels.tsa.arima_process")
    process = statsmodels.ArmaProcess(ar=np.array([2, 0.5, 0.2, 0.1]), ma=np.array([2.0]))
    rng = np.random.default_rng(5)
    theirs = process.generate_sample(nsample=(2, 50, 50), axis=1, distrvs=rng.standard_normal)
    assert np.allclose(found, theirs)


@pytest.mark.parametrize("make", RARE)
def test_regions_are_the_published_ones(make):
    data = make(instances=200).data()
    for part in (data.train, data.explained):
        region = part.context["region"]
        region = region if make is RareFeature else region.transpose(1, 2)
        assert (region.sum((1, 2)) == 125).all()
        middle = region.any(2)
        assert middle[:, 12:37].all()
        assert middle.sum() == 25 * len(part)
        assert (region.any(1).sum(1) == 5).all()
    rare_places = region.any(1)
    first = rare_places.int().argmax(1)
    if make is RareTime:
        assert set(first.tolist()) <= set(range(45))
        assert all(rare_places[row, begin : begin + 5].all() for row, begin in enumerate(first.tolist()))
    # any feature or step is one of them sometimes
    assert rare_places.any(0)[:49].all()


@pytest.mark.parametrize("make", RARE)
def test_the_white_box_is_additive_and_its_truth_exact(make):
    subject = make(instances=4).subject(0)
    batch, model = subject.batch, subject.model
    squares, region = batch.truths["shapley"].values, batch.context["region"]
    assert torch.equal(squares, batch.inputs.square() * region)
    assert torch.equal(batch.truths["region"].values.bool(), region)
    assert torch.equal(squares != 0, region)
    assert torch.allclose(squares.sum((1, 2)), batch.targets[:, 0], rtol=1e-5)
    rng = torch.Generator().manual_seed(0)
    for _ in range(5):
        keep = torch.rand(batch.inputs.shape, generator=rng) < 0.5
        # what any set of cells gives is the sum of their truths: so these are their Shapley values
        assert torch.allclose(model(batch.inputs * keep, region)[:, 0], (squares * keep).sum((1, 2)), rtol=1e-5)
    elsewhere = torch.where(region, batch.inputs, torch.randn(batch.inputs.shape, generator=rng))
    assert torch.equal(model(elsewhere, region), model(batch.inputs, region))
    assert (model(batch.inputs.masked_fill(region, 0), region) == 0).all()


@pytest.mark.parametrize("make", RARE)
def test_one_white_box_for_all_seeds_that_is_the_rule(make):
    first, other = make().subject(0), make().subject(7)
    assert torch.equal(first.batch.inputs, other.batch.inputs)
    assert torch.equal(first.batch_outputs, other.batch_outputs)
    assert first.competence.score == pytest.approx(1, abs=1e-9)
    assert first.competence.baseline < 0.05
    assert not make.trainable
    assert first.retraining is None
    again = make().generate(200, "test")
    assert torch.equal(again.inputs, make().data().test.inputs)
    assert torch.equal(again.context["region"], make().data().test.context["region"])


@pytest.mark.parametrize("make", RARE)
@pytest.mark.parametrize(("method", "factor"), [("occlusion", 1), ("integrated-gradients", 1), ("gradient-x-input", 2)])
def test_methods_give_the_truth_exactly(make, method, factor):
    subject = make(instances=2).subject(0)
    found = evidence(subject, plugins.build("method", method))
    expected = factor * subject.batch.truths["shapley"].values
    assert torch.allclose(found.attribution.values, expected, atol=2e-4)
    assert float(AveragePrecision().measure(found).min()) == pytest.approx(1)
    assert float(TruthCorrelation().measure(found).min()) == pytest.approx(1, abs=1e-5)


def figures(subject, values):
    """Return AUP, AUR, information and entropy by sequence, float64[B, 4], average precision, AUPRC by trapezoids."""
    cell = replace(evidence(subject, StandIn("constant")), attribution=Attribution(values, signed=False))
    assert cell.attribution.granularity == "cell"
    four = torch.stack(
        [m.measure(cell) for m in (AreaUnderPrecision(), AreaUnderRecall(), Information(), MaskEntropy())]
    )
    curves = [
        precision_recall_curve(hit.flatten().numpy(), said.flatten().numpy())
        for hit, said in zip(subject.batch.context["region"], values, strict=True)
    ]
    trapezoids = [auc(recall, precise) for precise, recall, _ in curves]
    return four.T.double(), float(AveragePrecision().measure(cell).mean()), float(np.mean(trapezoids))


def calibrated(found, published):
    """Whether published means (and sums over ten sequences) lie within the spread of ten sequences."""
    four, *precisions = found
    scale = torch.tensor([1.0, 1, 10, 10], dtype=torch.float64)
    mean, spread = four.mean(0) * scale, four.std(0) * scale / math.sqrt(10)
    rounding = torch.tensor([1e-3, 1e-3, 0.02, 0.02], dtype=torch.float64) + 3e-4 * mean
    near = (mean - torch.tensor(published[:4], dtype=torch.float64)).abs() <= 3 * spread + rounding
    return bool(near.all()) and precisions == pytest.approx(published[4:], abs=4e-3), mean, spread, precisions


@pytest.mark.parametrize("make", RARE)
def test_the_calibration_table_is_reproduced_without_any_model(make):
    """As test_saturated.py has it on maps alone; here from the task, by its subject, to the metrics."""
    subject = make(instances=100).subject(0)
    exact = subject.batch.truths["shapley"].values
    table = {
        "exact Shapley": (exact, [1.000, 0.133, 468, 478, 1, 1]),
        "perfect binary mask": (subject.batch.context["region"].float(), [0.525, 1.000, 19510, 0.2, 1, 1]),
        "uniform random": (
            torch.rand(exact.shape, generator=torch.Generator().manual_seed(0)),
            [0.050, 0.501, 1813, 914, 0.050, 0.050],
        ),
        "all zeros": (torch.zeros(exact.shape), [0, 0, 0, 0, 0.05, 0.525]),
    }
    for name, (values, published) in table.items():
        fits, *seen = calibrated(figures(subject, values), published)
        assert fits, (name, seen, published)


# ---- ecg-lesion -----------------------------------------------------------------------------------------------------


def pair(lesion, seed):
    """Return one record, ill and healthy, and the segment of the lesion."""
    ill, segment = ecg_lesion._record(lesion, np.random.default_rng(seed), ill=True)
    healthy, nothing = ecg_lesion._record(lesion, np.random.default_rng(seed), ill=False)
    assert not nothing.any()
    return ill, healthy, segment


def test_a_beat_solves_the_published_equation():
    """McSharry et al. 2003, equation 1, on the limit cycle: dz/dθ = −Σ aᵢ Δθᵢ exp(−Δθᵢ²/2bᵢ²), R for the unit."""
    angles = np.array([-np.pi / 3, -np.pi / 12, 0, np.pi / 12, np.pi / 2])
    sizes, widths = np.array([1.2, -5, 30, -7.5, 0.75]), np.array([0.25, 0.1, 0.1, 0.1, 0.4])
    interval = 240.0
    phase = 2 * np.pi * (ecg_lesion._TIMES - 1.5) / interval
    beat, step = ecg_lesion._beat(ecg_lesion._WAVES, 1.5, interval), phase[1] - phase[0]
    away = phase[:, None] - angles
    slope = -(sizes * away * np.exp(-(away**2) / (2 * widths**2))).sum(1) / (30 * 0.1**2)
    assert np.allclose((beat[2:] - beat[:-2]) / (2 * step), slope[1:-1], atol=1e-4)


def test_heights_of_the_waves_are_an_electrocardiograms():
    heights = dict(zip("PQRST", ecg_lesion._HEIGHTS.tolist(), strict=True))
    assert heights == pytest.approx({"P": 0.25, "Q": -1 / 6, "R": 1.0, "S": -0.25, "T": 0.4})


@pytest.mark.parametrize("lesion", LESIONS)
def test_outside_its_segment_an_ill_record_is_the_healthy_one(lesion):
    lengths = []
    for seed in range(200):
        ill, healthy, segment = pair(lesion, seed)
        inside = np.flatnonzero(segment)
        assert np.array_equal(ill[~segment], healthy[~segment])
        assert np.array_equal(inside, np.arange(inside[0], inside[-1] + 1))
        assert np.abs(ill - healthy)[inside[[0, -1]]].min() >= 0.02 - 1e-9
        assert inside[0] > 0
        assert inside[-1] < 239
        lengths.append(len(inside))
    low, high = (30, 90) if lesion == "premature-beat" else (10, 25)
    assert low < min(lengths)
    assert max(lengths) < high


def test_a_raised_segment_is_raised_by_what_is_said():
    for seed in range(100):
        ill, healthy, segment = pair("st-segment", seed)
        change = (ill - healthy)[segment]
        assert 0.24 < np.abs(change).max() < 0.46
        assert (np.sign(change) == np.sign(change[0])).all()


def test_a_premature_beat_is_early_and_wide():
    widths = []
    for seed in range(100):
        ill, healthy, segment = pair("premature-beat", seed)
        due, came = (record[segment].argmax() / 80 for record in (healthy, ill))
        assert 0.1 < due - came < 0.4
        # samples above half the height
        widths.append([int((record[segment] > record[segment].max() / 2).sum()) for record in (ill, healthy)])
    ill, healthy = np.mean(widths, 0)
    assert ill > 1.7 * healthy


def test_noise_of_a_record():
    rng = np.random.default_rng(0)
    found = np.stack([ecg_lesion._disturbance(rng) for _ in range(2000)])
    assert abs(np.diff(found, axis=1).std() - 0.03 * math.sqrt(2)) < 0.001
    assert abs(found.std() - math.sqrt(0.1**2 / 2 + 0.03**2)) < 0.003


def test_only_ill_records_are_explained_and_only_they_have_a_truth():
    data = EcgLesion().data()
    truth = data.test.truths["lesion"].values
    assert torch.equal(truth.any(1), data.test.targets == 1)
    assert abs(data.test.targets.double().mean() - 0.5) < 0.06
    assert data.explained.targets.all()
    assert data.explained.truths["lesion"].values.any(1).all()


def test_mixed_records_have_both_lesions():
    lengths = EcgLesion(instances=200).data().explained.truths["lesion"].values.sum(1)
    assert 0.4 < (lengths > 27).double().mean() < 0.6


def test_the_model_decides_by_the_lesion():
    task = EcgLesion()
    subject = task.subject(0)
    assert subject.competence.fit
    assert subject.competence.baseline < 0.7
    for lesion in LESIONS:
        pairs = [pair(lesion, 1000 + seed)[:2] for seed in range(60)]
        ill, healthy = (torch.tensor(np.stack(records)).float()[:, :, None] for records in zip(*pairs, strict=True))
        with torch.no_grad():
            said, cured = subject.model(ill).argmax(1), subject.model(healthy).argmax(1)
        assert said.double().mean() > 0.9
        assert cured.double().mean() < 0.1


def test_methods_find_the_lesion():
    subject = EcgLesion().subject(0)
    chance = precision(subject, "random")
    for method in ("deeplift", "integrated-gradients", "occlusion"):
        assert precision(subject, method) > 2 * chance
