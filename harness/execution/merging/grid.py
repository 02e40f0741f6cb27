"""Grid of a merged run: the suite that its parts make together, its plug-ins and its cells.

No plug-in of the user's is needed for it, because the parts have run and say which cells they have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ....errors import UsageError
from ....fingerprints import fingerprint
from ....plugins import build
from ...results.cells import Axes, Key
from ...suites.suite import Suite, packaged, read_suite

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ...results.cells import PluginInfo
    from .parts import Part

_LISTS: Final = ("tasks", "methods", "metrics", "seeds", "explainer_seeds")
_KINDS: Final = {"tasks": "task", "methods": "method", "metrics": "metric", "skipped": "method"}


@dataclass(frozen=True)
class MergedGrid:
    """Grid of a merged run.

    Attributes:
        suite: the union of the suites of the parts; its ``skipped`` methods were run by no part.
        plans: the suites of the parts, and the union, as a command line has them: with specs as the packaged suite of
            that name writes them.
        axes: its tasks, methods and metrics, without the methods of reference rows.
        seeds: model seeds by the folder of a task.
    """

    suite: Suite
    plans: tuple[tuple[Suite, ...], Suite]
    axes: Axes
    seeds: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, parts: Sequence[Part]) -> MergedGrid:
        """Grid of all parts together.

        Raises:
            UsageError: two parts have a plug-in of one name that is not the same.
        """
        tasks = _union("task", [(part, part.run.axes.tasks) for part in parts])
        # also those of reference rows: a board cannot show two versions of a method
        _union("method", [(part, part.run.axes.methods) for part in parts])
        methods = _union("method", [(part, part.methods) for part in parts])
        metrics = _union("metric", [(part, part.run.axes.metrics) for part in parts])
        suite, plans = _suites([part.suite for part in parts])
        axes = Axes(
            tuple(tasks[spec] for spec in suite.tasks),
            tuple(methods[spec] for spec in suite.methods),
            tuple(metrics[spec] for spec in suite.metrics),
        )
        return cls(suite, plans, axes, {task.folder: _model_seeds(task, suite, parts) for task in axes.tasks})

    def keys(self, task: PluginInfo, methods: Sequence[PluginInfo]) -> Iterator[Key]:
        """Yield the keys of a task's cells by these methods, model by model."""
        draws = self.suite.explainer_seeds
        for seed in self.seeds[task.folder]:
            for method in methods:
                for draw in draws if method.facts.get("stochastic") == "True" else draws[:1]:
                    yield Key(task, method, seed, draw)


def _union(kind: str, listed: Iterable[tuple[Part, Iterable[PluginInfo]]]) -> dict[str, PluginInfo]:
    """Plug-ins of all parts by spec.

    Raises:
        UsageError: two of one spec differ.
    """
    found: dict[str, tuple[Part, PluginInfo]] = {}
    for part, plugins in listed:
        for info in plugins:
            other, known = found.setdefault(info.spec, (part, info))
            if known.identity != info.identity:
                raise UsageError(
                    f"The {kind} {info.spec!r} of {other.name} is not that of {part.name} "
                    f"({_difference(known, info)}): run both with the same."
                )
    return {spec: info for spec, (_, info) in found.items()}


def _difference(one: PluginInfo, other: PluginInfo) -> str:
    """What is different in the identities of two plug-ins, in a few words."""
    if one.identity.get("version") != other.identity.get("version"):
        return f"version {one.identity.get('version')} and version {other.identity.get('version')}"
    if one.identity.get("parameters") != other.identity.get("parameters"):
        ours, theirs = (info.identity.get("parameters") or {} for info in (one, other))
        name = next(name for name in (*ours, *theirs) if ours.get(name) != theirs.get(name))
        return f"{name} is {ours.get(name)!r} and {theirs.get(name)!r}"
    if one.identity.get("source") != other.identity.get("source"):
        return "their files differ"
    names = sorted(one.identity.keys() | other.identity.keys())
    return f"other {next(name for name in names if one.identity.get(name) != other.identity.get(name))}"


# ---- the suite ------------------------------------------------------------------------------------------------------


def _suites(parts: Sequence[Suite]) -> tuple[Suite, tuple[tuple[Suite, ...], Suite]]:
    """Union of the suites of the parts; and these suites and the union with specs as a command line has them."""
    name = parts[0].name
    if name not in packaged():
        united = _united(parts, ())
        return united, (tuple(parts), united)
    suite = read_suite(name)
    # runs store the specs of the plug-ins: without defaults, and with the parameters in their order
    stored = {key: [build(_KINDS[key], spec).spec for spec in getattr(suite, key)] for key in _KINDS}
    written = {key: dict(zip(stored[key], getattr(suite, key), strict=True)) for key in _KINDS}
    written["skipped"] = written["methods"]
    plans = tuple(_spelt(part, written) for part in parts)
    united = _united(plans, (suite,))
    back = {key: {spec: own for own, spec in names.items()} for key, names in written.items()}
    return _spelt(united, back), (plans, united)


def _spelt(suite: Suite, specs: Mapping[str, Mapping[str, str]]) -> Suite:
    """A suite with other specs for the same plug-ins."""
    lists = {key: tuple(names.get(spec, spec) for spec in getattr(suite, key)) for key, names in specs.items()}
    return suite.model_copy(update=lists)


def _united(suites: Sequence[Suite], known: Sequence[Suite]) -> Suite:
    """Suite with the lists of all suites.

    It is the packaged suite if it has the same lists in any order. Otherwise a list that one suite has is taken as it
    is, and others are in the order of the packaged suite, or else of the first suite. It has no variant if it is one of
    the suites as its file has it, or if none was changed on the command line.

    Args:
        suites: the suites.
        known: the packaged suite of that name, if there is one.
    """
    whole = [suite for suite in suites if not suite.variant]
    first = next(iter((*known, *whole, *suites)))
    lists = {key: _list([getattr(suite, key) for suite in suites], getattr(first, key)) for key in _LISTS}
    skipped = _ordered([method for suite in suites for method in suite.skipped], first.methods)
    beside = [method for method in skipped if method not in lists["methods"]]
    united = Suite.of({"name": first.name, **lists, "beside": beside}, "The merged run")
    for suite in known:
        if _same_lists(united, suite):
            return suite
    if len(whole) == len(suites) or any(_same_lists(united, suite) for suite in whole):
        return united
    values = united.model_dump()
    return Suite.of(values | {"variant": fingerprint(values)[:8]}, "The merged run")


def _list(lists: Sequence[Sequence[str | int]], first: Sequence[str | int]) -> Sequence[str | int]:
    """One list of the union: that of a suite if it has all items, or else in the order of the first list."""
    items = [item for each in lists for item in each]
    whole = (each for each in lists if set(each) == set(items))
    return next(whole, None) or _ordered(items, first)


def _ordered(items: Sequence[str | int], first: Sequence[str | int]) -> list[str | int]:
    """Items without repetitions: those of a list in its order, then the others."""
    there = set(items)
    return list(dict.fromkeys([*(item for item in first if item in there), *items]))


def _same_lists(one: Suite, other: Suite) -> bool:
    """Whether two suites have the same lists, in any order."""
    return all(set(getattr(one, key)) == set(getattr(other, key)) for key in _LISTS)


# ---- model seeds ----------------------------------------------------------------------------------------------------


def _model_seeds(task: PluginInfo, suite: Suite, parts: Sequence[Part]) -> tuple[int, ...]:
    """Model seeds of a task: those of the suite, only the first for one model, or those that the task brings along.

    Which of them it is, is seen from the seeds of its cells in each part.
    """
    keys = [(part, part.keys[task.folder]) for part in parts if task.folder in part.keys]
    pairs = [(tuple(dict.fromkeys(key.model_seed for key in each)), part.suite.seeds) for part, each in keys]
    for seeds, _ in (pair for pair in pairs if pair[0] not in {pair[1], pair[1][:1]}):
        return seeds
    if any(len(asked) > 1 for _, asked in pairs):
        return suite.seeds if any(len(seeds) > 1 for seeds, _ in pairs) else suite.seeds[:1]
    models = _models(task, parts)
    one_model = len(models) > 1 and len(set(models.values())) == 1
    return suite.seeds[:1] if one_model else suite.seeds


def _models(task: PluginInfo, parts: Sequence[Part]) -> dict[int, str]:
    """Fingerprint of the first model of a task that a part has explained, by its seed, for each part."""
    found: dict[int, str] = {}
    for part in parts:
        cells = ((key, part.run.store.load(key)) for key in part.keys.get(task.folder, ()))
        found |= next(
            ({key.model_seed: cell.fingerprints.model} for key, cell in cells if cell and cell.fingerprints.model), {}
        )
    return found
