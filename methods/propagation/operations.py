"""Classes of torch operations that all propagation methods share: linear, predicate and metadata.

A propagation method runs the module's own ``forward`` under a torch function mode, operation by operation. The methods
differ in their rules. They agree about three classes: *linear* operations are linear in the tensors that depend on the
input, *predicates* make a decision (a comparison, an index), and *metadata* operations only read a tensor's properties.
An operation in none of these lists needs a rule of the method's own, or is an error that names the operation.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import resolve_name

Operation = Callable[..., Any]

# Linear operations that only move numbers: each number of the result is a number of an argument, or a constant.
ROUTING: Final = frozenset({
    "view", "view_as", "reshape", "reshape_as", "transpose", "t", "T.get", "mT.get", "mH.get", "H.get", "permute",
    "unsqueeze", "squeeze", "expand", "expand_as", "broadcast_to", "repeat", "repeat_interleave", "tile", "cat",
    "concat", "concatenate", "stack", "hstack", "vstack", "split", "split_with_sizes", "chunk", "tensor_split",
    "unbind", "narrow", "select", "__getitem__", "index_select", "gather", "take_along_dim", "flip", "fliplr", "roll",
    "contiguous", "clone", "to", "float", "double", "type_as", "positive", "flatten", "unflatten", "ravel", "movedim",
    "swapaxes", "swapdims", "moveaxis", "pad", "dropout", "_pack_padded_sequence", "_pad_packed_sequence",
    "masked_select", "scatter", "index_copy", "unfold", "diagonal", "identity", "real", "copy_", "zero_", "fill_",
    "__setitem__", "index_copy_", "scatter_", "squeeze_", "unsqueeze_", "broadcast_tensors", "dropout1d",
    "alpha_dropout", "feature_dropout", "cpu", "type", "detach",
})  # fmt: skip
LINEAR: Final = ROUTING | {
    "sum", "mean", "cumsum", "neg", "__neg__", "sub", "add", "__add__", "__radd__", "__sub__", "__rsub__", "rsub",
    "subtract", "diff", "avg_pool1d", "adaptive_avg_pool1d", "batch_norm", "index_add", "scatter_add", "tril", "triu",
    "add_", "sub_", "__iadd__", "__isub__", "index_add_", "neg_",
}  # fmt: skip
METADATA: Final = frozenset({
    "shape.get", "dtype.get", "device.get", "layout.get", "ndim.get", "requires_grad.get", "is_leaf.get", "grad_fn.get",
    "is_cuda.get", "is_cpu.get", "is_sparse.get", "is_nested.get", "is_quantized.get", "is_mps.get", "is_meta.get",
    "names.get", "itemsize.get", "nbytes.get", "grad.get", "size", "dim", "numel", "nelement", "is_floating_point",
    "is_complex", "is_contiguous", "stride", "element_size", "get_device", "storage_offset", "__len__", "__repr__",
    "__format__", "data_ptr", "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like",
    "new_zeros", "new_ones", "new_full", "new_empty", "is_same_size", "is_tensor", "is_inference", "is_signed",
    "has_names", "_is_view", "requires_grad_", "register_hook", "__hash__", "result_type", "can_cast", "_version.get",
})  # fmt: skip
PREDICATES: Final = frozenset({
    "eq", "ne", "lt", "le", "gt", "ge", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "isnan", "isfinite",
    "isinf", "argmax", "argmin", "argsort", "logical_not", "logical_and", "logical_or", "any", "all", "count_nonzero",
    "nonzero", "searchsorted", "bool", "int", "long", "item", "tolist", "__bool__", "__int__", "__float__", "__index__",
    "__contains__", "is_nonzero", "equal", "allclose", "sign", "round", "floor", "ceil", "trunc",
})  # fmt: skip

# Operations whose other tensor gives a shape, a type or a device, and no numbers: ``mask.to(output)``.
_LIKE: Final = frozenset({"to", "type_as", "view_as", "reshape_as", "expand_as"})
_WRITING = frozenset({"__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__", "__ipow__"})
# torch's keyword names of the operands after the first.
_OPERANDS = ("other", "mat2", "vec2", "tensor2", "exponent", "end", "dim")


def writes(name: str) -> bool:
    """Whether an operation of this name works in place: ``add_`` and ``__iadd__`` do, ``__add__`` does not."""
    return name in _WRITING or (name.endswith("_") and not name.endswith("__"))


def takes_only_form(name: str, args: tuple[Any, ...], tracked: Callable[[object], bool]) -> bool:
    """Whether an operation's result holds no number of a tensor that depends on the input: ``mask.to(output)``.

    Args:
        name: the operation's short name.
        args: its arguments.
        tracked: whether a value depends on the input.
    """
    return name in _LIKE and bool(args) and not tracked(args[0])


def on_constants(func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: list[Tensor]) -> Any:  # noqa: ANN401  # an operation returns anything
    """Do an operation on tensors that do not depend on the input, without recording it.

    Some of them may require a gradient all the same: models make initial states by ``torch.zeros(…).requires_grad_()``.
    """
    with torch.set_grad_enabled(torch.is_grad_enabled() and not any(tensor.requires_grad for tensor in tensors)):
        return func(*args, **kwargs)


def out_of_place(name: str) -> Operation:
    """The operation of this name that returns a new tensor, from :class:`torch.Tensor` or torch.nn.functional."""
    operation: Operation = getattr(torch.Tensor, name, None) or getattr(torch.nn.functional, name)
    return operation


def positional(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of a call with its operands made positional, in order, where the caller passed them by keyword."""
    kwargs = dict(kwargs)
    if not args and "input" in kwargs:
        args = (kwargs.pop("input"),)
    named = [kwargs.pop(name) for name in _OPERANDS if len(args) == 1 and name in kwargs]
    return (*args, *named), kwargs


def unary(func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Callable[[Tensor], Tensor], bool]:
    """Function of the first argument alone, with the other arguments bound, and whether ``inplace`` was set."""
    try:
        bound = inspect.signature(func).bind(None, *args, **kwargs)
    except ValueError:  # torch's compiled functions have no signature, and no argument named inplace
        return lambda z: func(z, *args, **kwargs), False
    in_place = bool(bound.arguments.pop("inplace", False))
    return lambda z: func(z, *bound.args[1:], **bound.kwargs), in_place


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Context in which no parameter of the module requires a gradient; the flags are restored at its end.

    Inside, only tensors that depend on the input require a gradient. Any other tensor that requires one was computed
    where the mode did not see it.
    """
    flags = {parameter: parameter.requires_grad for parameter in module.parameters()}
    try:
        module.requires_grad_(requires_grad=False)
        yield
    finally:
        for parameter, requires_grad in flags.items():
            parameter.requires_grad_(requires_grad)


def uncompiled() -> AbstractContextManager[object]:
    """Context in which what :func:`torch.compile` made runs as it was written, so that a mode sees its operations."""
    compiled = "torch._dynamo" in sys.modules  # torch's compiler is loaded by what compiles; loading it takes seconds
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


def short_name(func: Operation) -> str:
    """Bare name of an operation: ``mul`` of torch.Tensor.mul; of a property with its access, ``shape.get``."""
    name = getattr(func, "__name__", "")
    if name in {"__get__", "__set__"}:
        return f"{full_name(func).split('.')[-2]}.{name.strip('_')}"
    return str(name)


def full_name(func: Operation) -> str:
    """Qualified name of an operation, as a user would write it: ``torch.Tensor.mul``."""
    return resolve_name(func) or f"torch.{getattr(func, '__name__', repr(func))}"
