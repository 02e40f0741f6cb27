"""How often intervals cover the truth, and paired tests are wrong, in simulated studies.

The tables of docs/statistics.md: ``python tests/benchmarks/statistics_simulation.py``, some minutes.

A study is the scores of methods on models and sequences drawn from more of their kind: each score is the sum of what
the model, the sequence and the two together bring. What is true is known: the mean of all models and sequences is 0,
and no method is better than another.
"""

import sys
from itertools import product

import numpy as np
from scipy import stats

from xrnnbench.harness.statistics.estimates import percentile_interval, scaled_quantile_draws
from xrnnbench.harness.statistics.pairwise_tests import pairwise_tests
from xrnnbench.harness.statistics.variance_components import variance_estimate

MODELS, SEQUENCES = (1, 2, 3, 5, 10), (32, 64, 256)
# Standard deviations of model, sequence and both.
KINDS = {
    "sequences alone": (0.0, 1.0, 1.0),
    "sequences, models a little": (0.05, 1.0, 1.0),
    "both": (0.3, 1.0, 1.0),
    "models most": (1.0, 0.3, 0.5),
    "neither": (0.0, 0.0, 1.0),
}
STUDIES, FAMILIES, METHODS = 4000, 400, 13


def drawn(rng, shape, *, skewed):
    """Numbers of mean 0 and variance 1."""
    return rng.exponential(size=shape) - 1 if skewed else rng.normal(size=shape)


def studies(rng, count, models, sequences, sizes, *, skewed):
    """float64[count, models, sequences]."""
    shapes = ((count, models, 1), (count, 1, sequences), (count, models, sequences))
    return sum(size * drawn(rng, shape, skewed=skewed) for size, shape in zip(sizes, shapes, strict=True))


def row(*cells):
    """Write a row of a table."""
    sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n")
    sys.stdout.flush()


def heads(*cells):
    """Write the head of a table."""
    sys.stdout.write("\n")
    row(*cells)
    sys.stdout.write("|---" * len(cells) + "|\n")


def coverage(rng):
    """Write how often the interval of a mean covers 0, in percent."""
    heads("scores vary with", "models", *(f"{n}, {kind}" for n in SEQUENCES for kind in ("normal", "skewed")))
    for (name, sizes), models in product(KINDS.items(), MODELS):
        if models == 1 and sizes[0]:
            continue  # one model says nothing of others, and the board says so
        cells = []
        for sequences, skewed in product(SEQUENCES, (False, True)):
            found = variance_estimate(studies(rng, STUDIES, models, sequences, sizes, skewed=skewed))
            cells.append(f"{100 * (np.abs(found.mean) <= found.half_width).mean():.1f}")
        row(name, models, *cells)


def quantiles(rng):
    """Write the same of quantiles of normal scores, the true one being that of all models and sequences."""
    heads("quantile", "scores vary with", "3 models", "5 models", "10 models")
    for (statistic, level), (name, sizes) in product((("median", 0.5), ("p95", 0.95)), KINDS.items()):
        true = stats.norm.ppf(level, scale=np.sqrt(np.square(sizes).sum()))
        cells = []
        for models in (3, 5, 10):
            made = studies(rng, FAMILIES, models, 64, sizes, skewed=False)
            # the interval of the draws: the board shows none where this table says that it covers too little
            draws = scaled_quantile_draws([list(study) for study in made], 0, statistic)
            hits = [low <= true <= high for low, high in map(percentile_interval, draws)]
            cells.append(f"{100 * np.mean(hits):.0f}")
        row(statistic, name, *cells)


def families(rng):
    """Write how often a pair of equal methods is told apart, and how often any of the 78 pairs of 13 is, in percent.

    The methods share what makes models and sequences hard; each has besides what is its own.
    """
    own = {"sequences, both": (0.0, 0.5, 0.7), "models a little": (0.2, 0.5, 0.7), "models most": (0.7, 0.3, 0.5)}
    heads("methods differ in", "models", "a single pair", "any of 78")
    for (name, sizes), models in product(own.items(), MODELS):
        single, family = 0.0, 0
        for _ in range(FAMILIES):
            shared = studies(rng, 1, models, 64, (1.0, 1.0, 0.0), skewed=False)
            values = shared + studies(rng, METHODS, models, 64, sizes, skewed=False)
            single += (variance_estimate(values[1:] - values[:-1]).p < 0.05).mean()
            found = pairwise_tests({str(place): dict(enumerate(each)) for place, each in enumerate(values)})
            family += bool((found.p < 0.05).any())
        row(name, models, f"{100 * single / FAMILIES:.1f}", f"{100 * family / FAMILIES:.1f}")


if __name__ == "__main__":
    generator = np.random.default_rng(0)
    coverage(generator)
    quantiles(generator)
    families(generator)
