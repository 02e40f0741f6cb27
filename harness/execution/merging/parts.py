"""Parts of a merged run: runs of one suite, and the provenance that they have together.

Cells of other code or other libraries are not comparable to the bit. A run that is resumed with newer code mixes them
knowingly, and its board says so. Parts are computed apart from each other, where nobody sees the difference; so parts
of other code are refused, unless the user allows them. The board then names every version.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....errors import UsageError
from ...results import run_file
from ...results.cells import PluginInfo
from ...suites.suite import Suite
from .. import archive
from ..reference_rows import reference_cells
from ..run import Run

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence

    from ...results.cells import Key

# Commands that a board prints in full; of more it says how many there are.
_COMMANDS = 8
_CODE = ("xrnnbench", "code")
_VERSIONS = ("libraries", "plug-ins")


@dataclass(frozen=True)
class Part:
    """A run that is merged with others.

    Attributes:
        name: its path as the user wrote it.
        run: the run.
        suite: what was run: its lists may be those of the suite, or some of them.
        methods: the methods that it ran, without those of its reference rows.
    """

    name: str
    run: Run
    suite: Suite
    methods: tuple[PluginInfo, ...]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Part:
        """Load a part.

        Raises:
            UsageError: there is no run, there are several, the run file is damaged, or it is an archive.
        """
        folder = Path(path)
        is_archive = folder.name == archive.NAME or (folder / archive.NAME).is_file()
        if is_archive and run_file.find(folder) is None:
            raise UsageError(f"{str(path)!r} is an archive, which has no attributions to merge: name the run itself.")
        run = Run.load(folder)
        suite = Suite.model_validate(run.content["suite"])
        methods = tuple(info for info in run.axes.methods if info.spec in suite.methods)
        return cls(str(path), run, suite, methods)

    @property
    def provenance(self) -> dict[str, Any]:
        """Provenance of the run."""
        return dict(self.run.content["provenance"])

    @cached_property
    def keys(self) -> dict[str, list[Key]]:
        """Keys of its cells by the folder of their task, in its order."""
        keys: dict[str, list[Key]] = {}
        for key in self.run.keys_of(self.run.content["cells"]):
            keys.setdefault(key.task.folder, []).append(key)
        return keys

    def has(self, key: Key) -> bool:
        """Whether a cell is in its grid, or one of its own reference rows."""
        return key.path in self.run.content["cells"] or bool(reference_cells(self.run.content).get(key.path))

    def history(self) -> list[dict[str, Any]]:
        """Entry of the part in the run file of a merged run; a merged run has one for each of its own parts."""
        content = self.run.content
        if merged := content.get("merged"):
            return list(merged)
        kept = ("suite", "complete", "provenance", "times")
        return [{"cells": len(content["cells"])} | {name: content[name] for name in kept if name in content}]


def load_parts(paths: Sequence[str | os.PathLike[str]], *, allow_mixed: bool) -> list[Part]:
    """Load the runs to be merged.

    Args:
        paths: folders of runs, their run files, or ``--out`` folders of single runs.
        allow_mixed: whether they may have been computed by other code or other versions of libraries.

    Raises:
        UsageError: there is no run, one is named twice, or they do not belong together.
    """
    if not paths:
        raise UsageError("There is nothing to merge: name the folders of the runs.")
    parts = [Part.load(path) for path in paths]
    files: dict[Path, str] = {}
    for part in parts:
        file = part.run.store.run_file.resolve()
        if file in files:
            raise UsageError(f"{part.name} and {files[file]} are the same run: name it once.")
        files[file] = part.name
    for part in parts[1:]:
        _refuse_strangers(parts[0], part)
        if not allow_mixed:
            _refuse_other_code(parts[0], part)
    return parts


def _refuse_strangers(first: Part, other: Part) -> None:
    """Refuse two runs that cannot be parts of one.

    Raises:
        UsageError: they are of two suites, or of models that come from elsewhere.
    """
    if first.suite.name != other.suite.name:
        raise UsageError(
            f"{first.name} is a run of the suite {first.suite.name!r} and {other.name} of {other.suite.name!r}: only "
            "runs of one suite can be merged."
        )
    retrained = [part.name for part in (first, other) if part.run.content.get("retrain", False)]
    if len(retrained) == 1:
        raise UsageError(
            f"Of {first.name} and {other.name} only {retrained[0]} was run with --retrain, so their models come from "
            "elsewhere: run both in the same way."
        )


def _refuse_other_code(first: Part, other: Part) -> None:
    """Refuse two runs of other code or other libraries.

    Raises:
        UsageError: they are.
    """
    for what, value, different in _differences(first.provenance, other.provenance):
        raise UsageError(
            f"{first.name} was computed with {what} {value} and {other.name} with {different}, so their numbers may "
            "differ for that reason alone: run both with the same, or allow it by --allow-mixed; the board then names "
            "all versions."
        )


def _differences(first: dict[str, Any], other: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield what decides numbers and is different in two provenances, with the two values."""
    for name in _CODE:
        if first[name] != other[name]:
            yield ("xrnnbench" if name == "xrnnbench" else "the code"), first[name], other[name]
    for name in _VERSIONS:
        ours, theirs = first.get(name, {}), other.get(name, {})
        for library in sorted(ours.keys() | theirs.keys()):
            versions = ours.get(library, "none"), theirs.get(library, "none")
            if versions[0] != versions[1]:
                yield library, *versions


def merged_provenance(parts: Sequence[Part]) -> dict[str, Any]:
    """Provenance of a merged run: every version, device and command of its parts."""
    each = [entry["provenance"] for part in parts for entry in part.history()]
    return {name: _merged(name, [provenance[name] for provenance in each if name in provenance]) for name in each[0]}


def _merged(name: str, values: Sequence[Any]) -> Any:  # noqa: ANN401  # JSON values
    """One entry of the provenance of several runs."""
    if name in _VERSIONS:
        libraries = dict.fromkeys(library for versions in values for library in versions)
        return {library: _joined(versions.get(library, "none") for versions in values) for library in libraries}
    if name in {"threads", "date"}:
        return max(values)
    if name == "command":
        commands = dict.fromkeys(values)
        return "; ".join(commands) if len(commands) <= _COMMANDS else f"{len(commands)} commands, see run.json"
    return _joined(word for value in values for word in value.split(", "))


def merged_times(parts: Sequence[Part]) -> dict[str, float]:
    """Seconds that all parts took together, by phase."""
    times: dict[str, float] = {}
    for part in parts:
        for phase, seconds in part.run.times.items():
            times[phase] = times.get(phase, 0.0) + seconds
    return times


def _joined(values: Iterable[str]) -> str:
    """The different values in their order, with commas between them."""
    return ", ".join(dict.fromkeys(value for value in values if value))
