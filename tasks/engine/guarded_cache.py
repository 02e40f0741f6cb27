"""Cache of values that many read and nobody may change: each has a snapshot of what it was when it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, ItemsView, Iterable

ValueT = TypeVar("ValueT")
KeyT = TypeVar("KeyT", bound="Hashable")


class GuardedCache(Generic[KeyT]):
    """Cache whose values stay as they were made.

    Args:
        beyond: a snapshot of objects that the values refer to and that are guarded elsewhere.
    """

    def __init__(self, beyond: Snapshot | None = None) -> None:
        self._values: dict[KeyT, Any] = {}
        self._kept: dict[KeyT, Any] = {}
        self._snapshot = Snapshot(beyond=beyond)

    def __contains__(self, key: KeyT) -> bool:
        return key in self._values

    def __getitem__(self, key: KeyT) -> Any:  # noqa: ANN401  # of whatever type was cached
        return self._values[key]

    def items(self) -> ItemsView[KeyT, Any]:
        """Keys and values."""
        return self._values.items()

    def get(self, key: KeyT, make: Callable[[], ValueT]) -> ValueT:
        """The value of a key, made on its first use."""
        if key not in self._values:
            self.update([(key, make())])
        return self._values[key]  # type: ignore[no-any-return]  # the key fixes the type

    def update(self, pairs: Iterable[tuple[KeyT, Any]]) -> None:
        """Add values by their keys."""
        for key, value in pairs:
            self._values[key] = self._kept[key] = value
            self._snapshot.add("a value that is shared with others", value)

    def restore(self) -> bool:
        """Restore values that were changed since they were made; returns whether there were any."""
        changed = self._snapshot.changed()
        if changed:
            self._snapshot.restore()
        self._snapshot.renew()
        if self._values.keys() == self._kept.keys() and all(self._values[key] is self._kept[key] for key in self._kept):
            return bool(changed)
        self._values.clear()
        self._values.update(self._kept)
        return True
