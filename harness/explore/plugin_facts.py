"""Facts of plug-ins as lists and pages, for the command line and for scripts."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

from ...errors import UnknownNameError, UsageError
from ...plugins import FLOORS, Plugin, build, find, load_file, names, nearest
from ...spec_files import file_spec

_ROLE = re.compile(r":(?:class|meth|func|mod|data|attr):`~?([^`]+)`")
_PLAIN = (str, int, float, bool, frozenset, tuple)
# Facts that are elsewhere on the page, or of no use to a reader.
_HIDDEN = {"contract", "generates", "kind", "later", "name", "profiled", "source_hash"}


def describe_plugin(kind: str, name: str) -> dict[str, Any]:
    """Description of a plug-in as JSON values: its name, first line, page, parameters and facts.

    Args:
        kind: kind of the plug-in.
        name: its name or spec; the parameters of a spec replace their defaults.

    Raises:
        UnknownNameError: there is no plug-in of that name.
        ParameterError: it has no such parameter, or the value does not fit.
    """
    cls = _class_of(kind, name)
    changed = "=" in _spec_parameters(name)
    values = {key: _json(value) for key, value in build(kind, name).parameters.items()} if changed else {}
    page = cls.page()
    return {
        "kind": kind,
        "name": cls.name,
        "summary": page.partition("\n")[0],
        "parameters": _parameters(cls) | values,
        "facts": facts(cls),
        "page": page,
    }


def list_plugins(kind: str) -> list[dict[str, Any]]:
    """Descriptions of all plug-ins of a kind, in alphabetical order; see :func:`describe_plugin`."""
    return [describe_plugin(kind, name) for name in names(kind)]


def kind_of(name: str, kind: str = "") -> str:
    """Kind of the plug-in with this name.

    Args:
        name: name of a plug-in, or ``path/to/file.py:Class``; parameters may follow.
        kind: the kind, if it is known; it is needed if several kinds have that name.

    Raises:
        UnknownNameError: no plug-in has that name.
        UsageError: plug-ins of several kinds have it.
    """
    if kind:
        return kind
    if (file := file_spec(name)) is not None:
        file_kind = getattr(getattr(load_file(file.path), file.name, None), "kind", "")
        if file_kind in FLOORS:
            return str(file_kind)
        raise UnknownNameError(f"{file.path} has no plug-in named {file.name!r}.")
    name = name.partition(":")[0]
    known = {plugin_kind: names(plugin_kind) for plugin_kind in FLOORS}
    kinds = [plugin_kind for plugin_kind, kind_names in known.items() if name in kind_names]
    if not kinds:
        near = nearest(name, sorted({other for kind_names in known.values() for other in kind_names}))
        raise UnknownNameError(f"There is no plug-in named {name!r}{near}; 'xrnnbench list tasks' and so on show all.")
    if len(kinds) > 1:
        raise UsageError(f"{name!r} is a {' and a '.join(kinds)}: choose one with --kind.")
    return kinds[0]


def facts(cls: type[Plugin]) -> dict[str, Any]:
    """Class facts of a plug-in that are no parameters: gate, licence, needs, range, source."""
    fields = {field.name for field in dataclasses.fields(cls)}
    values = {}
    for name in dir(cls):
        value = getattr(cls, name)
        if name.startswith("_") or name in fields | _HIDDEN or not isinstance(value, _PLAIN) or value in ("", ()):
            continue
        values[name] = _json(value)
    return values


def page(description: dict[str, Any]) -> str:
    """Page of a plug-in as text for the terminal."""
    parts = [f"{description['kind']} {description['name']}", "", inline(description["page"])]
    if description["parameters"]:
        parts += ["", "Parameters:"]
        parts += [f"  {key} = {_shown(value)}" for key, value in description["parameters"].items()]
    parts += ["", *(f"{key}: {_shown(value)}" for key, value in description["facts"].items())]
    return "\n".join(parts)


def inline(text: str) -> str:
    """Docstring with Markdown's markup: names and code between single backticks, without roles."""
    return _ROLE.sub(r"`\1`", text).replace("``", "`")


def _class_of(kind: str, name: str) -> type[Plugin]:
    """Class of a plug-in by its name or spec; the parameters of a spec are ignored."""
    file = file_spec(name)
    if file is None:
        return find(kind, name.partition(":")[0])
    cls = getattr(load_file(file.path), file.name, None)
    if not (isinstance(cls, type) and issubclass(cls, Plugin) and cls.kind == kind):
        raise UnknownNameError(f"{file.path} has no {kind} named {file.name!r}.")
    return cls


def _spec_parameters(name: str) -> str:
    """Parameters of a spec, which follow the plug-in's name; empty if there are none."""
    file = file_spec(name)
    return file.parameters if file is not None else name.partition(":")[2]


def _parameters(cls: type[Plugin]) -> dict[str, Any]:
    """Defaults of a plug-in's parameters; ``"required"`` if a parameter has none."""
    defaults = {}
    for field in dataclasses.fields(cls):
        if field.init:
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            defaults[field.name] = "required" if default is dataclasses.MISSING else _json(default)
    return defaults


def _json(value: Any) -> Any:  # noqa: ANN401  # any default
    """JSON value of a parameter: sets are sorted, NaN is null, infinity and unknown types are text."""
    if isinstance(value, (frozenset, tuple, list)):
        return [_json(item) for item in (sorted(value) if isinstance(value, frozenset) else value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def _shown(value: Any) -> str:  # noqa: ANN401  # any JSON value
    """JSON value as text for the terminal."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else "none" if value is None else str(value)
