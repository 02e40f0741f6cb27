"""Forecasters of other libraries, trained by those libraries on their own data sets, as tasks."""

import importlib
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from xrnnbench import Benchmark, DataError, task_from
from xrnnbench.harness.explore.explain_subject import explain_subject
from xrnnbench.tasks.custom.libraries.library_data import Wanted

# the libraries warn of their own dependencies
pytestmark = pytest.mark.filterwarnings("ignore")


def table(groups=5, steps=50):
    rng = np.random.default_rng(0)
    rows = [
        {
            "shop": f"shop {group}", "time": step, "size": float(group), "day": str(step % 7),
            "sales": float(np.sin(step / 4 + group) + 0.2 * rng.normal()), "promotion": float(rng.random() < 0.2),
            "price": float(rng.normal()),
        }
        for group in range(groups) for step in range(steps)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def trained(network, dataset):
    """A network of pytorch-forecasting after one epoch."""
    lightning = importlib.import_module("lightning.pytorch")
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, barebones=False,
    )  # fmt: skip
    trainer.fit(network, dataset.to_dataloader(train=True, batch_size=32, num_workers=0))
    return network.eval()


def series_of(library, **options):
    return library.TimeSeriesDataSet(
        table(), time_idx="time", target="sales", group_ids=["shop"], max_encoder_length=10, max_prediction_length=3,
        static_categoricals=["shop"], time_varying_known_reals=["time", "promotion"], **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def transformer():
    library = pytest.importorskip("pytorch_forecasting", reason="pytorch-forecasting is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        dataset = series_of(
            library, static_reals=["size"], time_varying_known_categoricals=["day"], min_encoder_length=6,
            time_varying_unknown_reals=["sales", "price"], add_relative_time_idx=True, add_target_scales=True,
        )  # fmt: skip
        network = library.TemporalFusionTransformer.from_dataset(
            dataset, hidden_size=4, attention_head_size=2, hidden_continuous_size=4,
            loss=library.QuantileLoss([0.1, 0.5, 0.9]), output_size=3,
        )  # fmt: skip
        return trained(network, dataset), dataset


@pytest.mark.full
def test_a_temporal_fusion_transformer_is_what_its_library_computes(transformer):
    network, dataset = transformer
    task = task_from(network, dataset, horizon=2, sequences=6)
    subject = task.subject(0)
    layout = subject.batch.layout
    assert layout.names == ("past", "future", "static", "past_categories", "future_categories", "static_categories")
    assert {part.name: part.names for part in layout}["past"] == (
        "time", "promotion", "relative_time_idx", "sales", "price",
    )  # fmt: skip
    rows = Wanted(2, 6).rows(len(dataset))[0]
    x, (correct, _) = dataset._collate_fn([dataset[row] for row in rows.tolist()])
    with torch.no_grad():
        expected = network(x).prediction[:, 2]
    assert torch.allclose(subject.batch_outputs, expected, atol=1e-6)
    assert torch.equal(subject.batch.targets[:, 0], correct[:, 2])
    assert subject.names.outputs[int(subject.target[0])] == "quantile 0.5"


@pytest.mark.full
def test_deeplift_of_a_transformer_sums_over_past_future_and_static(transformer):
    task = task_from(*transformer, horizon=1, sequences=6)
    subject = task.subject(0)
    attribution = explain_subject(subject, "deeplift", 0)
    assert float((attribution.gap.abs() / (attribution.score - attribution.reference_score).abs()).max()) < 1e-4
    parts = subject.batch.layout.unpacked(attribution.values)
    assert all(float(values.abs().sum()) > 0 for values in parts.values())
    # the past of a sequence that is shorter than the others ends where the library says
    lengths = subject.batch.context["encoder_lengths"]
    for row, length in enumerate(lengths.tolist()):
        assert (parts["past"][row, length:] == 0).all()


@pytest.mark.full
def test_a_transformers_own_weights_are_methods(transformer):
    subject = task_from(*transformer, horizon=1, sequences=4).subject(0)
    attention = subject.attention()
    assert torch.allclose(attention.sum(1), torch.ones(4), atol=1e-5)
    weights = subject.batch.layout.unpacked(subject.selection())
    together = torch.cat([weights["future"], weights["future_categories"]], 2).sum(2)
    assert torch.allclose(together, torch.ones_like(together), atol=1e-5)
    static = torch.cat([weights["static"], weights["static_categories"]], 1).sum(1)
    assert float(static.max()) <= 1 + 1e-5


@pytest.mark.full
def test_a_board_of_a_transformer(transformer, tmp_path):
    task = task_from(*transformer, name="sales", sequences=4, background=8)
    methods = ["deeplift", "integrated-gradients", "occlusion", "attention", "variable-selection", "captum-deeplift"]
    metrics = ["comprehensiveness", "completeness-gap", "max-sensitivity:instances=2,samples=2"]
    with pytest.warns(UserWarning, match="cells failed"):
        run = Benchmark(tasks=[task], methods=methods, metrics=metrics).run(out=tmp_path, jobs=1)
    records = run.records().set_index(["method", "metric"])
    assert records.loc[("deeplift", "completeness-gap"), "mean"] < 1e-4
    assert "captum's DeepLift fails" in records.loc[("captum-deeplift", "completeness-gap"), "note"]
    for method in methods[:-1]:
        assert records.loc[(method, "comprehensiveness"), "status"] == "scored"


@pytest.mark.full
def test_deep_ar_is_explained_by_the_parameters_of_its_distribution():
    library = pytest.importorskip("pytorch_forecasting", reason="pytorch-forecasting is not installed")
    metrics = importlib.import_module("pytorch_forecasting.metrics")
    torch.manual_seed(0)
    dataset = series_of(library, time_varying_unknown_reals=["sales"])
    network = trained(
        library.DeepAR.from_dataset(dataset, hidden_size=6, rnn_layers=2, loss=metrics.NormalDistributionLoss()),
        dataset,
    )
    subject = task_from(network, dataset, horizon=2, sequences=5).subject(0)
    assert subject.names.outputs == ("target centre", "target scale", "loc", "scale")
    for target in ("loc", "scale"):
        subject = task_from(network, dataset, horizon=2, sequences=5, target=target).subject(0)
        deeplift = explain_subject(subject, "deeplift", 0)
        captum = explain_subject(subject, "captum-deeplift", 0)
        difference = (deeplift.score - deeplift.reference_score).abs().max()
        assert float(deeplift.gap.abs().max()) < 1e-4 * float(difference)
        assert float(captum.gap.abs().max()) > 1e-2 * float(difference)
    assert not subject.attentive
    assert not subject.selective


@pytest.mark.full
@pytest.mark.parametrize("name", ["BlockRNNModel", "RNNModel"])
def test_recurrent_forecasters_of_darts(name):
    darts = pytest.importorskip("darts", reason="darts is not installed")
    models = importlib.import_module("darts.models")
    step = np.arange(200)
    values = (np.sin(step / 5) + 0.1 * np.random.default_rng(0).normal(size=200)).astype(np.float32)
    series = darts.TimeSeries.from_values(values[:, None])
    known = darts.TimeSeries.from_values((step % 7 == 0).astype(np.float32)[:, None])
    block = name == "BlockRNNModel"
    covariates = {"past_covariates" if block else "future_covariates": known}
    length = {"output_chunk_length": 4} if block else {"training_length": 14}
    model = getattr(models, name)(
        input_chunk_length=10, model="LSTM", hidden_dim=6, n_epochs=1, random_state=0, **length,
        pl_trainer_kwargs={"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False},
    )  # fmt: skip
    model.fit(series, **covariates)
    task = task_from(model, {"series": series, **covariates}, sequences=6, background=6)
    subject = task.subject(0)
    assert subject.batch.layout.names[0] == "past_target"
    windows = [values[place : place + 10] for place in range(200)]
    past = subject.batch.layout.unpacked(subject.batch.inputs)["past_target"][..., 0].numpy()
    assert all(any(np.array_equal(row, window) for window in windows) for row in past)
    attribution = explain_subject(subject, "deeplift", 0)
    difference = (attribution.score - attribution.reference_score).abs().max()
    assert float(attribution.gap.abs().max()) < 1e-4 * float(difference)


KERAS = """
import os, sys
os.environ["KERAS_BACKEND"] = "torch"
import numpy as np, keras
from xrnnbench import task_from
from xrnnbench.harness.explore.explain_subject import explain_subject
keras.utils.set_random_seed(0)
model = keras.Sequential([
    keras.layers.Input((8, 3)), keras.layers.LSTM(6, return_sequences=True),
    keras.layers.Bidirectional(keras.layers.GRU(4)), keras.layers.LayerNormalization(), keras.layers.Dense(2),
])
x = np.random.default_rng(0).normal(size=(40, 8, 3)).astype("float32")
y = (x.sum((1, 2)) > 0).astype("int64")
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(x, y, epochs=1, verbose=0)
subject = task_from(model, (x, y), sequences=6).subject(0)
exact, captum = (explain_subject(subject, method, 0) for method in ("deeplift", "captum-deeplift"))
share = (exact.gap.abs() / (exact.score - exact.reference_score).abs()).max()
assert float(share) < 1e-4, share
assert float(captum.gap.abs().max()) > 100 * float(exact.gap.abs().max())
assert np.allclose(subject.batch_outputs.numpy(), model.predict(subject.batch.inputs.numpy(), verbose=0), atol=1e-6)
print("exact")
"""


@pytest.mark.full
def test_a_keras_model_on_the_torch_backend_is_explained_exactly():
    pytest.importorskip("keras", reason="Keras is not installed")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", KERAS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["exact"]), done.stderr[-2000:]


@pytest.mark.full
def test_a_keras_model_on_another_backend_is_a_function():
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    model = keras.Sequential([keras.layers.Input((5, 2)), keras.layers.GRU(4), keras.layers.Dense(3, "softmax")])
    x = np.random.default_rng(0).normal(size=(20, 5, 2)).astype("float32")
    subject = task_from(model, (x, np.eye(3)[np.arange(20) % 3]), sequences=4).subject(0)
    assert subject.outputs_are == "probabilities"
    assert subject.batch.targets.tolist() == [0, 2, 1, 0]
    assert torch.isfinite(explain_subject(subject, "occlusion", 0).values).all()
    with pytest.raises(DataError, match="horizon=2 is for a forecast"):
        task_from(model, x, horizon=2)
    with pytest.raises(DataError, match="give its arrays"):
        task_from(model, "data.csv")


def test_models_of_no_library_are_refused():
    with pytest.raises(DataError, match="task_from reads those of pytorch_forecasting, darts, keras"):
        task_from(nn.LSTM(2, 3), torch.zeros(2, 3, 2))


@pytest.mark.parametrize("option", [{"horizon": -1}, {"sequences": 0}, {"background": -2}, {"horizon": True}])
def test_numbers_that_do_not_fit_are_refused(option):
    with pytest.raises(DataError, match="does not fit: give a whole number"):
        task_from(nn.LSTM(2, 3), None, **option)
