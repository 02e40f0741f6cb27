"""Outputs of a module kept while several of its output steps are explained, so that each input is run once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from .signature import ModuleWrapper

if TYPE_CHECKING:
    from collections.abc import Iterator

# Bytes of outputs that are kept.
_MOST_BYTES: Final = 1 << 28


@dataclass
class _Kept:
    """Outputs by the hash of their inputs, their size in bytes, and how often one was found."""

    outputs: dict[bytes, Any] = field(default_factory=dict)
    size: int = 0
    found: int = 0


class OutputCache(ModuleWrapper):
    """A module whose outputs are kept by its inputs: equal calls are run once.

    It is for a model that returns the scores of all its output steps, of which each is explained in turn: methods that
    only run the model ask about the same perturbed sequences for each step. A call is run as usual while gradients are
    taken, and while a hook inside the module may change its answer.

    Args:
        model: the module; it must not keep state from call to call.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        _KEPT[self] = _Kept()

    @property
    def found(self) -> int:
        """Number of calls that were not run, because an equal one had been."""
        return _KEPT[self].found

    def forward(self, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401  # whatever a user's model takes and returns
        """Output of the module."""
        if torch.is_grad_enabled() or self._hooked():
            return self.model(*arguments, **named)
        key = _key(arguments, named)
        if key is None:
            return self.model(*arguments, **named)
        kept = _KEPT.setdefault(self, _Kept())  # a copy of this module begins with nothing
        if key in kept.outputs:
            kept.found += 1
            return kept.outputs[key]
        output = self.model(*arguments, **named)
        size = sum(tensor.numel() * tensor.element_size() for tensor in _tensors(output))
        if kept.size + size <= _MOST_BYTES:
            kept.outputs[key] = output
            kept.size += size
        return output

    def _hooked(self) -> bool:
        return any(
            module._forward_hooks or module._forward_pre_hooks  # noqa: SLF001  # torch has no other way to ask
            for module in self.model.modules()
        )


# Beside the modules, because the state of a module is compared and copied whenever it is explained.
_KEPT: Final[WeakKeyDictionary[OutputCache, _Kept]] = WeakKeyDictionary()


def _key(arguments: tuple[Any, ...], named: dict[str, Any]) -> bytes | None:
    """Hash of the arguments of a call; None if one of them is neither a tensor nor a plain value."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in (*enumerate(arguments), *sorted(named.items())):
        parts = value if isinstance(value, tuple) else (value,)
        for part in parts:
            if isinstance(part, Tensor):
                digest.update(f"{name} {part.dtype} {tuple(part.shape)}\n".encode())
                digest.update(part.detach().cpu().contiguous().numpy().tobytes())
            elif part is None or isinstance(part, bool | int | float | str):
                digest.update(f"{name} {part!r}\n".encode())
            else:
                return None
    return digest.digest()


def _tensors(output: Any) -> Iterator[Tensor]:  # noqa: ANN401  # whatever a user's model returns
    """Tensors in an output."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, tuple | list):
        for part in output:
            yield from _tensors(part)
    elif hasattr(output, "values"):
        for part in output.values():
            yield from _tensors(part)
