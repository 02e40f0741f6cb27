"""The page, without a browser: what is on it, that it is whole, and that no name gets out of its place."""

import base64
import hashlib
import json
import re
import warnings
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest

from xrnnbench.harness.leaderboard.exhibits import Gallery
from xrnnbench.harness.leaderboard.standings import Standing
from xrnnbench.harness.reports.html.axes import integer_axis, linear_axis, logarithmic_axis
from xrnnbench.harness.reports.html.cost_plot import cost_plot
from xrnnbench.harness.reports.html.css_classes import CssClasses
from xrnnbench.harness.reports.html.packed_maps import BUDGET, pack, packed_exhibits
from xrnnbench.harness.reports.render import render
from xrnnbench.harness.statistics.estimates import Estimate
from xrnnbench.visible_text import visible

from . import page_boards
from .page_boards import HOSTILE

html5lib = pytest.importorskip("html5lib", reason="html5lib is not installed")
SVG = "{http://www.w3.org/2000/svg}"


def parsed(text):
    """Return the tree of a page, which must be HTML without a single error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)


@pytest.fixture(scope="module")
def small():
    return page_boards.small()


@pytest.fixture(scope="module")
def page(small):
    return render(small[0], "html", small[1])


@pytest.fixture(scope="module")
def tree(page):
    return parsed(page)


def drawn(made):
    board, gallery = made
    return render(board, "html", gallery)


def words(element):
    return " ".join("".join(element.itertext()).split())


def classes(element):
    return (element.get("class") or "").split()


def data_of(tree):
    return json.loads(next(each for each in tree.iter("script") if each.get("id") == "data").text)


# ---- what it is made of ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [page_boards.small, page_boards.hostile])
def test_it_is_html_with_unique_ids_and_whole_references(make):
    found = parsed(drawn(make()))
    ids = [each.get("id") for each in found.iter() if each.get("id")]
    assert len(set(ids)) == len(ids)
    linked = [each.get("href") for each in found.iter("a")]
    assert linked
    assert all(href.startswith("#") and href[1:] in ids for href in linked)


def test_pictures_have_words_and_tables_have_heads(tree):
    for each in tree.iter():
        if each.get("role") in {"img", "region"} or each.tag == f"{SVG}svg":
            assert each.get("aria-label")
    for table in tree.iter("table"):
        assert table.find("caption") is not None
        assert all(each.get("scope") in {"col", "row"} for each in table.iter("th"))
    # every control has a name
    for kind in ("select", "input"):
        fields = [each for label in tree.iter("label") for each in label.iter(kind)]
        assert len(fields) == len(list(tree.iter(kind)))


def test_heads_are_buttons_that_say_how_they_sort(tree):
    heads = [each for each in tree.iter("th") if each.get("aria-sort")]
    assert len(heads) > 20
    for head in heads:
        assert head.get("aria-sort") == "none"
        assert head.find("button").get("type") == "button"
        down = "↓" in words(head)
        first = (
            "ascending" if down or words(head) in {"method", "metric", "task", "without", "metrics"} else "descending"
        )
        assert head.get("data-first") == first


def test_it_asks_for_nothing_and_runs_only_its_own_script(page, tree):
    assert not re.search(r"https?://(?!www\.w3\.org)", page)
    assert not re.search(r"@import|url\(", page)
    assert not [each for each in tree.iter() if each.get("src")]
    assert not list(tree.iter("link"))
    scripts = [each for each in tree.iter("script") if each.get("type") != "application/json"]
    policy = next(each.get("content") for each in tree.iter("meta") if each.get("http-equiv"))
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].text.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert not [name for each in tree.iter() for name in each.attrib if str(name).startswith("on")]


def test_names_stay_text():
    board, gallery = page_boards.hostile()
    found = parsed(render(board, "html", gallery))
    assert not list(found.iter("img"))
    assert len(list(found.iter("style"))) == 1
    assert len(list(found.iter("script"))) == 2
    # html5lib gives a carriage return, a line break and a tab as they are
    rows = {
        "".join(each.find("bdi").itertext())
        for each in found.iter("th")
        if each.get("scope") == "row" and each.find("bdi") is not None
    }
    shown = list(map(visible, HOSTILE))
    assert set(shown) <= rows
    assert [each["name"] for each in data_of(found)["methods"]] == [visible(method.spec) for method in board.methods]
    steps = data_of(found)["exhibits"][0]["sequences"][2]["steps"]
    assert steps == shown[: len(steps)]


# ---- what it says ---------------------------------------------------------------------------------------------------


def test_every_number_of_every_task_is_that_of_the_json_board(small, tree):
    board, _ = small
    told = json.loads(render(board, "json"))
    names = CssClasses(board)
    sections = {kind: each for each in tree.iter("details") for kind in classes(each) if re.fullmatch(r"t\d+", kind)}
    scored = 0
    for entry in told["entries"]:
        table = sections[names.task(entry["task"])]
        cells = [
            cell
            for row in table.iter("tr")
            if names.method(entry["method"]) in classes(row)
            for cell in row.iter("td")
            if names.metric(entry["metric"]) in classes(cell)
        ]
        assert len(cells) == 1
        if entry["status"] == "scored":
            scored += 1
            assert float(cells[0].get("data-v")) == entry["mean"]
            assert (f"#{entry['first']}" in words(cells[0])) == (entry["first"] is not None)
        else:
            assert words(cells[0]).startswith(entry["status"])
            assert cells[0].get("data-v") is None
    assert scored > 80


def test_means_ranks_and_costs_are_those_of_the_json_board(small, tree):
    board, _ = small
    told = json.loads(render(board, "json"))
    rows = [(classes(row), [cell.get("data-v") for cell in row.iter("td")]) for row in tree.iter("tr")]
    names = CssClasses(board)
    for each in told["overall"]:
        assert any(names.method(each["method"]) in kinds and repr(each["mean"]) in values for kinds, values in rows)
    standing = told["standings"][0]
    for spec, rank in standing["ranks"].items():
        values = [repr(rank), repr(standing["corrected"][spec]["mean"]), repr(standing["cost"][spec])]
        assert any(names.method(spec) in kinds and values == found[:3] for kinds, found in rows)


def test_a_failure_is_said_where_it_is_and_why(tree):
    text = words(tree.find("body"))
    assert "1 failed" in text
    assert "KeyError: <b>no</b> (model seed 0)" in text
    linked = [each.get("href")[1:] for each in tree.iter("a") if words(each) == "[1]"]
    notes = {each.get("id"): words(each) for each in tree.iter("li") if each.get("id")}
    assert linked
    assert all("<b>no</b>" in notes[each] for each in linked)


def test_the_same_board_gives_the_same_bytes(page):
    grid_board, gallery = page_boards.small()
    assert render(grid_board, "html", gallery) == page


def test_what_there_is_nothing_of_is_left_out(small):
    board, _ = small
    bare = parsed(render(board, "html", Gallery()))
    ids = {each.get("id") for each in bare.iter()}
    assert not ids & {"curves", "explanations"}
    assert {"overview", "standings", "agreement", "rescale", "origin"} <= ids
    without = replace(board, metrics=tuple(each for each in board.metrics if each.spec != "completeness-gap"))
    assert "rescale" not in {each.get("id") for each in parsed(render(without, "html")).iter()}


def test_a_board_of_one_task_and_one_method_is_a_page():
    grid = page_boards.axes(("only",), ("one",), ("gini",))
    cells = page_boards.made_cells(grid, seeds=1)
    found = parsed(drawn(page_boards.shown(grid, cells)))
    assert "only" in words(found.find("body"))


def test_a_board_without_a_single_number_is_a_page():
    grid = page_boards.axes(("random", "slope", "other"), ("one", "two"), ("normalised-deletion", "gini"))
    cells = {key: page_boards.failed(key) for key in page_boards.made_cells(grid)}
    text = words(parsed(drawn(page_boards.shown(grid, cells))).find("body"))
    assert "12 failed" in text


# ---- single explanations --------------------------------------------------------------------------------------------


def unpacked(found):
    steps = np.frombuffer(base64.b64decode(found["values"]), dtype=np.int8).reshape(-1, found["width"])
    return steps / 127 * found["size"]


def test_maps_come_back_to_what_a_colour_shows():
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=(7, 3)), np.zeros((4, 1)), rng.normal(size=(1, 1)) * 1e-9):
        np.testing.assert_allclose(unpacked(pack(values)), values, atol=np.abs(values).max() * (1 / 254 + 1e-3))


def test_every_method_says_its_own_of_the_same_sequences(small, tree):
    board, gallery = small
    told = data_of(tree)["exhibits"]
    assert [each["task"] for each in told] == [0, 1, 2]
    for each, table in zip(told, board.tables, strict=True):
        exhibit = gallery.exhibits[table.task.spec]
        for place, sequence in enumerate(each["sequences"]):
            maps = {board.methods[found["method"]].spec: found for found in sequence["maps"]}
            assert set(maps) == set(exhibit.maps)
            for spec, found in maps.items():
                np.testing.assert_allclose(unpacked(found), exhibit.maps[spec][place], atol=found["size"] * 0.005)
                assert found["score"] == pytest.approx(exhibit.scores[spec][place], rel=1e-3)
            np.testing.assert_allclose(unpacked(sequence["truth"]), exhibit.truth[place], atol=0.02)
    assert "slope" not in gallery.exhibits["vowels"].maps  # that cell failed for the model that is shown


def test_of_too_much_fewer_sequences_are_shown(small):
    board, gallery = small
    heavy = {
        spec: replace(
            found, maps={method: tuple(np.zeros((200_000, 1)) for _ in each) for method, each in found.maps.items()}
        )
        for spec, found in gallery.exhibits.items()
    }
    told = packed_exhibits(board, replace(gallery, exhibits=heavy), CssClasses(board))
    assert [len(each["sequences"]) for each in told] == [1, 1, 1]
    assert BUDGET < 4_000_000


# ---- pictures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [[0.0], [1.0, 1.0], [-3, 1e9], [1e-12, 2e-12], [0.2, float("nan")], []])
def test_axes_hold_their_values(values):
    known = [value for value in values if np.isfinite(value)]
    for scale in (linear_axis(values), logarithmic_axis(values)):
        assert all(0 <= scale.position(value) <= 1 for value in known)
        assert all(-1e-9 <= tick.position <= 1 + 1e-9 for tick in scale.ticks)
        places = [tick.position for tick in scale.ticks]
        assert all(one < other for one, other in pairwise(places))
        assert len({tick.text for tick in scale.ticks}) == len(scale.ticks) >= 1
    places = [linear_axis([*values, 0]).position(value) for value in sorted(known)]
    assert places == sorted(places)
    assert integer_axis(1, 2).position(2) == 1


def standing(count, rng):
    methods = tuple(page_boards.source(f"method-{place}") for place in range(count))
    specs = [method.spec for method in methods]
    cost = {spec: float(10 ** rng.uniform(0, 4)) for spec in specs}
    corrected = {spec: Estimate(mean, mean - 0.1, mean + 0.1, 9, 0, 2) for spec in specs for mean in [rng.uniform()]}
    ranks = {spec: float(place) for place, spec in enumerate(specs, 1)}
    return Standing("", ("a", "b"), methods, ranks, corrected=corrected, cost=cost, front=frozenset(specs[:3]))


@pytest.mark.parametrize("count", [1, 12, 40])
@pytest.mark.parametrize("size", [(860.0, 470.0), (340.0, 380.0)])
def test_names_in_the_plot_neither_overlap_nor_leave_it(count, size, small):
    rng = np.random.default_rng(count)
    found = standing(count, rng)
    board = replace(small[0], methods=found.methods)
    plot = cost_plot(found, CssClasses(board), *size)
    left, top, right, bottom = plot.edges
    boxes = []
    for point in plot.points:
        assert left <= point.x <= right
        assert top <= point.above <= point.y <= point.below <= bottom
        if point.anchor:
            width = 6.4 * len(point.label)
            start = {"start": point.text_x, "middle": point.text_x - width / 2, "end": point.text_x - width}[
                point.anchor
            ]
            boxes.append((start, point.text_y - 11, start + width, point.text_y + 3))
    assert boxes
    for place, one in enumerate(boxes):
        assert left <= one[0] + 0.1
        assert one[2] <= size[0]
        for other in boxes[place + 1 :]:
            apart = (
                one[2] <= other[0] + 0.1
                or other[2] <= one[0] + 0.1
                or one[3] <= other[1] + 0.1
                or other[3] <= one[1] + 0.1
            )
            assert apart


# ---- bounds and colours ---------------------------------------------------------------------------------------------


def test_a_large_board_is_small_enough():
    board, gallery = page_boards.large()
    assert (len(board.methods), len(board.tables), len(board.metrics)) == (30, 20, 20)
    assert len(render(board, "html", gallery).encode()) <= 8_000_000


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear_parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear_parts, strict=True))


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_text_stands_out_in_both_schemes():
    style = files("xrnnbench.harness.reports.html").joinpath("page.css").read_text(encoding="utf-8")
    found = {name: both for name, *both in re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\);", style)}
    assert len(found) > 15
    for scheme in (0, 1):
        colour = {name: both[scheme] for name, both in found.items()}
        for ground in ("ground", "paper", "faint"):
            for text in ("ink", "soft", "link", "bad", "odd"):
                assert contrast(colour[text], colour[ground]) >= 4.5, (text, ground, scheme)
        for ground in ("up", "down"):
            assert contrast(colour["ink"], colour[ground]) >= 4.5, (ground, scheme)
        for mark in ("c0", "c1", "c2", "c3", "c4", "c5"):
            assert contrast(colour[mark], colour["ground"]) >= 3, (mark, scheme)
