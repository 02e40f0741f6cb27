"""Operations that are linear in the tensors that depend on the input, of which torch's own gradient is DeepLIFT's rule.

Besides those that all propagation methods share (:mod:`..operations`), these are resampling, spectra, other layouts of
complex numbers, and reading and writing by constant indices.
"""

from __future__ import annotations

from typing import Final

from .. import operations

LINEAR: Final = operations.LINEAR | {
    # moving numbers
    "atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "cartesian_prod", "combinations", "meshgrid",
    "column_stack", "row_stack", "dstack", "hsplit", "vsplit", "dsplit", "flipud", "rot90", "swapaxes_", "swapdims_",
    "transpose_", "t_", "as_strided", "expand_copy", "view_copy", "unfold_copy", "diag", "diag_embed", "diagflat",
    "diagonal_copy", "diagonal_scatter", "select_scatter", "slice_scatter", "as_strided_scatter", "index_fill",
    "index_put", "put", "take", "masked_scatter", "tril_", "triu_", "fill_diagonal_", "index_fill_", "index_put_",
    "put_", "masked_scatter_", "scatter_add_", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
    "native_channel_shuffle", "adjoint", "clone", "detach", "detach_", "data.get", "unsafe_chunk", "unsafe_split",
    "unsafe_split_with_sizes", "split_copy", "unbind_copy", "narrow_copy", "squeeze_copy", "unsqueeze_copy",
    "permute_copy", "transpose_copy", "alias_copy", "circular_pad", "reflection_pad1d", "replication_pad1d",
    "constant_pad_nd", "half", "bfloat16", "cuda", "feature_alpha_dropout", "dropout2d", "dropout3d", "dropout_",
    "_pad_circular", "_pad_enum", "lift_fresh", "contiguous_format", "ifftshift", "fftshift", "fft_fftshift",
    "fft_ifftshift", "as_tensor", "asarray", "pin_memory", "share_memory_",
    # sums
    "nansum", "nanmean", "trace", "trapezoid", "trapz", "cumulative_trapezoid", "gradient", "segment_reduce",
    "sum_to_size", "deg2rad", "rad2deg", "fold", "col2im", "im2col", "avg_pool2d", "avg_pool3d",
    "adaptive_avg_pool2d", "adaptive_avg_pool3d", "max_unpool1d", "max_unpool2d", "max_unpool3d",
    "interpolate", "upsample", "upsample_nearest", "upsample_bilinear", "affine_grid", "affine_grid_generator",

    # complex numbers, of which the gradient is that of torch
    "view_as_complex", "view_as_real", "real", "imag", "real.get", "imag.get", "conj", "conj_physical", "resolve_conj",
    "resolve_neg", "complex", "cfloat", "cdouble", "_conj",
    # spectra
    "fft_fft", "fft_ifft", "fft_rfft", "fft_irfft", "fft_hfft", "fft_ihfft", "fft_fft2", "fft_ifft2", "fft_rfft2",
    "fft_irfft2", "fft_fftn", "fft_ifftn", "fft_rfftn", "fft_irfftn", "fft_hfft2", "fft_ihfft2", "fft_hfftn",
    "fft_ihfftn", "stft", "istft",
}  # fmt: skip

_PYTHONS_OWN: Final = {
    "__imul__": "mul", "__itruediv__": "div", "__idiv__": "div", "__ipow__": "pow", "__iadd__": "add",
    "__isub__": "sub", "__ifloordiv__": "floor_divide", "__imod__": "remainder", "__imatmul__": "matmul",
}  # fmt: skip


def without_writing(name: str) -> str:
    """Name of the operation that returns what an operation in place writes: ``add`` of ``add_``, ``mul`` of ``*=``."""
    return _PYTHONS_OWN.get(name, name.removesuffix("_"))
