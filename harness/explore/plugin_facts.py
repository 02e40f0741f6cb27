"""What is there: plug-ins as lists and pages, for the command line and for scripts."""

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
# Said elsewhere on the page, or of no use to a reader.
_HIDDEN = {"kind", "name", "profiled", "source_hash"}


def describe_plugin(kind: str, name: str) -> dict[str, Any]:
    """A plug-in's name, first line, page, parameters and facts, ready for JSON.

    Args:
        kind: of the plug-in.
        name: its name or spec; parameters that follow take the place of their defaults.

    Raises:
        UnknownNameError: there is none of that name.
        ParameterError: it has no such parameter, or the value does not fit.
    """
    cls = _class_of(kind, name)
    given = {key: _json(value) for key, value in build(kind, name).parameters.items()} if "=" in _rest(name) else {}
    page = cls.page()
    return {
        "kind": kind,
        "name": cls.name,
        "summary": page.partition("\n")[0],
        "parameters": _parameters(cls) | given,
        "facts": facts(cls),
        "page": page,
    }


def list_plugins(kind: str) -> list[dict[str, Any]]:
    """All plug-ins of a kind, in alphabetical order."""
    return [describe_plugin(kind, name) for name in names(kind)]


def kind_of(name: str, kind: str = "") -> str:
    """The kind a name belongs to.

    Args:
        name: of a plug-in, or ``path/to/file.py:Class``; parameters may follow.
        kind: to choose where several kinds have that name; empty otherwise.

    Raises:
        UnknownNameError: nothing has that name.
        UsageError: several kinds have it.
    """
    if kind:
        return kind
    if (file := file_spec(name)) is not None:
        file_kind = getattr(getattr(load_file(file.path), file.name, None), "kind", "")
        if file_kind in FLOORS:
            return str(file_kind)
        raise UnknownNameError(f"{file.path} has no plug-in named {file.name!r}.")
    name = name.partition(":")[0]
    known = {each: names(each) for each in FLOORS}
    kinds = [each for each, listed in known.items() if name in listed]
    if not kinds:
        near = nearest(name, sorted({other for listed in known.values() for other in listed}))
        raise UnknownNameError(f"There is no plug-in named {name!r}{near}; 'xrnnbench list tasks' and so on show all.")
    if len(kinds) > 1:
        raise UsageError(f"{name!r} is a {' and a '.join(kinds)}: say which with --kind.")
    return kinds[0]


def facts(cls: type[Plugin]) -> dict[str, Any]:
    """What a class says of itself beside its parameters: gate, licence, needs, range, source."""
    fields = {field.name for field in dataclasses.fields(cls)}
    found = {}
    for name in dir(cls):
        value = getattr(cls, name)
        if name.startswith("_") or name in fields | _HIDDEN or not isinstance(value, _PLAIN) or value in ("", ()):
            continue
        found[name] = _json(value)
    return found


def page(description: dict[str, Any]) -> str:
    """A description as text for the terminal."""
    parts = [f"{description['kind']} {description['name']}", "", inline(description["page"])]
    if description["parameters"]:
        parts += ["", "Parameters:"]
        parts += [f"  {key} = {_shown(value)}" for key, value in description["parameters"].items()]
    parts += ["", *(f"{key}: {_shown(value)}" for key, value in description["facts"].items())]
    return "\n".join(parts)


def inline(text: str) -> str:
    """A docstring's markup as one meets it elsewhere: names and code between single backticks, no roles."""
    return _ROLE.sub(r"`\1`", text).replace("``", "`")


def _class_of(kind: str, name: str) -> type[Plugin]:
    """The class of a name; parameters that follow it are left out."""
    file = file_spec(name)
    if file is None:
        return find(kind, name.partition(":")[0])
    cls = getattr(load_file(file.path), file.name, None)
    if not (isinstance(cls, type) and issubclass(cls, Plugin) and cls.kind == kind):
        raise UnknownNameError(f"{file.path} has no {kind} named {file.name!r}.")
    return cls


def _rest(name: str) -> str:
    """What follows a plug-in's name: its parameters."""
    file = file_spec(name)
    return file.parameters if file is not None else name.partition(":")[2]


def _parameters(cls: type[Plugin]) -> dict[str, Any]:
    found = {}
    for field in dataclasses.fields(cls):
        if field.init:
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            found[field.name] = "required" if default is dataclasses.MISSING else _json(default)
    return found


def _json(value: Any) -> Any:  # noqa: ANN401  # any default
    """A value as JSON can have it: sets sorted, no NaN, no infinity, everything unknown as text."""
    if isinstance(value, (frozenset, tuple, list)):
        return [_json(item) for item in (sorted(value) if isinstance(value, frozenset) else value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def _shown(value: Any) -> str:  # noqa: ANN401  # any JSON value
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else "none" if value is None else str(value)
