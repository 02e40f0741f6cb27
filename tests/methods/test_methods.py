"""Every other method against a literal definition in float64, or against the library it stands for."""

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from lime.lime_base import LimeBase
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.inspection import permutation_importance
from sklearn.linear_model import Ridge
from sklearn.metrics import pairwise_distances

from xrnnbench.errors import CompletenessWarning, ContractError, ParameterError, UnsupportedModelError, XrnnbenchWarning
from xrnnbench.methods.attention.attention_weights import Attention, AttentionGradient
from xrnnbench.methods.controls.informed import Oracle
from xrnnbench.methods.controls.uninformed import Magnitude, Random
from xrnnbench.methods.gradient.gradients import GradientXInput, IntegratedGradients
from xrnnbench.methods.perturbation.single_features import Occlusion, Permutation, PermutationImportance
from xrnnbench.methods.surrogate.lime import Lime, fit_ridge, similarity
from xrnnbench.plugins import build
from xrnnbench.tasks.data.batch import Batch, Truth
from xrnnbench.tasks.models.networks import AttentiveRecurrentNet, RecurrentNet
from xrnnbench.tasks.subject import Subject

ROWS, STEPS, FEATURES = 5, 6, 3


@pytest.fixture(params=["cells", "tokens", "regression"])
def subject(request):
    torch.manual_seed(0)
    lengths = torch.tensor([6, 1, 4, 5, 2])
    valid = torch.arange(STEPS) < lengths[:, None]
    targets = torch.tensor([0, 1, 0, 1, 0])
    if request.param == "tokens":
        model = AttentiveRecurrentNet(4, 6, 2, bidirectional=True, pooling="attention", vocabulary_size=9)
        inputs, reference = (
            torch.randint(2, 9, (ROWS, STEPS)) * valid,
            torch.ones(ROWS, STEPS, dtype=torch.int64) * valid,
        )
    else:
        inputs = torch.randn(ROWS, STEPS, FEATURES).double() * valid[..., None]
        reference = torch.full_like(inputs, 0.1)
        model = AttentiveRecurrentNet(FEATURES, 6, 2, cell="gru", pooling="dot-attention")
    if request.param == "regression":
        model, targets = RecurrentNet(FEATURES, 6, 1, cell="gru"), torch.randn(ROWS, 1).double()
    batch = Batch(inputs, lengths, targets)
    outputs = "values" if request.param == "regression" else "logits"
    return Subject(model.double(), batch, reference, background=batch, outputs_are=outputs).check()


def score_of(subject, row, changed):
    """f of one changed sequence, run alone and unpadded."""
    length = subject.batch.lengths[row]
    with torch.no_grad():
        output = subject.model.eval()(changed[None, :length], length[None])
    return output[0, subject.target[row]]


def valid_features(subject, row):
    """Indices of one sequence's features: (t,) or (t, d)."""
    steps = range(int(subject.batch.lengths[row]))
    if subject.granularity == "step":
        return [(t,) for t in steps]
    return [(t, d) for t in steps for d in range(FEATURES)]


def test_occlusion_is_its_definition(subject):
    found = Occlusion().explain(subject).values
    for row in range(ROWS):
        inputs = subject.batch.inputs[row]
        for place in valid_features(subject, row):
            changed = inputs.clone()
            changed[place] = subject.reference[row][place]
            expected = score_of(subject, row, inputs) - score_of(subject, row, changed)
            assert float(found[row][place] - expected) == pytest.approx(0, abs=1e-12)


def test_occlusion_costs_one_forward_for_each_feature_and_one_more(subject):
    Occlusion().explain(subject)
    assert subject.cost.forward == int(subject.valid.sum()) + ROWS
    assert subject.cost.backward == 0


def test_permutation_is_its_definition_for_the_same_donors(subject):
    method = Permutation(draws=4)
    found = method.explain(subject, seed=5).values
    donors = iter(method._donors(subject, ROWS, method.generator(5)))
    for row in range(ROWS):
        inputs = subject.batch.inputs[row]
        for place in valid_features(subject, row):
            expected = score_of(subject, row, inputs).clone()
            for donor in next(donors).tolist():
                changed = inputs.clone()
                step = min(place[0], int(subject.batch.lengths[donor]) - 1)
                changed[place] = subject.batch.inputs[donor][(step, *place[1:])]
                expected -= score_of(subject, row, changed) / 4
            assert float(found[row][place] - expected) == pytest.approx(0, abs=1e-12)


def test_permutation_importance_is_the_drop_of_the_models_score():
    """A linear classifier that reads one feature: shuffling that one costs accuracy, the others nothing."""
    torch.manual_seed(1)
    inputs = torch.randn(200, 4, 3).double()

    class Reads(torch.nn.Module):
        def forward(self, x):
            return torch.stack([x[:, 1, 2], -x[:, 1, 2]], 1)

    targets = (inputs[:, 1, 2] < 0).long()
    subject = Subject(Reads(), Batch(inputs, torch.full((200,), 4), targets), torch.zeros_like(inputs)).check()
    by_feature = PermutationImportance(score="accuracy").explain(subject).values[0]
    by_step = PermutationImportance(unit="step", score="accuracy").explain(subject).values[0]
    by_cell = PermutationImportance(unit="cell", score="accuracy").explain(subject).values[0]
    assert by_feature[0].tolist() == pytest.approx([0, 0, 0.5], abs=0.1)
    assert by_step[:, 0].tolist() == pytest.approx([0, 0.5, 0, 0], abs=0.1)
    assert float(by_cell[1, 2]) == pytest.approx(0.5, abs=0.1)
    assert float(by_cell.abs().sum() - by_cell[1, 2].abs()) == 0
    assert subject.cost.forward == 200 * (3 + (3 + 4 + 12) * 5)


def quality(name, probabilities, targets):
    """A score of predicted classes, literally."""
    if name == "log-likelihood":
        return np.mean([np.log(row[target]) for row, target in zip(probabilities, targets, strict=True)])
    hits = [float(row.argmax() == target) for row, target in zip(probabilities, targets, strict=True)]
    if name == "accuracy":
        return np.mean(hits)
    by_class = [[hit for hit, target in zip(hits, targets, strict=True) if target == own] for own in set(targets)]
    return np.mean([np.mean(own) for own in by_class])


class Logits(torch.nn.Module):
    """Sums of features as the outputs of a kind."""

    def __init__(self, outputs_are):
        super().__init__()
        self.outputs_are = outputs_are

    def forward(self, inputs, lengths):
        inside = (torch.arange(inputs.shape[1]) < lengths[:, None])[..., None]
        logits = (inputs * inside).sum(1) * torch.tensor([3.0, 1.0, 0.5])
        match self.outputs_are:
            case "binary-logit":
                return torch.stack([-logits[:, 0], logits[:, 0]], 1)
            case "binary-probability":
                return torch.stack([1 - logits[:, 0].sigmoid(), logits[:, 0].sigmoid()], 1)
        return logits.softmax(1) if self.outputs_are == "probabilities" else logits


@pytest.mark.parametrize("outputs_are", ["logits", "probabilities", "binary-logit", "binary-probability"])
@pytest.mark.parametrize("score", ["log-likelihood", "accuracy", "balanced-accuracy"])
def test_permutation_importance_is_its_definition(outputs_are, score):
    torch.manual_seed(3)
    lengths = torch.tensor([4, 2, 4, 3, 1, 4, 2, 3])
    inputs = torch.randn(8, 4, 3).double() * (torch.arange(4) < lengths[:, None])[..., None]
    classes = 2 if outputs_are.startswith("binary") else 3
    targets = torch.arange(8) % classes
    model = Logits(outputs_are)
    batch = Batch(inputs, lengths, targets)
    subject = Subject(model, batch, torch.zeros_like(inputs), outputs_are=outputs_are).check()
    method = PermutationImportance(unit="step", repeats=3, score=score)
    values = method.explain(subject, seed=4).values

    def measured(changed):
        outputs = model(changed, lengths)
        if outputs_are == "binary-logit":  # the probabilities of a logit z are σ(−z) and σ(z), its outputs −z and z
            outputs = outputs.sigmoid()
        elif outputs_are == "logits":
            outputs = outputs.softmax(1)
        return quality(score, outputs.numpy(), targets.tolist())

    rng = method.generator(4)
    for step in range(4):
        rows = [row for row in range(8) if lengths[row] > step]
        after = []
        for _ in range(3):
            order = torch.randperm(len(rows), generator=rng).tolist()
            changed = inputs.clone()
            for row, donor in zip(rows, (rows[place] for place in order), strict=True):
                changed[row, step] = inputs[donor, step]
            after.append(measured(changed))
        drop = measured(inputs) - np.mean(after)
        for row in rows:
            assert values[row, step].tolist() == pytest.approx([drop] * 3, rel=1e-6, abs=1e-9)  # kept in float32


def planted(count=400):
    """A class of 3 % that the model finds more probable by its first feature and never predicts."""
    inputs = torch.randn(count, 1, 3, generator=torch.Generator().manual_seed(1)).double()

    class Rare(torch.nn.Module):
        def forward(self, x):
            score = 2 * x[:, 0, 0].tanh() + 0.1 * x[:, 0, 1].tanh() - 4
            return torch.stack([torch.zeros_like(score), score], 1)

    targets = (inputs[:, 0, 0] >= inputs[:, 0, 0].sort(descending=True).values[11]).long()
    assert int(targets.sum()) == 12
    return Subject(Rare(), Batch(inputs, torch.ones(count).long(), targets), torch.zeros_like(inputs)).check()


@pytest.mark.parametrize("score", ["accuracy", "balanced-accuracy"])
def test_shuffles_of_what_a_rare_class_rests_on_change_no_prediction(score):
    with pytest.warns(
        XrnnbenchWarning, match=f"the {score} could not move and all values are 0; choose score=log-like"
    ):
        values = PermutationImportance(score=score).explain(planted()).values
    assert not values.any()


def test_the_log_likelihood_finds_what_a_rare_class_rests_on():
    subject = planted()
    first, second, unused = PermutationImportance().explain(subject).values[0, 0].tolist()
    assert first > 0.01
    assert abs(second) < 0.1 * first
    assert unused == 0
    assert subject.cost.forward == 400 * (1 + 3 * 5)


def test_permutation_importance_is_that_of_scikit_learn(monkeypatch):
    """The same shuffles: those of scikit-learn are read from the inputs that its model is called with."""
    subject, calls = planted(60), []

    class Recording(ClassifierMixin, BaseEstimator):
        classes_ = np.arange(2)

        def fit(self, inputs, targets):
            return self

        def predict_proba(self, inputs):
            calls.append(inputs.copy())
            return subject.model(torch.from_numpy(inputs)[:, None]).softmax(1).numpy()

    inputs, targets = subject.batch.inputs[:, 0].numpy(), subject.batch.targets.numpy()
    peer = permutation_importance(Recording(), inputs, targets, scoring="neg_log_loss", n_repeats=4, random_state=0)
    shuffles = iter(
        torch.tensor([inputs[:, place // 4].tolist().index(value) for value in call[:, place // 4]])
        for place, call in enumerate(calls[1:])
    )
    monkeypatch.setattr(torch, "randperm", lambda count, generator: next(shuffles))
    values = PermutationImportance(repeats=4).explain(subject).values[0, 0]
    assert values.tolist() == pytest.approx(peer.importances_mean.tolist(), rel=1e-6, abs=1e-9)
    assert next(shuffles, None) is None


def test_a_probability_of_0_counts_as_the_smallest_positive_number():
    class Sure(torch.nn.Module):
        def forward(self, x):
            return torch.stack([(x[:, 0, 0] > 0).float(), (x[:, 0, 0] <= 0).float()], 1)

    inputs = torch.tensor([1.0, -1]).repeat(50).view(100, 1, 1)
    targets = (inputs[:, 0, 0] <= 0).long()
    batch = Batch(inputs, torch.ones(100).long(), targets)
    subject = Subject(Sure(), batch, torch.zeros_like(inputs), outputs_are="probabilities").check()
    by_likelihood = PermutationImportance().explain(subject).values[0, 0]
    by_accuracy = PermutationImportance(score="accuracy").explain(subject).values[0, 0]
    assert float(by_likelihood) == pytest.approx(float(by_accuracy) * -np.log(torch.finfo(torch.float32).tiny))


def test_a_score_that_there_is_not_is_refused():
    with pytest.raises(ParameterError, match="score='auc' is none of log-likelihood, accuracy, balanced-accuracy"):
        PermutationImportance(score="auc")


def test_permutation_importance_of_a_regression_is_the_drop_of_r2():
    torch.manual_seed(1)
    inputs = torch.randn(300, 3, 2).double()

    class Sum(torch.nn.Module):
        def forward(self, x):
            return x[:, :, 0].sum(1, keepdim=True)

    batch = Batch(inputs, torch.full((300,), 3), inputs[:, :, 0].sum(1, keepdim=True))
    subject = Subject(Sum(), batch, torch.zeros_like(inputs), outputs_are="values").check()
    values = PermutationImportance(unit="step", repeats=20).explain(subject).values[0]
    same = PermutationImportance(unit="step", repeats=20, score="accuracy").explain(subject).values[0]
    assert torch.equal(values, same)
    # shuffling one of three independent summands doubles its share of the variance as error: R² falls by 2/3
    assert values[:, 0].tolist() == pytest.approx([2 / 3] * 3, abs=0.1)


def scorer(subject, row):
    """The score as captum wants it: a function of embedded or real inputs [1, t, D]."""
    view = subject.continuous()
    length = subject.batch.lengths[row : row + 1]
    return lambda x: view.model(x, length.repeat(len(x)))[:, subject.target[row]]


def unpadded(subject, row):
    view, length = subject.continuous(), int(subject.batch.lengths[row])
    return view.batch.inputs[row : row + 1, :length], view.reference[row : row + 1, :length], length


def test_integrated_gradients_equal_captums(subject):
    found = IntegratedGradients(steps=16).explain(subject).values
    subject.model.eval()
    for row in range(ROWS):
        inputs, reference, length = unpadded(subject, row)
        theirs = CaptumIntegratedGradients(scorer(subject, row)).attribute(
            inputs.clone(), reference, n_steps=16, method="gausslegendre"
        )
        torch.testing.assert_close(found[row : row + 1, :length], subject.reduced(theirs), rtol=1e-6, atol=1e-9)


def test_integrated_gradients_cost_their_nodes_and_add_up(subject):
    found = IntegratedGradients().explain(subject)
    assert (subject.cost.forward, subject.cost.backward) == (32 * ROWS, 32 * ROWS)
    gap = found.values.flatten(1).sum(1) - (subject.score - subject.reference_score)
    assert float(gap.abs().max()) < 1e-6


def test_gradient_x_input_equals_captums(subject):
    found = GradientXInput().explain(subject).values
    assert (subject.cost.forward, subject.cost.backward) == (ROWS, ROWS)
    subject.model.eval()
    for row in range(ROWS):
        inputs, _, length = unpadded(subject, row)
        theirs = InputXGradient(scorer(subject, row)).attribute(inputs.clone().requires_grad_()).detach()
        torch.testing.assert_close(found[row : row + 1, :length], subject.reduced(theirs), rtol=1e-9, atol=1e-12)


def test_attention_is_what_the_model_pooled_with(subject):
    if not subject.attentive or subject.model.attention is None:
        assert Attention().applicable(subject) or subject.outputs_are == "values"
        pytest.skip("the regression specimen has no attention")
    weights = Attention().explain(subject).values
    torch.testing.assert_close(weights.sum(1), torch.ones(ROWS).double())
    signed = AttentionGradient().explain(subject).values
    states, lengths = subject.model.eval().states(subject.batch.inputs, subject.batch.lengths)
    with torch.no_grad():
        # f is linear in the weights: the derivative with respect to one is what its state adds to the score
        effect = states @ subject.model.head.weight.T
        effect = effect.gather(2, subject.target[:, None, None].expand(-1, STEPS, 1)).squeeze(2)
    torch.testing.assert_close(signed, (weights * effect * subject.batch.valid).detach(), rtol=1e-9, atol=1e-12)
    assert lengths.equal(subject.batch.lengths)


def test_magnitude_is_the_size_of_the_input(subject):
    found = Magnitude().explain(subject).values
    if subject.batch.tokens:
        expected = subject.model.embedding(subject.batch.inputs).norm(dim=2) * subject.batch.valid
    else:
        expected = subject.batch.inputs.abs()
    torch.testing.assert_close(found, expected.detach())


def test_oracle_gives_the_truth_turned_to_the_explained_class():
    inputs, lengths, targets = torch.randn(2, 3, 2), torch.tensor([3, 2]), torch.tensor([0, 1])
    values = torch.tensor([[[1.0, -2], [0, 3], [0, 0]], [[-1, 0], [2, 0], [0, 0]]])
    for toward, sign in ((None, [1, 1]), (1, [-1, 1])):
        truth = Truth(values, "human-rating", "output", signed=True, toward=toward)
        batch = Batch(inputs, lengths, targets, {"main": truth})
        subject = Subject(RecurrentNet(2, 3, 2), batch, torch.zeros_like(inputs), target=targets)
        assert Oracle().explain(subject).values.equal(values * torch.tensor(sign)[:, None, None])
    bare = Subject(RecurrentNet(2, 3, 2), Batch(inputs, lengths, targets), torch.zeros_like(inputs))
    assert Oracle().applicable(bare) == "the truth is not known"
    with pytest.raises(UnsupportedModelError, match="needs a truth"):
        Oracle().explain(bare)


def test_random_is_uniform():
    inputs = torch.randn(40, 50, 3)
    subject = Subject(
        RecurrentNet(3, 4, 2), Batch(inputs, torch.full((40,), 50), torch.zeros(40).long()), torch.zeros_like(inputs)
    )
    values = Random().explain(subject).values.flatten().sort().values
    ideal = (torch.arange(len(values)) + 0.5) / len(values)
    assert float(((values + 1) / 2 - ideal).abs().max()) < 1.95 / len(values) ** 0.5  # Kolmogorov–Smirnov at 0.1 %


# ---- lime against the package ------------------------------------------------------------------------------------


def package_explanation(masks, scores, width=25.0):
    """The lime package's own regression over given masks: (coefficients, intercept, R²)."""
    data = masks.double().numpy()
    distances = pairwise_distances(data, data[:1], metric="cosine").ravel() * 100  # as lime_text does
    base = LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / width**2)), random_state=np.random.RandomState(0))
    intercept, pairs, r2, _ = base.explain_instance_with_data(
        data, scores.double().numpy()[:, None], distances, 0, data.shape[1], feature_selection="none"
    )
    found = np.zeros(data.shape[1])
    for feature, value in pairs:
        found[feature] = value
    return found, intercept, r2


def test_lime_equals_the_package_given_its_masks(subject):
    method = Lime(samples=200)
    found = method.explain(subject, seed=3).values
    surrogates = method.surrogates(subject, method.generator(3))
    seeds = torch.randint(2**62, (ROWS,), generator=method.generator(3)).tolist()
    for row in range(ROWS):
        places = valid_features(subject, row)
        masks = method.masks(len(places), seeds[row])
        scores = []
        for mask in masks:
            changed = subject.batch.inputs[row].clone()
            for place, kept in zip(places, mask.tolist(), strict=True):
                if not kept:
                    changed[place] = subject.reference[row][place]
            length = subject.batch.lengths[row]
            with torch.no_grad():
                output = subject.model.eval()(changed[None, :length], length[None])[0]
            scores.append((output.softmax(0) if subject.classification else output)[subject.target[row]])
        theirs, intercept, r2 = package_explanation(masks, torch.stack(scores))
        ours = [float(found[row][place]) for place in places]
        assert ours == pytest.approx(theirs, abs=1e-6)  # attributions are float32
        assert surrogates[row].coefficients.numpy() == pytest.approx(theirs, abs=1e-8)
        assert surrogates[row].intercept == pytest.approx(intercept, abs=1e-8)
        assert surrogates[row].r2 == pytest.approx(r2, abs=1e-8)


def test_lime_draws_masks_as_the_package_does():
    masks = Lime(samples=20001).masks(4, seed=0)
    assert masks[0].all()
    removed = (~masks[1:]).sum(1)
    shares = torch.bincount(removed, minlength=5)[1:] / 20000
    assert shares.tolist() == pytest.approx([0.25] * 4, abs=0.015)
    assert masks[1:].double().mean(0).tolist() == pytest.approx([0.375] * 4, abs=0.015)


def test_ridge_is_scikit_learns():
    rng = np.random.default_rng(0)
    masks, scores, weights = rng.random((50, 6)) < 0.5, rng.normal(size=50), rng.random(50)
    theirs = Ridge(alpha=2.0).fit(masks, scores, sample_weight=weights)
    ours = fit_ridge(torch.from_numpy(masks).double(), torch.from_numpy(scores), torch.from_numpy(weights), 2.0)
    assert ours.coefficients.numpy() == pytest.approx(theirs.coef_, abs=1e-10)
    assert ours.intercept == pytest.approx(theirs.intercept_, abs=1e-10)
    assert ours.r2 == pytest.approx(theirs.score(masks, scores, weights), abs=1e-10)


def test_a_constant_score_has_a_perfect_fit_and_an_empty_mask_is_far_away():
    masks = torch.tensor([[1.0, 1], [0, 0], [1, 0]]).double()
    assert fit_ridge(masks, torch.ones(3).double(), torch.ones(3).double()).r2 == 1
    assert similarity(masks, 25.0).tolist() == pytest.approx([1, np.exp(-(100**2) / 625 / 2), 0.503], abs=1e-3)


@pytest.mark.parametrize(
    "spec",
    ["lime:samples=1", "lime:width=0", "permutation:draws=0", "permutation-importance:repeats=0",
     "integrated-gradients:steps=0", "lime:scale=logit"],
)  # fmt: skip
def test_a_parameter_out_of_range_is_refused(spec):
    with pytest.raises(ParameterError, match="does not fit"):
        build("method", spec)


def test_permutation_without_background_is_not_applicable(subject):
    subject.background = None
    assert Permutation().applicable(subject) == "the task has no background data"
    with pytest.raises(UnsupportedModelError, match="background"):
        Permutation().explain(subject)


def test_attention_of_the_wrong_shape_is_refused(subject):
    class Odd(torch.nn.Module):
        def forward(self, x, lengths):
            return x.double().reshape(len(x), -1)[:, :2]

        def forward_with_attention(self, x, lengths):
            return self(x, lengths), torch.zeros(len(x), 2)

    odd = Subject(Odd(), subject.batch, subject.reference, target=torch.zeros(ROWS).long())
    with pytest.raises(UnsupportedModelError, match="attention of shape"):
        Attention().explain(odd)


def test_integrated_gradients_in_small_portions_are_the_same(subject, monkeypatch):
    whole = IntegratedGradients(steps=8).explain(subject).values
    monkeypatch.setattr("xrnnbench.methods.gradient.gradients._POINTS_AT_ONCE", 1)
    torch.testing.assert_close(IntegratedGradients(steps=8).explain(subject).values, whole)


def test_values_that_are_not_finite_name_method_and_instance(subject):
    class Broken(Occlusion):
        def attribute(self, subject, rng):
            found = super().attribute(subject, rng)
            found[2] = torch.nan
            return found

    with pytest.raises(ContractError, match=r"'occlusion'.*instance 2"):
        Broken().explain(subject)


def test_a_method_that_writes_to_its_inputs_is_found_out(subject):
    class Vandal(Occlusion):
        def attribute(self, subject, rng):
            subject.batch.inputs.zero_()
            return super().attribute(subject, rng)

    before = subject.batch.inputs.clone()
    with pytest.raises(ContractError, match="'occlusion' changed the inputs it explains"):
        Vandal().explain(subject)
    assert subject.batch.inputs.equal(before)


def test_the_oracle_of_steps_with_one_feature():
    inputs = torch.randn(2, 3, 1)
    truth = {"main": Truth(inputs, "coefficient", "output", signed=True)}
    batch = Batch(inputs, torch.tensor([3, 3]), torch.tensor([0, 1]), truth)
    subject = Subject(RecurrentNet(1, 3, 2), batch, torch.zeros_like(inputs))
    assert Oracle().explain(subject).values.equal(inputs.squeeze(2))


def test_shuffling_features_of_steps_that_have_none_is_not_applicable(subject):
    reason = PermutationImportance(unit="feature").applicable(subject)
    assert bool(reason) == (subject.granularity == "step")


# ---- integrated gradients: its error --------------------------------------------------------------------------------


def test_the_error_of_integrated_gradients_is_no_larger_than_it_says(subject):
    exact = IntegratedGradients(steps=256).explain(subject).values
    for steps in (4, 8, 16):
        values, errors = IntegratedGradients(steps=steps).estimated(subject)
        assert ((values - exact).abs() <= errors + 1e-12).double().mean() > 0.95
        assert errors[subject.valid].max() > 0
    # ... and no idle warning: with nodes enough for 1e-9 it says so
    assert float(IntegratedGradients(steps=64).estimated(subject)[1].max()) < 1e-9


def test_sequences_that_miss_the_tolerance_are_asked_again():
    """A steep sigmoid along the way: few nodes miss its jump."""

    class Steep(torch.nn.Module):
        def forward(self, x):
            total = x.sum((1, 2))
            return torch.stack([total, torch.sigmoid(40 * (total - 1))], 1)

    inputs = torch.tensor([[[0.1]], [[2.2]], [[3.1]]]).double()
    subject = Subject(Steep(), Batch(inputs, torch.ones(3).long(), torch.ones(3).long()), 0 * inputs)
    subject.target = torch.ones(3, dtype=torch.int64)
    gap = (subject.score - subject.reference_score).abs()
    with pytest.warns(CompletenessWarning, match="'integrated-gradients' on the model does not sum to the difference"):
        rough = IntegratedGradients(steps=8, tolerance=0.0).explain(subject)
    assert float(((rough.values.flatten() - gap).abs() / gap).max()) > 0.05
    assert rough.incomplete.any()
    assert subject.cost.forward == subject.cost.backward == 3 * 8
    by_default = IntegratedGradients(steps=8).explain(subject)
    assert not by_default.incomplete.any()
    # no more nodes than it says, and a forward pass for each halving
    assert subject.cost.backward - 3 * 8 <= 3 * IntegratedGradients().most
    fine = IntegratedGradients(steps=8, tolerance=1e-6).explain(subject).values.flatten()
    assert float(((fine - gap).abs() / gap).max()) < 1e-6


@pytest.mark.filterwarnings("ignore::xrnnbench.errors.CompletenessWarning")
def test_a_refined_path_is_a_fine_quadrature_of_each_value():
    """Against the midpoint rule on a million points, for a score that bends sharply in two features."""

    class Bends(torch.nn.Module):
        def forward(self, x):
            first, second = x[..., 0].sum(1), x[..., 1].sum(1)
            score = torch.tanh(60 * (first - 0.71)) * torch.cos(second) + first * second
            return torch.stack([score, -score], 1)

    inputs = torch.tensor([[[0.4, 1.1], [0.7, -0.3]], [[1.0, 0.2], [0.3, 0.9]]], dtype=torch.float64)
    batch = Batch(inputs, torch.full((2,), 2), torch.zeros(2).long())
    subject = Subject(Bends(), batch, 0 * inputs, target=torch.zeros(2).long())
    found = IntegratedGradients(tolerance=1e-7, most=4096).explain(subject).values
    share = (torch.arange(10**6, dtype=torch.float64) + 0.5) / 10**6
    for row in range(2):
        point = inputs[row].sum(0) * share[:, None]
        first, second = point[:, 0], point[:, 1]
        bend = torch.tanh(60 * (first - 0.71))
        slopes = [60 * (1 - bend**2) * torch.cos(second) + second, -bend * torch.sin(second) + first]
        expected = inputs[row] * torch.stack([slope.mean() for slope in slopes])
        torch.testing.assert_close(found[row], expected, rtol=0, atol=5e-7)


@pytest.mark.parametrize(("steps", "most"), [(32, 32), (32, 40), (32, 47), (32, 48), (8, 100), (1024, 1024)])
def test_no_more_nodes_than_most(steps, most):
    class Jumps(torch.nn.Module):
        def forward(self, x):
            total = x.sum((1, 2))
            return torch.stack([total, total + (total > 0.6)], 1)

    inputs = torch.tensor([[[1.0]]]).double()
    subject = Subject(Jumps(), Batch(inputs, torch.ones(1).long(), torch.ones(1).long()), 0 * inputs)
    subject.target = torch.ones(1, dtype=torch.int64)
    with pytest.warns(CompletenessWarning):
        IntegratedGradients(steps=steps, most=most).explain(subject)
    assert steps <= subject.cost.backward <= most


def test_a_jump_that_no_node_resolves_is_said():
    class Jumps(torch.nn.Module):
        def forward(self, x):
            total = x.sum((1, 2))
            return torch.stack([total, total + (total > 0.6)], 1)

    inputs = torch.tensor([[[1.0]], [[0.5]]]).double()
    subject = Subject(Jumps(), Batch(inputs, torch.ones(2).long(), torch.ones(2).long()), 0 * inputs)
    subject.target = torch.ones(2, dtype=torch.int64)
    with pytest.warns(CompletenessWarning, match="on 1 of 2 sequences .sequence 0 by -1 of 2"):
        found = build("method", "integrated-gradients").explain(subject)
    assert found.incomplete.tolist() == [True, False]
    assert subject.cost.backward <= 2 * IntegratedGradients().most


def test_the_plain_quadrature_is_there_without_a_tolerance(subject):
    first = IntegratedGradients(steps=16, tolerance=0.0).explain(subject).values
    nodes = subject.cost.copy()
    again = IntegratedGradients(steps=16).explain(subject).values
    assert torch.equal(first, again)  # nothing missed 1 %, so nothing was refined
    assert subject.cost.since(nodes).backward == 16 * len(subject)


def test_wrong_parameters_of_integrated_gradients():
    for wrong in ("tolerance=-1", "most=4", "steps=0"):
        with pytest.raises(ParameterError, match="does not fit"):
            build("method", f"integrated-gradients:{wrong}")


# ---- occlusion by four interventions --------------------------------------------------------------------------------


def test_occlusion_by_a_value_is_occlusion_with_that_reference(subject):
    tokens = subject.batch.tokens
    view = subject.continuous()
    background = view.background.inputs[view.background.valid]
    for by, value in (("zero", torch.zeros_like(background[0])), ("mean", background.mean(0))):
        found = build("method", f"occlusion:by={by}").explain(subject).values
        for row in range(ROWS):
            inputs = view.batch.inputs[row]
            for place in valid_features(subject, row):
                changed = inputs.clone()
                changed[place] = value if len(place) == 1 else value[place[1]]
                expected = score_of(view, row, inputs) - score_of(view, row, changed)
                assert float(found[row][place] - expected) == pytest.approx(0, abs=1e-12)
    if tokens:
        other = Subject(
            subject.model, subject.batch, torch.zeros_like(subject.batch.inputs), target=subject.target
        )  # the padding token is 0
        assert torch.equal(
            build("method", "occlusion:by=pad").explain(subject).values, Occlusion().explain(other).values
        )
    else:
        with pytest.raises(UnsupportedModelError, match="numbers have no padding token"):
            build("method", "occlusion:by=pad").explain(subject)
        assert "no padding token" in build("method", "occlusion:by=pad").applicable(subject)


def test_occlusion_by_deletion_takes_steps_out(subject):
    found = build("method", "occlusion:by=delete").explain(subject)
    assert found.granularity == "step"
    for row in range(ROWS):
        length = int(subject.batch.lengths[row])
        inputs = subject.batch.inputs[row, :length]
        for step in range(length):
            left = torch.cat([inputs[:step], inputs[step + 1 :]])
            left = left if len(left) else subject.reference[row, :1]
            with torch.no_grad():
                score = subject.model.eval()(left[None], torch.tensor([len(left)]))[0, subject.target[row]]
            assert float(found.values[row, step] - (subject.score[row] - score)) == pytest.approx(0, abs=1e-12)
    assert subject.cost.forward == int(subject.batch.lengths.sum()) + ROWS


def test_a_mean_needs_a_background_and_a_token_an_embedding():
    inputs = torch.randint(0, 5, (2, 3))

    class Counts(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.one_hot(x, 5).double().sum(1)

    subject = Subject(Counts(), Batch(inputs, torch.tensor([3, 3]), torch.zeros(2).long()), torch.zeros_like(inputs))
    with pytest.raises(UnsupportedModelError, match="no background data to take the mean of"):
        build("method", "occlusion:by=mean").explain(subject)
    with pytest.raises(UnsupportedModelError, match="gradient needs exactly one embedding"):
        build("method", "occlusion:by=zero").explain(subject)


# ---- controls and forms of attention --------------------------------------------------------------------------------


def test_uniform_and_recency(subject):
    uniform, recency = (build("method", name).explain(subject).values for name in ("uniform", "recency"))
    assert torch.allclose(uniform.flatten(1).sum(1), torch.ones(ROWS, dtype=uniform.dtype))
    assert len(uniform[0].unique()) == 1
    steps = recency if recency.dim() == 2 else recency[:, :, -1]
    for row, length in enumerate(subject.batch.lengths.tolist()):
        assert steps[row, :length].tolist() == pytest.approx([(t + 1) / length for t in range(length)])


def test_greedy_is_the_literal_greedy_search():
    torch.manual_seed(0)
    model = RecurrentNet(FEATURES, 6, 2, cell="gru", pooling="mean").double()
    inputs = torch.randn(3, 4, FEATURES).double()
    lengths = torch.tensor([4, 2, 3])
    subject = Subject(model, Batch(inputs, lengths, torch.zeros(3).long()), torch.zeros_like(inputs)).check()
    found = build("method", "greedy:budget=200").explain(subject).values
    for row in range(3):
        remaining, current, order = valid_features(subject, row), inputs[row].clone(), []
        while remaining:

            def margin(place, current=current, row=row):
                changed = current.clone()
                changed[place] = 0
                with torch.no_grad():
                    output = model.eval()(changed[None, : lengths[row]], lengths[row : row + 1])[0]
                return float(output[subject.target[row]] - output[1 - subject.target[row]])

            best = min(remaining, key=margin)
            current[best] = 0
            remaining.remove(best)
            order.append(best)
        n = len(order)
        assert [float(found[row][place]) for place in order] == [n - rank for rank in range(n)]
    with pytest.raises(ParameterError, match="budget=0"):
        build("method", "greedy:budget=0")


@pytest.mark.parametrize("budget", [1, 5, 40, 1024])
def test_greedy_costs_what_its_page_says(subject, budget):
    build("method", f"greedy:budget={budget}").explain(subject)
    n = subject.valid.flatten(1).sum(1)
    assert 0 < subject.cost.forward <= int(n.clamp_min(0).clamp_max(budget).maximum(torch.tensor(budget)).sum())


def test_attention_norm_weighs_by_the_states_it_pools():
    torch.manual_seed(0)
    model = AttentiveRecurrentNet(FEATURES, 6, 2, pooling="attention").double()
    inputs, lengths = torch.randn(3, 5, FEATURES).double(), torch.tensor([5, 2, 3])
    subject = Subject(model, Batch(inputs, lengths, torch.zeros(3).long()), torch.zeros_like(inputs))
    found = build("method", "attention-norm").explain(subject).values
    assert subject.cost.forward == 3
    for row in range(3):
        own = slice(0, int(lengths[row]))
        with torch.no_grad():
            states = model.eval().recurrent(inputs[row : row + 1, own])[0][0]
            energy = model.attention.query(torch.tanh(model.attention.project(states)))[:, 0]
        assert torch.allclose(found[row, own], energy.softmax(0) * states.norm(dim=1))


def test_permuted_attention_is_the_attention_in_another_order():
    torch.manual_seed(0)
    model = AttentiveRecurrentNet(FEATURES, 6, 2, pooling="attention")
    inputs, lengths = torch.randn(3, 30, FEATURES), torch.tensor([30, 2, 13])
    subject = Subject(model, Batch(inputs, lengths, torch.zeros(3).long()), torch.zeros_like(inputs))
    plain, dealt = (
        build("method", name).explain(subject, seed=2).values for name in ("attention", "attention-permuted")
    )
    assert not torch.equal(plain, dealt)
    for row, length in enumerate(lengths.tolist()):
        assert torch.equal(plain[row, :length].sort().values, dealt[row, :length].sort().values)


def test_a_model_that_keeps_its_values_to_itself_has_no_attention_norm():
    class TwoOnly(AttentiveRecurrentNet):
        def forward_with_attention(self, inputs, lengths=None):
            return super().forward_with_attention(inputs, lengths)[:2]

    inputs = torch.randn(2, 3, FEATURES)
    batch = Batch(inputs, torch.tensor([3, 2]), torch.zeros(2).long())
    subject = Subject(TwoOnly(FEATURES, 4, 2, pooling="attention"), batch, torch.zeros_like(inputs))
    assert build("method", "attention").applicable(subject) == ""
    assert "the states its attention averages" in build("method", "attention-norm").applicable(subject)
    with pytest.raises(UnsupportedModelError, match="as a third tensor"):
        build("method", "attention-norm").explain(subject)


@pytest.mark.parametrize("name", ["deeplift", "integrated-gradients", "lrp", "saliency", "dynamask:iterations=2"])
def test_whoever_calls_may_have_switched_gradients_off(subject, name):
    method = build("method", name)
    expected = method.explain(subject).values
    with torch.no_grad():
        assert torch.equal(method.explain(subject).values, expected)
        assert not torch.is_grad_enabled()
