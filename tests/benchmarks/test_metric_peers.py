"""What the same scores cost here and in the libraries that also give them: ``tox -e bench``.

Each group is the same judging of the same attributions of one LSTM; ratios are read off within a group. Sequences have
one feature a step, so that what Quantus calls a feature is a step. Equal are the data, the attributions, the number of
variants of a sequence, what is removed with each, what stands for absence (0), the neighbours' number and radius, and
the method that is asked about them. Nothing is asserted of time. A peer that is not installed (extra ``peers``) is left
out of its group; where nothing is measured everything is small.
"""

import functools
import warnings

import numpy as np
import pytest
import torch
from captum import attr as captum_attr
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import sensitivity_max as captum_sensitivity_max
from torch import nn

from xrnnbench.metrics.base import Evidence, Measurement, Probes
from xrnnbench.plugins import build, names
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.engine.cost import Cost
from xrnnbench.tasks.models.networks import RecurrentNet
from xrnnbench.tasks.subject import Subject

pytestmark = [pytest.mark.full, pytest.mark.no_cover]  # see pyproject.toml

METHODS = (
    "deeplift",
    "integrated-gradients:steps=8",
    "gradient-x-input",
    "saliency",
    "occlusion",
    "smoothgrad:samples=8",
    "random",
    "magnitude",
)
NOISE = np.random.default_rng(0)
RADIUS, SAMPLES, MASKS, FRACTIONS = 0.02, 10, 100, (0.1, 0.2, 0.3, 0.4, 0.5)


class Setting:
    """One LSTM, its batch, and attributions of it."""

    def __init__(self, *, rows=64, steps=50, units=128, methods=METHODS):
        torch.manual_seed(0)
        model = RecurrentNet(1, units, 2, cell="lstm").eval()
        inputs = torch.randn(rows, steps, 1)
        batch = Batch(inputs, torch.full((rows,), steps), torch.zeros(rows, dtype=torch.int64))
        self.subject = Subject(model, batch, torch.zeros_like(inputs)).check()
        self.methods = [build("method", spec) for spec in methods]
        self.attributions = [method.explain(self.subject) for method in self.methods]
        self.steps = steps

    @functools.cached_property
    def probes(self):
        """What all metrics of faithfulness share, once the first method has been judged."""
        metrics, shared = every_metric(), Probes(self.subject)
        first = next(self.evidences(metrics, shared))
        for metric in metrics:
            metric.measure(first)
        return shared

    def evidences(self, metrics, shared=None):
        """Yield the evidence of one method after the other, as the harness prepares it."""
        planned = frozenset(ask for metric in metrics for ask in metric.asks)
        shared = shared or Probes(self.subject)
        for method, attribution in zip(self.methods, self.attributions, strict=True):
            measurement = Measurement(Cost(), 0.0, 0)
            yield Evidence(self.subject, attribution, method, 0, measurement, shared, planned=planned)


def ours(*specs):
    """Judge all methods by some metrics, from nothing."""
    metrics = [build("metric", spec) for spec in specs]
    return lambda setting: [metric.measure(cell) for cell in setting.evidences(metrics) for metric in metrics]


def peer(who):
    """Return the module of a peer that need not be installed; None of the others."""
    module = {"quantus": "quantus", "time-interpret": "tint.metrics"}.get(who)
    return module and pytest.importorskip(module, reason=f"the peer {who} (extra peers) is not installed")


def every_metric():
    """Return all metrics of faithfulness with their defaults, but those that train models or ask about completeness."""
    found = [build("metric", name) for name in names("metric")]
    return [
        metric
        for metric in found
        if metric.family == "faithfulness" and not metric.needs_retraining and not metric.needs_complete
    ]


def of_a_later_method(chosen):
    """Judge the second method where the first has been judged by all metrics: what scoring one more method costs.

    Args:
        chosen: which of the metrics.
    """

    def run(setting):
        metrics = chosen()
        _, cell, *_ = setting.evidences(metrics, setting.probes)
        return [metric.measure(cell) for metric in metrics]

    return run


def curve(name, setting):
    """Return the spec of a curve's metric that removes one step after the other."""
    return f"{name}:points={setting.steps}"


# ---- Quantus ---------------------------------------------------------------------------------------------------------


class ChannelsFirst(nn.Module):
    """The model as Quantus calls it: (B, 1, T), or (B, 1, T/5, 5) where it takes everything for an image."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs):
        return self.model(inputs.reshape(len(inputs), -1, 1))


def moved_a_little(arr, indices, **_):
    """Return neighbours as ours are drawn; of the metrics of Quantus each has another default."""
    return arr + NOISE.uniform(-RADIUS, RADIUS, arr.shape)


def asked_again(setting, method):
    """Return the method as Quantus asks it: a function of model, inputs and targets."""

    def explain(model, inputs, targets):
        rows = torch.as_tensor(inputs, dtype=torch.float32).reshape(len(inputs), -1, 1)
        return method.explain(setting.subject.replaced(rows)).values[:, None].numpy()

    return explain


def quantus_metrics(setting):
    """Return by the name of ours: the metric of Quantus, and what it is to be called with."""
    quantus = peer("quantus")
    quiet = {"disable_warnings": True, "normalise": False, "abs": False}
    removal = {**quiet, "perturb_baseline": 0.0}
    one = {**removal, "features_in_step": 1}
    correlation = {"nr_runs": MASKS, "subset_size": max(1, setting.steps // 5)}
    noise = {**quiet, "nr_samples": SAMPLES, "perturb_func": moved_a_little}
    return {
        "deletion-auc": (quantus.PixelFlipping(**one), {"softmax": True}),
        "monotonicity": (quantus.Monotonicity(**one), {"softmax": True}),
        "faithfulness-estimate": (quantus.FaithfulnessEstimate(**one), {}),
        "faithfulness-correlation": (quantus.FaithfulnessCorrelation(**correlation, **removal), {}),
        # each repetition asks about every step once
        "infidelity": (
            quantus.Infidelity(perturb_patch_sizes=[1], n_perturb_samples=max(1, MASKS // setting.steps), **removal), {}
        ),
        "max-sensitivity": (quantus.MaxSensitivity(**noise), {}),
        "local-lipschitz": (quantus.LocalLipschitzEstimate(**noise), {}),
        "relative-input-stability": (quantus.RelativeInputStability(**noise), {}),
        "relative-output-stability": (quantus.RelativeOutputStability(**noise), {}),
    }  # fmt: skip


def quantus(*chosen):
    """Judge all methods by some metrics of Quantus."""

    def run(setting):
        model = ChannelsFirst(setting.subject.model).eval()
        x, y = setting.subject.batch.inputs.numpy().swapaxes(1, 2), setting.subject.target.numpy()
        found = []
        for method, attribution in zip(setting.methods, setting.attributions, strict=True):
            metrics = quantus_metrics(setting)
            for name in chosen:
                metric, options = metrics[name]
                # to Infidelity every input is an image: T/5 rows of 5 steps
                shape = (len(x), 1, -1, 5) if name == "infidelity" else x.shape
                found.append(
                    metric(
                        model=model,
                        x_batch=x.reshape(shape),
                        y_batch=y,
                        a_batch=attribution.values.numpy().reshape(shape),
                        channel_first=True,
                        explain_func=asked_again(setting, method),
                        **options,
                    )
                )
        return found

    return run


def as_quantus(*chosen):
    """Judge all methods by our metrics with the settings of :func:`quantus_metrics`."""

    def run(setting):
        specs = {
            "deletion-auc": curve("deletion-auc", setting),
            "monotonicity": curve("monotonicity", setting) + ",form=all",
            "faithfulness-estimate": "faithfulness-estimate",
            "faithfulness-correlation": f"faithfulness-correlation:masks={MASKS},size={max(1, setting.steps // 5)}",
            "infidelity": f"infidelity:masks={MASKS},scaled=false",
            **{name: f"{name}:radius={RADIUS},samples={SAMPLES},instances=0" for name in STABILITY},
        }
        return ours(*(specs[name] for name in chosen))(setting)

    return run


# ---- time-interpret and captum ---------------------------------------------------------------------------------------


def tint(*chosen):
    """Judge all methods by some metrics of time-interpret, at each fraction."""

    def run(setting):
        metrics = peer("time-interpret")
        subject = setting.subject
        return [
            getattr(metrics, name)(
                subject.model, subject.batch.inputs, found.values[..., None], target=subject.target, topk=fraction
            )
            for found in setting.attributions
            for name in chosen
            for fraction in FRACTIONS
        ]

    return run


def captum_of_masks(setting):
    """Judge all methods by captum's infidelity over as many binary masks."""
    subject = setting.subject

    def perturb(inputs):
        mask = (torch.rand(inputs.shape) < 0.5).to(inputs.dtype)
        return mask, inputs * (1 - mask)

    call = {"target": subject.target, "n_perturb_samples": MASKS, "max_examples_per_batch": 512}
    with torch.no_grad():
        return [
            captum_infidelity(subject.model, perturb, subject.batch.inputs, found.values[..., None], **call)
            for found in setting.attributions
        ]


def captum_of_neighbours(setting):
    """Judge all methods by captum's sensitivity_max, which asks our methods about its neighbours."""
    subject = setting.subject

    def explain(inputs, method):
        rows = inputs[0] if isinstance(inputs, tuple) else inputs
        moved = subject.select(torch.arange(len(subject)).repeat_interleave(len(rows) // len(subject)))
        with torch.enable_grad():  # captum asks without gradients
            return (method.explain(moved.replaced(rows)).values[..., None],)

    call = {"perturb_radius": RADIUS, "n_perturb_samples": SAMPLES}
    return [
        captum_sensitivity_max(functools.partial(explain, method=method), subject.batch.inputs, **call)
        for method in setting.methods
    ]


def captum_explainer(spec, model):
    """Return captum's own form of one of our methods, with as many nodes, samples or rows a call."""
    name, _, _ = spec.partition(":")
    masks = {"n_samples": MASKS, "perturbations_per_eval": MASKS}
    makers = {
        "saliency": (captum_attr.Saliency, {"abs": False}),
        "gradient-x-input": (captum_attr.InputXGradient, {}),
        "integrated-gradients": (
            captum_attr.IntegratedGradients, {"n_steps": 8, "method": "gausslegendre", "internal_batch_size": 512}
        ),
        "captum-deeplift": (captum_attr.DeepLift, {}),
        "occlusion": (captum_attr.FeatureAblation, {"perturbations_per_eval": 8}),
        "lime": (captum_attr.Lime, masks),
        "kernel-shap": (captum_attr.KernelShap, masks),
    }  # fmt: skip
    kind, options = makers[name]
    return functools.partial(kind(model).attribute, **options)


def captum_of_its_own(setting):
    """Judge captum's explanations by captum's sensitivity_max."""
    subject = setting.subject

    def explain(inputs, attribute, target):
        rows = inputs[0] if isinstance(inputs, tuple) else inputs
        with torch.enable_grad():  # captum asks without gradients
            return (attribute(rows.detach(), target=target),)

    call = {"perturb_radius": RADIUS, "n_perturb_samples": SAMPLES, "target": subject.target}
    return [
        captum_sensitivity_max(
            functools.partial(explain, attribute=captum_explainer(method.spec, subject.model)),
            subject.batch.inputs,
            **call,
        )
        for method in setting.methods
    ]


# ---- the table -------------------------------------------------------------------------------------------------------

FAITHFULNESS = ("deletion-auc", "monotonicity", "faithfulness-estimate", "faithfulness-correlation", "infidelity")
STABILITY = ("max-sensitivity", "local-lipschitz", "relative-input-stability", "relative-output-stability")
SIX = (*FAITHFULNESS, "max-sensitivity")
P = "/".join(map(str, FRACTIONS))
ERASURE = tuple(f"{name}:fractions={P}" for name in ("comprehensiveness", "sufficiency", "log-probability"))
ONE_MORE = "one more method, its attributions given"
SMALL = {"steps": 20, "units": 32}
GRADIENT = {"methods": ("gradient-x-input",)}
INTEGRATED = {"methods": ("integrated-gradients:steps=8",)}
# what both libraries have, each in its own form
BOTH = {
    "methods": (
        *("saliency", "gradient-x-input", "integrated-gradients:steps=8", "captum-deeplift", "occlusion"),
        *(f"lime:samples={MASKS}", f"kernel-shap:samples={MASKS}"),
    )
}

# group: (setting, {who: what it does})
GROUPS = {
    "six metrics, 8 methods": (
        {}, {"xrnnbench": as_quantus(*SIX), "quantus": quantus(*SIX)},
    ),
    "five metrics of faithfulness, 8 methods": (
        {}, {"xrnnbench": as_quantus(*FAITHFULNESS), "quantus": quantus(*FAITHFULNESS)},
    ),
    "six metrics, 8 methods, 32 units": (
        {"units": 32}, {"xrnnbench": as_quantus(*SIX), "quantus": quantus(*SIX)},
    ),
    "five metrics of faithfulness, 8 methods, 32 units": (
        {"units": 32}, {"xrnnbench": as_quantus(*FAITHFULNESS), "quantus": quantus(*FAITHFULNESS)},
    ),
    "five metrics of faithfulness, 8 methods, 20 steps, 32 units": (
        SMALL, {"xrnnbench": as_quantus(*FAITHFULNESS), "quantus": quantus(*FAITHFULNESS)},
    ),
    **{
        f"{name}, 8 methods": ({}, {"xrnnbench": as_quantus(name), "quantus": quantus(name)})
        for name in FAITHFULNESS
    },
    "four metrics of stability, gradient × input": (
        GRADIENT, {"xrnnbench": as_quantus(*STABILITY), "quantus": quantus(*STABILITY)},
    ),
    "max-sensitivity, gradient × input": (
        GRADIENT, {
            "xrnnbench": as_quantus("max-sensitivity"),
            "quantus": quantus("max-sensitivity"),
            "captum": captum_of_neighbours,
        },
    ),
    "max-sensitivity, each library's own integrated gradients": (
        INTEGRATED, {"xrnnbench": as_quantus("max-sensitivity"), "captum": captum_of_its_own},
    ),
    "max-sensitivity, 7 methods, each library's own": (
        BOTH, {"xrnnbench": as_quantus("max-sensitivity"), "captum": captum_of_its_own},
    ),
    "max-sensitivity, 7 methods, each library's own, 32 units": (
        {**BOTH, "units": 32}, {"xrnnbench": as_quantus("max-sensitivity"), "captum": captum_of_its_own},
    ),
    "infidelity, 100 masks, 8 methods": (
        {}, {"xrnnbench": ours(f"infidelity:masks={MASKS},scaled=false"), "captum": captum_of_masks},
    ),
    "erasure at five fractions, 8 methods": (
        {}, {
            "xrnnbench": ours(*ERASURE),
            "time-interpret": tint("comprehensiveness", "sufficiency", "log_odds"),
        },
    ),
    ONE_MORE: (
        {}, {
            "deletion-auc": of_a_later_method(lambda: [build("metric", "deletion-auc")]),
            "every metric of faithfulness": of_a_later_method(every_metric),
        },
    ),
}  # fmt: skip
CASES = [(group, who) for group, (_, contestants) in GROUPS.items() for who in contestants]


@functools.cache
def made(options):
    """Return a setting, made once for all groups that judge it."""
    return Setting(**dict(options))


@pytest.mark.parametrize(("group", "who"), CASES)
def test_the_same_scores(benchmark, group, who):
    options, contestants = GROUPS[group]
    benchmark.group = group
    # where nothing is measured it only counts that everything runs
    small = {} if benchmark.enabled else {"rows": 3, "steps": 10, "units": 4}
    setting = made(tuple({**options, **small}.items()))
    with warnings.catch_warnings():
        # the libraries' own deprecations
        warnings.simplefilter("ignore")
        # before the clock starts the peer is imported, and what all methods share is made if it is not what is measured
        peer(who)
        warmup = int(group == ONE_MORE)
        assert benchmark.pedantic(contestants[who], (setting,), rounds=3, warmup_rounds=warmup) is not None
