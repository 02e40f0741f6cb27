"""Schedule of a run by list scheduling: of the work that is ready, a free worker takes what is most urgent.

The simulation is of discrete events. A worker does one piece of work at a time. Its result goes to the driver, which
handles one result after the other (it checks it, writes the store, says what is ready), and only then can begin what
waited for it.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """Pieces of work and what they wait for.

    Attributes:
        seconds: duration of each piece.
        waits: number of pieces that each waits for.
        frees: pieces that wait for each.
    """

    seconds: Sequence[float]
    waits: Sequence[int]
    frees: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Schedule:
    """Outcome of a simulated schedule.

    Attributes:
        seconds: from the start to the last handled result.
        work: seconds of all pieces together.
        driver: seconds that the driver was busy.
        path: seconds of the longest chain of pieces, each with its handling.
        workers: number of workers.
        startup: seconds before the last worker was there.
    """

    seconds: float
    work: float
    driver: float
    path: float
    workers: int
    startup: float

    @property
    def efficiency(self) -> float:
        """Share of the workers' time in which they work."""
        return self.work / (self.seconds * self.workers) if self.seconds else 1.0

    @property
    def limit(self) -> str:
        """Limit of the duration: the largest of its lower bounds."""
        bounds = {
            "work": self.work / self.workers + self.startup,
            "longest chain": self.path + self.startup,
            "driver": self.driver + self.startup,
        }
        dearest = max(bounds, key=bounds.__getitem__)
        return "start-up" if self.startup > bounds[dearest] / 2 else dearest


def urgencies(work: Work, handling: float = 0.0) -> list[float]:
    """Seconds of the longest chain that begins with each piece, its handling included."""
    waits, order = list(work.waits), [piece for piece, count in enumerate(work.waits) if not count]
    for piece in order:
        for freed in work.frees[piece]:
            waits[freed] -= 1
            if not waits[freed]:
                order.append(freed)
    tails = [0.0] * len(work.seconds)
    for piece in reversed(order):
        after = max((tails[freed] for freed in work.frees[piece]), default=0.0)
        tails[piece] = work.seconds[piece] + handling + after
    return tails


def simulate(
    work: Work,
    workers: int,
    *,
    handling: float = 0.0,
    startup: float = 0.0,
    stagger: float = 0.0,
    urgency: Sequence[float] | None = None,
) -> Schedule:
    """Simulate a run.

    Args:
        work: the pieces.
        workers: number of workers.
        handling: seconds in which the driver handles a result.
        startup: seconds before the first worker is there.
        stagger: seconds between one worker and the next.
        urgency: what is largest is begun first; by default the seconds of the piece.
    """
    urgency = work.seconds if urgency is None else urgency
    waits = list(work.waits)
    ready = [(-urgency[piece], piece) for piece, count in enumerate(waits) if not count]
    heapq.heapify(ready)
    free = [startup + stagger * worker for worker in range(min(workers, len(waits)))]
    ends: list[tuple[float, int]] = []
    handled: list[tuple[float, int]] = []
    driver = now = 0.0
    while ready or ends or handled:
        while ready and free and free[0] <= now:
            heapq.heappop(free)
            piece = heapq.heappop(ready)[1]
            heapq.heappush(ends, (now + work.seconds[piece], piece))
        if handled and (not ends or handled[0][0] <= ends[0][0]) and not (ready and free and free[0] < handled[0][0]):
            now, piece = heapq.heappop(handled)
            for freed in work.frees[piece]:
                waits[freed] -= 1
                if not waits[freed]:
                    heapq.heappush(ready, (-urgency[freed], freed))
        elif ready and free and (not ends or free[0] < ends[0][0]):
            now = max(now, free[0])
        elif ends:
            now, piece = heapq.heappop(ends)
            heapq.heappush(free, now)
            driver = max(driver, now) + handling
            heapq.heappush(handled, (driver, piece))
    path = max(urgencies(work, handling), default=0.0)
    last = startup + stagger * max(0, workers - 1)
    return Schedule(now, sum(work.seconds), handling * len(waits), path, workers, last)
