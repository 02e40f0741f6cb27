"""Cost is what was measured, for each sequence."""

import pytest

from xrnnbench.metrics.base import Measurement
from xrnnbench.metrics.conformance.specimens import StandIn, evidence, specimen
from xrnnbench.plugins import build
from xrnnbench.tasks.subject import Cost

COST = Measurement(Cost(forward=70, backward=14, executed=35), seconds=3.5, peak_bytes=2**21)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("forward-passes", 10.0),
        ("backward-passes", 2.0),
        ("forward-equivalents", 14.0),
        ("wall-time", 0.5),
        ("peak-memory", 2.0),
    ],
)
def test_cost_is_told_of_each_sequence(name, value):
    found = build("metric", name).measure(evidence(specimen(), StandIn(), measurement=COST))
    assert found.tolist() == [value] * 7


def test_memory_is_undefined_where_the_platform_cannot_tell():
    unknown = Measurement(Cost(), 1.0, None)
    assert build("metric", "peak-memory").measure(evidence(specimen(), StandIn(), measurement=unknown)).isnan().all()
