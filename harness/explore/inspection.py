"""Inspection of a user's model: the promises it keeps, what its outputs look like, and the methods that apply to it."""

from __future__ import annotations

import functools
import html
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from torch import Tensor

from ...errors import AssumptionWarning, XrnnbenchError
from ...plugins import build, names
from ...tasks.contract import Contract
from ...tasks.custom.own_subject import divided, own_subject
from ...tasks.data.batch import Outputs
from ...tasks.engine.several_inputs import several_inputs_of, shown_name
from ...tasks.engine.signature import INTERNAL, PADDING, entry_point, signature
from ...visible_text import visible
from ..results.samples import name_of
from .explain import OTHERS, label_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike
    from torch import nn

    from ...methods.base import Explainer
    from ...tasks.contract import Promise
    from ...tasks.subject import Subject

_KINDS: Final[dict[str, str]] = {
    "logits": "logits of {count} classes",
    "probabilities": "probabilities of {count} classes",
    "values": "{count} value{s} (regression)",
    "binary-logit": "the logit of class 1 of two, which is explained with the sign of the explained class",
    "binary-probability": "the probability of class 1 of two; that of the explained class is explained",
}
# Methods without gradients that read the embeddings of tokens.
_READ_EMBEDDINGS: Final = frozenset({"magnitude"})
_SIGNS: Final = {True: "yes", False: "NO", None: "–"}


@dataclass(frozen=True)
class Inspection:
    """Result of the inspection of a model and its data; it shows itself as text, and as HTML in a notebook.

    Attributes:
        name: of the model.
        data: the sequences, in words.
        call: how the model is called and what was found about it, a sentence each.
        outputs: kind of the outputs.
        scores: what the outputs look like, in words.
        contract: the promises, as measured.
        methods: by name of the method, the reason why it does not apply; empty if it does.
        defaults: what an explanation without further arguments uses, by argument.
    """

    name: str
    data: str
    call: tuple[str, ...]
    outputs: Outputs
    scores: str
    contract: Contract
    methods: Mapping[str, str]
    defaults: Mapping[str, str]

    @property
    def kept(self) -> bool:
        """Whether every promise is kept, so that the model can be explained."""
        return self.contract.kept

    @cached_property
    def applicable(self) -> tuple[str, ...]:
        """Names of the methods that apply."""
        return tuple(name for name, reason in self.methods.items() if not reason)

    def as_json(self) -> dict[str, Any]:
        """The whole inspection as JSON values."""
        contract = self.contract
        return {
            "name": self.name,
            "data": self.data,
            "call": list(self.call),
            "outputs": self.outputs,
            "scores": self.scores,
            "kept": self.kept,
            "promises": [
                {
                    "name": promise.name,
                    "meaning": promise.meaning,
                    "kept": promise.kept,
                    "difference": promise.difference,
                    "sequence": promise.sequence,
                    "finding": _finding(promise),
                }
                for promise in contract.promises
            ],
            "spread": contract.spread,
            "allowed": contract.allowed,
            "forward_passes": contract.rows,
            "methods": dict(self.methods),
            "defaults": dict(self.defaults),
        }

    def __str__(self) -> str:
        """The inspection as text."""
        width = max(len(promise.name) for promise in self.contract.promises)
        lines = [f"{self.name}: {self.data}", *(f"  {sentence}" for sentence in self.call), f"  {self.scores}", ""]
        lines.append(f"Promises ({_effort(self.contract)})")
        lines += [
            f"  {_SIGNS[promise.kept]:<3} {promise.name:<{width}}  {_finding(promise)}"
            for promise in self.contract.promises
        ]
        lines += ["", "Defaults"]
        lines += [f"  {argument}: {meaning}" for argument, meaning in self.defaults.items()]
        lines += ["", f"Methods that apply ({len(self.applicable)} of {len(self.methods)})"]
        lines.append(f"  {', '.join(self.applicable) or 'none'}")
        if reasons := self._reasons():
            lines += ["", "Methods that do not"]
            lines += [f"  {', '.join(methods)}: {reason}" for reason, methods in reasons.items()]
        return visible("\n".join(lines))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The inspection as an HTML fragment, which a notebook shows."""
        return "\n".join(self._fragment())

    def page(self) -> str:
        """The inspection as an HTML page of its own."""
        title = _escape(f"Inspection of {self.name}")
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<style>{_STYLE}</style></head>\n<body>{self._repr_html_()}</body></html>\n"
        )

    def _fragment(self) -> Iterator[str]:
        """Parts of the HTML."""
        escape = _escape
        yield f'<section class="xrnnbench-inspection"><h2>{escape(self.name)}</h2>'
        yield f"<p>{escape(self.data)}</p>"
        yield "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in (*self.call, self.scores)) + "</ul>"
        yield f"<h3>Promises</h3><p>{escape(_effort(self.contract))}</p><table><tbody>"
        for promise in self.contract.promises:
            state = {True: "kept", False: "broken", None: "not tested"}[promise.kept]
            yield (
                f'<tr class="{state.replace(" ", "-")}"><th scope="row">{escape(promise.name)}</th><td>{state}</td>'
                f"<td>{escape(_finding(promise))}</td></tr>"
            )
        yield "</tbody></table><h3>Defaults</h3><table><tbody>"
        for argument, meaning in self.defaults.items():
            yield f'<tr><th scope="row">{escape(argument)}</th><td>{escape(meaning)}</td></tr>'
        yield f"</tbody></table><h3>Methods that apply ({len(self.applicable)} of {len(self.methods)})</h3>"
        yield f"<p>{escape(', '.join(self.applicable) or 'none')}</p>"
        if reasons := self._reasons():
            yield '<h3>Methods that do not</h3><table class="reasons"><tbody>'
            for reason, methods in reasons.items():
                yield f'<tr><th scope="row">{escape(", ".join(methods))}</th><td>{escape(reason)}</td></tr>'
            yield "</tbody></table>"
        yield "</section>"

    def _reasons(self) -> dict[str, list[str]]:
        """Names of the methods that do not apply, by the reason."""
        reasons: dict[str, list[str]] = {}
        for name, reason in self.methods.items():
            if reason:
                reasons.setdefault(reason, []).append(name)
        return reasons


def inspect(  # noqa: PLR0913  # one argument for each plain thing a user may have
    model: nn.Module | Callable[..., Any],
    inputs: Any,  # noqa: ANN401  # as explain takes them
    lengths: Any = None,  # noqa: ANN401  # as above
    *,
    target: int | str | ArrayLike | Tensor | None = None,
    reference: Any = None,  # noqa: ANN401  # as above
    background: Any = None,  # noqa: ANN401  # as above
    targets: ArrayLike | Tensor | None = None,
    context: Mapping[str, ArrayLike | Tensor] | None = None,
    step: int | ArrayLike | Tensor | None = None,
    **calling: Any,  # noqa: ANN401  # the options of Calling, which checks them
) -> Inspection:
    """Inspection of a model before it is explained; arguments as in :func:`xrnnbench.explain`.

    Nothing is explained, and a broken promise is shown, not refused.

    Raises:
        DataError: the model cannot be run on the data at all; the message says what to change.
    """
    given = {
        "target": target,
        "reference": reference,
        "background": background,
        "targets": targets,
        "context": context,
        "step": step,
    }
    data, options = divided({**given, **calling, "contract": "explain"}, OTHERS)
    with torch.inference_mode(mode=False), warnings.catch_warnings():
        warnings.simplefilter("ignore", AssumptionWarning)  # the notes say the same
        made = own_subject(model, inputs, lengths, label=label_of(model), calling=options, **data)
    return inspection_of(made.subject, made.contract, made.notes)


def inspection_of(subject: Subject, contract: Contract, notes: tuple[str, ...] = ()) -> Inspection:
    """Inspection of a subject whose contract has been measured.

    Args:
        subject: the model and its data.
        contract: its promises.
        notes: what was assumed when the subject was made, a sentence each.
    """
    methods = _methods(subject)
    return Inspection(
        name=subject.label,
        data=_data(subject),
        call=(*_call(subject), *notes),
        outputs=subject.outputs_are,
        scores=_scores(subject),
        contract=contract,
        methods=methods,
        defaults=_defaults(subject, methods),
    )


def _escape(text: str) -> str:
    """Text for HTML, with what can be seen of it."""
    return html.escape(visible(text))


def _data(subject: Subject) -> str:
    """The sequences in words."""
    batch = subject.batch
    if batch.layout is not None:
        listed = "; ".join(
            f"{part.name} {part.columns} {'id' if part.categories else 'value'}{'s' * (part.columns > 1)}"
            + ("" if part.static else f" in each of {part.steps} steps")
            for part in batch.layout
        )
        return f"{len(batch)} sequence{'s' * (len(batch) > 1)} of {len(batch.layout.parts)} inputs: {listed}"
    shortest, longest = int(batch.lengths.min()), int(batch.lengths.max())
    steps = str(longest) if shortest == longest else f"{shortest} to {longest}"
    unit = "tokens" if batch.tokens else f"steps of {batch.inputs.shape[2]} feature" + "s" * (batch.inputs.shape[2] > 1)
    return f"{len(batch)} sequence{'s' * (len(batch) > 1)} of {steps} {unit}"


def _call(subject: Subject) -> Iterator[str]:
    """How the model is called, a sentence each."""
    context = subject.batch.context
    words = signature(subject.model, context)
    _, label = entry_point(subject.model)
    extra = [shown_name(name) for name in context if name not in INTERNAL]
    several = several_inputs_of(subject.model)
    inputs = [words.inputs] if several is None else [several.argument or ", ".join(several.layout.names)]
    arguments = ", ".join([*inputs, *([words.lengths] if words.lengths else []), *extra])
    yield f"called as {label}({arguments})"
    padded = not bool((subject.batch.lengths == subject.batch.inputs.shape[1]).all())
    if PADDING in context:
        yield "run at the given width with the given padding"
    elif words.lengths is None and padded:
        yield "takes no lengths, so each sequence is run up to its own length"
    if subject.adapter is not None:
        yield from subject.adapter.described()


def _scores(subject: Subject) -> str:
    """What the outputs look like, in words."""
    outputs = subject.batch_outputs
    count = outputs.shape[1]
    kind = _KINDS[subject.outputs_are].format(count=count, s="s" * (count > 1))
    shown = outputs[:, 1:] if subject.outputs_are.startswith("binary") else outputs
    low, high = float(shown.min()), float(shown.max())
    text = f"returns scores from {low:.3g} to {high:.3g}: {kind}"
    if subject.classification:
        found = subject.batch_outputs.argmax(1).bincount(minlength=count)
        if int((found > 0).sum()) == 1 and len(subject) > 1:
            text += f"; it predicts class {int(found.argmax())} for every sequence"
    return text


def _defaults(subject: Subject, methods: Mapping[str, str]) -> dict[str, str]:
    """What an explanation without further arguments uses."""
    batch, reference = subject.batch, subject.reference
    if subject.classification:
        target = "the predicted class of each sequence"
    else:
        target = f"output 0, {name_of(subject.names.outputs, 0)}" if subject.names.outputs else "output 0"
    own = reference[batch.valid] if batch.mask is None else reference[batch.mask]
    value = own.flatten()[0]
    if bool((own == value).all()):
        removed = f"token {int(value)}" if batch.tokens else f"{float(value):g}"
    else:
        removed = "as given"
    unit = (
        "step (a token)" if batch.tokens else "step" if subject.granularity == "step" else "cell (a feature of a step)"
    )
    return {
        "method": "deeplift, which does not apply here: name another" if methods.get("deeplift") else "deeplift",
        "outputs": subject.outputs_are,
        "target": target,
        "reference": removed,
        "granularity": unit,
        "background": "none" if subject.background is None else f"{len(subject.background)} sequences",
    }


def _methods(subject: Subject) -> dict[str, str]:
    """By name of the method, the reason why it does not apply; empty if it does.

    Methods that follow the model's operations, or its gradients, are tried on the shortest and the longest sequence.
    """
    shortest, longest = subject.batch.lengths.argmin(), subject.batch.lengths.argmax()
    tried, short = subject.select(torch.stack([shortest, longest]).unique()), subject.select(shortest[None])
    # whether a token model can be run from its embeddings may depend on each of its sequences
    embedded = _reason(subject.continuous)
    slope = _failure(cast("Explainer", build("method", "saliency")), tried) if subject.differentiable else ""
    reasons = {}
    for name in names("method"):
        method = cast("Explainer", build("method", name))
        reason = _reason(functools.partial(method.applicable, subject))  # it may run the model to find out
        if not reason and ("gradients" in method.needs or name in _READ_EMBEDDINGS):
            # the costly ones read gradients only, as saliency does
            cheap = "background" not in method.needs and method.group != "temporal" and not hasattr(method, "samples")
            reason = embedded or (_failure(method, tried) if cheap else slope)
        if not reason and name == "temporal-ig":
            reason = _failure(cast("Explainer", build("method", "temporal-ig:steps=1")), short)
        reasons[name] = reason
    return reasons


def _reason(run: Callable[[], object]) -> str:
    """Message of the error that a call raises, or the string that it returns; empty for anything else."""
    try:
        result = run()
    except XrnnbenchError as error:
        return str(error).rstrip(".")
    except Exception as error:  # noqa: BLE001  # a plug-in that breaks must not hide what applies
        return f"it fails ({type(error).__name__}: {error})"
    return result if isinstance(result, str) else ""


def _failure(method: Explainer, subject: Subject) -> str:
    """Why a method fails on a subject; empty if it does not."""
    try:
        method.prepare()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            method.explain(subject, 0)
    except XrnnbenchError as error:
        return str(error).rstrip(".")
    except Exception as error:  # noqa: BLE001  # a method that breaks is one that does not apply
        return f"it fails ({type(error).__name__}: {error})"
    return ""


def _finding(promise: Promise) -> str:
    """What was found about a promise, in words."""
    if promise.kept is None:
        return f"not tested: {promise.meaning}"
    if promise.kept is False:
        return promise.sentence.rstrip(".")
    figure = "" if promise.sequence is None else f"within {promise.difference:.1e}"
    added = "; ".join(filter(None, [figure, promise.detail]))
    return f"{promise.meaning} ({added})" if added else promise.meaning


def _effort(contract: Contract) -> str:
    """The size of the check, in words."""
    return (
        f"{contract.sequences} sequence{'s' * (contract.sequences > 1)} run in {contract.rows} forward passes, which "
        f"are not counted; scores may differ by {contract.allowed:.2g}, and spread over {contract.spread:.3g}"
    )


_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1b1f24;"
    "background:#fff}table{border-collapse:collapse;width:100%}th,td{padding:.35rem .6rem;border-bottom:1px solid "
    "#d8dee4;text-align:left;vertical-align:top}th{font-weight:600;white-space:nowrap}td:nth-child(2){min-width:6rem}"
    "table.reasons th{white-space:normal;width:45%}"
    "tr.broken td:nth-child(2){color:#b3261e;font-weight:700}tr.kept td:nth-child(2){color:#1a7f37}"
    "tr.not-tested td{color:#57606a}h2{margin:0 0 .3rem}h3{margin:1.4rem 0 .3rem}"
    "@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}th,td{border-color:#30363d}"
    "tr.broken td:nth-child(2){color:#ff7b72}tr.kept td:nth-child(2){color:#56d364}tr.not-tested td{color:#8b949e}}"
)
