"""Models trained again: by the task's own recipe, on other data, on masked data; and what a user can hand in."""

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from xrnnbench.errors import DataError, ParameterError, UnsupportedModelError
from xrnnbench.tasks.base import Task
from xrnnbench.tasks.builtin.synthetic.adding import Adding
from xrnnbench.tasks.builtin.text.valence import Valence
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.data.masking import random_removal, replaced
from xrnnbench.tasks.interventions.mask_training import mask_trained, unfit
from xrnnbench.tasks.models.networks import RecurrentNet
from xrnnbench.tasks.models.retraining import Retraining
from xrnnbench.tasks.models.training import Recipe
from xrnnbench.tasks.subject import Subject


@dataclass(frozen=True)
class Quick(Adding):
    recipe: ClassVar[Recipe] = Recipe(epochs=2)


@dataclass(frozen=True)
class Fixed(Quick):
    def dataset(self):
        found = super().dataset()
        return dataclasses.replace(found, reference=torch.zeros_like(found.explained.inputs))


SMALL = {"instances": 4, "hidden": 3, "sequences": 64}


def equal(model, other):
    return all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


@pytest.fixture(scope="module")
def subject():
    return Quick(**SMALL).subject(0)


# ---- what a task hands out ------------------------------------------------------------------------------------------


def test_training_again_is_training(subject):
    again = subject.retraining
    assert equal(again.fit(again.train, 0), subject.model)
    other = again.fit(again.train, 1)
    assert not equal(other, subject.model)
    assert not other.training


def test_other_data_give_another_model(subject):
    again = subject.retraining
    changed = dataclasses.replace(again.train, inputs=again.train.inputs + 1)
    assert not equal(again.fit(changed, 0), subject.model)


def test_reference_serves_any_sequences(subject):
    again = subject.retraining
    for batch in (again.train, again.test, subject.batch):
        found = again.reference_of(batch)
        assert (found.shape, found.dtype) == (batch.inputs.shape, batch.inputs.dtype)
        assert not found.any()
    assert torch.equal(again.reference_of(subject.batch), subject.reference)


def test_reference_of_tokens_is_the_unknown_word():
    data = Valence(instances=4).data()
    found = data.reference_of(data.train)
    assert found.dtype == torch.int64
    assert found.shape == data.train.inputs.shape
    assert {data.names.vocabulary[token] for token in found.unique().tolist()} == {"<unk>"}


def test_reference_by_feature_is_of_any_length():
    @dataclass(frozen=True)
    class ByFeature(Quick):
        def dataset(self):
            return dataclasses.replace(super().dataset(), reference=torch.tensor([1.0, -2.0]))

    data = ByFeature(**SMALL).data()
    assert data.reference_of(data.test)[7, 3].tolist() == [1.0, -2.0]
    assert data.portable


def test_reference_of_the_explained_sequences_serves_no_others(own_cache):
    found = Fixed(**SMALL).subject(0)
    assert found.retraining is None
    assert unfit(found) == "the task cannot train its model again"
    assert torch.equal(found.reference, torch.zeros_like(found.batch.inputs))


def test_test_targets_of_steps_are_refused(subject):
    steps = dataclasses.replace(subject.batch, targets=torch.zeros(4, 10, dtype=torch.int64))
    with pytest.raises(DataError, match="one class or its values for each sequence"):
        dataclasses.replace(subject.retraining, test=steps)


# ---- training on ----------------------------------------------------------------------------------------------------


def test_training_on_changes_a_copy_anew_in_every_minibatch(subject):
    again = subject.retraining
    seen = []

    def make_batch(batch, rng):
        seen.append((len(batch), float(torch.rand(1, generator=rng))))
        return batch

    before = [parameter.clone() for parameter in subject.model.parameters()]
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    tuned = again.tune(subject.model, make_batch, 3, 2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert all(torch.equal(a, b) for a, b in zip(before, subject.model.parameters(), strict=True))
    assert not equal(tuned, subject.model)
    assert not tuned.training
    per_epoch = math.ceil(len(again.train) / again.recipe.batch_size)
    assert len(seen) == 2 * per_epoch
    assert sum(count for count, _ in seen) == 2 * len(again.train)
    assert len({drawn for _, drawn in seen}) == len(seen)
    first = list(seen)
    assert equal(again.tune(subject.model, make_batch, 3, 2), tuned)
    assert seen[len(first) :] == first
    assert not equal(again.tune(subject.model, make_batch, 4, 2), tuned)


def test_training_inside_an_isolated_subject_is_not_counted_and_leaves_no_trace(subject):
    outside = mask_trained(Quick(**SMALL).subject(0), 0.5, 1).model
    before, state = subject.cost.copy(), torch.get_rng_state()
    with subject.isolated("somebody"):
        inside = mask_trained(subject, 0.5, 1)
        assert inside.batch_outputs.shape == (4, 1)
    assert subject.cost == before
    assert torch.equal(torch.get_rng_state(), state)
    assert equal(inside.model, outside)


def test_masked_training_is_done_once_for_a_model(subject):
    found = mask_trained(subject, 0.3, 1)
    assert mask_trained(subject, 0.3, 1).model is found.model
    assert mask_trained(subject.select(slice(0, 2)), 0.3, 1).model is found.model
    assert mask_trained(subject, 0.3, 2).model is not found.model
    assert torch.equal(found.target, subject.target)
    assert torch.equal(found.batch.inputs, subject.batch.inputs)


def test_masked_training_teaches_to_do_without():
    """Every step says the same number: what is missing can be told from what is there, and nobody had to before."""
    numbers = torch.rand(300, 1, generator=torch.Generator().manual_seed(0)) + 0.5
    inputs = numbers[:, :, None].expand(300, 6, 1).clone()
    batch = Batch(inputs, torch.full((300,), 6), numbers)
    again = Retraining(
        batch,
        batch,
        lambda other: torch.zeros_like(other.inputs),
        lambda: RecurrentNet(1, 6, 1, cell="gru"),
        Recipe(40, batch_size=30),
    )
    found = Subject(again.fit(batch, 0), batch, torch.zeros_like(inputs), outputs_are="values", retraining=again)
    tuned = mask_trained(found, 0.8, 40)
    gone = random_removal(batch.valid, 0.8, torch.Generator().manual_seed(1))
    masked = replaced(batch, gone, found.reference)
    with torch.no_grad():
        errors = [
            float((model(masked.inputs, masked.lengths) - numbers).square().mean())
            for model in (found.model, tuned.model)
        ]
    assert errors[1] < 0.2 * errors[0]


@pytest.mark.parametrize(("share", "epochs"), [(0.0, 1), (1.1, 1), (0.5, 0)])
def test_shares_and_epochs_that_do_not_fit_are_refused(subject, share, epochs):
    with pytest.raises(ParameterError, match="does not fit"):
        mask_trained(subject, share, epochs)


def test_model_that_nobody_can_train_again_is_said(subject):
    with pytest.raises(UnsupportedModelError, match="the task cannot train its model again"):
        mask_trained(dataclasses.replace(subject, retraining=None), 0.1, 1)


def test_model_seen_from_its_embeddings_is_not_trained_again():
    rng = torch.Generator().manual_seed(0)
    batch = Batch(torch.randint(1, 5, (6, 4), generator=rng), torch.full((6,), 4), torch.tensor([0, 1] * 3))
    again = Retraining(batch, batch, lambda other: torch.ones_like(other.inputs), small, Recipe(1))
    found = Subject(small().eval(), batch, torch.ones_like(batch.inputs), retraining=again)
    assert unfit(found) == ""
    assert unfit(found.continuous()) == "its inputs are embeddings here, but its model is trained on tokens"


# ---- random removals ------------------------------------------------------------------------------------------------


def test_random_removals_are_uniform_in_number_and_place():
    valid = torch.arange(10) < torch.tensor([10, 7, 1]).repeat_interleave(4000)[:, None]
    gone = random_removal(valid, 0.3, torch.Generator().manual_seed(0))
    assert not (gone & ~valid).any()
    for n, most in ((10, 3), (7, 3), (1, 1)):
        rows = gone[valid.sum(1) == n]
        shares = rows.sum(1).bincount(minlength=most + 1) / len(rows)
        assert torch.allclose(shares, torch.full((most + 1,), 1 / (most + 1)), atol=0.03)
        assert torch.allclose(rows.double().mean(0)[:n], torch.tensor(most / 2 / n).double(), atol=0.03)


@pytest.mark.parametrize("granularity", ["step", "cell"])
def test_removed_features_take_the_reference(granularity):
    inputs = torch.arange(12.0).view(2, 3, 2)
    batch = Batch(inputs, torch.tensor([3, 2]), torch.tensor([0, 1]))
    gone = torch.zeros(2, 3 if granularity == "step" else 6, dtype=torch.bool)
    gone[0, 1] = gone[1, 0] = True
    found = replaced(batch, gone, torch.full_like(inputs, -1.0)).inputs
    for row in range(2):
        for step in range(3):
            for cell in range(2):
                place = step if granularity == "step" else 2 * step + cell
                assert found[row, step, cell] == (-1 if gone[row, place] else inputs[row, step, cell])


# ---- a user's own ---------------------------------------------------------------------------------------------------


def small():
    return RecurrentNet(2, 2, 2, vocabulary_size=5)


def own(**changed):
    rng = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 5, (12, 4), generator=rng)
    batch = Batch(tokens, torch.full((12,), 4), torch.tensor([0, 1] * 6))
    values = {"train": batch, "test": batch, "reference_of": lambda other: torch.zeros_like(other.inputs)}
    return Retraining(**{**values, "network": small, "recipe": Recipe(1)} | changed), tokens


def given(retraining, tokens, model=None, **options):
    torch.manual_seed(0)
    return Task.from_model(
        model or small().eval(), tokens, None, torch.tensor([0, 1] * 6), retraining=retraining, **options
    )


def test_user_can_say_how_a_model_is_trained():
    again, tokens = own()
    found = given(again, tokens).subject(0)
    assert found.retraining is again
    assert not equal(mask_trained(found, 0.5, 1).model, found.model)
    assert given(None, tokens).subject(0).retraining is None


def test_results_rest_on_how_a_model_is_trained():
    again, tokens = own()
    identities = [given(None, tokens).identity(), given(again, tokens).identity()]
    identities.append(given(own(recipe=Recipe(2))[0], tokens).identity())
    other = dataclasses.replace(again.train, targets=1 - again.train.targets)
    identities.append(given(own(train=other)[0], tokens).identity())
    assert len({str(identity) for identity in identities}) == 4
    assert given(again, tokens).identity() == identities[1]


def test_what_cannot_be_trained_again_is_refused():
    again, tokens = own()
    with pytest.raises(DataError, match="retraining is for a torch module that takes"):
        given(again, tokens, lambda inputs: np.zeros((len(inputs), 2)) + inputs.sum(1, keepdims=True))
    numbers = Batch(torch.zeros(2, 4, 3), torch.tensor([4, 4]), torch.tensor([0, 1]))
    with pytest.raises(DataError, match="they must be of one kind"):
        given(own(train=numbers)[0], tokens)
