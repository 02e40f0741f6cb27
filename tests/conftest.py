"""Two tiers of tests: the default, which answers within minutes, and the full one, ``pytest --full``.

Three markers say what the default leaves out; each is registered in pyproject.toml:

* ``full``: the whole test;
* ``full_except(id, …)``: every parameter set but those with these ids;
* ``pairwise``: of a product of parameters, all but a subset in which every pair of values still occurs.

A test that is named by its node id (``path::test``) runs in any case.
"""

import itertools
import os
import zlib

import pytest

# Command lines compute in their own process, unless a test is about others.
os.environ.setdefault("XRNNBENCH_JOBS", "1")


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="run also the tests that the default leaves out")
    parser.addoption("--half", type=int, choices=(0, 1), help="run only this half of the tests, chosen by their names")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--full") and not any("::" in word for word in config.args):
        groups = {}
        for item in items:
            groups.setdefault((item.path, item.originalname), []).append(item)
        # after --last-failed not all parameter sets are there
        whole = not config.getoption("lf", default=False)
        deselect(config, items, [item for group in groups.values() for item in left_out_of(group, whole=whole)])
    if (half := config.getoption("--half")) is not None:
        deselect(config, items, [item for item in items if zlib.crc32(item.nodeid.encode()) % 2 != half])


def deselect(config, items, left_out):
    """Take tests out of the list of those that run, and tell pytest so."""
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]


def left_out_of(group, *, whole=True):
    """Items of one test function that the default leaves out; whole: the function has all its parameter sets here."""
    if all(item.get_closest_marker("full") is not None for item in group):
        return group
    left_out = [item for item in group if any(mark.name == "full" for mark in item.own_markers)]
    rest = [item for item in group if item not in left_out]
    kept = group[0].get_closest_marker("full_except")
    if kept is not None:
        unknown = set(kept.args) - {item.callspec.id for item in group}
        if unknown and whole:
            raise pytest.UsageError(f"{group[0].nodeid}: full_except names {sorted(unknown)}, which it does not have.")
        return left_out + [item for item in rest if item.callspec.id not in kept.args]
    if group[0].get_closest_marker("pairwise") is not None:
        covering = pairwise(rest)
        return left_out + [item for item in rest if item not in covering]
    return left_out


def pairwise(items):
    """A subset of items in which every pair of parameter values occurs that occurs in any: greedy, in their order."""
    pairs = {item: set(itertools.combinations(factors(item), 2)) for item in items}
    missing = set().union(*pairs.values())
    if not missing:  # a single parameter has no pairs
        return set(items)
    chosen = set()
    while missing:
        best = max(items, key=lambda item: len(pairs[item] & missing))
        chosen.add(best)
        missing -= pairs[best]
    return chosen


def factors(item):
    """The parameter values of an item by name; a tuple counts as one value for each of its places."""
    named = sorted(item.callspec.params.items())
    places = [(name, place, value) for name, values in named for place, value in enumerate(as_tuple(values))]
    return [(name, place, repr(value)) for name, place, value in places]


def as_tuple(value):
    return value if isinstance(value, tuple) else (value,)
