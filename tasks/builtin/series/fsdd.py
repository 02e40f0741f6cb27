"""Spoken digit recognition on the Free Spoken Digit Dataset."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from ....errors import DataError
from ....plugins import register
from ...downloads.locate import find, located
from ...models.training import Recipe
from .speech import SpeechTask

if TYPE_CHECKING:
    from pathlib import Path

_NAME: Final = re.compile(r"(?P<digit>[0-9])_(?P<speaker>[^_]+)_(?P<number>[0-9]+)\.wav")
_HELD_OUT: Final = 5
_WORDS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@register
@dataclass(frozen=True)
class SpokenDigits(SpeechTask):
    """Spoken digit recognition, zero to nine, in recordings of .1 to 2.3 seconds by several speakers.

    A step is a window of 25 ms, the next one begins 10 ms later. Its features are the logarithms of the energies in 40
    mel bands, named by their centre frequency and standardised by mean and deviation of the training frames. The split
    is the official one: of each speaker and digit the recordings 0 to 4 are held out, and the others (5 to 49) are the
    training data; all speakers are in both. The reference is 0, the mean training frame. The model is a GRU with
    additive attention over its states.

    Truth: not known.

    Source: Z. Jackson et al., Free Spoken Digit Dataset.
    """

    name: ClassVar[str] = "fsdd"
    application: ClassVar[str] = "speech"
    source: ClassVar[str] = "https://github.com/Jakobovski/free-spoken-digit-dataset"
    licence: ClassVar[str] = "CC BY-SA 4.0"
    citation: ClassVar[str] = (
        "Z. Jackson, C. Souza, J. Flaks, Y. Pan, H. Nicolas, A. Thite: Jakobovski/free-spoken-digit-dataset: v1.0.8. "
        "Zenodo, 2018. doi:10.5281/zenodo.1342401"
    )
    data_sets: ClassVar[tuple[str, ...]] = ("fsdd",)
    recipe: ClassVar[Recipe] = Recipe(epochs=15, learning_rate=5e-3, batch_size=64, weight_decay=1e-2)
    gate: ClassVar[float] = 0.95

    def vocabulary(self) -> tuple[str, ...]:
        """See :meth:`SpeechTask.vocabulary`."""
        return _WORDS

    def recordings(self) -> tuple[list[tuple[Path, int]], list[tuple[Path, int]]]:
        """See :meth:`SpeechTask.recordings`.

        Raises:
            DataError: the data set is not downloaded, a file has an unknown name, or a part has no recordings.
        """
        folder = find(located("fsdd"), "recordings")
        train: list[tuple[Path, int]] = []
        test: list[tuple[Path, int]] = []
        for path in sorted(folder.glob("*.wav")):
            match = _NAME.fullmatch(path.name)
            if match is None:
                raise DataError(f"{path} is not named digit_speaker_number.wav: remove it from the data set.")
            (test if int(match["number"]) < _HELD_OUT else train).append((path, int(match["digit"])))
        if not train or not test:
            raise DataError(f"{folder} has no {'test' if train else 'training'} recordings.")
        return train, test
