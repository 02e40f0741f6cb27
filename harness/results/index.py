"""Index of the cells of a run, ``index.sqlite`` in its folder: what is known about files that have not changed.

Reading a cell means to parse its JSON, to check it against the schema, and to hash its arrays: half a millisecond, and
a minute for 100,000 cells. The index has the result for each cell: the size and the time of its two files when they
were checked, the hash of the JSON, and its content in a compact form. A cell whose files have the size and the time
that the index knows counts as checked; any other cell is read and checked byte by byte.

The index is made from the cells and is never the truth itself. Deleting it loses nothing but time: it is made again.
No doubt about it may give a wrong number:

- *Times are coarse.* A file may change twice within one tick of the clock of the file system, and then has the same
  time and perhaps the same size. So a cell is noted only if its files were older than :data:`MARGIN` when they were
  checked (as git does for files that are "racily clean").
- *Files change while they are read.* Sizes and times are taken before the bytes are read. A file that is replaced
  meanwhile has another time than the one that is noted.
- *Copies.* A copy that keeps times (``rsync -a``, ``cp -a``) keeps its index valid; for one that does not (``cp -r``),
  every cell is checked again. Who sets the time of a changed file back to the old one, at the same size, deceives the
  index about the JSON. Arrays are compared with the hash in their cell whenever they are read.
- *Damage.* Every entry has a hash over all of it. An index that is damaged, foreign or of another format is put aside
  for a new one; an entry that is not as it was written, or does not fit the schema of cells, counts as absent.
- *Several processes.* Readers need no lock of the folder. SQLite orders the writers. Whoever cannot write, because
  another does or the folder is read-only, works without noting anything. An entry names the files that it is about by
  their sizes and times, so that one of an earlier state does no harm.
- *Kills.* SQLite undoes a transaction that was not finished. Nothing waits for the disk: what a crash of the machine
  takes away is checked again, and what it garbles is damage.

Why SQLite: a run that adds ten cells to 100,000 must not write all entries again, as it would have to with one file of
JSON, of Parquet or of arrays, and single cells are to be read without the others. Measured on one core with 100,000
entries of 2 kB: they are written in 1.5 s; their times and hashes are read in 0.3 s, and then one task after another in
0.8 s. As one JSON file they are written in 1.0 s after every change, and read in 0.7 s before the first cell is known,
all in memory. SQLite is part of Python.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import time
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pydantic

from .cell_files import Stamp
from .compact_cells import text_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

NAME = "index.sqlite"
# Nanoseconds by which a file must be older than its check: file systems round times to 2 s at most.
MARGIN = 2_500_000_000
# Marks the file as an index of xrnnbench.
_APPLICATION = 0x78726E6E
_TABLES = """
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, json_size INTEGER, json_time INTEGER, arrays_size INTEGER,
    arrays_time INTEGER, digest TEXT, checked INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cells (path TEXT PRIMARY KEY, json_size INTEGER, json_time INTEGER, arrays_size INTEGER,
    arrays_time INTEGER, digest TEXT, content TEXT, seal BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS texts (digest TEXT PRIMARY KEY, content TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS boards (name TEXT PRIMARY KEY, origin TEXT, content BLOB, seal BLOB);
"""
# Entries that are kept in memory before they are written.
_WAITING = 2000
# Seconds to wait for another process that writes.
_PATIENCE = 5.0
# Bytes of the largest board that is kept.
_LARGEST = 256 << 20
# Entries of one task that are fetched at once.
_NEAR = 2000
# Errors that say nothing against the index: others use it, or this process may not write here.
_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
    }
)


@cache
def _format() -> int:
    """Mark of the form of the entries: another one for other code that checks, packs or unpacks a cell."""
    digest = hashlib.sha256(pydantic.VERSION.encode())
    for name in ("array_files", "cell_checks", "cell_store", "cells", "compact_cells", "index", "seals"):
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return int.from_bytes(digest.digest()[:4], "big") >> 1


class Entry(NamedTuple):
    """Entry of the index: a cell, and the sizes and times of its files.

    Attributes:
        path: path of its files in the folder of the run, without the ending.
        stamp: sizes and times of its files when they were checked.
        digest: sha256 of its JSON.
        content: its content, in the compact form of :mod:`.compact_cells`.
    """

    path: str
    stamp: Stamp
    digest: str
    content: str

    @property
    def seal(self) -> bytes:
        """Hash over all of the entry."""
        text = f"{self.path} {' '.join(map(str, self.stamp))} {self.digest} {self.content}"
        return hashlib.blake2b(text.encode(), digest_size=16).digest()


class Known(NamedTuple):
    """Sizes, times and hash of the files of a cell, as the index has them.

    Attributes:
        stamp: sizes and times of the files.
        digest: sha256 of the JSON.
        checked: whether the cell was checked, or only its JSON was hashed.
    """

    stamp: Stamp
    digest: str
    checked: bool


class CellIndex:
    """Index of the cells in a folder; every question that it cannot answer is answered by "not known".

    Args:
        folder: the folder of the run.
        clock: nanoseconds since the epoch.

    Attributes:
        now: the clock.
    """

    def __init__(self, folder: Path, clock: Callable[[], int] = time.time_ns) -> None:
        self._path = folder / NAME
        self.now = clock
        self._waiting: dict[str, Entry] = {}
        self._texts: dict[str, str] = {}
        self._task = ""
        self._near: dict[str, Entry] = {}
        self._connection: sqlite3.Connection | None = None

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; it is opened again when it is needed."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def find(self, path: str, stamp: Stamp) -> Entry | None:
        """Entry of a cell whose files have this stamp; None if none is known."""
        row = self._waiting.get(path) or self._row(path)
        return row if row is not None and row.stamp == stamp else None

    def _row(self, path: str) -> Entry | None:
        """Entry as it is stored, if it is whole; those of the same task are fetched with it."""
        task = path.rsplit("/", 2)[0] + "/"
        if task != self._task:
            # all paths with this beginning: the next character after "/" is "0"
            self._task, self._near = task, self._fetched("path >= ? AND path < ? LIMIT ?", task, f"{task[:-1]}0", _NEAR)
        entry = self._near.get(path)
        if entry is None and len(self._near) >= _NEAR:
            entry = self._fetched("path = ?", path).get(path)
        return entry

    def _fetched(self, condition: str, *values: str | int) -> dict[str, Entry]:
        """Whole entries of a condition by their path."""
        rows = self._ask(f"SELECT * FROM cells WHERE {condition}", *values)  # noqa: S608  # written here
        entries = {}
        for path, *numbers, digest, content, seal in rows:
            entry = Entry(path, Stamp(*numbers), digest, content)
            if isinstance(content, str) and entry.seal == seal:
                entries[path] = entry
        return entries

    def digests(self) -> dict[str, Known]:
        """Sizes, times and hashes of the files of all cells, by path."""
        rows = self._ask("SELECT path, json_size, json_time, arrays_size, arrays_time, digest, checked FROM files")
        known = {
            path: Known(Stamp(*numbers), digest, checked=bool(checked))
            for path, *numbers, digest, checked in rows
            if isinstance(path, str) and isinstance(digest, str)
        }
        for path, entry in self._waiting.items():
            known[path] = Known(entry.stamp, entry.digest, checked=bool(entry.content))
        return known

    def board(self, name: str, origin: str) -> str | None:
        """Text of a board that was kept for this origin; None if there is none."""
        rows = self._ask("SELECT content, seal FROM boards WHERE name = ? AND origin = ?", name, origin)
        for content, seal in rows:
            if isinstance(content, bytes) and seal == _board_seal(name, origin, content):
                return _unpacked(content)
        return None

    def keep_board(self, name: str, origin: str, text: str) -> None:
        """Keep the text of a board in the place of an earlier one.

        Args:
            name: name of the board.
            origin: fingerprint of everything that the text is made from.
            text: the text.
        """
        content = zlib.compress(text.encode(), 1)
        row = (name, origin, content, _board_seal(name, origin, content))
        with self._doubting():
            connection = self._open(create=True)
            if connection is not None:
                with connection:
                    connection.execute("INSERT OR REPLACE INTO boards VALUES (?, ?, ?, ?)", row)

    def text(self, digest: str) -> str | None:
        """A shared text by its hash; None if it is not known."""
        if digest in self._texts:
            return self._texts[digest]
        rows = self._ask("SELECT content FROM texts WHERE digest = ?", digest)
        return next((text for (text,) in rows if isinstance(text, str) and text_hash(text) == digest), None)

    def note(self, entry: Entry, texts: Mapping[str, str], begun: int) -> None:
        """Note a cell that was checked; it is written with others, at the latest by :meth:`write`.

        Args:
            entry: the cell; it is not noted if its files were too new when the check began. One without content says
                only which hash the JSON has.
            texts: the shared texts that its content names, by their hash.
            begun: the time at which the check began, by ``now``.
        """
        if entry.stamp.newest + MARGIN >= begun:
            return
        self._waiting[entry.path] = entry
        self._texts |= texts
        if len(self._waiting) >= _WAITING:
            self.write()

    def write(self) -> None:
        """Write what was noted; if that is not possible, forget it."""
        entries = list(self._waiting.values())
        with self._doubting():
            connection = self._open(create=True) if entries else None
            if connection is not None:
                with connection:
                    self._insert(connection, entries)
        self._waiting.clear()
        self._texts.clear()
        self._task, self._near = "", {}

    def _insert(self, connection: sqlite3.Connection, entries: list[Entry]) -> None:
        """Insert entries in the place of older ones."""
        connection.executemany("INSERT OR REPLACE INTO texts VALUES (?, ?)", self._texts.items())
        files = ((entry.path, *entry.stamp, entry.digest, bool(entry.content)) for entry in entries)
        connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", files)
        whole = ((*entry[:1], *entry.stamp, *entry[2:], entry.seal) for entry in entries if entry.content)
        connection.executemany("INSERT OR REPLACE INTO cells VALUES (?, ?, ?, ?, ?, ?, ?, ?)", whole)

    def _ask(self, question: str, *values: str | int) -> list[tuple[Any, ...]]:
        """Rows that answer a question; none if the index is missing, busy or damaged."""
        with self._doubting():
            connection = self._open(create=False)
            if connection is not None:
                return connection.execute(question, values).fetchall()
        return []

    @contextlib.contextmanager
    def _doubting(self) -> Iterator[None]:
        """Go on without the index where it is busy or cannot be read or written, and without it for good if damaged."""
        try:
            yield
        except sqlite3.Error as error:
            # text that is no text is an error without a code
            if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF not in _PASSING:
                self._put_aside()

    def _open(self, *, create: bool) -> sqlite3.Connection | None:
        """Connection to an index of this format; None if there is none.

        Raises:
            sqlite3.Error: it cannot be opened, or is no index of this format.
        """
        if self._connection is None and self._path.is_file():
            self._connection = self._checked(self._connect())
        if self._connection is None and create:
            self._connection = self._made()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        # the server of a run may read it from another thread than that which opened it
        connection = sqlite3.connect(self._path, timeout=_PATIENCE, check_same_thread=False)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    def _checked(self, connection: sqlite3.Connection) -> sqlite3.Connection | None:
        """The connection, if the file is an index of this format; None if it is empty, or was put aside."""
        names = ("application_id", "user_version", "schema_version")
        try:
            # all of one moment
            connection.execute("BEGIN")
            *marks, tables = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
            # a view or a trigger, in a file from elsewhere, would compute whatever its author wants
            foreign = connection.execute("SELECT count(*) FROM sqlite_master WHERE type NOT IN ('table', 'index')")
            marks.append(foreign.fetchone()[0])
            connection.rollback()
        except BaseException:
            connection.close()
            raise
        if marks == [_APPLICATION, _format(), 0]:
            return connection
        connection.close()
        # an empty one is being made by another process at this moment
        if any(marks) or tables:
            self._put_aside()
        return None

    def _made(self) -> sqlite3.Connection:
        """Connection to a new, empty index."""
        connection = self._connect()
        try:
            # pages that hold an entry whole
            connection.execute("PRAGMA page_size = 32768")
            marks = f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_format()};"
            connection.executescript(f"BEGIN IMMEDIATE; {marks} {_TABLES} COMMIT;")
        except BaseException:
            connection.close()
            raise
        return connection

    def _put_aside(self) -> None:
        """Delete the file, which is of no use; a new one is made in its place."""
        self.close()
        for name in (NAME, f"{NAME}-journal"):
            with contextlib.suppress(OSError):
                self._path.with_name(name).unlink()


def _unpacked(content: bytes) -> str | None:
    """Text of a kept board; None if it is none, or larger than any board."""
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(content, _LARGEST)
        return text.decode() if unpacker.eof else None
    except (zlib.error, UnicodeDecodeError):
        return None


def _board_seal(name: str, origin: str, content: bytes) -> bytes:
    """Hash over all of a kept board."""
    return hashlib.blake2b(f"{name} {origin} ".encode() + content, digest_size=16).digest()
