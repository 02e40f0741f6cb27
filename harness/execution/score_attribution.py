"""Scores of an attribution that comes from anywhere: another library, a colleague, a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor

from ...errors import DataError, UsageError
from ...methods.base import Attribution, Explainer
from ...methods.joint_attribution import JointAttribution
from ...metrics.base import Evidence, Measurement, Metric, Probes
from ...metrics.measuring import measuring
from ...plugins import Plugin, build
from ...tasks.custom.arrays import tensor_from
from ...tasks.custom.own_subject import divided, own_subject
from ...tasks.data.padding_side import padded_right
from ...tasks.engine.cost import Cost
from ..explore.explain import label_of
from ..results.cells import plugin_info
from .steps.score_cell import planned_probes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from numpy.typing import ArrayLike
    from torch import nn

    from ...tasks.subject import Subject

_OTHERS = ("method", "seed", "signed", "complete")


@dataclass(frozen=True)
class GivenAttribution(Explainer):
    """Stand-in for the unknown method of a given attribution; it cannot be run.

    Args:
        claims: whether the attribution claims to sum to f(x) − f(x⁰).
    """

    name: ClassVar[str] = "given-attribution"
    group: ClassVar[str] = "given"

    claims: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "complete", self.claims)

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # it has nothing to do
        """Refuse.

        Raises:
            UsageError: always; a metric that explains other models or sequences needs the method itself.
        """
        raise UsageError("the method of the attribution is run again by this metric: give method=…, the method itself")


def score(  # noqa: PLR0913  # one argument for each plain thing a user may have
    metrics: str | Metric | Sequence[str | Metric],
    model: nn.Module | Callable[..., Any],
    inputs: Any,  # noqa: ANN401  # as explain takes them
    attribution: Attribution | JointAttribution | Mapping[str, Any] | ArrayLike | Tensor,
    lengths: Any = None,  # noqa: ANN401  # as above
    *,
    method: str | Explainer | None = None,
    signed: bool = True,
    complete: bool = False,
    seed: int = 0,
    **options: Any,  # noqa: ANN401  # the arguments of own_subject and the options of Calling, which check them
) -> pd.DataFrame:
    """Scores of an attribution that comes from anywhere, by any metric, without a run.

    Args:
        metrics: metrics, or their specs such as ``"comprehensiveness:by=mean"``.
        model: the explained model, as for :func:`xrnnbench.explain`.
        inputs: the explained sequences, as there.
        attribution: what is scored: values [B, T], or [B, T, D] for features, as :func:`xrnnbench.explain` returns
            them (also if the model takes [T, B, …]; on the side of the padding that the inputs have). An array, a
            tensor, a list of arrays of different lengths, or an :class:`Attribution`. Values on padding are not looked
            at. Attributions of embeddings [B, T, E] are to be summed over E first. Of several inputs: a mapping from
            the names of inputs to values in their shapes, or a :class:`JointAttribution`.
        lengths: as there.
        method: the method that made the attribution, for metrics that run it again on other sequences or models.
        signed: whether a positive value means "raised the explained score"; if not, a larger one "mattered more". That
            of an :class:`Attribution` or of the method, where one is given.
        complete: whether the values claim to sum to f(x) − f(reference), as ``signed``.
        seed: seed of the method and of the metrics' random choices.
        options: ``target``, ``targets``, ``truth``, ``reference``, ``background``, ``context``, ``step``,
            ``granularity``, ``names``, ``ids`` and the options of calling, as for :func:`xrnnbench.task_from_model`.
            The target must be the output that the attribution explains: by default the predicted class, or that of an
            :class:`Attribution`.

    Returns:
        a row for each sequence, by its id or number, and a column for each metric; NaN where a metric is not defined.
        ``.mean()`` is what a board shows (metrics that show a median or a quantile say so on their page).

    Raises:
        DataError: the model, the data and the attribution do not fit each other.
        UsageError: there is no such metric, or it cannot score this attribution; the message says what it needs.
        ContractError: a metric broke its contract.
    """
    import pandas as pd  # noqa: PLC0415  # takes half a second, which nothing else here needs

    scored = [metrics] if isinstance(metrics, str | Plugin) else list(metrics)
    plugins = [cast("Metric", build("metric", metric)) for metric in scored]
    explainer = None if method is None else cast("Explainer", build("method", method))
    if isinstance(attribution, JointAttribution):
        attribution = attribution.together
    if isinstance(attribution, Attribution):
        signed, complete = attribution.signed, attribution.complete
        options = {"target": attribution.target} | options
    elif explainer is not None:
        signed, complete = explainer.signed, explainer.complete
    data, calling = divided(options, _OTHERS)
    with torch.inference_mode(mode=False):
        made = own_subject(model, inputs, lengths, label=label_of(model), calling=calling, **data)
        subject = made.subject
        values = _values(attribution, subject, left=made.left)
        evidence = Evidence(
            subject,
            Attribution(values, signed, complete, target=subject.target, lengths=subject.batch.lengths),
            explainer or GivenAttribution(complete),
            seed,
            Measurement(Cost(), 0.0, None),
            Probes(subject),
        )
        infos = [(plugin_info(metric), metric) for metric in plugins]
        evidence = replace(evidence, planned=planned_probes(infos, evidence))
        columns = {info.spec: _measured(metric, evidence) for info, metric in infos}
    index = pd.Index(subject.batch.ids or range(len(subject)), name="sequence")
    return pd.DataFrame(columns, index=index)


def _measured(metric: Metric, evidence: Evidence) -> Any:  # noqa: ANN401  # an array of NumPy
    """Scores float64[B] of one metric.

    Raises:
        UsageError: the metric cannot score the attribution.
    """
    reason = metric.applicable(evidence.explainer, evidence.subject)
    if metric.family == "cost":
        reason = "it measures the cost of a method, and an attribution alone has none; run the method in a Benchmark"
    elif metric.needs_siblings:
        reason = "it compares the attributions of several models; run the method in a Benchmark with several seeds"
    if reason:
        ways = {
            "the truth is not known": "; give truth=…",
            "the method does not claim completeness": "; say complete=True if it does",
            "the method has no seed": "; give method=… if it has one",
        }
        raise UsageError(f"{metric.name!r} cannot score this attribution: {reason}{ways.get(reason, '')}.")
    try:
        with measuring(metric, evidence):
            return metric.measure(evidence).detach().cpu().numpy()
    except UsageError as error:
        raise UsageError(f"{metric.name!r} cannot score this attribution: {str(error).rstrip('.')}.") from error


def _values(
    attribution: Attribution | Mapping[str, Any] | ArrayLike | Tensor, subject: Subject, *, left: bool
) -> Tensor:
    """Attribution as float[B, T] or float[B, T, D], 0 on padding.

    Raises:
        DataError: it has another shape, or a value is not finite.
    """
    given: Any = attribution.values if isinstance(attribution, Attribution) else attribution
    if isinstance(given, Mapping):
        if subject.batch.layout is None:
            raise DataError("The attribution is a mapping, and the model has one input: give an array.")
        given = subject.batch.layout.together(given)
    if isinstance(given, list | tuple):
        rows = [tensor_from(row, "attribution") for row in given]
        given = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True) if len({*map(len, rows)}) > 1 else given
    values = tensor_from(given, "attribution")
    if values.is_complex():
        raise DataError("The attribution holds complex numbers: give real ones.")
    values = values if values.is_floating_point() else values.double()
    shapes = list(dict.fromkeys([tuple(subject.shape), tuple(subject.shape[:2])]))
    if tuple(values.shape) not in shapes:
        raise DataError(_misfit(values, subject, shapes))
    values = padded_right(values, subject.batch.lengths) if left else values
    valid = subject.batch.valid if values.dim() == 2 else subject.valid
    values = torch.where(valid, values, torch.zeros((), dtype=values.dtype))
    if not torch.isfinite(values).all():
        row = int((~torch.isfinite(values)).flatten(1).any(1).nonzero()[0])
        raise DataError(f"The attribution of sequence {row} holds a value that is not finite: it cannot be scored.")
    return values


def _misfit(values: Tensor, subject: Subject, shapes: list[tuple[int, ...]]) -> str:
    """Sentence about an attribution of another shape, with the likely way out."""
    expected = " or ".join(str(list(shape)) for shape in shapes)
    shape, batch = tuple(values.shape), subject.batch
    way = "give one value for each step, or for each feature of each step"
    if len(shape) == 3 and shape[:2] == batch.inputs.shape[:2] and subject.granularity == "step":
        way = "sum it over its last axis, as by .sum(-1)"
    elif len(shape) == 4 and shape[:3] == tuple(batch.inputs.shape):
        way = "choose the explained output along its last axis, as by [..., 0], and say target=…"
    elif len(shape) > 1 and shape[:2] == tuple(batch.inputs.shape[1::-1]) and shape[0] != shape[1]:
        way = "it is time-first: swap its first two axes"
    return f"The attribution has shape {list(shape)}, and {expected} is expected: {way}."
