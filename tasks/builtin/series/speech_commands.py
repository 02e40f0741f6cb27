"""Keyword spotting on Google's Speech Commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from ....errors import DataError, ParameterError
from ....plugins import register
from ...downloads.locate import find, located
from ...models.training import Recipe
from ...readers import plain_text
from ...trained import sample
from .speech import SpeechTask

if TYPE_CHECKING:
    from pathlib import Path

_TEST, _VALIDATION = "testing_list.txt", "validation_list.txt"
# This folder is not a word: it holds long recordings of noise.
_NOISE: Final = "_background_noise_"


@register
@dataclass(frozen=True)
class SpeechCommands(SpeechTask):
    """Keyword spotting: one of the ``words`` in a recording of about one second, by one of thousands of speakers.

    A step is a window of 25 ms, the next one begins 10 ms later. Its features are the logarithms of the energies in 40
    mel bands, named by their centre frequency and standardised by mean and deviation of the training frames. The
    official test list is held out, and the official validation list is not used; no speaker is in two of the three
    parts. The training data are a fixed sample of ``recordings_each`` of the other recordings of each word (all, if
    there are fewer); the test data are all held-out recordings. The reference is 0, the mean training frame. The model
    is a GRU with additive attention over its states.

    Truth: not known.

    Source: Warden 2018, version 0.02 of the data.
    """

    name: ClassVar[str] = "speech-commands"
    application: ClassVar[str] = "speech"
    source: ClassVar[str] = "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
    licence: ClassVar[str] = "CC BY 4.0"
    citation: ClassVar[str] = (
        "P. Warden: Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition. 2018. arXiv:1804.03209"
    )
    data_sets: ClassVar[tuple[str, ...]] = ("speech-commands",)
    recipe: ClassVar[Recipe] = Recipe(epochs=15, learning_rate=5e-3, batch_size=64, weight_decay=1e-2)
    gate: ClassVar[float] = 0.8

    words: tuple[str, ...] = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
    recordings_each: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.words)) < max(2, len(self.words)):
            raise ParameterError(f"{self.name}: words={'/'.join(self.words)} are not two or more different words.")

    def vocabulary(self) -> tuple[str, ...]:
        """See :meth:`SpeechTask.vocabulary`."""
        return self.words

    def recordings(self) -> tuple[list[tuple[Path, int]], list[tuple[Path, int]]]:
        """See :meth:`SpeechTask.recordings`.

        Raises:
            ParameterError: the data set has no recordings of one of the words.
            DataError: the data set is not downloaded, or a list names a missing recording.
        """
        test_list = find(located("speech-commands"), _TEST)
        folder = test_list.parent
        test, validation = _read_list(test_list), _read_list(find(folder, _VALIDATION))
        parts: tuple[list[tuple[Path, int]], list[tuple[Path, int]]] = ([], [])
        for number, word in enumerate(self.words):
            recordings = self._recordings_of(folder, word)
            held = [name for name in recordings if name in test]
            training = [name for name in recordings if name not in test and name not in validation]
            missing = sorted(name for name in test if name.startswith(f"{word}/") and name not in set(recordings))
            if missing:
                raise DataError(f"{test_list} names {missing[0]!r}, which is not there: fetch the data set again.")
            if not training or not held:
                raise DataError(f"{folder} has no {'test' if training else 'training'} recordings of {word!r}.")
            chosen = sample(len(training), min(self.recordings_each, len(training)), self.name, word).tolist()
            parts[0].extend((folder / training[place], number) for place in chosen)
            parts[1].extend((folder / name, number) for name in held)
        return parts

    def _recordings_of(self, folder: Path, word: str) -> list[str]:
        """All recordings of a word, by the names that the lists use."""
        try:
            words = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name != _NOISE)
        except OSError as error:
            raise DataError(f"{folder} cannot be read ({error.strerror}): make it readable.") from error
        if word not in words:
            raise ParameterError(f"{self.name}: the data set has no word {word!r}; there are {', '.join(words)}.")
        return sorted(f"{word}/{path.name}" for path in (folder / word).glob("*.wav"))


def _read_list(path: Path) -> frozenset[str]:
    """The names of the recordings in a list, one a line."""
    return frozenset(filter(None, (line.strip() for line in plain_text.lines(path))))
