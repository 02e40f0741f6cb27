import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xrnnbench.tasks.data import Batch
from xrnnbench.tasks.variants import Given, Masked, unique_rows


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
def test_rows_are_unique_by_what_the_model_sees(data, steps, tokens):
    count = data.draw(st.integers(1, 4))
    lengths = torch.tensor(data.draw(st.lists(st.integers(1, steps), min_size=count, max_size=count)))
    of = torch.tensor(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=12)))
    width = () if tokens else (2,)
    values = st.integers(0, 1) if tokens else st.sampled_from([0.0, -1.0, 0.5])
    size = len(of) * steps * (1 if tokens else 2)
    rows = torch.tensor(data.draw(st.lists(values, min_size=size, max_size=size))).view(len(of), steps, *width)
    inputs = torch.zeros((count, steps, *width), dtype=rows.dtype)
    batch = Batch(inputs, lengths, torch.zeros(count, dtype=torch.int64))
    first, inverse = unique_rows(Given(rows, of), batch, inputs)
    assert (first.tolist(), inverse.tolist()) == literal(rows, lengths[of])


def test_one_ulp_makes_another_row():
    value = torch.tensor(1.0)
    rows = torch.stack([value, torch.nextafter(value, torch.tensor(2.0))]).view(2, 1, 1)
    batch = Batch(rows[:1], torch.tensor([1]), torch.tensor([0]))
    assert len(unique_rows(Given(rows, torch.tensor([0, 0])), batch, rows[:1])[0]) == 2


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
