"""Downloads on the command line: what is said before one, and what while it goes on."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ...errors import UnknownNameError, UsageError
from ...plugins import build, names, nearest
from ...tasks.base import Task
from ...tasks.downloads import checksums as records
from ...tasks.downloads import locate as downloads
from ...tasks.downloads.catalogue import ALIASES, ARCHIVES, SOURCES, Source, source
from ...tasks.downloads.http import Unwatched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from rich.progress import TaskID


def sets_of(wanted: Iterable[str]) -> list[Source]:
    """The data sets of these names, each once: of sets, or of tasks that need some.

    Raises:
        UnknownNameError: neither a data set nor a task has that name.
        UsageError: a task needs none, or cannot be built.
    """
    found = {each.name: each for name in wanted for each in _sets(name)}
    return list(found.values())


def base_of(data_dir: Path | None) -> Path:
    """Where downloads are kept: the folder that is named, by option or variable, or the cache."""
    if data_dir is not None:
        return data_dir.expanduser().resolve()
    return downloads.data_folder() or downloads.cache_folder()


def missing(wanted: Iterable[Source], data_dir: Path | None, say: Callable[[str], object]) -> list[Source]:
    """Those that are not there yet; of the others it is said where they are."""
    found = []
    for each in wanted:
        place = _here(each, data_dir)
        if place is None:
            found.append(each)
        else:
            say(f"{each.name} is already there: {place}")
    return found


def announced(wanted: Source, base: Path) -> str:
    """What a download would fetch, under what terms, from where, and where it would be kept."""
    facts = [("size", wanted.extent), ("licence", wanted.licence), ("cite", wanted.citation), ("page", wanted.page)]
    for file in wanted.files:
        size = decimal(file.size) if file.size is not None else "size unknown"
        facts.append(("from", f"{downloads.address(wanted, file)} ({size}; {_checksum(wanted, file.name, base)})"))
    facts.append(("to", str(base / wanted.folder)))
    return "\n".join([f"{wanted.name}: {wanted.about}", *(f"  {key:<8} {value}" for key, value in facts)])


def total(wanted: Iterable[Source]) -> str:
    """The size of some sets together, in words."""
    sizes = [file.size for each in wanted for file in each.files]
    known = sum(size for size in sizes if size is not None)
    unknown = sizes.count(None)
    files = f"{unknown} file{'s' * (unknown > 1)} of unknown size"
    if not known:
        return files
    return f"{decimal(known)} and {files}" if unknown else decimal(known)


def listed(data_dir: Path | None) -> list[dict[str, Any]]:
    """All data sets with their facts, and where they are, ready for JSON; None where one is not there."""
    return [
        {
            "name": each.name,
            "about": each.about,
            "size": each.size,
            "files": [dataclasses.asdict(file) for file in each.files],
            "licence": each.licence,
            "citation": each.citation,
            "page": each.page,
            "folder": None if (place := _shown(each, data_dir)) is None else str(place),
        }
        for each in SOURCES.values()
    ]


def listing(data_dir: Path | None) -> str:
    """All data sets, one a line: name, size, whether it is there, and what it is."""
    rows = [
        (each.name, each.extent, "–" if _shown(each, data_dir) is None else "here", each.about)
        for each in SOURCES.values()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]}" for row in rows]
    return "\n".join([*lines, "ucr:NAME and uea:NAME are the other sets of those archives."])


def fetch(wanted: Iterable[Source], base: Path) -> Iterator[str]:
    """Fetch sets, with a bar if somebody watches the standard error stream; after each, say where it is.

    Raises:
        DataError: see :func:`xrnnbench.tasks.downloads.locate.download`.
    """
    console = Console(stderr=True)
    watched = Bar(console) if console.is_terminal else contextlib.nullcontext(Unwatched())
    with watched as progress:
        for each in wanted:
            yield f"{each.name} is in {downloads.download(each, base, progress)}"


class Bar:
    """A bar for each file on a terminal."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._progress = Progress(*columns, TimeRemainingColumn(), console=console)
        self._files: dict[str, TaskID] = {}
        self._now: TaskID | None = None

    def __enter__(self) -> Self:
        """Begin."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._progress.stop()

    def begin(self, name: str, done: int, total: int | None) -> None:
        """A file begins, or begins again where it was left."""
        if name not in self._files:
            self._files[name] = self._progress.add_task(name)
        self._now = self._files[name]
        self._progress.update(self._now, total=total, completed=done)

    def advance(self, count: int) -> None:
        """So many more bytes are there."""
        if self._now is not None:
            self._progress.advance(self._now, count)


def _sets(name: str) -> list[Source]:
    try:
        return [source(name)]
    except UnknownNameError:
        tasks = names("task")
        first, _, rest = name.partition(":")
        of_an_archive = first in ARCHIVES and rest and "=" not in rest
        if of_an_archive or (first not in tasks and ".py:" not in name):
            near = nearest(name, sorted({*SOURCES, *ALIASES, *tasks}))
            raise UnknownNameError(
                f"There is no data set or task named {name!r}{near}; 'xrnnbench download' lists the sets, and ucr:NAME "
                "and uea:NAME are those of the UCR and UEA archives."
            ) from None
    task = build("task", name)
    needed = task.data_sets if isinstance(task, Task) else ()
    if not needed:
        raise UsageError(f"Task {name!r} needs no data set that would have to be downloaded.")
    return [source(each) for each in needed]


def _here(wanted: Source, data_dir: Path | None) -> Path | None:
    """Where a set is: in the folder that is named as an option, else wherever a reader would find it."""
    if data_dir is not None:
        return downloads.kept(wanted, base_of(data_dir))
    bases = (downloads.data_folder(), downloads.cache_folder())
    return next((place for base in bases if base is not None and (place := downloads.kept(wanted, base))), None)


def _shown(wanted: Source, data_dir: Path | None) -> Path | None:
    """As :func:`_here`, for a list: what is incomplete is not there."""
    try:
        return _here(wanted, data_dir)
    except UsageError:
        return None


def _checksum(wanted: Source, name: str, base: Path) -> str:
    """What a file will be held to, in words."""
    file = next(each for each in wanted.files if each.name == name)
    if file.checksum is not None:
        return file.checksum
    recorded = records.checksum(wanted, file, base)
    return f"as at the first download: {recorded}" if recorded else "no checksum published: recorded now, held to later"
