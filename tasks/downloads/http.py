"""Resumable download of one file over HTTP; the file is moved into place only when it is complete and verified.

Bytes are written to ``<name>.part``. ``<name>.part.json`` next to it holds the URL and the server's version of the file
(ETag or date). A dropped download is resumed by an HTTP range request: in the same call while bytes still arrive, else
in the next call. A server that ignores ranges, or whose file has changed, sends the whole file. Without a known
checksum, a part is resumed only if the server confirms the version by ETag or date; otherwise parts of two versions
could be joined unnoticed. pooch verifies the checksum and moves the file.
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

# Timeouts in seconds: for the connection, and between two chunks of a file.
TIMEOUT: Final = (10.0, 30.0)
# Attempts in one call, and the pause before the second attempt in seconds; the pause doubles each time.
ATTEMPTS: Final = 4
PAUSE: Final = 0.5
# Upper bound in bytes on any file, against servers that never stop sending.
LARGEST: Final = 16 << 30

# Bytes read at a time; at most this much is lost when a connection is dropped.
_CHUNK: Final = 1 << 14
_OK, _PARTIAL, _OUT_OF_RANGE = 200, 206, 416
# Python converts no number of over 4,300 digits, and a server may send one.
_COUNT: Final = re.compile(r"[0-9]{1,18}")
_RANGE: Final = re.compile(r"bytes (?:(?P<first>[0-9]{1,18})-[0-9]{1,18}|\*)/(?P<total>[0-9]{1,18}|\*)")
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
# The first class that matches gives the reason; the placeholders are the two timeouts.
_REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (socket.gaierror, "the host is unknown, or this machine is offline"),
    (requests.exceptions.SSLError, "the certificate of the host cannot be verified"),
    (requests.exceptions.ProxyError, "the proxy cannot be reached"),
    (requests.exceptions.ConnectTimeout, "the host does not answer within {0:g} seconds"),
    (requests.exceptions.Timeout, "nothing came for {1:g} seconds"),
)


class _TruncatedError(Exception):
    """End of the connection before the end of the file."""


# Errors after which the download is resumed, as long as new bytes arrive.
_DROPPED: Final = (
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,
    _TruncatedError,
)


class Progress(Protocol):
    """Receiver of progress reports of a download."""

    def begin(self, name: str, done: int, total: int | None) -> None:
        """Report the start or restart of a file, with its bytes so far and its total size (None if unknown)."""

    def advance(self, count: int) -> None:
        """Report that ``count`` more bytes have arrived."""


class SilentProgress:
    """Progress reports that are discarded."""

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
    mismatch_hint: str = "it was removed",
    failure_hint: str = "",
) -> Path:
    """Download a file into a folder, unless it is already there.

    Args:
        file: the file; its size is verified if it is known.
        url: URL to fetch: the file's own, or a mirror's.
        folder: folder to write to.
        checksum: ``sha256:…`` or ``md5:…`` that the file must have; None if none is known.
        progress: receiver of progress reports.
        timeout: timeouts in seconds, for the connection and between two chunks of the file.
        mismatch_hint: end of the error message if the checksum differs.
        failure_hint: end of the error message if nothing could be fetched.

    Returns:
        The path of the file.

    Raises:
        DataError: the file cannot be fetched, or has the wrong size or checksum. The folder then has no file of this
            name, but the bytes that arrived of the right file are kept as its part.
        OSError: the folder cannot be written.
    """
    part = folder / f"{file.name}.part"
    downloader = _ResumingDownloader(file, part, checksum, progress or SilentProgress(), timeout, failure_hint)
    with _quiet_pooch():
        try:
            pooch.retrieve(url, checksum, fname=file.name, path=folder, downloader=downloader)
        except requests.exceptions.RequestException as error:
            raise downloader.failure(url, _reason(error, timeout)) from error
        except ValueError as error:  # the wrong checksum: pooch has removed the file
            raise DataError(
                f"{file.name} from {url} is not the file that was expected (its checksum is not {checksum}); "
                f"{mismatch_hint}."
            ) from error
    return folder / file.name


class _ResumingDownloader:
    """Downloader for pooch that resumes from a partial file and keeps one if it fails."""

    def __init__(
        self,
        file: File,
        part: Path,
        checksum: str | None,
        progress: Progress,
        timeout: tuple[float, float],
        failure_hint: str,
    ) -> None:
        self.file, self.part, self.checksum = file, part, checksum
        self.progress, self.timeout, self.failure_hint = progress, timeout, failure_hint
        self.notes = part.with_name(f"{part.name}.json")

    def __call__(self, url: str, output_file: str, _pooch: object = None, *, check_only: bool = False) -> None:
        """Download to a file; the part is renamed to it when it is complete."""
        if check_only:
            raise NotImplementedError("the availability of a file cannot be checked without a download")
        for attempt in range(ATTEMPTS):
            before = self._part_size()
            try:
                self._request(url)
                break
            except _DROPPED as error:
                if self._part_size() <= before or attempt == ATTEMPTS - 1:
                    raise self.failure(url, _reason(error, self.timeout)) from error
            time.sleep(PAUSE * 2**attempt)
        self.part.replace(output_file)
        self.notes.unlink(missing_ok=True)

    def _request(self, url: str) -> None:
        """Send one request, for the rest of the file if the part can be resumed, else for the whole file."""
        start, headers = self._resume_point(url)
        if start and start == self.file.size:
            return
        with requests.get(url, headers=headers, stream=True, timeout=self.timeout) as response:
            if not start or response.status_code == _OK:
                self._refuse_errors(response, url)
                self._write_part(response, 0, url)
                return
            first, total = _range_of(response)
            if response.status_code == _PARTIAL and first == start:
                self._write_part(response, start, url)
                return
            if response.status_code == _OUT_OF_RANGE and total == start:
                self._check_size(total, start, url)
                return
            if response.status_code not in {_PARTIAL, _OUT_OF_RANGE}:
                self._refuse_errors(response, url)
        # the server sent another range than requested, or its file is shorter than the part
        self._discard_part()
        self._request(url)

    def _resume_point(self, url: str) -> tuple[int, dict[str, str]]:
        """Number of bytes that are already there, and the request headers for the remaining ones."""
        headers = {"Accept-Encoding": "identity"}
        done, notes = self._part_size(), self._read_notes()
        version = notes.get("version", "") if notes.get("url") == url else ""
        verifiable = version or self.checksum is not None
        if done and (not verifiable or done > (self.file.size or done)):
            self._discard_part()
            done = 0
        if done:
            headers["Range"] = f"bytes={done}-"
            if version:
                headers["If-Range"] = version
        return done, headers

    def _write_part(self, response: requests.Response, start: int, url: str) -> None:
        """Write the response to the part, after its first ``start`` bytes, and check that it is complete."""
        total = self._total(response, start)
        self._check_size(total, start, url)
        if not start:
            self._write_notes(url, _version(response))
        self.progress.begin(self.file.name, start, total)
        # urllib3 would discard the bytes that arrived before a connection was dropped; the length is checked below
        response.raw.enforce_content_length = False
        with self.part.open("ab" if start else "wb") as part:
            for chunk in response.iter_content(_CHUNK):
                if part.tell() + len(chunk) > min(total or self.file.size or LARGEST, LARGEST):
                    self._discard_part()
                    raise DataError(f"{self.file.name} from {url} is longer than it should be.")
                part.write(chunk)
                self.progress.advance(len(chunk))
        if self._part_size() < (total or self.file.size or 0):
            raise _TruncatedError

    def _check_size(self, total: int | None, start: int, url: str) -> None:
        """Refuse a file of another size before it is downloaded.

        A resumed part belongs to that other file and is discarded. If the download was not resumed, the response may be
        a login page, and the part is kept.
        """
        if None not in {total, self.file.size} and total != self.file.size:
            if start:
                self._discard_part()
            raise DataError(
                f"{self.file.name} from {url} is not the file that was expected: it has {total:,} bytes instead of "
                f"{self.file.size:,}."
            )

    def _total(self, response: requests.Response, start: int) -> int | None:
        """Size of the whole file in bytes, from the response or the catalogue; None if neither has it.

        The length in the response counts only if the content is not compressed, which some servers do unasked.
        """
        length = response.headers.get("Content-Length", "")
        if not _COUNT.fullmatch(length) or response.headers.get("Content-Encoding", "identity") != "identity":
            return self.file.size
        return start + int(length)

    def _refuse_errors(self, response: requests.Response, url: str) -> None:
        """Refuse a response with an error status."""
        status = response.status_code
        if status != _OK:
            why = _STATUS.get(status) or (
                f"the server has trouble ({status}): try again later"
                if status >= 500
                else f"the server answers with status {status}"
            )
            raise self.failure(url, why)

    def failure(self, url: str, why: str) -> DataError:
        """Error for a file that cannot be fetched, with the reason and the way out."""
        done = self._part_size()
        hint = f"{done:,} bytes are kept, and the same command goes on from there" if done else self.failure_hint
        return DataError(f"{self.file.name} cannot be fetched from {url}: {why}{hint and '; '}{hint}.")

    # ---- the partial file -------------------------------------------------------------------------------------------

    def _part_size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _discard_part(self) -> None:
        self.part.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)

    def _write_notes(self, url: str, version: str) -> None:
        self.notes.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")

    def _read_notes(self) -> dict[str, Any]:
        """URL and version of the part; empty if they are missing or unreadable."""
        try:
            notes = json.loads(self.notes.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return notes if isinstance(notes, dict) else {}


def _version(response: requests.Response) -> str:
    """The server's identifier of this version of the file: a strong ETag, or the date of the last change."""
    tag = str(response.headers.get("ETag", ""))
    return tag if tag.startswith('"') else str(response.headers.get("Last-Modified", ""))


def _range_of(response: requests.Response) -> tuple[int | None, int | None]:
    """Index of the first byte and size of the file, from the ``Content-Range`` header; None where it lacks them."""
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None:
        return None, None
    first, total = match["first"], match["total"]
    return int(first) if first else None, int(total) if total.isdecimal() else None


def _reason(error: Exception, timeout: tuple[float, float]) -> str:
    """Reason of a failed request, as a clause for an error message."""
    causes = list(_causes(error))
    for kind, reason in _REASONS:
        if any(isinstance(cause, kind) for cause in causes):
            return reason.format(*timeout)
    reasons = [_ERRNO[cause.errno] for cause in causes if isinstance(cause, OSError) and cause.errno in _ERRNO]
    if reasons:
        return reasons[0]
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return f"nothing came for {timeout[1]:g} seconds"
    return "the connection was dropped" if isinstance(error, _DROPPED) else str(error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and all errors that it wraps: cause, context, reason and arguments."""
    pending, seen = [error], set[int]()
    while pending:
        cause = pending.pop()
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        wrapped = [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
        pending += [inner for inner in wrapped if isinstance(inner, BaseException)]


@contextlib.contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Silence pooch's log on the standard error stream; progress is reported by :class:`Progress`."""
    logger: logging.Logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
