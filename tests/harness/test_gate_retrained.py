"""The gate where the model was trained again, or the data were prepared otherwise."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from xrnnbench import Benchmark, GateSettings, UsageError, bless, compare, read_results, task_from_model
from xrnnbench.harness.gate.gate_report import as_json, junit, markdown, text
from xrnnbench.harness.gate.match_cells import Matcher, Selection
from xrnnbench.harness.gate.model_spread import ModelSpread, ModelSpreads
from xrnnbench.harness.results.cells import Key, Quality

from .conftest import command
from .results import BOUNDED, DOWN, METHOD, TASK, UP, cell, results, source

N = 60
RNG = np.random.default_rng(4)
OWN = RNG.normal(size=N)
OTHERS = tuple(source(name, stochastic="False", local="True") for name in ("a", "b", "c", "d"))
SANITY = source("sane", family="sanity", direction="higher", deterministic="True")
AGREE = source("agree", family="stability", direction="higher", deterministic="True", needs_siblings="True")


def scores(shift=0.0, spread=0.1, seed=0):
    """Scores of one model: those of the sequences, the model's own interaction with them, and a shift."""
    return OWN + spread * np.random.default_rng(seed).normal(size=N) + shift


def retrained(new, old, **more):
    """Comparison of two models by one method."""
    return compare(results({"up": new}, model="another", **more), results({"up": old}, **more))


def test_other_weights_are_compared_and_told():
    found = retrained(scores(seed=1), scores(seed=2))
    assert (found.status, found.apart, len(found.changes)) == (0, (), 1)
    (model,) = found.models
    assert (model.task, model.models, model.retrained) == ("first", 1, 1)
    assert str(model) == (
        "first: the model was trained again (other weights); accuracy on held-out data is 0.900, as before"
    )
    assert "the model was trained again" in text(found)
    assert "Other models or data" in markdown(found)
    assert json.loads(as_json(found))["models"][0]["retrained"] == 1


def test_the_same_models_are_not_told_of():
    assert compare(results({"up": OWN}), results({"up": OWN})).models == ()


def test_p_values_by_the_definition():
    """Student's t of a mean difference whose variance is V (1/n + κ)."""
    d = RNG.normal(size=25) - 0.3
    found = ModelSpread(0.07, 9.0).p_value(d)
    t = d.mean() / np.sqrt(np.var(d, ddof=1) * (1 / 25 + 0.07))
    assert found == pytest.approx(stats.t(9).cdf(t), rel=1e-12)
    assert ModelSpread(0.0, 1e6).p_value(d) == pytest.approx(stats.norm.cdf(t * np.sqrt(1 + 25 * 0.07)), rel=1e-3)
    assert ModelSpread(0.1, 5).p_value(np.zeros(9)) == 1.0
    assert ModelSpread(0.1, 5).p_value(np.full(9, -1.0)) == 0.0


def pairs_of(new, old, methods, seeds=(0,)):
    """Pairs of a comparison, as the gate makes them."""
    run = results(new, methods=methods, seeds=seeds, metrics=(UP,), model="another")
    base = results(old, methods=methods, seeds=seeds, metrics=(UP,))
    run = replace(
        run,
        scored_cells={
            key: replace(
                scored,
                cell=scored.cell.model_copy(
                    update={"fingerprints": scored.cell.fingerprints.model_copy(update={"model": f"n{key.model_seed}"})}
                ),
            )
            for key, scored in run.scored_cells.items()
        },
    )
    matcher = Matcher(run, base, Selection())
    return {name: pairs for task in matcher.tasks for name, pairs in matcher.of_task(task).pairs.items()}


def test_the_spread_by_its_definition():
    """Prior, other methods and the models of both sides, each with its weight."""
    rng = np.random.default_rng(7)
    table = {
        (side, method.spec, seed): OWN + 0.3 * rng.normal(size=N) + 0.1 * rng.normal()
        for side in ("new", "old")
        for method in OTHERS
        for seed in (0, 1, 2)
    }

    def rows(side):
        return lambda key: {"up": table[side, key.method.spec, key.model_seed]}

    pairs = pairs_of(rows("new"), rows("old"), OTHERS, (0, 1, 2))
    spreads = ModelSpreads(pairs, [UP])
    own = [(table["new", "a", seed], table["old", "a", seed]) for seed in (0, 1, 2)]
    found = spreads.of("first", "a", UP, own)

    others = []
    for method in ("b", "c", "d"):
        d = np.mean([table["new", method, s] - table["old", method, s] for s in (0, 1, 2)], 0)
        others.append(d.mean() ** 2 / d.var(ddof=1) - 1 / N)
    d = np.mean([new - old for new, old in own], 0)
    between = np.mean([np.var([pair[side].mean() for pair in own], ddof=1) for side in (0, 1)])
    expected = (4 * 0.05 + 6 * np.mean(others) + 4 * (2 * between / (3 * d.var(ddof=1)) - 1 / N)) / 14
    assert found.df == 14
    assert found.ratio == pytest.approx(max(expected, 0.0), rel=1e-9)
    alone = ModelSpreads({key: value for key, value in pairs.items() if key[1] == "a"}, [UP])
    assert alone.of("first", "a", UP, own[:1]) == ModelSpread(0.05, 4.0)


def test_a_large_change_is_found_and_a_small_one_is_not():
    """On the same model the small one would be certain."""
    assert retrained(scores(-0.05, seed=1), scores(seed=2)).status == 0
    assert compare(results({"up": scores(-0.05, 0.02, 1)}), results({"up": scores(0.0, 0.02, 2)})).status == 1
    found = retrained(scores(-1.0, seed=1), scores(seed=2))
    assert (found.status, found.changes[0].verdict) == (1, "worse")
    assert retrained(scores(1.0, seed=1), scores(seed=2)).changes[0].verdict == "better"


def gate_of_random_models(seed, kappa, worse=0.0, methods=(METHOD, *OTHERS)):
    """Comparison of two models drawn at random, of equal quality; the first method may be worse."""
    rng = np.random.default_rng(seed)
    tables = []
    for side in (0, 1):
        table = {}
        for metric in (UP, DOWN, BOUNDED):
            for method in methods:
                interaction = rng.normal(size=N)
                own = 0.3 + 0.1 * OWN + 0.1 * interaction + 0.1 * np.sqrt(kappa) * rng.normal()
                sign = -1 if metric is DOWN else 1
                shift = -worse if side and method is methods[0] else 0.0
                table[method.spec, metric.spec] = sign * (own + shift)
        tables.append(table)

    def rows(table):
        return lambda key: {metric.spec: table[key.method.spec, metric.spec] for metric in (UP, DOWN, BOUNDED)}

    bounds = {"low": "-9", "high": "9"}
    wide = BOUNDED.model_copy(update={"facts": {**BOUNDED.facts, **bounds}})
    metrics = (UP, DOWN, wide)
    base = results(rows(tables[0]), methods=methods, metrics=metrics)
    run = results(rows(tables[1]), methods=methods, metrics=metrics)
    for scored in run.scored_cells.values():
        object.__setattr__(scored.cell.fingerprints, "model", "another")
    return compare(run, base)


@pytest.mark.parametrize("kappa", [0.0, 0.05, 0.2])
def test_equal_trainings_raise_few_alarms(kappa):
    """At most 5 % of comparisons, though each makes 15 tests; by significance over sequences alone, most would."""
    alarms = sum(gate_of_random_models(seed, kappa).status == 1 for seed in range(200))
    assert alarms <= 10


def test_a_worse_explainer_stands_out_from_the_others():
    found = [gate_of_random_models(seed, 0.02, worse=0.3) for seed in range(40)]
    assert sum(each.status == 1 for each in found) >= 36
    blamed = {change.method for each in found for change in each.of("worse")}
    assert blamed == {METHOD.spec}


def test_metrics_about_several_models_only_inform():
    metrics = (SANITY, AGREE)

    def table(shift, **more):
        key = Key(TASK, METHOD, 0, 0)
        own = cell(key, {"sane": OWN + shift, "agree": OWN + shift}, metrics=metrics, **more)
        return results(lambda _: own, metrics=metrics)

    found = compare(table(-3, model="another"), table(0))
    assert {change.verdict for change in found.changes} == {"informs"}
    assert {change.reason for change in found.changes} == {"it is about the models, and they were trained again"}
    assert compare(table(-3), table(0)).status == 1


def test_draws_for_all_sequences_only_inform():
    method = source("global", stochastic="True", local="False")
    found = retrained(OWN - 3, OWN, methods=(method,))
    assert [change.verdict for change in found.changes] == ["informs"]


def test_few_sequences_are_too_few():
    found = retrained(OWN[:5] - 3, OWN[:5])
    assert (found.status, found.changes[0].verdict) == (3, "informs")
    assert "too few for a test" in found.changes[0].reason


def test_counts_may_differ_a_little_on_another_model():
    counts = np.full(N, 100.0)
    some = counts.copy()
    some[:20] = 120
    cases = (
        (some, "informs"),
        (counts + 1, "informs"),
        (counts * 2, "informs"),
        (counts * 4, "worse"),
        (counts / 4, "better"),
        (counts, "same"),
    )
    for new, verdict in cases:
        found = compare(results({"passes": new}, model="another"), results({"passes": counts}))
        assert found.changes[0].verdict == verdict
    assert compare(results({"passes": some}), results({"passes": counts})).status == 1


IDS = tuple(f"patient-{place}" for place in range(N))


def test_sequences_are_matched_by_their_ids_in_any_order():
    order = np.random.default_rng(1).permutation(N)[:40]
    new = {"up": scores(seed=1)[order]}
    run = results(new, data="prepared otherwise", ids=tuple(IDS[place] for place in order))
    found = compare(run, results({"up": scores(seed=1)}, ids=IDS))
    assert found.changes[0].difference == 0
    assert found.changes[0].n == 40
    assert (found.models[0].shared, found.models[0].of, found.models[0].retrained) == (40, (60, 40), 0)
    said = (
        "40 sequences are matched by their ids, of 60 of the baseline and 40 of the run; 20 of the baseline are missing"
    )
    assert said in text(found)


def test_no_shared_sequence_is_said():
    run = results({"up": OWN}, data="other", ids=tuple(f"x{place}" for place in range(N)))
    found = compare(run, results({"up": OWN}, ids=IDS))
    assert [each.reason for each in found.apart] == ["no sequence of the run is one of the baseline, by their ids"]


def test_accuracy_on_the_explained_sequences_is_told():
    old = Quality(measure="accuracy", score=0.9, sequences=60)
    run, base = (
        results({"up": OWN}, model=model, quality=quality)
        for model, quality in (("new", Quality(measure="accuracy", score=0.6, sequences=60)), ("old", old))
    )
    for side in (run, base):
        for scored in side.scored_cells.values():
            object.__setattr__(scored.cell, "competence", None)
    said = str(compare(run, base).models[0])
    assert said.endswith("accuracy on its 60 explained sequences was 0.900 and is 0.600 (-0.300)")


def with_quality(score, sequences, **more):
    """Results of a model whose accuracy was measured on its explained sequences."""
    quality = Quality(measure="accuracy", score=score, sequences=sequences)
    made = results({"up": OWN[:sequences]}, quality=quality, **more)
    for scored in made.scored_cells.values():
        object.__setattr__(scored.cell, "competence", None)
    return made


def test_accuracies_of_other_sequences_are_told_apart():
    """A newcomer was told that targets are not known where 40 of 60 sequences were compared."""
    run = with_quality(0.925, 40, model="new", data="fewer", ids=IDS[:40])
    said = str(compare(run, with_quality(0.9, 60, ids=IDS)).models[0])
    assert "accuracy was 0.900 on its 60 explained sequences and is 0.925 on its 40" in said


def test_the_gate_may_fail_for_a_loss_of_accuracy():
    run, baseline = with_quality(0.6, 60, model="new"), with_quality(0.9, 60)
    assert compare(run, baseline).status == 0
    assert compare(run, baseline, GateSettings(max_accuracy_loss=0.3 + 1e-9)).status == 0
    found = compare(run, baseline, GateSettings(max_accuracy_loss=0.05))
    assert found.status == 1
    assert "first lost 0.300 of accuracy, and 0.050 is accepted" in text(found).replace("*", "")
    assert 'name="accuracy of the model"' in junit(found)
    with pytest.raises(UsageError, match="A largest loss of accuracy of -1 does not fit"):
        GateSettings(max_accuracy_loss=-1)


def test_a_change_that_is_not_proven_is_listed():
    """It was among the unchanged, and nobody saw that it was ten margins."""
    found = retrained(scores(-0.03, seed=1), scores(seed=2))
    assert found.status == 0
    assert [change.metric for change in found.unproven] == ["up"]
    for report in (text(found), markdown(found), str(found)):
        assert "Not proven: larger than the margin, and chance may explain it" in report


def test_the_same_weights_with_other_code_are_not_called_trained_again():
    def task(code):
        identity = {"name": "first", "version": 1, "code": code, "behaviour": code}
        return source("first", application="speech").model_copy(update={"identity": identity})

    found = compare(results({"up": OWN}, tasks=(task("a"),)), results({"up": OWN}, tasks=(task("b"),)))
    assert "the model has the same weights and other code or outputs" in str(found.models[0])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(2, 6, batch_first=True)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[1][-1])


@pytest.fixture(scope="module")
def series():
    x = torch.randn(24, 6, 2, generator=torch.Generator().manual_seed(0))
    return x, (x[:, :, 0].sum(1) > 0).long()


def trained(seed, series):
    torch.manual_seed(seed)
    net = Net()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(40):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(series[0]), series[1]).backward()
        optimiser.step()
    return net.eval()


def run_of(model, inputs, targets, folder, **more):
    task = task_from_model(model, inputs, targets=targets, name="Mine, again", **more)
    metrics = ["comprehensiveness", "normalised-deletion", "gini", "forward-passes"]
    return Benchmark([task], ["deeplift", "occlusion"], metrics, name="own").run(folder)


def test_ones_own_model_trained_again(series, tmp_path):
    """The main case: status 3 and a wrong reason before."""
    x, y = series
    first = run_of(trained(0, series), x, y, tmp_path / "one")
    bless(first, tmp_path / "baseline")
    second = run_of(trained(1, series), x, y, tmp_path / "two")
    found = compare(second, read_results(tmp_path / "baseline"))
    assert (found.status, found.apart, found.gone) == (0, (), ())
    assert found.gating == 8
    assert "Mine, again: the model was trained again (other weights); accuracy on its 24 explained" in text(found)
    done = command("compare", second.folder, tmp_path / "baseline")
    assert done.returncode == 0, done.stderr
    assert "was trained again" in done.stdout


def test_ones_own_model_on_data_prepared_otherwise(series, tmp_path):
    x, y = series
    net = trained(0, series)
    names = [f"s{place}" for place in range(24)]
    first = run_of(net, x, y, tmp_path / "one", ids=names)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    second = run_of(net, 0.99 * x[order], y[order], tmp_path / "two", ids=[names[place] for place in order])
    found = compare(second, first)
    assert (found.status, found.apart) == (0, ())
    assert all(change.n == 24 for change in found.changes if change.metric != "forward-passes")
    assert "the weights are the same" in text(found)
    assert "24 sequences are matched by their ids, of 24 of the baseline and 24 of the run" in text(found)
    without = run_of(net, 0.99 * x[order], y[order], tmp_path / "three")
    apart = compare(without, first)
    assert apart.status == 3
    assert "the run has no ids to find the same sequences by" in text(apart)


def test_another_target_is_another_question(series, tmp_path):
    x, y = series
    net = trained(0, series)
    found = compare(run_of(net, x, y, tmp_path / "one", target=1), run_of(net, x, y, tmp_path / "two"))
    assert found.status == 3
    assert "other outputs are explained (target=…)" in text(found)


def test_a_function_is_told_apart_by_its_outputs(series, tmp_path):
    """It has no weights to compare."""
    x, y = series

    def function(model):
        return lambda inputs: model(torch.from_numpy(inputs)).detach().numpy()

    runs = []
    for seed in (0, 0, 1):
        task = task_from_model(function(trained(seed, series)), x, targets=y, name="function")
        metrics = ["comprehensiveness", "gini"]
        runs.append(Benchmark([task], ["occlusion"], metrics, name="own").run(tmp_path / str(len(runs))))
    assert compare(runs[1], runs[0]).models == ()
    assert compare(runs[2], runs[0]).models[0].retrained == 1
