"""Reader of ERASER: documents with a class, and rationales as token spans marked by people.

A split is a file of JSON lines. Its documents are in the same folder, in the sub-folder ``docs`` or in the file
``docs.jsonl``. Tokens are separated by white space. Each span carries its own text, which must match the document. A
few spans of the test split of the movie reviews are empty and are left out.

Source: DeYoung et al. 2020, ERASER.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ...errors import DataError
from . import plain_text
from .written import is_text, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


# Most characters of the name of a file.
_LONGEST_NAME: Final = 255


@dataclass(frozen=True)
class Document:
    """Document with its class and its rationales.

    Attributes:
        name: identifier within the data set.
        tokens: words of the document.
        label: class, as in the file.
        spans: rationales as (start, end) of their tokens; the end is exclusive.
    """

    name: str
    tokens: tuple[str, ...]
    label: str
    spans: tuple[tuple[int, int], ...]


def read(path: Path, classes: tuple[str, ...]) -> list[Document]:
    """Read the documents of a split.

    Args:
        path: path of the file of JSON lines.
        classes: all valid classes.

    Raises:
        DataError: the file or a document does not exist, a line is malformed, a class is unknown, or a span does not
            match its document; the message names the line.
    """
    tokens_of = _texts(path.parent)
    documents = []
    for number, line in enumerate(plain_text.lines(path), 1):
        try:
            documents.append(_document(line, classes, tokens_of))
        except ValueError as error:
            raise plain_text.damaged(path, number, str(error)) from error
    return documents


def _texts(folder: Path) -> Callable[[str], tuple[str, ...]]:
    """Function that returns the tokens of a document by its name."""
    if (folder / "docs").is_dir():
        return lambda name: tuple(plain_text.read(_inside(folder / "docs", name)).split())
    path = folder / "docs.jsonl"
    if not path.is_file():
        raise DataError(f"{folder} holds neither the folder docs nor the file docs.jsonl: fetch the data set again.")
    texts = {}
    for number, line in enumerate(plain_text.lines(path), 1):
        try:
            entry = _json(line)
            texts[_text(entry, "docid")] = tuple(_text(entry, "document").split())
        except ValueError as error:
            raise plain_text.damaged(path, number, str(error)) from error
    return lambda name: texts.get(name, ())


def _inside(folder: Path, name: str) -> Path:
    """Path of a file in a folder; names that contain a path are refused, as they could leave the folder."""
    if len(name) > _LONGEST_NAME or not name.isprintable() or "/" in name or "\\" in name or name in {".", ".."}:
        raise ValueError(f"names the document {shown(name)}, which is no plain file name")
    return folder / name


def _document(line: str, classes: tuple[str, ...], tokens_of: Callable[[str], tuple[str, ...]]) -> Document:
    """Document of a line; a ValueError completes the sentence "line 7 …"."""
    entry = _json(line)
    name, label = _text(entry, "annotation_id"), _text(entry, "classification")
    if label not in classes:
        raise ValueError(f"has the class {shown(label)}, and there are {', '.join(classes)}")
    tokens = tokens_of(name)
    if not tokens:
        raise ValueError(f"names the document {shown(name)}, which is empty or missing")
    groups = entry.get("evidences")
    if not isinstance(groups, list) or not all(isinstance(group, list) for group in groups):
        raise ValueError("has no list of lists 'evidences'")
    spans = [_span(evidence, name, tokens) for group in groups for evidence in group]
    return Document(name, tokens, label, tuple(sorted({span for span in spans if span[0] < span[1]})))


def _span(evidence: Any, name: str, tokens: tuple[str, ...]) -> tuple[int, int]:  # noqa: ANN401  # any JSON value
    """Span of a rationale, as (start, end)."""
    if not isinstance(evidence, dict) or evidence.get("docid") != name:
        raise ValueError(f"has evidence that is not about its document {shown(name)}")
    start, end = evidence.get("start_token"), evidence.get("end_token")
    # a truth value is no number, although Python counts it as one
    if not (type(start) is int and type(end) is int and 0 <= start <= end <= len(tokens)):
        places = " to ".join(str(place)[:20] if isinstance(place, int | str) else "nothing" for place in (start, end))
        raise ValueError(f"has evidence from token {places}, and {shown(name)} has {len(tokens)} tokens")
    text = evidence.get("text")
    if not isinstance(text, str) or " ".join(tokens[start:end]) != " ".join(text.split()):
        raise ValueError(f"has evidence whose text is not that of the tokens {start} to {end} of {shown(name)}")
    return start, end


def _json(line: str) -> dict[str, Any]:
    """Parse a JSON object."""
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON ({error.msg})") from error
    except RecursionError as error:
        raise ValueError("is no JSON that can be read (its brackets are nested too deeply)") from error
    except ValueError as error:  # Python converts no number of over 4,300 digits
        raise ValueError("is no JSON that can be read (it holds a number of thousands of digits)") from error
    if not isinstance(entry, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004  # caught with the other errors of a malformed line
    return entry


def _text(entry: dict[str, Any], key: str) -> str:
    """Text of a key; it must not be empty."""
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"has no text {key!r}")
    if not is_text(value):
        raise ValueError(f"has half of a surrogate pair in {key!r}, which is no text")
    return value
