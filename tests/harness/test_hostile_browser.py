"""The page in a browser with one hostile text in every field: nothing runs, nothing is loaded, and it is shown."""

import json

import pytest

from xrnnbench.harness.reports.render import render
from xrnnbench.visible_text import visible

from . import hostile
from .headless_browser import needs_browser, started_browser
from .hostile import PAYLOADS

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
pytestmark = needs_browser

# Everything that can be done on the page: choose all filters and examples, sort by all columns, open, point at, print.
USE = """
const fire = (element, type) => element.dispatchEvent(new Event(type, {bubbles: true}));
for (const field of document.querySelectorAll("select")) {
  for (const option of [...field.options]) { field.value = option.value; fire(field, "change"); }
  field.value = field.options.length ? field.options[0].value : ""; fire(field, "change");
}
for (const box of document.querySelectorAll("input[type=checkbox]")) { box.click(); box.click(); }
for (const button of document.querySelectorAll("thead button")) { button.click(); button.click(); button.click(); }
for (const details of document.querySelectorAll("details")) details.open = true;
for (const element of document.querySelectorAll("*")) {
  for (const type of ["pointermove", "mouseover", "focus", "load", "error"]) fire(element, type);
}
dispatchEvent(new Event("beforeprint")); dispatchEvent(new Event("afterprint"));
"""
COUNT = """
const count = (query) => document.querySelectorAll(query).length;
const addresses = ["href", "src", "action", "formaction", "xlink:href", "srcdoc"];
const named = [...document.querySelectorAll("*")].flatMap((e) => [...e.attributes].map((a) => [a.name, a.value]));
return {
  ran: window.ran ?? null,
  scripts: count("script"), styles: count("style"), forms: count("form"), metas: count("meta"),
  foreign: count("img,iframe,object,embed,link,base,audio,video,area,frame,template,textarea,foreignObject,use,image"),
  handlers: named.filter(([name]) => name.startsWith("on")).length,
  addresses: named.filter(([name, value]) => addresses.includes(name) && !value.startsWith("#")).length,
  title: document.title,
  heading: document.querySelector("h1").textContent,
  labels: [...document.querySelectorAll("th[scope=row] bdi")].map((e) => e.textContent),
  options: [...document.querySelectorAll("option")].map((e) => e.textContent),
  tokens: [...document.querySelectorAll(".token")].map((e) => e.firstChild.textContent),
  text: document.body.textContent,
  seen: document.querySelector("#overview table").offsetHeight > 0,
};
"""


@pytest.fixture(scope="module")
def browser():
    driver = started_browser(webdriver)
    driver.execute_cdp_cmd("Network.enable", {})
    yield driver
    driver.quit()


def events(browser, *methods):
    """Events that the browser has told of since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [message["params"] for message in messages if message["method"] in methods]


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_nothing_of_a_text_acts_on_the_page(payload, browser, tmp_path):
    path = tmp_path / "page.html"
    board, gallery = hostile.board(payload)
    path.write_text(render(board, "html", gallery), encoding="utf-8")
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(path.as_uri())
    browser.execute_script(USE)
    found = browser.execute_script(COUNT)
    told = events(browser, "Network.requestWillBeSent", "Page.javascriptDialogOpening", "Page.windowOpen")
    assert [event.get("documentURL") for event in told] == [path.as_uri()]
    assert browser.current_url == path.as_uri()
    # a violation of the page's policy, or an error of its script, would be told here
    assert browser.get_log("browser") == []
    assert found["ran"] is None
    own = {name: found[name] for name in ("scripts", "styles", "forms", "metas", "foreign", "handlers", "addresses")}
    assert own == {
        "scripts": 2, "styles": 2, "forms": 1, "metas": 4, "foreign": 0, "handlers": 0, "addresses": 0,
    }  # fmt: skip
    assert found["seen"]
    shown = visible(payload)
    assert found["heading"] == f"Leaderboard: {shown}"
    assert " ".join(found["title"].split()) == " ".join(f"Leaderboard: {shown}".split())
    assert {shown, f"{shown} 2"} <= set(found["labels"])
    assert {shown, f"{shown} 2"} <= set(found["options"])
    assert set(found["tokens"]) == {shown, f"{shown} 2", "a"}
    # failures, reasons, caveats, facts, origins and the provenance
    assert found["text"].count(shown) > 60
