"""Downloads on the command line: lists of data sets, the notice before a download, and its progress bar."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ...bounded_files import resolved_path
from ...errors import UnknownNameError, UsageError
from ...plugins import build, names, nearest
from ...tasks.base import Task
from ...tasks.downloads import checksums
from ...tasks.downloads import locate as downloads
from ...tasks.downloads.catalogue import ALIASES, ARCHIVES, SOURCES, Source, source
from ...tasks.downloads.http import SilentProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from rich.progress import TaskID


def data_sets_of(requested: Iterable[str]) -> list[Source]:
    """Data sets of these names, each once.

    Args:
        requested: names of data sets, or of tasks that need data sets.

    Raises:
        UnknownNameError: neither a data set nor a task has that name.
        UsageError: a task needs no data set, or cannot be built.
    """
    data_sets = {data_set.name: data_set for name in requested for data_set in _data_sets_of_name(name)}
    return list(data_sets.values())


def download_folder(data_dir: Path | None) -> Path:
    """Folder for downloads: that of the option, or else of the environment variable, or else the cache.

    Raises:
        DataError: no folder can have the name.
    """
    if data_dir is not None:
        return resolved_path(data_dir)
    return downloads.data_folder() or downloads.cache_folder()


def missing_data_sets(
    data_sets: Iterable[Source], data_dir: Path | None, echo: Callable[[str], object]
) -> list[Source]:
    """Data sets that are not downloaded yet; the folders of the others are printed by ``echo``."""
    missing = []
    for data_set in data_sets:
        folder = _downloaded_folder(data_set, data_dir)
        if folder is None:
            missing.append(data_set)
        else:
            echo(f"{data_set.name} is already there: {folder}")
    return missing


def download_notice(data_set: Source, base: Path) -> str:
    """Notice before a download: size, licence, citation, addresses, checksums, and the folder it is written to."""
    facts = [
        ("size", data_set.extent),
        ("licence", data_set.licence),
        ("cite", data_set.citation),
        ("page", data_set.page),
    ]
    for file in data_set.files:
        size = decimal(file.size) if file.size is not None else "size unknown"
        facts.append(("from", f"{downloads.address(data_set, file)} ({size}; {_checksum(data_set, file.name, base)})"))
    facts.append(("to", str(base / data_set.folder)))
    return "\n".join([f"{data_set.name}: {data_set.about}", *(f"  {key:<8} {value}" for key, value in facts)])


def total_size(data_sets: Iterable[Source]) -> str:
    """Total size of data sets as text."""
    sizes = [file.size for data_set in data_sets for file in data_set.files]
    known = sum(size for size in sizes if size is not None)
    unknown = sizes.count(None)
    files = f"{unknown} file{'s' * (unknown > 1)} of unknown size"
    if not known:
        return files
    return f"{decimal(known)} and {files}" if unknown else decimal(known)


def list_data_sets(data_dir: Path | None) -> list[dict[str, Any]]:
    """Facts of all data sets as JSON values, with their folders; None for a data set that is not downloaded."""
    return [
        {
            "name": data_set.name,
            "about": data_set.about,
            "size": data_set.size,
            "files": [dataclasses.asdict(file) for file in data_set.files],
            "licence": data_set.licence,
            "citation": data_set.citation,
            "page": data_set.page,
            "folder": None if (folder := _complete_folder(data_set, data_dir)) is None else str(folder),
        }
        for data_set in SOURCES.values()
    ]


def data_set_table(data_dir: Path | None) -> str:
    """Table of all data sets as text: name, size, whether it is downloaded, and its description."""
    rows = [
        (
            data_set.name,
            data_set.extent,
            "–" if _complete_folder(data_set, data_dir) is None else "here",
            data_set.about,
        )
        for data_set in SOURCES.values()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]}" for row in rows]
    return "\n".join([*lines, "ucr:NAME and uea:NAME are the other sets of those archives."])


def fetch(data_sets: Iterable[Source], base: Path) -> Iterator[str]:
    """Download data sets, with a progress bar if the standard error stream is a terminal.

    Yields:
        after each data set, a line with its folder.

    Raises:
        DataError: see :func:`xrnnbench.tasks.downloads.locate.download`.
    """
    console = Console(stderr=True)
    bar = Bar(console) if console.is_terminal else contextlib.nullcontext(SilentProgress())
    with bar as progress:
        for data_set in data_sets:
            yield f"{data_set.name} is in {downloads.download(data_set, base, progress)}"


class Bar:
    """Progress bars on a terminal, one for each file."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._progress = Progress(*columns, TimeRemainingColumn(), console=console)
        self._files: dict[str, TaskID] = {}
        self._now: TaskID | None = None

    def __enter__(self) -> Self:
        """Start the display."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the display."""
        self._progress.stop()

    def begin(self, name: str, done: int, total: int | None) -> None:
        """Show the bar of a file that starts, or resumes after ``done`` bytes."""
        if name not in self._files:
            self._files[name] = self._progress.add_task(name)
        self._now = self._files[name]
        self._progress.update(self._now, total=total, completed=done)

    def advance(self, count: int) -> None:
        """Add downloaded bytes to the current file."""
        if self._now is not None:
            self._progress.advance(self._now, count)


def _data_sets_of_name(name: str) -> list[Source]:
    """Data set of this name, or those of the task of this name."""
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
        raise UsageError(f"Task {name!r} needs no downloaded data set.")
    return [source(data_set) for data_set in needed]


def _downloaded_folder(data_set: Source, data_dir: Path | None) -> Path | None:
    """Folder of a downloaded data set: in the folder of the option, or else where readers look; None if missing."""
    if data_dir is not None:
        return downloads.downloaded_folder(data_set, download_folder(data_dir))
    bases = (downloads.data_folder(), downloads.cache_folder())
    folders = (downloads.downloaded_folder(data_set, base) for base in bases if base is not None)
    return next((folder for folder in folders if folder is not None), None)


def _complete_folder(data_set: Source, data_dir: Path | None) -> Path | None:
    """Folder of a downloaded data set; None if it is missing or incomplete."""
    try:
        return _downloaded_folder(data_set, data_dir)
    except UsageError:
        return None


def _checksum(data_set: Source, name: str, base: Path) -> str:
    """Description of the checksum that a file is verified against."""
    file = next(file for file in data_set.files if file.name == name)
    if file.checksum is not None:
        return file.checksum
    recorded = checksums.recorded_checksum(data_set, file, base)
    if recorded:
        return f"as at the first download: {recorded}"
    return "no checksum published: that of this download is recorded and verified later"
