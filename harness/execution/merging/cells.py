"""Cells of one task of a merged run: which part each is taken from, and records that several parts have scored.

A cell that one part has whole is copied byte by byte. Where parts have scored other metrics of the same attribution,
their records are put together. Cells of several parts must be the same to the bit, apart from what is measured. A score
that was compared with other models than the merged run has is left out, so that the next run computes it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ....errors import UsageError
from ....ordinary_files import read_ordinary
from ...results.cell_checks import ARRAYS, BadCellError, array_hash, parsed
from ...results.cells import Cell, Record, scores_hash
from ...results.siblings import Siblings
from ..steps.score_cell import with_records
from .parts import Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ...results.cells import Key, PluginInfo, Scores
    from ...results.store import Store

# What two parts must have computed alike; the origin of a model may be told in other words.
_SAME: Final = (
    "status", "reason", "signed", "complete", "incomplete", "caveats", "competence", "quality", "ids", "fingerprints",
    "passes",
)  # fmt: skip


@dataclass(frozen=True)
class _Found:
    """A cell in a part."""

    part: Part
    cell: Cell


@dataclass(frozen=True)
class TakenCell:
    """A cell of the merged run.

    Attributes:
        base: the part that its attribution is taken from.
        records: its records with the parts that have scored them.
    """

    base: _Found
    records: tuple[tuple[Record, _Found], ...]

    @property
    def whole(self) -> bool:
        """Whether the cell is that of one part, as it is."""
        own = all(found is self.base for _, found in self.records)
        return own and len(self.records) == len(self.base.cell.all_records)

    def lacks_scores(self, metrics: Iterable[PluginInfo]) -> bool:
        """Whether it has an attribution that one of these metrics has not scored."""
        scored = {record.metric.digest for record, _ in self.records}
        return self.base.cell.explained and any(metric.digest not in scored for metric in metrics)


class MergedCells:
    """Cells of one task of a merged run.

    Args:
        keys: the keys of the cells.
        metrics: the metrics of the merged run.
        parts: the parts.

    Attributes:
        taken: the cells by key; None if no part has computed them, or only failed to do so.
        outdated: number of scores that were left out, because they compare other models than there are now.
        data: fingerprints of the data.

    Raises:
        UsageError: two parts have other results for one cell, or explain other models or data.
    """

    def __init__(self, keys: Sequence[Key], metrics: Sequence[PluginInfo], parts: Sequence[Part]) -> None:
        self._metrics = {metric.spec: metric for metric in metrics}
        self.outdated = 0
        found = {key: list(_found(key, parts)) for key in keys}
        self.data = {each.cell.fingerprints.data for cells in found.values() for each in cells} - {""}
        _refuse_other_models(found)
        computed = {key: _computed(key, cells) for key, cells in found.items()}
        siblings = Siblings({key: cells[0].cell if cells else None for key, cells in computed.items()})
        self.taken = {
            key: self._taken(key, cells, siblings.hash_of(key)) if cells else None for key, cells in computed.items()
        }

    def _taken(self, key: Key, cells: Sequence[_Found], siblings: str) -> TakenCell:
        """A cell with the best record of each metric."""
        if len(cells) == 1 and not any(record.siblings for record in cells[0].cell.all_records):
            return TakenCell(cells[0], tuple((record, cells[0]) for record in cells[0].cell.all_records))
        specs = dict.fromkeys(record.metric.spec for found in cells for record in found.cell.all_records)
        records = [self._record(key, spec, cells, siblings) for spec in specs]
        kept = tuple(record for record in records if record is not None)
        # the attribution of the part with most of the records, so that few cells have to be written anew
        base = max(cells, key=lambda each: sum(found is each for _, found in kept))
        return TakenCell(base, kept)

    def _record(self, key: Key, spec: str, cells: Sequence[_Found], siblings: str) -> tuple[Record, _Found] | None:
        """The record of a metric; None if all there are compare other models.

        Raises:
            UsageError: two parts have other scores.
        """
        every = [(record, found) for found in cells for record in found.cell.all_records if record.metric.spec == spec]
        metric = self._metrics.get(spec)
        wanted = [pair for pair in every if metric is not None and pair[0].metric.identity == metric.identity]
        current = [pair for pair in wanted or every if pair[0].siblings in {"", siblings}]
        if not current:
            self.outdated += bool(wanted)
            return None
        scored = [pair for pair in current if pair[0].status != "failed"] or current[:1]
        for record, found in scored[1:]:
            # a record that is not of the grid, such as that of an earlier version, is on no board
            if wanted and not _same_score(scored[0][0], record):
                raise UsageError(
                    f"{scored[0][1].part.name} and {found.part.name} have other scores of {spec!r} for {key}, although "
                    "model, data and attribution are the same: find out which is right, and leave out the other."
                )
        return scored[0]


def _found(key: Key, parts: Sequence[Part]) -> Iterator[_Found]:
    """Yield the cell in every part that has it, undamaged."""
    for part in parts:
        cell = part.run.store.verified(key, part.run.store.load(key)) if part.has(key) else None
        if cell is not None:
            yield _Found(part, cell)


def _refuse_other_models(found: Mapping[Key, Sequence[_Found]]) -> None:
    """Refuse computed cells of one task and seed that are about other models or data.

    Raises:
        UsageError: there are some; the message names the first.
    """
    models: dict[int, tuple[Key, _Found]] = {}
    data: dict[str, dict[str, Key]] = {}
    computed = ((key, each) for key, cells in found.items() for each in cells if each.cell.status != "failed")
    for key, each in computed:
        first_key, first = models.setdefault(key.model_seed, (key, each))
        for what, way_out in (
            ("data", "other versions of what makes the data, or other files"),
            ("model", "train it once and give it to all machines, by XRNNBENCH_CACHE or 'xrnnbench publish'"),
        ):
            if getattr(first.cell.fingerprints, what) != getattr(each.cell.fingerprints, what):
                raise UsageError(
                    f"The {what} of {key.task.spec!r}, seed {key.model_seed}, in {first.part.name} ({first_key}) "
                    f"{'are' if what == 'data' else 'is'} not that of {each.part.name} ({key}): {way_out}."
                )
        data.setdefault(each.part.name, {}).setdefault(each.cell.fingerprints.data, key)
    if all(len(each) == 1 for each in data.values()):
        _refuse_other_data(data)


def _refuse_other_data(data: Mapping[str, Mapping[str, Key]]) -> None:
    """Refuse a task whose data differ between the parts, where each has the same data for all its seeds.

    Args:
        data: by the name of the part, the fingerprint of its data and the first cell that has it.

    Raises:
        UsageError: they differ.
    """
    (first, ours), *others = [*data.items()] or [("", {})]
    for name, theirs in others:
        if ours.keys() != theirs.keys():
            (one,), (other,) = ours.values(), theirs.values()
            raise UsageError(
                f"The data of {one.task.spec!r} in {first} ({one}) are not those of {name} ({other}): the sequences "
                "must be the same for all seeds; make them with the same files and versions on all machines."
            )


def _computed(key: Key, cells: Sequence[_Found]) -> list[_Found]:
    """The cells of one place that were computed, or else the first that failed.

    Raises:
        UsageError: they are not the same.
    """
    computed = [each for each in cells if each.cell.status != "failed"] or list(cells[:1])
    for each in computed[1:]:
        if name := next((name for name in _SAME if getattr(computed[0].cell, name) != getattr(each.cell, name)), ""):
            raise UsageError(
                f"{computed[0].part.name} and {each.part.name} have other results for {key} ({_told(name)}): find out "
                "which of them is right, and leave out the other."
            )
    return computed


def _told(name: str) -> str:
    """A field of a cell in words."""
    return {"fingerprints": "the attribution", "passes": "the number of passes"}.get(name, name)


def _same_score(one: Record, other: Record) -> bool:
    """Whether two records of a metric have the same score to the bit; measurements never have."""
    same = ("status", "reason", "mean", "n", "undefined", "profile", "scores")
    return one.metric.unreproducible or all(getattr(one, name) == getattr(other, name) for name in same)


# ---- writing --------------------------------------------------------------------------------------------------------


def write_cell(store: Store, key: Key, taken: TakenCell) -> None:
    """Write a cell of the merged run: a copy of its files, or records of several parts put together.

    Raises:
        UsageError: the files cannot be read or written, or have changed since they were read.
    """
    if not (taken.whole and _copied(store.folder, key, taken.base)):
        _write_records(store, key, taken)


def _copied(folder: Path, key: Key, base: _Found) -> bool:
    """Copy the files of a cell; False if its arrays are not as its JSON says, so that only some of it is good.

    The copies are not synced: the originals stay, and reading them checks their hashes.
    """
    source, target = base.part.run.store.folder / key.path, folder / key.path
    text = read_ordinary(source.with_name(f"{source.name}.json"))
    try:
        if parsed(text)[0] != base.cell:
            return False
    except BadCellError as error:
        raise _changed(key, base) from error
    if base.cell.explained:
        data = read_ordinary(source.with_name(f"{source.name}.npz"))
        if hashlib.sha256(data).hexdigest() != base.cell.measured.arrays:
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        target.with_name(f"{target.name}.npz").write_bytes(data)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_name(f"{target.name}.json").write_bytes(text)
    return True


def _write_records(store: Store, key: Key, taken: TakenCell) -> None:
    """Write a cell whose records were chosen one by one.

    Raises:
        UsageError: the stored arrays are not those that its records are about.
    """
    base = taken.base
    loaded: dict[str, dict[str, Any]] = {}
    for each in (base, *(found for _, found in taken.records)):
        if each.part.name not in loaded:
            loaded[each.part.name] = each.part.run.store.arrays(key, each.cell, *ARRAYS)
    arrays = loaded[base.part.name]
    if array_hash(arrays["attribution"]) != base.cell.fingerprints.attribution:
        raise _changed(key, base)
    scored = [(record, _rows(key, record, found, loaded[found.part.name])) for record, found in taken.records]
    nothing = arrays["scores"][:0]
    bare = base.cell.model_copy(
        update={"records": (), "measured": base.cell.measured.model_copy(update={"records": ()})}
    )
    cell, arrays = with_records(bare, arrays | {"scores": nothing, "measured": nothing}, scored)
    store.save(key, cell, arrays)


def _rows(key: Key, record: Record, found: _Found, arrays: Mapping[str, Any]) -> Scores | None:
    """Rows of a record in the arrays of its part, which must have the hash that the record states; None without scores.

    Raises:
        UsageError: they do not.
    """
    if record.row is None:
        return None
    name = "measured" if record.metric.unreproducible else "scores"
    rows: Scores = arrays[name][record.row : record.row + 1 + record.profile]
    if scores_hash(rows) != record.scores:
        raise _changed(key, found)
    return rows


def _changed(key: Key, found: _Found) -> UsageError:
    """Error about files that changed after they were read."""
    return UsageError(f"The files of {key} in {found.part.name} changed while they were merged: merge again.")
