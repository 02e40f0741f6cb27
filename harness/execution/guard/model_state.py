"""State of a model that a plug-in must leave as it was: the model, its data, and what is computed of them for all.

All methods and metrics of a seed of a task are given the same subject. What one of them changes there would change the
numbers of the others. So the subject is compared, after each call, with a snapshot that was taken when the model was
made (:mod:`xrnnbench.tasks.engine.snapshot`), and put back. What no comparison sees, such as a function of the user's
own module that was replaced, shows in the outputs of one sequence. If these are not the same again, the process cannot
compute with this model any more.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from ....errors import ContractError
from ....methods.base import Attribution, Explainer
from ....metrics.base import Evidence, Metric, Probes
from ....plugins import is_foreign
from ....tasks.data.batch import Batch
from ....tasks.engine.agreement import rounding_of
from ....tasks.engine.batching import device_of
from ....tasks.engine.isolation import undone
from ....tasks.engine.snapshot import Snapshot
from ....tasks.subject import Subject
from .code_state import code_snapshot
from .failures import failure_of
from .limits import UNLIMITED
from .plugin_call import PluginCall

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from ....plugins import Plugin
    from .limits import Limits

# Classes of xrnnbench whose objects all plug-ins are given.
_SHARED_CLASSES: Final = (Subject, Batch, Attribution, Evidence, Probes, Explainer, Metric)


class ModelState:
    """State of a model as it was made.

    Args:
        subject: the model with its data; it was run once.

    Attributes:
        snapshot: the model and its data.
        lost: whether the model, though it was put back, no longer computes what it did.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        # computed before anybody may change them
        _ = subject.valid, subject.batch.valid
        if "_embedded" in vars(subject):
            _ = subject.continuous().valid, subject.continuous().batch_outputs
        self.snapshot = Snapshot({"the model": subject.model, **subject.data(), "the subject": subject})
        for cls in dict.fromkeys(_classes(subject.model)):
            self.snapshot.add_class(cls)
        self._code = code_snapshot()
        self._row = torch.tensor([int(subject.batch.lengths.argmin())])
        self._outputs = self._compute()
        self.lost = False

    @contextlib.contextmanager
    def call(self, plugins: Sequence[Plugin], limits: Limits = UNLIMITED) -> Iterator[None]:
        """Context around a call of a plug-in that is given the model; see :class:`.plugin_call.PluginCall`.

        What the model computes, and the functions that all call, are compared only if a plug-in does not come with
        xrnnbench: its own change nothing out of sight.

        Args:
            plugins: the plug-in, and those that it calls in its turn.
            limits: limits of the call.

        Raises:
            ContractError: the plug-in has changed the model, the data, or something else that all are given.
        """
        who = f"{plugins[0].kind.capitalize()} {plugins[0].name!r}"
        try:
            with PluginCall(who, limits):
                yield
        finally:
            changed = self.put_back(who, outputs=any(map(is_foreign, plugins)))
        if changed:
            raise ContractError(f"{who} changed {changed}.")

    def put_back(self, who: str, *, outputs: bool) -> str:
        """Put everything back.

        Args:
            who: whoever may have changed it.
            outputs: whether what the model computes is compared too, and the functions that all call.

        Returns:
            what had changed, and the end of the sentence about it; empty if nothing had.
        """
        try:
            places = undone(self._code, who, None) if outputs else []
            places += undone(self.snapshot, who, self._subject.run_uncounted)
            self.snapshot.renew()
            same = not (outputs or places) or self._same()
        except Exception as error:  # noqa: BLE001  # whatever a changed model raises
            self.lost = True
            return f"the model so that it fails now ({failure_of(error)})"
        if not same:
            self.lost = True
            return f"{places[0] if places else 'something'}, so that the model computes other outputs than before"
        return f"{places[0]}; it has been restored" if places else ""

    def _same(self) -> bool:
        """Whether the model computes what it did when it was made."""
        outputs = self._compute()
        if torch.equal(outputs, self._outputs):
            return True
        # kernels of a GPU may sum in another order
        on_gpu = any(parameter.is_cuda for parameter in self._subject.model.parameters())
        return on_gpu and bool(((outputs - self._outputs).abs() <= rounding_of(outputs, self._outputs)[:, None]).all())

    def _compute(self) -> Tensor:
        """Outputs float[1, K] of the shortest sequence."""
        subject, row = self._subject, self._row
        if any(module.training for module in subject.model.modules()) or device_of(subject.model).type != "cpu":
            return subject.uncounted(subject.batch.inputs[row], row)
        # as a subject runs it, without the copies by which it is protected, for nothing is between the two comparisons
        length = int(subject.batch.lengths[row])
        with torch.no_grad():
            return subject.forward(subject.batch.inputs[row, :length], subject.batch.lengths[row], row)


def _classes(model: nn.Module) -> Iterator[type]:
    """Classes of the modules of a model, with their bases, and those of xrnnbench that plug-ins are given."""
    for module in model.modules():
        yield from (cls for cls in type(module).__mro__ if cls is not object)
    yield from _SHARED_CLASSES
