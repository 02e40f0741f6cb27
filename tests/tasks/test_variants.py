import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xrnnbench.tasks.data import Batch
from xrnnbench.tasks.variants import Masked, Prefix, mixed, prints, same


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
    cut = data.draw(st.integers(0, steps))
    for bounds in ([0, steps], sorted({0, cut, steps})):
        keys = torch.cat([prints(rows, lengths, bounds), lengths[:, None]], 1)
        first, inverse = same(mixed(keys))
        assert (first.tolist(), inverse.tolist()) == literal(rows, lengths)


def test_one_ulp_makes_another_row():
    value = torch.tensor(1.0)
    rows = torch.stack([value, torch.nextafter(value, torch.tensor(2.0))]).view(2, 1, 1)
    keys = prints(rows, torch.ones(2, dtype=torch.int64), [0, 1])
    assert len(same(mixed(keys))[0]) == 2


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
    other = torch.full((1, 3, 2), 9.0)
    assert Masked(cells, zero, other).rows(zero, batch, reference)[0].tolist() == [[1, 1], [1, 1], [1, 9]]
