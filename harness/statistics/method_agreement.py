"""Agreement of every two methods on the same model and the same sequences.

Three of the measures of Krishna et al. 2022, arXiv:2202.01602, section 4, over the valid features of one sequence:

- *ranks*: their rank correlation, Spearman's ρ with midranks, over all features. It is not their "rank agreement",
  which counts equal positions among the first k.
- *tops*: their feature agreement, the share of the k most relevant features that two methods have in common, with
  k = ⌈n/10⌉.
- *signs*: their sign agreement with another denominator. Theirs divides by k and so falls whenever the tops differ.
  Here it is the share of equal signs among the features in the top of either method, which is independent of the tops.

Features are ordered by relevance: |Φ| of signed methods, else Φ. Where one of two methods has one value for each step,
the features of the other are summed to steps. A feature tied at the edge of the top belongs to it with the probability
that a random order puts it there, independently for the two methods; *signs* is the ratio of the expected numbers.

All pairs are computed at once. The measure of a pair is a product of a row of one method with a row of the other, so
each method is sorted once for each sequence and the rest are matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..results.scored_cells import StoredAttribution

    Array: TypeAlias = np.ndarray[Any, Any]

# The number of values of all maps that are processed at once: as many as fit into the cache of a processor core.
_VALUES = 2**16


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of two methods: means over sequences and models, or over tasks.

    Attributes:
        first, second: specs of the methods, in the order of the suite.
        ranks: Spearman's ρ of relevance, −1 to 1; None where one of the two is constant in every map.
        signs: share of equal signs among the most relevant features of either, 0 to 1; None unless both are signed.
        tops: share of the most relevant features in common, 0 to 1; about .1 by chance.
        n: the number of pairs of maps that were compared.
        undefined: the number of these pairs without a rank correlation: a map is constant or has one feature.
        tasks: the number of tasks it is the mean over.
    """

    first: str
    second: str
    ranks: float | None
    signs: float | None
    tops: float | None
    n: int
    undefined: int
    tasks: int = 1


def agreements(
    methods: Sequence[str], models: Iterable[Mapping[str, Sequence[StoredAttribution]]]
) -> tuple[Agreement, ...]:
    """Return the agreement of every two methods on one task.

    Args:
        methods: specs of the methods.
        models: for each model the maps of each method, one for each explainer seed. The iterable is read one model
            after another, and no map is kept. A method may be missing; it is then compared with no other on this model.

    Returns:
        one agreement for each pair that can be compared.
    """
    count = len(methods)
    totals, numbers = np.zeros((3, count, count)), np.zeros((3, count, count))
    for maps in models:
        rows = [methods.index(spec) for spec, of_method in maps.items() for _ in of_method]
        if not rows:
            continue
        member = np.zeros((count, len(rows)))
        member[rows, range(len(rows))] = 1
        total, number = _sums_of_model([one for of_method in maps.values() for one in of_method])
        totals += member @ total @ member.T
        numbers += member @ number @ member.T
    # lists: single numbers of arrays are slow to read
    by_pair = [sums.transpose(1, 2, 0).tolist() for sums in (totals, numbers)]
    return tuple(
        _agreement(methods[one], methods[other], *(sums[one][other] for sums in by_pair))
        for one, other in combinations(range(count), 2)
        if numbers[2, one, other]
    )


def mean_agreements(methods: Sequence[str], tasks: Iterable[Sequence[Agreement]]) -> tuple[Agreement, ...]:
    """Return the mean agreement over the tasks on which two methods can be compared; each task has the same weight."""
    by_pair: dict[tuple[str, str], list[Agreement]] = {}
    for task in tasks:
        for agreement in task:
            by_pair.setdefault((agreement.first, agreement.second), []).append(agreement)
    return tuple(_mean_agreement(by_pair[pair]) for pair in combinations(methods, 2) if pair in by_pair)


def _mean_agreement(tasks: Sequence[Agreement]) -> Agreement:
    """Return the mean of the agreement of one pair on several tasks."""
    return Agreement(
        tasks[0].first,
        tasks[0].second,
        ranks=_mean_of_defined([task.ranks for task in tasks]),
        signs=_mean_of_defined([task.signs for task in tasks]),
        tops=_mean_of_defined([task.tops for task in tasks]),
        n=sum(task.n for task in tasks),
        undefined=sum(task.undefined for task in tasks),
        tasks=len(tasks),
    )


def _agreement(first: str, second: str, totals: Sequence[float], numbers: Sequence[float]) -> Agreement:
    """Return the agreement of two methods from the sums of their three measures and the numbers of defined values."""
    pairs = zip(totals, numbers, strict=True)
    ranks, signs, tops = (total / number if number else None for total, number in pairs)
    n = int(numbers[2])
    return Agreement(first, second, ranks, signs, tops, n, n - int(numbers[0]))


def _mean_of_defined(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are not None; None if there are none."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _sums_of_model(maps: Sequence[StoredAttribution]) -> tuple[Array, Array]:
    """Sum the measures of all pairs of M maps of one model over the sequences.

    Returns:
        the sums and the numbers of defined values, float64[3, M, M] each.
    """
    with_features = [index for index, one in enumerate(maps) if one.values.ndim == 3]
    steps = [one.steps for one in maps]
    if not with_features:
        return _sums_of_rows(maps, steps)
    total, number = np.zeros((2, 3, len(maps), len(maps)))
    if len(with_features) < len(maps):
        total, number = _sums_of_rows(maps, steps)
    chosen = [maps[index] for index in with_features]
    both = np.ix_([0, 1, 2], with_features, with_features)
    total[both], number[both] = _sums_of_rows(chosen, [one.values.reshape(len(one.values), -1) for one in chosen])
    return total, number


def _sums_of_rows(maps: Sequence[StoredAttribution], rows: Sequence[Array]) -> tuple[Array, Array]:
    """Sum the measures as :func:`_sums_of_model` does; the features of each map are the columns of rows float[B, N]."""
    sequences, width = rows[0].shape
    steps = maps[0].values.shape[1]
    valid = (np.arange(width) // (width // steps) < maps[0].lengths[:, None]) & ~np.isnan(rows[0])
    if np.isnan(rows[0]).any():  # where several inputs leave the layout empty
        rows = [np.where(np.isnan(row), 0.0, row) for row in rows]
    signed = np.array([one.signed for one in maps])
    total, number = np.zeros((2, 3, len(maps), len(maps)))
    size = max(1, _VALUES // (len(maps) * width))
    for start in range(0, sequences, size):
        part = slice(start, start + size)
        measures = agreement_measures(np.stack([row[part] for row in rows], axis=1), valid[part], signed)
        defined = ~np.isnan(measures)
        total += np.where(defined, measures, 0.0).sum(1)
        number += defined.sum(1)
    return total, number


def agreement_measures(values: Array, valid: Array, signed: Array) -> Array:
    """Return the three measures of every pair of maps for every sequence.

    Args:
        values: float[B, M, N], the attributions of M maps.
        valid: bool[B, N], which features are not padding, at least one.
        signed: bool[M], whether the signs of a map have a meaning.

    Returns:
        float32[3, B, M, M], *ranks*, *signs* and *tops*; NaN where not defined.
    """
    relevance = np.where(signed[:, None], np.abs(values), values)
    counts = valid.sum(1)
    # padding is sorted behind all features
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
    """Return twice the rank of each value, counted from 0, float32[…, N]; tied values share the mean of their ranks."""
    width = order.shape[-1]
    differs = np.ones(order.shape, dtype=bool)
    np.not_equal(ordered[..., 1:], ordered[..., :-1], out=differs[..., 1:])
    first = np.flatnonzero(differs)
    sizes = np.diff(first, append=order.size)
    doubled = (2 * (first % width) + sizes - 1).astype(np.float32)
    ranks = np.empty(order.shape, dtype=np.float32)
    np.put_along_axis(ranks, order, doubled.repeat(sizes).reshape(order.shape), axis=-1)
    return ranks


def _correlations(ranks: Array, valid: Array, counts: Array) -> Array:
    """Return Pearson's correlations float32[B, M, M] of doubled ranks float32[B, M, N], whose mean is n − 1."""
    mean = (counts - 1).astype(np.float32)[:, None, None]
    centred = (ranks - mean) * valid[:, None]
    # doubled ranks are whole numbers, so that a constant map has a norm of exactly 0
    norm = np.sqrt(np.einsum("bmn,bmn->bm", centred, centred))[..., None]
    unit = np.divide(centred, norm, out=np.full_like(centred, np.nan), where=norm > 0)
    correlations: Array = (unit @ unit.mT).clip(-1, 1)
    return correlations


def _inclusion(keys: Array, ordered: Array, valid: Array, counts: Array) -> Array:
    """Return the probability of each feature to be among the ⌈n/10⌉ most relevant, ties in random order.

    Returns:
        float32[B, M, N].
    """
    k = -(-counts // 10)[:, None, None]
    position = np.broadcast_to(counts[:, None, None] - k, (*ordered.shape[:2], 1))
    edge = np.take_along_axis(ordered, position, axis=-1)
    above = (keys > edge) & valid[:, None]
    tied = keys == edge
    share = (k - above.sum(-1, keepdims=True)) / tied.sum(-1, keepdims=True)
    probability: Array = above + tied * share.astype(np.float32)
    return probability


def _sign_agreement(values: Array, top: Array, union: Array) -> Array:
    """Return the share of equal signs among the features in either top, without those that are 0 in both maps.

    Args:
        values: float[B, M, N].
        top: float32[B, M, N], the probability of each feature to be in the top.
        union: float32[B, M, M], the expected number of features in either top.

    Returns:
        float32[B, M, M]; NaN where both maps are 0 throughout.
    """
    equal = _in_either(np.concatenate([top, top], -1), np.concatenate([values > 0, values < 0], -1))
    # in float32 the two terms do not cancel to exactly 0 where both maps are 0 throughout
    nonzero = union - _in_either(top, values == 0)
    shares: Array = np.divide(equal, nonzero, out=np.full_like(equal, np.nan), where=nonzero > 1e-4)
    return shares


def _in_either(top: Array, marked: Array) -> Array:
    """Return the expected number of features that both maps mark and that are in at least one top, float32[B, M, M]."""
    marked_top = top * marked
    # a·b′ + a′·b − a·a′ with a = top where marked, b = marked, in one product and its mirror image
    half = marked_top @ (marked - marked_top / 2).mT
    number: Array = half + half.mT
    return number
