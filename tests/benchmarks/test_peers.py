"""What the same explanation costs here and in the library that also offers it: ``tox -e bench``.

Each group is one method on one model and the same data; ratios are read off within a group. Nothing is asserted of
time. A peer that is not installed (extra ``peers``) is left out of its group.
"""

import warnings

import numpy as np
import pytest
import torch
from captum.attr import GradientShap as CaptumGradientShap
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from captum.attr import NoiseTunnel, Occlusion, Saliency

from xrnnbench.plugins import build
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.models.networks import RecurrentNet
from xrnnbench.tasks.subject import Subject

pytestmark = [pytest.mark.full, pytest.mark.no_cover]  # see pyproject.toml

UNITS = 64


def make_subject(rows, steps, features=16, tokens=False):  # noqa: FBT002  # read by keyword
    torch.manual_seed(0)
    vocabulary = {"vocabulary_size": 500} if tokens else {}
    model = RecurrentNet(features, UNITS, 2, cell="lstm", **vocabulary).eval()
    inputs = torch.randint(2, 500, (rows, steps)) if tokens else torch.randn(rows, steps, features)
    batch = Batch(inputs, torch.full((rows,), steps), torch.zeros(rows, dtype=torch.int64))
    reference = torch.ones_like(inputs) if tokens else torch.zeros_like(inputs)
    return Subject(model, batch, reference, background=batch).check()


def scorer(subject):
    """The explained score as captum and time-interpret want it: every target by its own row."""
    target = subject.target

    def score(x, *_):
        return subject.model(x).gather(1, target.repeat(len(x) // len(target))[:, None]).squeeze(1)

    return score


def ours(spec):
    method = build("method", spec)
    return lambda subject: method.explain(subject).values


def captum_ig(subject):
    return CaptumIntegratedGradients(scorer(subject)).attribute(
        subject.batch.inputs, subject.reference, n_steps=32, method="gausslegendre"
    )


def captum_occlusion(subject):
    shape = (1, subject.batch.inputs.shape[2])
    return Occlusion(scorer(subject)).attribute(subject.batch.inputs, shape, baselines=subject.reference)


def captum_occlusion_batched(subject):
    shape = (1, subject.batch.inputs.shape[2])
    return Occlusion(scorer(subject)).attribute(
        subject.batch.inputs, shape, baselines=subject.reference, perturbations_per_eval=8
    )


def captum_smoothgrad(subject):
    return NoiseTunnel(Saliency(scorer(subject))).attribute(
        subject.batch.inputs, nt_type="smoothgrad", nt_samples=20, stdevs=0.15, abs=False
    )


def captum_gradient_shap(subject):
    return CaptumGradientShap(scorer(subject)).attribute(subject.batch.inputs, subject.batch.inputs, n_samples=20)


def lime_package(subject):
    """The package as its documentation uses it: one text after another, a function from texts to probabilities."""
    from lime.lime_text import LimeTextExplainer  # noqa: PLC0415  # imports half of scientific Python

    explainer = LimeTextExplainer(split_expression=" ", bow=False, mask_string="1", random_state=0)

    def predict(texts):
        tokens = torch.tensor([[int(word) for word in text.split(" ")] for text in texts])
        with torch.no_grad():
            return subject.model(tokens).softmax(1).numpy()

    found = []
    for row in subject.batch.inputs.tolist():
        text = " ".join(map(str, row))
        found.append(explainer.explain_instance(text, predict, num_features=len(row), num_samples=1000))
    return found


def shap_kernel(subject):
    shap = pytest.importorskip("shap", reason="the peer shap (extra peers) is not installed")
    inputs, reference = subject.batch.inputs[..., 0].numpy(), subject.reference[:1, :, 0].numpy()

    def predict(x):
        with torch.no_grad():
            return subject.model(torch.from_numpy(np.asarray(x, dtype=np.float32))[..., None])[:, 0].numpy()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return shap.KernelExplainer(predict, reference).shap_values(inputs, nsamples=512, l1_reg=False, silent=True)


def shap_permutation(subject):
    shap = pytest.importorskip("shap", reason="the peer shap (extra peers) is not installed")
    inputs, reference = subject.batch.inputs[..., 0].numpy(), subject.reference[:1, :, 0].numpy()

    def predict(x):
        with torch.no_grad():
            return subject.model(torch.from_numpy(np.asarray(x, dtype=np.float32))[..., None])[:, 0].numpy()

    explainer = shap.explainers.Permutation(predict, reference)
    return explainer(inputs, max_evals=8 * (2 * inputs.shape[1] + 1), silent=True)


def tint_temporal_ig(subject):
    methods = pytest.importorskip("tint.attr", reason="the peer time-interpret (extra peers) is not installed")

    def score(x):
        return subject.model(x)[:, :1]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return methods.TemporalIntegratedGradients(score).attribute(
            subject.batch.inputs, baselines=subject.reference, target=0, n_steps=8, method="gausslegendre"
        )


# group: (subject, {who: what it does}, rounds)
GROUPS = {
    "integrated gradients, 32 nodes": (
        {"rows": 64, "steps": 50}, {"xrnnbench": ours("integrated-gradients:steps=32"), "captum": captum_ig},
    ),
    "occlusion of steps, 64 sequences": (
        {"rows": 64, "steps": 50, "tokens": True},
        {"xrnnbench": ours("occlusion"), "captum": None, "captum, 8 at once": None},
    ),
    "occlusion of steps, 2 sequences": (
        {"rows": 2, "steps": 50, "tokens": True},
        {"xrnnbench": ours("occlusion"), "captum": None, "captum, 8 at once": None},
    ),
    "temporal integrated gradients, 8 nodes": (
        {"rows": 16, "steps": 30, "features": 4},
        {"xrnnbench": ours("temporal-ig:steps=8"), "time-interpret": tint_temporal_ig},
    ),
    "lime, 1000 samples, 8 texts of 40 words": (
        {"rows": 8, "steps": 40, "tokens": True}, {"xrnnbench": ours("lime"), "lime": lime_package},
    ),
    "kernel SHAP, 512 samples, 4 sequences of 20 steps": (
        {"rows": 4, "steps": 20, "features": 1}, {"xrnnbench": ours("kernel-shap:samples=512"), "shap": shap_kernel},
    ),
    "permutation Shapley, 8 pairs, 4 sequences of 20 steps": (
        {"rows": 4, "steps": 20, "features": 1},
        {"xrnnbench": ours("permutation-shapley:permutations=8"), "shap": shap_permutation},
    ),
    "smoothgrad, 20 samples": (
        {"rows": 64, "steps": 50}, {"xrnnbench": ours("smoothgrad:samples=20"), "captum": captum_smoothgrad},
    ),
    "gradient SHAP, 20 samples": (
        {"rows": 64, "steps": 50}, {"xrnnbench": ours("gradient-shap:samples=20"), "captum": captum_gradient_shap},
    ),
}  # fmt: skip
# captum's occlusion wants numbers: the token model is given its embeddings, as its documentation does
for _group in ("occlusion of steps, 64 sequences", "occlusion of steps, 2 sequences"):
    GROUPS[_group][1].update(
        {
            "captum": lambda subject: captum_occlusion(subject.continuous()),
            "captum, 8 at once": lambda subject: captum_occlusion_batched(subject.continuous()),
        }
    )
CASES = [(group, who) for group, (_, contestants) in GROUPS.items() for who in contestants]


@pytest.mark.parametrize(("group", "who"), CASES)
def test_the_same_explanation(benchmark, group, who):
    options, contestants = GROUPS[group]
    benchmark.group = group
    subject = make_subject(**options)
    subject.continuous()
    assert benchmark.pedantic(contestants[who], (subject,), rounds=3, warmup_rounds=1) is not None
