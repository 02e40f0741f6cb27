"""Nested containers of arrays, such as the dictionary a forecaster takes: their arrays by name, and new ones in place.

A container is a mapping, a named tuple, a dataclass, or a plain tuple or list. The name of an array joins the names of
its places by dots: ``past.price`` is the value of ``price`` in that of ``past``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DataError

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
    """Values of a container by the names of their places.

    Raises:
        DataError: two keys of a mapping are written alike, as 1 and "1" are.
    """
    if isinstance(container, Mapping):
        named = {str(name): value for name, value in container.items()}
        if len(named) < len(container):
            raise DataError(f"Two keys among {', '.join(map(repr, container))} are written alike: rename one.")
        return named
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


def first_difference(one: Any, other: Any, above: str = "") -> str | None:  # noqa: ANN401  # any values
    """Name of the first array or plain value that differs between two values of one kind; None if there is none.

    All that a dataclass holds is compared, also what its constructor does not take.
    """
    if is_container(one) and type(one) is type(other):
        own, others = _held(one), _held(other)
        found = (
            above + name if name not in others else first_difference(value, others[name], f"{above}{name}.")
            for name, value in own.items()
        )
        return next(filter(None, found), None)
    return None if _alike(one, other) else above.rstrip(".")


def _held(container: Any) -> dict[str, Any]:  # noqa: ANN401  # any container
    """All values that a container holds, by name."""
    if isinstance(container, Mapping) or not dataclasses.is_dataclass(container):
        return places(container)
    names = [field.name for field in dataclasses.fields(container) if hasattr(container, field.name)]
    return {name: getattr(container, name) for name in names} | _attributes(container)


def _attributes(value: object) -> dict[str, Any]:
    """Attributes of an object by name; none of an object with slots."""
    return dict(getattr(value, "__dict__", {}))


def _alike(one: Any, other: Any) -> bool:  # noqa: ANN401  # any values
    """Whether two values are the same; of two objects of one class this is taken for granted."""
    if one is other:
        return True
    if hasattr(one, "__array__") and hasattr(other, "__array__"):
        return bool(np.array_equal(np.asarray(one), np.asarray(other), equal_nan=np.asarray(one).dtype.kind in "fc"))
    return bool(one == other) if isinstance(one, int | float | str) else type(one) is type(other)


def _of_its_kind(container: Any, values: dict[Any, Any]) -> Any:  # noqa: ANN401  # any mapping
    """A mapping of another class than dict with these values; a dict where the class takes none."""
    try:
        return type(container)(values)
    except TypeError:
        return values
