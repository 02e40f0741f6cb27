"""Audio: reader of WAV files, and log-mel filterbank energies of a recording."""

from __future__ import annotations

import functools
import io
import struct
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import scipy.fft
import scipy.signal
from numpy.typing import NDArray
from scipy.io import wavfile

from ...errors import DataError, ParameterError
from ...outside_files import read_bytes
from .written import LARGEST, reason

if TYPE_CHECKING:
    from pathlib import Path


BANDS: Final = 40
_WINDOW_SECONDS: Final = 0.025
_HOP_SECONDS: Final = 0.010
_LOWEST_HERTZ: Final = 20.0
# About 90 dB below a full-scale tone in its band; the dynamic range of 16 bits is hardly larger.
_FLOOR: Final = 1e-8
# The highest sampling rate: a filterbank has as many weights as a window of 25 ms has samples, forty times over.
_FASTEST: Final = 10_000_000
# Numbers of the format of floats, and of one that is named further on.
_FLOATS, _EXTENSIBLE = 3, 0xFFFE
# Byte order of the numbers in a file, by its first four bytes.
_ORDERS: Final = {b"RIFF": "<", b"RF64": "<", b"RIFX": ">"}


@dataclass(frozen=True)
class Recording:
    """Audio recording with one channel.

    Attributes:
        samples: float32[N], N ≥ 1; full scale is −1 to 1.
        rate: sampling rate in Hz.
    """

    samples: NDArray[np.float32]
    rate: int


def read_recording(path: Path) -> Recording:
    """Read a WAV file of integers with 8, 16, 24 or 32 bits, or of floats; several channels are averaged.

    Args:
        path: path of the file. Chunks without audio, such as tags, are skipped.

    Raises:
        DataError: the file is missing, truncated, empty, or not a readable WAV file.
    """
    try:
        data = read_bytes(path)
    except FileNotFoundError as error:
        raise DataError(f"There is no recording {path}: fetch its data set again.") from error
    except OSError as error:
        raise DataError(f"The recording {path} cannot be read ({error.strerror}): fetch its data set again.") from error
    try:
        _check_chunks(data)
        rate, samples = _samples(data)
    except Exception as error:  # scipy raises nearly anything on a damaged file
        raise DataError(f"{path} is no wav file that can be read ({reason(error, 200)}): fetch it again.") from error
    if samples.size == 0:
        raise DataError(f"{path} holds no sound: leave it out.")
    if not 0 < rate <= _FASTEST:
        raise DataError(f"{path} claims {rate:,} samples a second; 1 to {_FASTEST:,} can be read: fetch it again.")
    if np.issubdtype(samples.dtype, np.floating) and not (np.abs(samples) <= LARGEST).all():
        raise DataError(f"{path} holds a sample that is no number, or is too large: leave it out.")
    return Recording(_scaled(samples), int(rate))


def _samples(data: bytes) -> tuple[int, NDArray[Any]]:
    """Sampling rate and raw samples [N] or [N, channels] of the bytes of a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", wavfile.WavFileWarning)
        # tags and other chunks without audio are common and harmless
        warnings.filterwarnings("ignore", "Chunk .non-data. not understood", wavfile.WavFileWarning)
        # of bytes, not of a file: of a file, memory would be taken for as many samples as the header claims
        rate, samples = wavfile.read(io.BytesIO(data))
    return rate, samples


def _check_chunks(data: bytes) -> None:
    """Refuse what scipy trips over, or accepts in silence; a ValueError says what it is."""
    order = _ORDERS.get(data[:4])
    if order is None or data[8:12] != b"WAVE":
        raise ValueError("it does not begin as one")
    place, found = 12, set[bytes]()
    while place + 8 <= len(data):
        kind, size = data[place : place + 4], struct.unpack_from(f"{order}I", data, place + 4)[0]
        begin = place + 8
        # of RF64, the size is elsewhere
        if kind == b"data" and size > len(data) - begin and data[:4] != b"RF64":
            raise ValueError(f"its header claims {size:,} bytes of sound, and {len(data) - begin:,} follow")
        if kind == b"fmt ":
            form, channels, _, _, block, bits = struct.unpack_from(f"{order}2H2L2H", data, begin)
            if form == _EXTENSIBLE:
                (form,) = struct.unpack_from(f"{order}H", data, begin + 24)
            _check_format(form, channels, block, bits)
        found.add(kind)
        place = begin + size + size % 2
    if b"data" not in found or b"fmt " not in found:
        raise ValueError("it has no chunk of sound, or none of its format")


def _check_format(form: int, channels: int, block: int, bits: int) -> None:
    """Refuse a format whose samples do not fit their bytes, which scipy would read as other samples."""
    if not channels:
        raise ValueError("it has no channels")
    width = block // channels
    fits = bits == 8 * width if form == _FLOATS else 1 <= bits <= 8 * width and (bits > 8) == (width > 1)
    if block % channels or not fits:
        raise ValueError(f"it claims samples of {bits} bits, and {block} bytes for {channels} of them")


def _scaled(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Scale raw samples [N] or [N, channels] to float32[N] from −1 to 1."""
    if samples.dtype == np.uint8:  # 8-bit samples are unsigned, centred at 128
        scaled = (samples.astype(np.float64) - 128) / 128
    elif np.issubdtype(samples.dtype, np.integer):  # 24-bit samples arrive in the upper bits of 32
        scaled = samples.astype(np.float64) / -float(np.iinfo(samples.dtype).min)
    else:
        scaled = samples.astype(np.float64)
    return (scaled.mean(1) if scaled.ndim == 2 else scaled).astype(np.float32)


def log_mel(recording: Recording) -> NDArray[np.float32]:
    """Log-mel filterbank energies float32[F, 40] of windows of 25 ms, every 10 ms.

    Each window is weighted by a (periodic) Hann window and zero-padded to P samples, the next power of two.
    Band m weights the power |X_k|² / P at the frequencies f_k = k·rate / P by a triangle that rises from 0 at c_{m−1}
    to 1 at c_m and falls to 0 at c_{m+1}; the corners c_0 … c_41 lie at equal distances on the scale
    mel(f) = 2595 log₁₀(1 + f / 700) from 20 Hz to half the rate. The result is the natural logarithm of the band's
    energy, which is floored at 1e-8, as in silence.

    There are F = 1 + ⌊(N − window) / hop⌋ frames, so a remainder shorter than a hop is left out; a recording shorter
    than one window is zero-padded to one frame.

    Raises:
        ParameterError: the sampling rate is too low for 40 separate bands.

    Source: Young et al., The HTK Book, section 5.6 (filterbank analysis; here without pre-emphasis, and of power).
    """
    weights = _triangles(recording.rate)
    window, hop = _spans(recording.rate)
    samples = np.pad(recording.samples.astype(np.float64), (0, max(0, window - len(recording.samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    size = _transform_size(window)
    spectrum = scipy.fft.rfft(frames * scipy.signal.get_window("hann", window), size)
    energy = (np.abs(spectrum) ** 2 / size) @ weights.T
    return np.asarray(np.log(np.maximum(energy, _FLOOR)), dtype=np.float32)


def band_centres(rate: int) -> tuple[float, ...]:
    """Centre frequencies of the 40 bands of :func:`log_mel`, in Hz."""
    return tuple(_corners(rate)[1:-1].tolist())


def _spans(rate: int) -> tuple[int, int]:
    """Number of samples in a window and in a hop."""
    return round(_WINDOW_SECONDS * rate), round(_HOP_SECONDS * rate)


def _transform_size(window: int) -> int:
    """Size of the Fourier transform: the next power of two."""
    return 1 << (window - 1).bit_length()


def _corners(rate: int) -> NDArray[np.float64]:
    """Corner frequencies of the bands in Hz, float64[42], equally spaced in mel."""
    lowest, highest = (2595 * np.log10(1 + hertz / 700) for hertz in (_LOWEST_HERTZ, rate / 2))
    return np.asarray(700 * (10 ** (np.linspace(lowest, highest, BANDS + 2) / 2595) - 1))


@functools.cache
def _triangles(rate: int) -> NDArray[np.float64]:
    """Triangular filterbank float64[40, P/2 + 1]: the weight of each frequency in each band."""
    corners = _corners(rate) if rate > 2 * _LOWEST_HERTZ else np.zeros(BANDS + 2)
    size = _transform_size(max(1, _spans(rate)[0]))
    frequencies = np.arange(size // 2 + 1) * rate / size
    left, centre, right = (corners[start : start + BANDS, None] for start in range(3))
    with np.errstate(divide="ignore", invalid="ignore"):  # corners that coincide are refused below
        weights = np.minimum((frequencies - left) / (centre - left), (right - frequencies) / (right - centre)).clip(0)
    if not (weights > 0).any(1).all():
        raise ParameterError(f"A recording with {rate} samples a second is too coarse for {BANDS} mel bands.")
    return weights
