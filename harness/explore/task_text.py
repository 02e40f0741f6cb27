"""What is known of a task, as text for the terminal; :mod:`xrnnbench.harness.explore.task_portrait` says what it is."""

from __future__ import annotations

from typing import Any, Final

_MOST_LISTED: Final = 12


def caption(facts: dict[str, Any]) -> str:
    """The facts of a portrait in lines; the picture is not among them.

    Args:
        facts: see :class:`xrnnbench.harness.explore.task_portrait.Portrait`.
    """
    parts = [_data_text(facts["data"])] if facts["data"] else []
    if facts["data_sets"]:
        places = [f"{each['name']}: {each['place'] or each['problem']}" for each in facts["data_sets"]]
        parts.append(_block("Data sets", places))
    if facts["model"]:
        parts.append(_model_text(facts["model"], facts["spec"]))
    if facts["problem"] and facts["problem"] not in {each["problem"] for each in facts["data_sets"]}:
        parts.append(f"Not to be seen here: {facts['problem']}")
    return "\n\n".join(parts)


def shortened_list(words: list[str]) -> str:
    """Words with commas; how many are left out if there are many."""
    left = len(words) - _MOST_LISTED
    return ", ".join(words[:_MOST_LISTED]) + (f" and {left} more" if left > 0 else "")


def _block(title: str, lines: list[str]) -> str:
    return "\n".join([f"{title}:", *(f"  {line}" for line in lines)])


def _data_text(data: dict[str, Any]) -> str:
    steps = data["steps"]
    rows = [
        ("to learn from", f"{data['train']} sequences"),
        ("to measure on", f"{data['test']} others, of which {data['explained']} are explained"),
        ("steps", _span(steps)),
        ("inputs", _inputs_text(data["inputs"])),
        ("targets", _targets_text(data["targets"])),
        ("reference", _plain(data["reference"])),
    ]
    rows += [(f"truth {each['name']}", _reading_text(each)) for each in data["readings"]]
    if not data["readings"]:
        rows.append(("truth", "not known"))
    width = max(len(name) for name, _ in rows)
    return _block("Data", [f"{name:<{width}}  {text}" for name, text in rows])


def _span(steps: dict[str, int]) -> str:
    if steps["least"] == steps["most"]:
        return str(steps["most"])
    return f"{steps['least']} to {steps['most']}, median {steps['median']}"


def _inputs_text(inputs: dict[str, Any]) -> str:
    if "tokens" in inputs:
        return f"tokens, of {inputs['tokens']}"
    names = inputs["features"]
    return f"{len(names)} feature{'s' * (len(names) > 1)}: {shortened_list(names)}"


def _targets_text(targets: dict[str, Any]) -> str:
    if "values" in targets:
        return shortened_list(
            [f"{each['name']} from {each['least']:.4g} to {each['most']:.4g}" for each in targets["values"]]
        )
    if "tokens" in targets:
        return f"tokens, of {targets['tokens']}; steps {_span(targets['produced'])}"
    counts = [f"{each['name']} ({each['train']} + {each['test']})" for each in targets["classes"]]
    return f"{len(counts)} classes of {targets['of']}, learnt from + measured on: {shortened_list(counts)}"


def _reading_text(reading: dict[str, Any]) -> str:
    signed = ", signed" if reading["signed"] else ""
    share = f"{reading['relevant']:.1%} of what is explained is relevant, in {reading['sequences']} sequences"
    return f"{reading['semantics']}{signed}, of {reading['output']}; {share}"


def _model_text(model: dict[str, Any], spec: str) -> str:
    yardsticks = [f"gate {model['gate']:.4g}", f"baseline {model['baseline']:.4g}"]
    lines = [f"{model['measure']}: {', '.join(yardsticks)}"]
    for each in model["scores"]:
        said = "" if each["fit"] else ", unfit"
        said += ", published" * (each["origin"] == "published")
        said += f", trained in {each['seconds']:.1f} s" if each["seconds"] is not None else ""
        lines.append(f"seed {each['seed']}: {each['score']:.4f}{said}")
    if missing := model["missing"]:
        seeds = f"seed{'s' * (len(missing) > 1)} {', '.join(map(str, missing))}"
        lines.append(
            f"{seeds}: not trained yet; run 'xrnnbench show {spec} --train', about {_long(model['seconds'])} a seed"
        )
    return _block("Model", lines)


def _long(seconds: float) -> str:
    if seconds < 1:
        return "1 second"
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def _plain(value: str | float | list[float]) -> str:
    if isinstance(value, list):
        return shortened_list([f"{each:.4g}" for each in value])
    return value if isinstance(value, str) else f"{value:.4g}"
