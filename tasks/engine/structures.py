"""Nested containers of arrays, such as the dictionary a forecaster takes: their arrays by name, and new ones in place.

A container is a mapping, a named tuple, a dataclass, or a plain tuple or list. The name of an array joins the names of
its places by dots: ``past.price`` is the value of ``price`` in that of ``past``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def is_container(value: object) -> bool:
    """Whether a value is a container whose places have names, or a plain tuple or list."""
    return isinstance(value, Mapping | tuple | list) or is_record(value)


def is_record(value: object) -> bool:
    """Whether a value is an instance of a dataclass, or a named tuple."""
    dataclass = dataclasses.is_dataclass(value) and not isinstance(value, type)
    return dataclass or (isinstance(value, tuple) and hasattr(value, "_fields"))


def places(container: Any) -> dict[str, Any]:  # noqa: ANN401  # any container
    """Values of a container by the names of their places."""
    if isinstance(container, Mapping):
        return {str(name): value for name, value in container.items()}
    if dataclasses.is_dataclass(container) and not isinstance(container, type):
        return {field.name: getattr(container, field.name) for field in dataclasses.fields(container) if field.init}
    names = getattr(container, "_fields", map(str, range(len(container))))
    return dict(zip(names, container, strict=True))


def leaves(container: Any, above: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401  # any container
    """Names and values of everything in a container that is none itself."""
    for name, value in places(container).items():
        if is_container(value):
            yield from leaves(value, f"{above}{name}.")
        else:
            yield above + name, value


def rebuilt(container: Any, values: Mapping[str, Any], above: str = "") -> Any:  # noqa: ANN401  # any container
    """A container of the same kind with other values.

    Args:
        container: the container.
        values: new values by the names of :func:`leaves`; whatever is not named keeps its value. A mapping at the top
            takes further names too.
        above: the names of the places that the container is in, with a dot at the end.
    """
    new = {
        name: rebuilt(value, values, f"{above}{name}.") if is_container(value) else values.get(above + name, value)
        for name, value in places(container).items()
    }
    if isinstance(container, Mapping):
        kept = {name: new[str(name)] for name in container}
        further = {} if above else {name: value for name, value in values.items() if name.partition(".")[0] not in new}
        return kept | further if type(container) is dict else _of_its_kind(container, kept | further)
    if dataclasses.is_dataclass(container) and not isinstance(container, type):
        return dataclasses.replace(container, **new)
    if hasattr(container, "_fields"):
        return type(container)(**new)
    return type(container)(new.values())


def _of_its_kind(container: Any, values: dict[Any, Any]) -> Any:  # noqa: ANN401  # any mapping
    """A mapping of another class than dict with these values; a dict where the class takes none."""
    try:
        return type(container)(values)
    except TypeError:
        return values
