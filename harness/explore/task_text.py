"""Portrait of a task as text for the terminal; see :mod:`xrnnbench.harness.explore.task_portrait`."""

from __future__ import annotations

from typing import Any, Final

_MOST_LISTED: Final = 12


def caption(facts: dict[str, Any]) -> str:
    """Text of the facts of a portrait, without its pictures.

    Args:
        facts: see :class:`xrnnbench.harness.explore.task_portrait.Portrait`.
    """
    parts = [_data_text(facts["data"])] if facts["data"] else []
    if facts["data_sets"]:
        places = [f"{data_set['name']}: {data_set['place'] or data_set['problem']}" for data_set in facts["data_sets"]]
        parts.append(_block("Data sets", places))
    if facts["model"]:
        parts.append(_model_text(facts["model"], facts["spec"]))
    if facts["problem"] and facts["problem"] not in {data_set["problem"] for data_set in facts["data_sets"]}:
        parts.append(f"Not available: {facts['problem']}")
    return "\n\n".join(parts)


def shortened_list(words: list[str]) -> str:
    """Words separated by commas; the first 12, and the number of the others."""
    left = len(words) - _MOST_LISTED
    return ", ".join(words[:_MOST_LISTED]) + (f" and {left} more" if left > 0 else "")


def _block(title: str, lines: list[str]) -> str:
    """Title with indented lines."""
    return "\n".join([f"{title}:", *(f"  {line}" for line in lines)])


def _data_text(data: dict[str, Any]) -> str:
    """Block about the data."""
    steps = data["steps"]
    rows = [
        ("training", f"{data['train']} sequences"),
        ("test", f"{data['test']} other sequences, of which {data['explained']} are explained"),
        ("steps", _span(steps)),
        ("inputs", _inputs_text(data["inputs"])),
        ("targets", _targets_text(data["targets"])),
        ("reference", _plain(data["reference"])),
    ]
    rows += [(f"truth {reading['name']}", _reading_text(reading)) for reading in data["readings"]]
    if not data["readings"]:
        rows.append(("truth", "not known"))
    width = max(len(name) for name, _ in rows)
    return _block("Data", [f"{name:<{width}}  {text}" for name, text in rows])


def _span(steps: dict[str, int]) -> str:
    """Range and median of numbers of steps."""
    if steps["least"] == steps["most"]:
        return str(steps["most"])
    return f"{steps['least']} to {steps['most']}, median {steps['median']}"


def _inputs_text(inputs: dict[str, Any]) -> str:
    """Size of the vocabulary, or names of the features."""
    if "tokens" in inputs:
        return f"tokens, of {inputs['tokens']}"
    names = inputs["features"]
    return f"{len(names)} feature{'s' * (len(names) > 1)}: {shortened_list(names)}"


def _targets_text(targets: dict[str, Any]) -> str:
    """Ranges of values, numbers of tokens, or counts of classes."""
    if "values" in targets:
        ranges = [f"{value['name']} from {value['least']:.4g} to {value['most']:.4g}" for value in targets["values"]]
        return shortened_list(ranges)
    if "tokens" in targets:
        return f"tokens, of {targets['tokens']}; steps {_span(targets['produced'])}"
    counts = [f"{label['name']} ({label['train']} + {label['test']})" for label in targets["classes"]]
    return f"{len(counts)} classes of {targets['of']}, training + test: {shortened_list(counts)}"


def _reading_text(reading: dict[str, Any]) -> str:
    """Semantics, output and share of relevance of a reading of the truth."""
    signed = ", signed" if reading["signed"] else ""
    share = f"{reading['relevant']:.1%} of the steps or features are relevant, in {reading['sequences']} sequences"
    return f"{reading['semantics']}{signed}, of {reading['output']}; {share}"


def _model_text(model: dict[str, Any], spec: str) -> str:
    """Block about the models."""
    lines = [f"{model['measure']}: gate {model['gate']:.4g}, baseline {model['baseline']:.4g}"]
    for score in model["scores"]:
        remarks = "" if score["fit"] else ", unfit"
        remarks += ", published" * (score["origin"] == "published")
        remarks += f", trained in {score['seconds']:.1f} s" if score["seconds"] is not None else ""
        lines.append(f"seed {score['seed']}: {score['score']:.4f}{remarks}")
    if missing := model["missing"]:
        seeds = f"seed{'s' * (len(missing) > 1)} {', '.join(map(str, missing))}"
        lines.append(
            f"{seeds}: not trained yet; run 'xrnnbench show {spec} --train', about {_duration(model['seconds'])} a seed"
        )
    return _block("Model", lines)


def _duration(seconds: float) -> str:
    """Time as text, in seconds or minutes."""
    if seconds < 1:
        return "1 second"
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def _plain(value: str | float | list[float]) -> str:
    """Text of a reference."""
    if isinstance(value, list):
        return shortened_list([f"{number:.4g}" for number in value])
    return value if isinstance(value, str) else f"{value:.4g}"
