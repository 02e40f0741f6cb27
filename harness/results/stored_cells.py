"""Cells of a run that are read when they are asked for, so that memory does not grow with their number.

All cells of a run of 100,000 take several GB. Whoever goes through them needs few at a time: those read last are kept,
which are all cells of most runs, and the others are read again. A cell is read from the index of its store
(:mod:`.index`) in a small part of a millisecond.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .scored_cells import ScoredCell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .cells import Cell, Key, Scores
    from .scored_cells import StoredAttribution
    from .store import Store

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")
# Cells that are kept: some 20 kB each.
MOST = 5000


class Recent(Generic[KeyT, ValueT]):
    """Values that were read last.

    Args:
        read: reads a value.
        most: the number of values that are kept.
    """

    def __init__(self, read: Callable[[KeyT], ValueT], most: int = MOST) -> None:
        self._read, self._most = read, most
        self._values: dict[KeyT, ValueT] = {}

    def __call__(self, key: KeyT) -> ValueT:
        """The value of a key, read now if it is not kept."""
        try:
            return self._values[key]
        except KeyError:
            value = self._read(key)
        if len(self._values) >= self._most:
            # the oldest half at once, in the order in which they were read
            for old in list(self._values)[: max(1, self._most // 2)]:
                del self._values[old]
        self._values[key] = value
        return value


class StoredCells(Mapping["Key", "Cell | None"]):
    """Cells of a store by their key; None if a cell is missing or damaged.

    Args:
        store: the folder.
        keys: keys of the cells, in their order.
    """

    def __init__(self, store: Store, keys: Iterable[Key]) -> None:
        self._store = store
        self._keys = dict.fromkeys(keys)
        self._cells = Recent(self._load)
        self._loaded = 0

    def __getitem__(self, key: Key) -> Cell | None:
        if key not in self._keys:
            raise KeyError(key)
        return self._cells(key)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def _load(self, key: Key) -> Cell | None:
        """Read a cell; after the last of all of them, what is now known about their files is written."""
        cell = self._store.load(key)
        self._loaded += 1
        if self._loaded % len(self._keys) == 0:
            self._store.write_index()
        return cell


class UnreadCell(ScoredCell):
    """Cell with its scores that is read when one of its attributes is asked for.

    Attributes:
        now: reads the cell itself.
    """

    __slots__ = ("now",)
    now: Callable[[], ScoredCell]

    # dataclasses.replace makes a copy in this way
    def __new__(cls, *fields: Any, **named: Any) -> ScoredCell:  # type: ignore[misc]  # noqa: ANN401  # the same fields
        """Make a changed copy, which is an ordinary cell."""
        return ScoredCell(*fields, **named)

    @classmethod
    def of(cls, key: KeyT, read: Callable[[KeyT], ScoredCell]) -> ScoredCell:
        """The cell of a key.

        Args:
            key: key of the cell.
            read: reads the cell of a key with its scores, and keeps those that were read last.
        """
        unread = object.__new__(cls)
        object.__setattr__(unread, "now", partial(read, key))
        return unread

    @property
    def cell(self) -> Cell | None:
        """See :class:`ScoredCell`."""
        return self.now().cell

    @property
    def scores(self) -> Scores:
        """See :class:`ScoredCell`."""
        return self.now().scores

    @property
    def measured(self) -> Scores:
        """See :class:`ScoredCell`."""
        return self.now().measured

    @property
    def read(self) -> Callable[[], StoredAttribution] | None:
        """See :class:`ScoredCell`."""
        return self.now().read


def read_now(scored: ScoredCell) -> ScoredCell:
    """The cell itself in the place of one that is not read yet, for whoever asks for its attributes often."""
    return scored.now() if isinstance(scored, UnreadCell) else scored
