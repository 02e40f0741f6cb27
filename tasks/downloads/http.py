"""One file from the network: taken up where it broke off, and in its place only when it is whole and the right one.

What comes goes to ``<name>.part``; beside it, ``<name>.part.json`` keeps by what the server tells one version of the
file from another. A dropped connection is taken up again by an HTTP range request, in the same call while anything
comes at all, and in the next one after that. A server that ignores ranges, or whose file has changed, gives all of it.
Without a known checksum a part is gone on with only if the server itself vouches, by ETag or date, that it still is the
same file: otherwise two versions could be pasted together unseen. pooch checks the checksum and moves the file.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import re
import socket
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

import pooch
import requests

from ...errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .catalogue import File

# Seconds for a connection to come about, and between two pieces of a file.
TIMEOUT: Final = (10.0, 30.0)
# How often a dropped connection is taken up again in one call, and the pause before it, in seconds.
ATTEMPTS: Final = 4
PAUSE: Final = 0.5
# No set is larger: a server that goes on and on is left.
LARGEST: Final = 16 << 30

# What is lost at most when a connection is dropped.
_CHUNK: Final = 1 << 14
_OK, _PARTIAL, _OUT_OF_RANGE = 200, 206, 416
_RANGE: Final = re.compile(r"bytes (?:(?P<first>\d+)-\d+|\*)/(?P<total>\d+|\*)")
_STATUS: Final = {
    401: "the server asks for a login (401)",
    403: "the server refuses it (403)",
    404: "the server has no such file (404)",
    407: "the proxy asks for a login (407)",
    410: "the server no longer has the file (410)",
    429: "the server was asked too often (429): wait a while",
}
_ERRNO: Final = {
    errno.ECONNREFUSED: "the host refuses the connection",
    errno.ENETUNREACH: "the network cannot be reached: this machine is offline",
    errno.EHOSTUNREACH: "the host cannot be reached",
    errno.ETIMEDOUT: "the host does not answer",
}
# The first that fits is said; the numbers are those of the timeout.
_WORDS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (socket.gaierror, "the host is unknown, or this machine is offline"),
    (requests.exceptions.SSLError, "the certificate of the host cannot be verified"),
    (requests.exceptions.ProxyError, "the proxy cannot be reached"),
    (requests.exceptions.ConnectTimeout, "the host does not answer within {0:g} seconds"),
    (requests.exceptions.Timeout, "nothing came for {1:g} seconds"),
)


class _TruncatedError(Exception):
    """The connection ended before the file did."""


# What is tried again while anything comes at all.
_DROPPED: Final = (
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,
    _TruncatedError,
)


class Progress(Protocol):
    """Told how a download goes."""

    def begin(self, name: str, done: int, total: int | None) -> None:
        """A file begins, or begins again; so many of its bytes are there, and so many it has, if that is known."""

    def advance(self, count: int) -> None:
        """So many more bytes are there."""


class Unwatched:
    """Says nothing."""

    def begin(self, name: str, done: int, total: int | None) -> None:
        """See :class:`Progress`."""

    def advance(self, count: int) -> None:
        """See :class:`Progress`."""


def fetch(
    file: File,
    url: str,
    folder: Path,
    checksum: str | None,
    progress: Progress | None = None,
    timeout: tuple[float, float] = TIMEOUT,
    otherwise: str = "it was thrown away",
    way_out: str = "",
) -> Path:
    """Fetch a file into a folder, or find it there.

    Args:
        file: which; its size is held to, if it is known.
        url: where from: the file's own URL, or a mirror's.
        folder: where to.
        checksum: ``sha256:…`` or ``md5:…`` that it must have; None if none is known.
        progress: told how it goes.
        timeout: seconds for a connection to come about, and between two pieces of the file.
        otherwise: the end of the sentence said if the checksum is another.
        way_out: the end of the sentence said if nothing can be had.

    Raises:
        DataError: it cannot be had, or is not the right one; no file of that name is then in the folder, but what has
            come of the right one is kept as its part.
        OSError: the folder cannot be written.
    """
    downloader = _Resuming(file, folder / f"{file.name}.part", checksum, progress or Unwatched(), timeout, way_out)
    with _quiet():
        try:
            pooch.retrieve(url, checksum, fname=file.name, path=folder, downloader=downloader)
        except requests.exceptions.RequestException as error:
            raise downloader.cannot(url, _why(error, timeout)) from error
        except ValueError as error:  # the wrong checksum: pooch has thrown the file away
            raise DataError(
                f"{file.name} from {url} is not the file that was expected (its checksum is not {checksum}); "
                f"{otherwise}."
            ) from error
    return folder / file.name


class _Resuming:
    """What pooch calls to download: it goes on with a part, and leaves one."""

    def __init__(
        self,
        file: File,
        part: Path,
        checksum: str | None,
        progress: Progress,
        timeout: tuple[float, float],
        way_out: str,
    ) -> None:
        self.file, self.part, self.checksum = file, part, checksum
        self.progress, self.timeout, self.way_out = progress, timeout, way_out
        self.notes = part.with_name(f"{part.name}.json")

    def __call__(self, url: str, output_file: str, _pooch: object = None, *, check_only: bool = False) -> None:
        """Download to a file; the part is renamed to it when it is whole."""
        if check_only:
            raise NotImplementedError("only files that are wanted are asked for")
        for attempt in range(ATTEMPTS):
            before = self._done()
            try:
                self._ask(url)
                break
            except _DROPPED as error:
                if self._done() <= before or attempt == ATTEMPTS - 1:
                    raise self.cannot(url, _why(error, self.timeout)) from error
            time.sleep(PAUSE * 2**attempt)
        self.part.replace(output_file)
        self.notes.unlink(missing_ok=True)

    def _ask(self, url: str) -> None:
        """One request: go on with the part if it can be gone on with, or get all."""
        start, headers = self._beginning(url)
        if start and start == self.file.size:
            return
        with requests.get(url, headers=headers, stream=True, timeout=self.timeout) as response:
            if not start or response.status_code == _OK:
                self._refuse_errors(response, url)
                self._take(response, 0, url)
                return
            first, total = _range_of(response)
            if response.status_code == _PARTIAL and first == start:
                self._take(response, start, url)
                return
            if response.status_code == _OUT_OF_RANGE and total == start:
                self._check_size(total, start, url)
                return
            if response.status_code not in {_PARTIAL, _OUT_OF_RANGE}:
                self._refuse_errors(response, url)
        # the server gives something else than was asked for, or has less than is here
        self._drop()
        self._ask(url)

    def _beginning(self, url: str) -> tuple[int, dict[str, str]]:
        """How many bytes can be gone on from, and the headers that ask for the others."""
        headers = {"Accept-Encoding": "identity"}
        done, known = self._done(), self._noted()
        version = known.get("version", "") if known.get("url") == url else ""
        vouched = version or self.checksum is not None
        if done and (not vouched or done > (self.file.size or done)):
            self._drop()
            done = 0
        if done:
            headers["Range"] = f"bytes={done}-"
            if version:
                headers["If-Range"] = version
        return done, headers

    def _take(self, response: requests.Response, start: int, url: str) -> None:
        """Write what comes behind the first bytes, and see that it is all."""
        total = self._total(response, start)
        self._check_size(total, start, url)
        if not start:
            self._note(url, _version(response))
        self.progress.begin(self.file.name, start, total)
        # urllib3 would throw away what came before a connection was dropped; the length is looked at below
        response.raw.enforce_content_length = False
        with self.part.open("ab" if start else "wb") as part:
            for chunk in response.iter_content(_CHUNK):
                if part.tell() + len(chunk) > min(total or self.file.size or LARGEST, LARGEST):
                    self._drop()
                    raise DataError(f"{self.file.name} from {url} is longer than it should be.")
                part.write(chunk)
                self.progress.advance(len(chunk))
        if self._done() < (total or self.file.size or 0):
            raise _TruncatedError

    def _check_size(self, total: int | None, start: int, url: str) -> None:
        """A file of another size is another file, and need not be fetched to know that.

        If a part was gone on with, it is of that other file; if not, a login page may have come, and the part is good.
        """
        if None not in {total, self.file.size} and total != self.file.size:
            if start:
                self._drop()
            raise DataError(
                f"{self.file.name} from {url} is not the file that was expected: it has {total:,} bytes instead of "
                f"{self.file.size:,}."
            )

    def _total(self, response: requests.Response, start: int) -> int | None:
        """The size of the whole file; the server may not say, or pack it against what it was asked."""
        length = response.headers.get("Content-Length", "")
        if not length.isdecimal() or response.headers.get("Content-Encoding", "identity") != "identity":
            return self.file.size
        return start + int(length)

    def _refuse_errors(self, response: requests.Response, url: str) -> None:
        status = response.status_code
        if status != _OK:
            why = _STATUS.get(status) or (
                f"the server has trouble ({status}): try again later"
                if status >= 500
                else f"the server answers with status {status}"
            )
            raise self.cannot(url, why)

    def cannot(self, url: str, why: str) -> DataError:
        """The sentence for a file that cannot be had."""
        done = self._done()
        out = f"{done:,} bytes are kept, and the same command goes on from there" if done else self.way_out
        return DataError(f"{self.file.name} cannot be fetched from {url}: {why}{out and '; '}{out}.")

    # ---- the part ---------------------------------------------------------------------------------------------------

    def _done(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _drop(self) -> None:
        self.part.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)

    def _note(self, url: str, version: str) -> None:
        self.notes.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")

    def _noted(self) -> dict[str, Any]:
        """What is known of the part; a note that cannot be read says nothing."""
        try:
            found = json.loads(self.notes.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _version(response: requests.Response) -> str:
    """By what the server knows this version of the file: a strong ETag, or the date of its last change."""
    tag = str(response.headers.get("ETag", ""))
    return tag if tag.startswith('"') else str(response.headers.get("Last-Modified", ""))


def _range_of(response: requests.Response) -> tuple[int | None, int | None]:
    """Which byte comes first, and how many the file has, as far as the server says."""
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None:
        return None, None
    first, total = match["first"], match["total"]
    return int(first) if first else None, int(total) if total.isdecimal() else None


def _why(error: Exception, timeout: tuple[float, float]) -> str:
    """What went wrong on the way, as a part of a sentence."""
    causes = list(_causes(error))
    for kind, words in _WORDS:
        if any(isinstance(cause, kind) for cause in causes):
            return words.format(*timeout)
    known = [_ERRNO[cause.errno] for cause in causes if isinstance(cause, OSError) and cause.errno in _ERRNO]
    if known:
        return known[0]
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return f"nothing came for {timeout[1]:g} seconds"
    return "the connection was dropped" if isinstance(error, _DROPPED) else str(error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and all that it wraps, in whatever way."""
    pending, seen = [error], set[int]()
    while pending:
        each = pending.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        wrapped = [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
        pending += [found for found in wrapped if isinstance(found, BaseException)]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Pooch tells on the standard error stream what it does; here the progress does."""
    logger: logging.Logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
