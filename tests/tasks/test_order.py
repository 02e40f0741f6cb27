"""Order: only which number comes first tells the output; the two readings of the truth are what they claim to be."""

import itertools
import math

import pytest
import torch

from xrnnbench.fingerprints import seed_from
from xrnnbench.tasks.builtin.synthetic.adding import Adding, Subtracting
from xrnnbench.tasks.builtin.synthetic.order import Order
from xrnnbench.tasks.engine.variants import Masked
from xrnnbench.tasks.models.evaluation import pearson


def rule(numbers):
    """Return what the page says of one sequence."""
    present = [number for number in numbers if number != 0]
    if len(present) == 2:
        return present[0] - present[1]
    return sum(present)


def shapley(numbers):
    """Return the Shapley values of the steps, by all coalitions."""
    n = len(numbers)

    def worth(coalition):
        return rule([number if place in coalition else 0.0 for place, number in enumerate(numbers)])

    found = []
    for place in range(n):
        others = [other for other in range(n) if other != place]
        total = 0.0
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - 1 - size) / math.factorial(n)
            for chosen in map(set, itertools.combinations(others, size)):
                total += weight * (worth(chosen | {place}) - worth(chosen))
        found.append(total)
    return found


def rows(batch):
    """Return the numbers of each sequence, without its padding."""
    return [values[:length, 0].tolist() for values, length in zip(batch.inputs, batch.lengths.tolist(), strict=True)]


def test_targets_are_the_first_less_the_second():
    data = Order(sequences=500).data()
    for batch in (data.train, data.test):
        expected = torch.tensor([rule(row) for row in rows(batch)])
        assert torch.allclose(batch.targets[:, 0], expected, atol=1e-6)


def test_one_in_five_numbers_is_missing_but_not_where_it_is_explained():
    data = Order().data()
    present = (data.train.inputs != 0).sum((1, 2))
    assert abs(present.double().mean() - 1.6) < 0.03
    assert set(present.tolist()) == {0, 1, 2}
    assert ((data.explained.inputs != 0).sum((1, 2)) == 2).all()
    sizes = data.train.inputs[data.train.inputs != 0].abs()
    assert sizes.min() >= 0.5
    assert sizes.max() <= 1


def test_first_and_second_are_alike_but_for_their_order():
    batch = Order().data().explained
    mirrored = [row[::-1] for row in rows(batch)]
    assert torch.allclose(torch.tensor([rule(row) for row in mirrored]), -batch.targets[:, 0], atol=1e-6)


def test_coefficients_are_derivatives_times_inputs():
    batch = Order().data().explained
    for row, values in zip(rows(batch), batch.truths["coefficient"].values.tolist(), strict=True):
        for place, number in enumerate(row):
            moved = [*row]
            moved[place] += 1e-3
            # a zero that is moved is no longer a zero: it is not among the numbers the derivative is about
            expected = (rule(moved) - rule(row)) / 1e-3 * number if number else 0.0
            assert values[place] == pytest.approx(expected, abs=1e-5)


def test_shapley_values_are_those_of_all_coalitions():
    batch = Order().data().test.select(torch.arange(60))
    for row, values in zip(rows(batch), batch.truths["shapley"].values.tolist(), strict=True):
        if len(row) <= 7:
            assert values[: len(row)] == pytest.approx(shapley(row), abs=1e-6)


def test_shapley_values_are_the_difference_and_nothing():
    batch = Order().data().explained
    for row, values in zip(rows(batch), batch.truths["shapley"].values.tolist(), strict=True):
        first, second = (place for place, number in enumerate(row) if number)
        assert values[first] == pytest.approx(row[first] - row[second], abs=1e-6)
        assert values[second] == 0


@pytest.mark.parametrize("reading", ["coefficient", "shapley"])
def test_contributions_sum_to_the_target(reading):
    for batch in (Order().data().explained, Order().data().test):
        assert torch.allclose(batch.truths[reading].values.sum(1), batch.targets[:, 0], atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1])
def test_models_have_learnt_what_a_lone_number_counts(seed):
    subject = Order().subject(seed)
    count, steps = subject.batch.inputs.shape[:2]
    instance = torch.arange(count).repeat_interleave(steps)
    keep = ~torch.eye(steps, dtype=torch.bool).repeat(count, 1)
    removed = (subject.score[instance] - subject.scores(Masked(keep, instance))).view(count, steps)
    expected = torch.zeros(count, steps)
    for row, numbers in enumerate(rows(subject.batch)):
        for place in range(len(numbers)):
            expected[row, place] = rule(numbers) - rule([*numbers[:place], 0.0, *numbers[place + 1 :]])
    assert pearson(removed[subject.valid], expected[subject.valid]) > 0.995
    assert subject.reference_score.abs().max() < 0.1


@pytest.mark.parametrize("task", [Adding(), Subtracting()], ids=lambda task: task.name)
def test_adding_is_drawn_as_it_was_before_it_shared_with_order(task):
    rng = torch.Generator().manual_seed(seed_from(task.name, "test"))
    lengths = torch.randint(4, 11, (1000,), generator=rng)
    keys = torch.rand(1000, 10, generator=rng)
    places = keys.masked_fill(torch.arange(10) >= lengths[:, None], -1.0).topk(2).indices
    numbers = 0.5 + 0.5 * torch.rand(1000, 2, generator=rng)
    numbers = numbers * (2 * torch.randint(0, 2, (1000, 2), generator=rng) - 1)
    batch = task.data().test
    assert torch.equal(batch.lengths, lengths)
    assert torch.equal(batch.inputs[torch.arange(1000)[:, None], places, torch.arange(2)], numbers)
    assert torch.equal(batch.targets[:, 0], (numbers * torch.tensor(task.coefficients)).sum(1))
