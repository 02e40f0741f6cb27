"""Do methods agree? What every two of them say about the same model and the same sequences, laid side by side.

Three of the measures of Krishna et al. 2022, arXiv:2202.01602, section 4, over the valid features of one sequence:

- *ranks*: their rank correlation, Spearman's ρ with midranks, over all features (not their "rank agreement", which asks
  for equal places among the first k).
- *tops*: their feature agreement, the share of the k most relevant features that two methods have in common, with
  k = ⌈n/10⌉.
- *signs*: their sign agreement with another denominator. Theirs divides by k and so falls whenever the tops differ;
  here it is the share of features of the same sign among those in the top of either, and tells what the tops do not.

Methods are ordered by their relevance: |Φ| if they are signed, else Φ. Where one of two tells only steps apart, the
other's cells are summed to steps. A feature tied at the edge of the top is in it with the probability that a random
order puts it there, independently for the two methods; signs are the ratio of the expected numbers.

All pairs at once: a pair's measure is a product of a row of one method with a row of another, so that each method is
sorted once for each sequence and the rest are products of matrices.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..results.scored_cells import Map

    Array: TypeAlias = np.ndarray[Any, Any]

# Values of all maps that are worked on at once: as many as a core keeps beside it.
_VALUES = 2**16


@dataclass(frozen=True)
class Agreement:
    """How much two methods agree: means over sequences and models, or over tasks.

    Attributes:
        first, second: specs of the methods, in the order of the suite.
        ranks: Spearman's ρ of relevance, −1 to 1; None where one of the two never tells features apart.
        signs: share of equal signs among the most relevant features of either, 0 to 1; None unless both are signed.
        tops: share of the most relevant features in common, 0 to 1; about .1 by chance.
        n: how many pairs of maps were compared.
        undefined: of how many of them ranks are not defined, since a map is constant or has one feature.
        tasks: over how many tasks it is the mean.
    """

    first: str
    second: str
    ranks: float | None
    signs: float | None
    tops: float | None
    n: int
    undefined: int
    tasks: int = 1


def agreements(methods: Sequence[str], models: Iterable[Mapping[str, Sequence[Map]]]) -> tuple[Agreement, ...]:
    """How much the methods agree on one task.

    Args:
        methods: their specs.
        models: for each model the maps of each method, one for each explainer seed; they are asked for one model
            after another, and none is kept. Methods that are not there are compared with none.

    Returns:
        one for each pair that can be compared.
    """
    count = len(methods)
    totals, numbers = np.zeros((3, count, count)), np.zeros((3, count, count))
    for maps in models:
        places = [methods.index(spec) for spec, found in maps.items() for _ in found]
        if not places:
            continue
        member = np.zeros((count, len(places)))
        member[places, range(len(places))] = 1
        total, number = _of_model([each for found in maps.values() for each in found])
        totals += member @ total @ member.T
        numbers += member @ number @ member.T
    # as lists, for of each pair single numbers are asked
    by_pair = [each.transpose(1, 2, 0).tolist() for each in (totals, numbers)]
    return tuple(
        _agreement(methods[one], methods[other], *(each[one][other] for each in by_pair))
        for one, other in combinations(range(count), 2)
        if numbers[2, one, other]
    )


def mean_agreements(methods: Sequence[str], tasks: Iterable[Sequence[Agreement]]) -> tuple[Agreement, ...]:
    """The mean over the tasks on which two methods can be compared, each task counting alike."""
    found: dict[tuple[str, str], list[Agreement]] = {}
    for task in tasks:
        for each in task:
            found.setdefault((each.first, each.second), []).append(each)
    return tuple(_mean_agreement(found[pair]) for pair in combinations(methods, 2) if pair in found)


def _mean_agreement(tasks: Sequence[Agreement]) -> Agreement:
    return Agreement(
        tasks[0].first,
        tasks[0].second,
        ranks=_mean_of_known([each.ranks for each in tasks]),
        signs=_mean_of_known([each.signs for each in tasks]),
        tops=_mean_of_known([each.tops for each in tasks]),
        n=sum(each.n for each in tasks),
        undefined=sum(each.undefined for each in tasks),
        tasks=len(tasks),
    )


def _agreement(first: str, second: str, totals: Sequence[float], numbers: Sequence[float]) -> Agreement:
    pairs = zip(totals, numbers, strict=True)
    ranks, signs, tops = (total / number if number else None for total, number in pairs)
    n = int(numbers[2])
    return Agreement(first, second, ranks, signs, tops, n, n - int(numbers[0]))


def _mean_of_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _of_model(maps: Sequence[Map]) -> tuple[Array, Array]:
    """Sums over sequences and numbers of defined values, float64[3, M, M] each, of all pairs of maps of one model."""
    fine = [place for place, each in enumerate(maps) if each.values.ndim == 3]
    steps = [each.values.sum(-1, dtype=np.float64) if each.values.ndim == 3 else each.values for each in maps]
    if not fine:
        return _of_maps(maps, steps)
    total, number = np.zeros((2, 3, len(maps), len(maps)))
    if len(fine) < len(maps):
        total, number = _of_maps(maps, steps)
    cells = [maps[place] for place in fine]
    both = np.ix_([0, 1, 2], fine, fine)
    total[both], number[both] = _of_maps(cells, [each.values.reshape(len(each.values), -1) for each in cells])
    return total, number


def _of_maps(maps: Sequence[Map], rows: Sequence[Array]) -> tuple[Array, Array]:
    """As :func:`_of_model`, of maps whose features are the columns of rows float[B, N]."""
    sequences, width = rows[0].shape
    steps = maps[0].values.shape[1]
    valid = np.arange(width) // (width // steps) < maps[0].lengths[:, None]
    signed = np.array([each.signed for each in maps])
    total, number = np.zeros((2, 3, len(maps), len(maps)))
    size = max(1, _VALUES // (len(maps) * width))
    for start in range(0, sequences, size):
        part = slice(start, start + size)
        found = measures(np.stack([row[part] for row in rows], axis=1), valid[part], signed)
        defined = ~np.isnan(found)
        total += np.where(defined, found, 0.0).sum(1)
        number += defined.sum(1)
    return total, number


def measures(values: Array, valid: Array, signed: Array) -> Array:
    """The three measures of every pair of maps for every sequence.

    Args:
        values: float[B, M, N].
        valid: bool[B, N], which features are there, at least one.
        signed: bool[M].

    Returns:
        float32[3, B, M, M], ranks, signs and tops; NaN where not defined.
    """
    relevance = np.where(signed[:, None], np.abs(values), values)
    counts = valid.sum(1)
    # what is padding is sorted behind everything else
    keys = np.where(valid[:, None], relevance, np.inf)
    ordered = np.sort(keys, axis=-1)
    ranks = _correlations(_midranks(keys.argsort(axis=-1), ordered), valid, counts)
    top = _inclusion(keys, ordered, valid, counts)
    size = -(-counts // 10)[:, None, None]
    common = top @ top.mT
    signs = _sign_agreement(np.where(valid[:, None], values, 0), top, 2 * size - common)
    signs[:, ~(signed[:, None] & signed)] = np.nan
    return np.stack([ranks, signs, common / size])


def _midranks(order: Array, ordered: Array) -> Array:
    """float32[…, N]: twice the rank of each value, counted from 0; tied values share the mean of their ranks."""
    width = order.shape[-1]
    fresh = np.ones(order.shape, dtype=bool)
    np.not_equal(ordered[..., 1:], ordered[..., :-1], out=fresh[..., 1:])
    first = np.flatnonzero(fresh)
    sizes = np.diff(first, append=order.size)
    doubled = (2 * (first % width) + sizes - 1).astype(np.float32)
    ranks = np.empty(order.shape, dtype=np.float32)
    np.put_along_axis(ranks, order, doubled.repeat(sizes).reshape(order.shape), axis=-1)
    return ranks


def _correlations(ranks: Array, valid: Array, counts: Array) -> Array:
    """float32[B, M, M]: Pearson's correlation of doubled ranks float32[B, M, N], whose mean is n − 1."""
    mean = (counts - 1).astype(np.float32)[:, None, None]
    centred = (ranks - mean) * valid[:, None]
    # doubled ranks are whole numbers, so that a constant map has a size of exactly 0
    size = np.sqrt(np.einsum("bmn,bmn->bm", centred, centred))[..., None]
    unit = np.divide(centred, size, out=np.full_like(centred, np.nan), where=size > 0)
    found: Array = (unit @ unit.mT).clip(-1, 1)
    return found


def _inclusion(keys: Array, ordered: Array, valid: Array, counts: Array) -> Array:
    """float32[B, M, N]: the probability that a random order of the tied puts each feature among the first ⌈n/10⌉."""
    chosen = -(-counts // 10)[:, None, None]
    place = np.broadcast_to(counts[:, None, None] - chosen, (*ordered.shape[:2], 1))
    edge = np.take_along_axis(ordered, place, axis=-1)
    above = (keys > edge) & valid[:, None]
    tied = keys == edge
    share = (chosen - above.sum(-1, keepdims=True)) / tied.sum(-1, keepdims=True)
    found: Array = above + tied * share.astype(np.float32)
    return found


def _sign_agreement(values: Array, top: Array, union: Array) -> Array:
    """float32[B, M, M]: of the features in either top that not both call 0, the share to which both give one sign.

    Args:
        values: float[B, M, N].
        top: float32[B, M, N], the probability of each feature to be in the top.
        union: float32[B, M, M], how many features are expected in either top.
    """
    equal = _in_either(np.concatenate([top, top], -1), np.concatenate([values > 0, values < 0], -1))
    # in float32 the two do not cancel to exactly 0 where both maps are 0 throughout
    spoken = union - _in_either(top, values == 0)
    found: Array = np.divide(equal, spoken, out=np.full_like(equal, np.nan), where=spoken > 1e-4)
    return found


def _in_either(top: Array, marked: Array) -> Array:
    """float32[B, M, M]: how many features that both mark are expected in the top of at least one of the two."""
    here = top * marked
    # a·b′ + a′·b − a·a′ with a = top where marked, b = marked, in one product and its mirror image
    half = here @ (marked - here / 2).mT
    found: Array = half + half.mT
    return found
