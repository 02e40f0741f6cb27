"""Limits of time and memory of one call of a plug-in: making a model, explaining a cell, one metric on a cell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from ....errors import MemoryLimitError, TimeLimitError
from ...suites.limit_texts import bytes_of, seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...suites.suite import Suite

DEFAULT_SECONDS: Final = 3600.0
# Share of the machine's memory that a run may take; the rest is for the system and the process that writes the store.
SHARE: Final = 0.9
_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN_CGROUPS: Final = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Limits:
    """Limits of one call of a plug-in.

    Attributes:
        seconds: wall time; None for no limit.
        memory_bytes: resident memory of the process that makes the call; None for no limit.
    """

    seconds: float | None = None
    memory_bytes: int | None = None

    def time_error(self) -> TimeLimitError:
        """The error of a call that took longer than the time limit."""
        limit = f"{self.seconds:.15g}" if self.seconds is not None else "0"
        return TimeLimitError(
            f"It took longer than the limit of {limit} s; give more with --time-limit or time_limit in the suite."
        )

    def memory_error(self, held: int | None = None) -> MemoryLimitError:
        """The error of a call that took more memory than the memory limit.

        Args:
            held: bytes that its process held; None if not known.
        """
        amount = "" if held is None else f" (its process held {_size(held)})"
        return MemoryLimitError(
            f"It took more memory than the limit of {_size(self.memory_bytes or 0)}{amount}; give more with "
            "--memory-limit or memory_limit in the suite."
        )


UNLIMITED: Final = Limits()


def default_limits(jobs: int = 1) -> Limits:
    """Limits where nothing is said: an hour for each call, and 90 % of the machine's memory over the number of jobs.

    Args:
        jobs: number of plug-ins that run at the same time on this machine.
    """
    return Limits(DEFAULT_SECONDS, int(SHARE * machine_memory() / max(jobs, 1)))


def chosen_limits(suite: Suite, time_limit: str = "", memory_limit: str = "", jobs: int = 1) -> Limits:
    """Limits of a run: those of the command line, else those of the suite, else the defaults.

    Args:
        suite: the suite.
        time_limit: text of the option ``--time-limit``; empty if it was not given.
        memory_limit: text of the option ``--memory-limit``; empty if it was not given.
        jobs: number of plug-ins that run at the same time on this machine.

    Raises:
        UsageError: a text is no limit.
    """
    default = default_limits(jobs)
    time, memory = time_limit or suite.time_limit, memory_limit or suite.memory_limit
    return Limits(
        seconds_of(time, "--time-limit") if time else default.seconds,
        bytes_of(memory, "--memory-limit") if memory else default.memory_bytes,
    )


def machine_memory() -> int:
    """Bytes of memory this process may use: those of the machine, or of its control group (container) if fewer."""
    return min([int(psutil.virtual_memory().total), *_cgroup_limits()])


def _cgroup_limits() -> Iterator[int]:
    """Memory limits in bytes of the control groups this process is in, of both versions of control groups."""
    try:
        lines = _OWN_CGROUPS.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        root, file = (_CGROUPS / "memory", "memory.limit_in_bytes") if controllers else (_CGROUPS, "memory.max")
        own = root / path.lstrip("/")
        # in a container the path may be that of the host, and only the root is to be seen
        for folder in (own, *(parent for parent in own.parents if parent.is_relative_to(root))):
            if (limit := _number_in(folder / file)) is not None:
                yield limit


def _number_in(file: Path) -> int | None:
    """The number above 0 in a file; None if there is none, as where the limit is ``max``."""
    try:
        text = file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return (int(text) or None) if text.isdecimal() else None


def _size(count: int) -> str:
    """Bytes in words, such as ``4.00 GB``."""
    unit, name = next(((unit, name) for unit, name in ((10**9, "GB"), (10**6, "MB")) if count >= unit), (10**3, "kB"))
    return f"{count / unit:.3g} {name}"
