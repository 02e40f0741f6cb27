"""What the default leaves out, see tests/conftest.py."""

import importlib.util
import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest

_spec = importlib.util.spec_from_file_location("tiers", Path(__file__).parents[1] / "conftest.py")
tiers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiers)


class Item:
    """One test with its marks and parameters, as pytest collects it."""

    def __init__(self, marks=(), **params):
        self.nodeid, self.own_markers = f"test[{params}]", list(marks)
        self.callspec = SimpleNamespace(params=params, id="-".join(map(str, params.values())))

    def get_closest_marker(self, name):
        return next((mark for mark in self.own_markers if mark.name == name), None)


def mark(name, *args):
    return SimpleNamespace(name=name, args=args)


def product(marks=(), **axes):
    return [Item(marks, **dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())]


def test_a_pairwise_subset_has_every_pair_and_is_much_smaller():
    items = product([mark("pairwise")], cell=("lstm", "gru", "rnn"), layers=(1, 2), way=tuple("abcd"), size=(3, 5, 7))
    kept = [item for item in items if item not in tiers.left_out_of(items)]
    assert len(kept) < len(items) / 4
    for (one, these), (other, those) in itertools.combinations(
        {"cell": ("lstm", "gru", "rnn"), "layers": (1, 2), "way": tuple("abcd"), "size": (3, 5, 7)}.items(), 2
    ):
        seen = {(item.callspec.params[one], item.callspec.params[other]) for item in kept}
        assert seen == set(itertools.product(these, those))


def test_places_of_a_tuple_are_values_of_their_own():
    members = list(itertools.product(("lstm", "gru"), (1, 2), ("last", "mean")))
    items = product([mark("pairwise")], member=members, way=("a", "b"))
    kept = [item for item in items if item not in tiers.left_out_of(items)]
    assert len(kept) < len(items)
    assert {(item.callspec.params["member"][0], item.callspec.params["way"]) for item in kept} == {
        (cell, way) for cell in ("lstm", "gru") for way in ("a", "b")
    }


def test_full_leaves_out_all_and_full_except_all_but_those_named():
    assert len(tiers.left_out_of(product([mark("full")], name=("a", "b")))) == 2
    left_out = tiers.left_out_of(product([mark("full_except", "b")], name=("a", "b", "c")))
    assert [item.callspec.id for item in left_out] == ["a", "c"]
    assert tiers.left_out_of(product(name=("a", "b"))) == []


def test_a_mark_of_one_parameter_set_is_about_that_one():
    items = [Item([mark("full")], name="a"), Item(name="b")]
    assert tiers.left_out_of(items) == items[:1]
    alone = product([mark("pairwise")], name=("a", "b"))
    assert tiers.left_out_of(alone) == []


def test_a_misspelt_exception_is_an_error():
    with pytest.raises(pytest.UsageError, match="full_except names"):
        tiers.left_out_of(product([mark("full_except", "d")], name=("a", "b")))
