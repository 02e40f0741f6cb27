import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xrnnbench.methods.perturbation.single_features import OneChanged
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.engine.hashing import row_hashes, step_hashes, unique_keys
from xrnnbench.tasks.engine.variants import Given, Masked, Prefix, Ranked


def literal(rows, lengths):
    """First positions and places by comparing what the model would see, one by one."""
    seen, first, inverse = [], [], []
    for position, (row, length) in enumerate(zip(rows.tolist(), lengths.tolist(), strict=True)):
        key = (length, row[:length])
        if key not in seen:
            seen.append(key)
            first.append(position)
        inverse.append(seen.index(key))
    return first, inverse


@settings(deadline=None, max_examples=60)
@given(data=st.data(), steps=st.integers(1, 4), tokens=st.booleans())
def test_rows_are_the_same_by_what_the_model_sees(data, steps, tokens):
    count = data.draw(st.integers(1, 12))
    lengths = torch.tensor(data.draw(st.lists(st.integers(1, steps), min_size=count, max_size=count)))
    values = st.integers(0, 1) if tokens else st.sampled_from([0.0, -1.0, 0.5])
    size = count * steps * (1 if tokens else 2)
    width = () if tokens else (2,)
    rows = torch.tensor(data.draw(st.lists(values, min_size=size, max_size=size))).view(count, steps, *width)
    keys = step_hashes(rows) * (torch.arange(steps) < lengths[:, None])
    first, inverse = unique_keys(row_hashes(torch.cat([lengths[:, None], keys], 1)))
    assert (first.tolist(), inverse.tolist()) == literal(rows, lengths)


def test_one_ulp_makes_another_row():
    value = torch.tensor(1.0)
    rows = torch.stack([value, torch.nextafter(value, torch.tensor(2.0))]).view(2, 1, 1)
    assert len(unique_keys(row_hashes(step_hashes(rows)))[0]) == 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.int64])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_print_is_of_the_content_alone(dtype, width):
    rows = (torch.arange(30 * width) - 40).to(dtype).view(6, 5, width)
    found = step_hashes(rows)
    assert (found != 0).all()
    assert torch.equal(step_hashes(rows[:, 1:])[2:], found[2:, 1:])
    assert torch.equal(
        step_hashes(rows.flatten()[width:][: 25 * width].view(5, 5, width)).flatten(), found.flatten()[1:26]
    )
    assert len(found.unique()) == 30


def test_signs_and_powers_of_two_do_not_cancel():
    rows = torch.tensor(list(itertools.product([0.0, 1.0, -1.0, 2.0, -2.0], repeat=6))).view(-1, 1, 6)
    assert len(step_hashes(rows).unique()) == 5**6


@pytest.mark.parametrize("cells", [False, True])
def test_ranked_variants_are_those_of_their_masks(cells):
    rng = torch.Generator().manual_seed(0)
    inputs, reference = torch.randn(3, 5, 2, generator=rng), torch.randn(3, 5, 2, generator=rng)
    batch = Batch(inputs, torch.tensor([5, 2, 4]), torch.zeros(3, dtype=torch.int64))
    n = 10 if cells else 5
    ranks = torch.rand(4, n, generator=rng).argsort(1)
    of, counts = torch.tensor([2, 0, 1, 0]), torch.tensor([[0, 1, n]] * 2 + [[2, 2, 3]] * 2)
    ranked = Ranked(ranks, of, counts, torch.tensor([False, True, False]))
    first = torch.stack([ranks[m] < counts[m, j] for m in range(4) for j in range(3)])
    keep = torch.where(torch.tensor([False, True, False] * 4)[:, None], first, ~first)
    masked = Masked(keep.view(12, 5, 2) if cells else keep, of.repeat_interleave(3))
    chosen, step = torch.tensor([11, 0, 4, 5, 7]), torch.tensor([0, 4, 2, 2, 1])
    assert torch.equal(ranked.instance, masked.instance)
    assert torch.equal(ranked.kept(chosen, batch), masked.kept(chosen, batch))
    assert torch.equal(ranked.rows(chosen, batch, reference), masked.rows(chosen, batch, reference))
    assert torch.equal(ranked.prints(chosen, batch, reference), masked.prints(chosen, batch, reference))
    assert torch.equal(ranked.at(chosen, step, batch, reference), masked.at(chosen, step, batch, reference))


def every_kind(batch):
    """Variants of every class, for all cells of a batch of three sequences [5, 2]."""
    of, steps = torch.tensor([0, 2, 1, 1, 0]), torch.arange(5)
    keep = torch.rand(5, 5, 2, generator=torch.Generator().manual_seed(1)) < 0.5
    other = torch.randn(5, 5, 2)
    yield Given(other, of)
    yield from (Masked(keep, of), Masked(keep[..., 0], of))
    yield Masked(keep[..., 0], of).deleted()
    yield Prefix(of, steps + 1)
    yield from (OneChanged(of, steps, 1), OneChanged(of, 2 * steps + 1, 2), OneChanged(of, steps, 1, batch, of.flip(0)))


def test_prints_and_single_steps_are_those_of_the_rows():
    rng = torch.Generator().manual_seed(0)
    inputs = torch.randn(3, 5, 2, generator=rng)
    batch = Batch(inputs, torch.tensor([5, 2, 4]), torch.zeros(3, dtype=torch.int64))
    reference = torch.where(torch.rand(3, 5, 2, generator=rng) < 0.3, inputs, 1.0)
    chosen, step = torch.tensor([4, 0, 2, 2, 3, 1]), torch.tensor([0, 4, 2, 1, 3, 1])
    for variants in every_kind(batch):
        rows = variants.rows(chosen, batch, reference)
        assert torch.equal(variants.prints(chosen, batch, reference), step_hashes(rows)), variants
        assert torch.equal(variants.at(chosen, step, batch, reference), rows[torch.arange(6), step]), variants


def test_prefixes_and_deletions_are_shorter():
    inputs = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]])
    batch = Batch(inputs, torch.tensor([4, 2]), torch.zeros(2, dtype=torch.int64))
    reference = torch.full_like(inputs, 9)
    both = torch.tensor([0, 1])
    begun = Prefix(both, torch.tensor([3, 1]))
    assert begun.lengths(batch).tolist() == [3, 1]
    assert begun.rows(both, batch, reference)[0, :3].tolist() == [1, 2, 3]
    keep = torch.tensor([[True, False, True, False], [False, True, True, True], [False] * 4])
    left = Masked(keep, torch.tensor([0, 1, 1])).deleted()
    assert left.lengths(batch).tolist() == [2, 1, 1]
    rows = left.rows(torch.arange(3), batch, reference)
    assert rows[0, :2].tolist() == [1, 3]
    assert rows[1, 0] == 6  # padding is not moved into the sequence
    assert rows[2, 0] == 9  # where nothing is left, one step of the reference


def test_masked_rows_take_the_reference_where_they_are_not_kept():
    inputs, reference = torch.ones(1, 3, 2), torch.full((1, 3, 2), 5.0)
    batch = Batch(inputs, torch.tensor([3]), torch.tensor([0]))
    zero = torch.tensor([0])
    steps = Masked(torch.tensor([[True, False, True]]), zero).rows(zero, batch, reference)
    assert steps[0].tolist() == [[1, 1], [5, 5], [1, 1]]
    cells = torch.ones(1, 3, 2, dtype=torch.bool)
    cells[0, 2, 1] = False
    assert Masked(cells, zero).rows(zero, batch, reference)[0].tolist() == [[1, 1], [1, 1], [1, 5]]
