"""ERASER: documents with a class, and the spans of tokens that people marked as their reasons.

A split is a file of JSON lines; the documents lie beside it, in the folder ``docs`` or in the file ``docs.jsonl``.
Tokens are what white space separates. Each span carries its own text, which must be what the document has there. A few
spans of the films' test split are empty; they mark nothing and are left out.

Source: DeYoung et al. 2020, ERASER.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import DataError
from . import plain_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Document:
    """A document with its class and the reasons for it.

    Attributes:
        name: its identity within the data set.
        tokens: its words.
        label: its class, as it is written in the file.
        spans: the marked tokens, each span from its first up to and without its last number.
    """

    name: str
    tokens: tuple[str, ...]
    label: str
    spans: tuple[tuple[int, int], ...]


def read(path: Path, classes: tuple[str, ...]) -> list[Document]:
    """The documents of a split.

    Args:
        path: of the file of JSON lines.
        classes: all there are.

    Raises:
        DataError: there is no such file or document, a line is not what it must be, a class is none of these, or a span
            does not fit its document; the sentence names the line.
    """
    texts = _texts(path.parent)
    found = []
    for number, line in enumerate(plain_text.lines(path), 1):
        try:
            found.append(_document(line, classes, texts))
        except ValueError as error:
            raise plain_text.damaged(path, number, str(error)) from error
    return found


def _texts(folder: Path) -> Callable[[str], tuple[str, ...]]:
    """Gives the tokens of a document by its name."""
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
    """The file of that name in a folder; a name with a path in it could lead anywhere."""
    if "/" in name or "\\" in name or name in {".", ".."}:
        raise ValueError(f"names the document {name!r}, which is no plain file name")
    return folder / name


def _document(line: str, classes: tuple[str, ...], texts: Callable[[str], tuple[str, ...]]) -> Document:
    entry = _json(line)
    name, label = _text(entry, "annotation_id"), _text(entry, "classification")
    if label not in classes:
        raise ValueError(f"has the class {label!r}, and there are {', '.join(classes)}")
    tokens = texts(name)
    if not tokens:
        raise ValueError(f"names the document {name!r}, which is empty or missing")
    groups = entry.get("evidences")
    if not isinstance(groups, list) or not all(isinstance(group, list) for group in groups):
        raise ValueError("has no list of lists 'evidences'")
    spans = [_span(evidence, name, tokens) for group in groups for evidence in group]
    return Document(name, tokens, label, tuple(sorted({span for span in spans if span[0] < span[1]})))


def _span(evidence: Any, name: str, tokens: tuple[str, ...]) -> tuple[int, int]:  # noqa: ANN401  # what JSON holds
    if not isinstance(evidence, dict) or evidence.get("docid") != name:
        raise ValueError(f"has evidence that is not about its document {name!r}")
    start, end = evidence.get("start_token"), evidence.get("end_token")
    if not (isinstance(start, int) and isinstance(end, int) and 0 <= start <= end <= len(tokens)):
        raise ValueError(f"has evidence from token {start} to {end}, and {name!r} has {len(tokens)} tokens")
    if " ".join(tokens[start:end]) != " ".join(str(evidence.get("text")).split()):
        raise ValueError(f"has evidence whose text is not that of the tokens {start} to {end} of {name!r}")
    return start, end


def _json(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON ({error.msg})") from error
    if not isinstance(entry, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004  # caught as what it is: a line that does not fit
    return entry


def _text(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"has no text {key!r}")
    return value
