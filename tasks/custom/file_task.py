"""Base class of the tasks that train networks on a user's file or frame: names, specs and identities."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ...errors import ParameterError
from ...plugins import kebab
from ..readers.frames import HeldFrame
from ..readers.sequences import TableFile
from ..trained import TrainedTask

if TYPE_CHECKING:
    from ..data.batch import Names

# Most characters of a name: folders are named after it.
_LONGEST: Final = 100


@dataclass(frozen=True)
class FileTask(TableFile, TrainedTask):
    """Task that trains networks on a user's file or frame.

    Attributes:
        label: name of the task in results, any text; empty for its spec.
    """

    application: ClassVar[str] = "given"
    source: ClassVar[str] = "given by the user"
    licence: ClassVar[str] = "the user's"
    citation: ClassVar[str] = "the user's"
    explaining: ClassVar[frozenset[str]] = frozenset({"instances", "label"})
    later: ClassVar[frozenset[str]] = frozenset({"label"})

    label: str = field(default="", kw_only=True)

    def check_label(self) -> None:
        """Refuse a name that is blank or names no folder, and write it in one line, with single blanks."""
        label = " ".join(self.label.split())
        if self.label and not label:
            raise ParameterError(f"The name {self.label!r} is blank: give the task a name, or leave it out.")
        if len(label) > _LONGEST:
            raise ParameterError(f"The name {label[:20]!r}… has over {_LONGEST} characters: give a shorter one.")
        object.__setattr__(self, "label", label)

    @property
    def rebuildable(self) -> bool:
        """Whether the spec makes the same task on the command line: of a file, without a name."""
        return not self.label and not isinstance(self.path, HeldFrame)

    @property
    def names(self) -> Names:
        """Names of features (in the order in which a model reads them), outputs and tokens."""
        return self.data().names

    @property
    def spec(self) -> str:
        """Name of the task as given by the user, else its spec."""
        return self.label or super().spec

    @property
    def parameters(self) -> dict[str, Any]:
        """See :attr:`Plugin.parameters`; the path is reduced to the file's name, as the identity has the content."""
        return super().parameters | {"path": self.file}

    def identity(self) -> dict[str, Any]:
        """See :meth:`Plugin.identity`; includes the fingerprint of the content, and is named by the label if any."""
        named = {"name": kebab(self.label)} if self.label else {}
        return super().identity() | named | {"content": self.content}
