"""Compact form of a cell for the index: its JSON without default values, and without what thousands of cells repeat.

A cell of twelve metrics has the descriptions of fourteen plug-ins, and of each record but the numbers and the hashes is
the same in thousands of cells. That is most of its JSON, of its memory and of the time to read it. Here it is stored
once, as *shared texts* by their hash, and all cells that are read share it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from .cells import Cell, PluginInfo, Record, shared_plugin

if TYPE_CHECKING:
    from collections.abc import Callable

# Fields of records that differ from cell to cell, with their defaults.
_OWN = {"mean": None, "n": 0, "undefined": 0, "scores": "", "siblings": ""}
# Shared texts that are kept decoded; a store has a few hundred, unless every cell fails in its own way.
_MOST = 10_000


class CellPacker:
    """Packer and unpacker of cells.

    Args:
        text_of: returns a shared text by its hash; None if it is not known.
    """

    def __init__(self, text_of: Callable[[str], str | None]) -> None:
        self._text_of = text_of
        self._plugins: dict[str, PluginInfo] = {}
        self._alike: dict[str, PluginInfo] = {}
        # texts with their hashes, and the objects that they were made of
        self._texts: dict[str, tuple[PluginInfo, str, str]] = {}
        self._made: dict[Any, tuple[list[PluginInfo], str, str]] = {}
        self._templates: dict[str, list[dict[str, Any]]] = {}

    def pack(self, cell: Cell) -> tuple[str, dict[str, str]]:
        """Compact form of a cell, and the shared texts that it names, by their hash."""
        apart: dict[str, bool | set[str]] = {"task": True, "method": True, "records": True, "measured": {"records"}}
        packed = cell.model_dump(mode="json", exclude_defaults=True, exclude=apart)
        shared: dict[str, str] = {}

        def name(text: str, digest: str) -> str:
            shared[digest] = text
            return digest

        packed["task"], packed["method"] = (name(*self._description(info)) for info in (cell.task, cell.method))
        for holder, records in ((packed, cell.records), (packed["measured"], cell.measured.records)):
            if records:
                own = [[getattr(record, field) for record in records] for field in _OWN]
                holder["records"] = [name(*self._template(records)), *own]
        return json.dumps(packed, separators=(",", ":")), shared

    def _description(self, info: PluginInfo) -> tuple[str, str]:
        """Shared text of a plug-in with its hash; it is made once for each object."""
        found = self._texts.get(info.spec)
        if found is None or found[0] is not info:
            found = info, *_text_and_hash(info.model_dump(mode="json", exclude_defaults=True))
            _keep(self._texts, info.spec, found)
        return found[1:]

    def _template(self, records: tuple[Record, ...]) -> tuple[str, str]:
        """Shared text of records without the fields that are their own, with its hash; made once for all alike."""
        if any(record.failure is not None for record in records):
            return _text_and_hash(_common(records))
        key = tuple((each.metric.spec, each.status, each.reason, each.row, each.profile) for each in records)
        metrics = [record.metric for record in records]
        found = self._made.get(key)
        if found is None or any(one is not other for one, other in zip(found[0], metrics, strict=True)):
            found = metrics, *_text_and_hash(_common(records))
            _keep(self._made, key, found)
        return found[1:]

    def unpack(self, content: str, shared: dict[str, str] | None = None) -> Cell | None:
        """Cell of a compact form; None if a shared text is not known, or it does not fit the schema.

        Args:
            content: the compact form.
            shared: further shared texts by their hash.
        """
        texts = shared or {}
        try:
            packed = json.loads(content)
            packed["task"], packed["method"] = (self._plugin(packed[kind], texts) for kind in ("task", "method"))
            for holder in (packed, packed["measured"]):
                if "records" in holder:
                    holder["records"] = self._records(*holder["records"], texts=texts)
            return Cell.model_validate(packed)
        except (ValueError, KeyError, TypeError, ValidationError):
            return None

    def sharing(self, cell: Cell) -> Cell:
        """The same cell, with the descriptions of plug-ins that other cells have too, as if it had been unpacked."""
        records = tuple(map(self._with_shared, cell.records))
        measured = cell.measured.model_copy(update={"records": tuple(map(self._with_shared, cell.measured.records))})
        named = {"task": self._shared(cell.task), "method": self._shared(cell.method)}
        return cell.model_copy(update={**named, "records": records, "measured": measured})

    def _with_shared(self, record: Record) -> Record:
        return Record.of_valid({**record.__dict__, "metric": self._shared(record.metric)})

    def _shared(self, info: PluginInfo) -> PluginInfo:
        """An equal description, the same object for all cells of a specification."""
        known = self._alike.get(info.spec)
        if known is None or known != info:
            known = shared_plugin(info.text)
            _keep(self._alike, info.spec, known)
        return known

    def _plugin(self, digest: str, texts: dict[str, str]) -> PluginInfo:
        found = self._plugins.get(digest)
        if found is None:
            found = PluginInfo.model_validate(json.loads(self._text(digest, texts)))
            _keep(self._plugins, digest, found)
        return found

    def _records(self, digest: str, *own: list[Any], texts: dict[str, str]) -> tuple[Record, ...]:
        """Records of a shared text and of the fields that are their own."""
        templates = self._templates.get(digest)
        if templates is None:
            records = [Record.model_validate(each) for each in json.loads(self._text(digest, texts))]
            templates = [dict(record) for record in records]
            for template in templates:
                template["metric"] = shared_plugin(template["metric"].text)
            _keep(self._templates, digest, templates)
        return tuple(itertools.starmap(_record, zip(templates, *own, strict=True)))

    def _text(self, digest: str, texts: dict[str, str]) -> str:
        """A shared text.

        Raises:
            KeyError: it is not known.
        """
        text = texts.get(digest) or self._text_of(digest)
        if text is None:
            raise KeyError(digest)
        return text


def _common(records: tuple[Record, ...]) -> list[dict[str, Any]]:
    """JSON of records without the fields that are their own."""
    dumped = [record.model_dump(mode="json", exclude_defaults=True) for record in records]
    return [{name: value for name, value in record.items() if name not in _OWN} for record in dumped]


def _text_and_hash(value: object) -> tuple[str, str]:
    """Shared text of a value, and its hash."""
    # no letters beyond ASCII: there are some that cannot be stored
    text = json.dumps(value, separators=(",", ":"))
    return text, text_hash(text)


def text_hash(text: str) -> str:
    """Name of a shared text: the start of its sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _record(  # the fields in _OWN
    template: dict[str, Any], mean: float | None, n: int, undefined: int, scores: str, siblings: str
) -> Record:
    """Record of a valid template, with fields of its own in the place of the defaults.

    They are valid too: the entry has the hash of what was validated when the cell was checked.
    """
    return Record.of_valid(
        {**template, "mean": mean, "n": n, "undefined": undefined, "scores": scores, "siblings": siblings}
    )


def _keep(kept: dict[Any, Any], digest: object, value: object) -> None:
    """Keep a decoded text, and not too many."""
    if len(kept) >= _MOST:
        kept.clear()
    kept[digest] = value
