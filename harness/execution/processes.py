"""Work on the tasks of stored results by several processes of this machine, such as the board of each task.

The processes read results from their folder themselves, and send back what they made of each item, in its order.
"""

from __future__ import annotations

import gc
import pickle
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ItemT = TypeVar("ItemT")
ValueT = TypeVar("ValueT")
# Items that a process does at once: what their values have in common is sent once with them.
_TOGETHER = 4


def in_processes(function: Callable[[ItemT], ValueT], items: Sequence[ItemT], jobs: int) -> Iterator[ValueT]:
    """Call a function with each item, and yield its values in the order of the items.

    Args:
        function: sent to each process once; it can be pickled, and so can items and values.
        items: the items.
        jobs: number of processes.
    """
    from joblib import Parallel, delayed, parallel_config  # noqa: PLC0415  # few results are so large

    shares = [items[start : start + _TOGETHER] for start in range(0, len(items), _TOGETHER)]
    # the default start of processes runs no script again, so that none needs a guard of its main part
    with tempfile.TemporaryDirectory() as folder, parallel_config("loky", inner_max_num_threads=1):
        file = Path(folder, "function.pickle")
        file.write_bytes(pickle.dumps(function))
        make = Parallel(n_jobs=min(jobs, len(shares)), return_as="generator")
        for values in make(delayed(_values)(file, share) for share in shares):
            yield from values


def _values(file: Path, items: Sequence[Any]) -> list[Any]:
    """Call the function in a file with some items, in another process."""
    function = _read(file)
    return [function(item) for item in items]


@lru_cache(maxsize=1)
def _read(file: Path) -> Callable[[Any], Any]:
    """Read the function once in each process."""
    # this process keeps nothing for long, and the collector would take a sixth of its time to find that out
    gc.set_threshold(100_000, 50, 100)
    function: Callable[[Any], Any] = pickle.loads(file.read_bytes())  # noqa: S301  # written by the process that asks
    return function
