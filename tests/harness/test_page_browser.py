"""The page in a browser: sorting, filtering, single explanations, the keyboard, the dark, a phone, and how fast."""

import pytest

from xrnnbench.harness.reports.render import render

from . import page_boards
from .headless_browser import needs_browser, started_browser

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By  # noqa: E402  # only if it is there
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

pytestmark = needs_browser
MAKERS = {"small": page_boards.small, "hostile": page_boards.hostile, "large": page_boards.large}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return a function giving the address of a page."""
    folder = tmp_path_factory.mktemp("pages")

    def address(name):
        path = folder / f"{name}.html"
        if not path.exists():
            board, gallery = MAKERS[name]()
            path.write_text(render(board, "html", gallery), encoding="utf-8")
        return path.as_uri()

    return address


@pytest.fixture(scope="module")
def browser():
    driver = started_browser(webdriver)
    yield driver
    driver.quit()


class Page:
    """A page that is open."""

    def __init__(self, browser, address, *, width=1280, dark=False):
        self.browser = browser
        for command, values in (
            (
                "Emulation.setEmulatedMedia",
                {"features": [media("color-scheme", "dark" if dark else "light"), media("reduced-motion", "reduce")]},
            ),
            (
                "Emulation.setDeviceMetricsOverride",
                {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False},
            ),
            ("Network.enable", {}),
        ):
            browser.execute_cdp_cmd(command, values)
        browser.get_log("browser")
        browser.get_log("performance")
        browser.get(address)

    def run(self, script, *values):
        return self.browser.execute_script(script, *values)

    def all(self, query):
        return self.browser.find_elements(By.CSS_SELECTOR, query)

    def one(self, query):
        return self.browser.find_element(By.CSS_SELECTOR, query)

    def choose(self, field, text):
        Select(self.one(f"#{field}")).select_by_visible_text(text)

    def rows(self, table):
        """Return the labels of the rows that are seen."""
        script = (
            "return [...document.querySelectorAll(arguments[0])].filter((e) => e.offsetParent).map((e) => e.innerText)"
        )
        return self.run(script, f"{table} tbody th bdi")

    def values(self, table, column):
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.dataset.v ?? null)"
        return self.run(script, f"{table} tbody tr > :nth-child({column})")

    def background(self):
        return self.run("return getComputedStyle(document.body).backgroundColor")


def media(name, value):
    return {"name": f"prefers-{name}", "value": value}


@pytest.fixture
def page(browser, pages):
    found = Page(browser, pages("small"))
    yield found
    browser.delete_all_cookies()
    found.run("localStorage.clear()")


OVERVIEW = "#overview table"


def brightness(colour):
    return sum(float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3])


# ---- sorting --------------------------------------------------------------------------------------------------------


def test_a_head_sorts_turns_and_gives_back_by_the_keyboard(page):
    before = page.rows(OVERVIEW)
    head = page.one(f"{OVERVIEW} thead th:nth-child(3)")
    page.run("arguments[0].focus()", head.find_element(By.TAG_NAME, "button"))
    orders = []
    for _ in range(3):
        page.browser.switch_to.active_element.send_keys(Keys.ENTER)
        orders.append((head.get_attribute("aria-sort"), page.values(OVERVIEW, 3), page.rows(OVERVIEW)))
    falling, rising, given = orders
    assert [order for order, _, _ in orders] == ["descending", "ascending", "none"]
    numbers = [float(value) for value in falling[1]]
    assert numbers == sorted(numbers, reverse=True)
    assert [float(value) for value in rising[1]] == sorted(numbers)
    assert falling[2] != rising[2]
    assert given[2] == before
    # the focus stays where it was
    assert page.browser.switch_to.active_element == head.find_element(By.TAG_NAME, "button")


def test_what_has_no_number_is_last_both_ways(page):
    column = 1 + page.run(
        f"return [...document.querySelectorAll('{OVERVIEW} thead th')].findIndex((e) => e.innerText.includes('vowels'))"
    )
    button = page.one(f"{OVERVIEW} thead th:nth-child({column}) button")
    for _ in range(2):
        page.run("arguments[0].click()", button)
        values = page.values(OVERVIEW, column)
        assert values[-1] is None
        assert None not in values[:-1]
        assert page.rows(OVERVIEW)[-1] == "slope"


def test_names_are_sorted_and_one_head_at_a_time(page):
    page.run("arguments[0].click()", page.one(f"{OVERVIEW} thead th:nth-child(2) button"))
    page.run("arguments[0].click()", page.one(f"{OVERVIEW} thead th:nth-child(1) button"))
    assert page.rows(OVERVIEW) == sorted(page.rows(OVERVIEW))
    orders = [each.get_attribute("aria-sort") for each in page.all(f"{OVERVIEW} thead th")]
    assert orders == ["ascending", *["none"] * (len(orders) - 1)]


# ---- filters --------------------------------------------------------------------------------------------------------


def test_a_part_of_a_name_filters_every_table_and_picture(page):
    page.one("#by-name").send_keys("DeepLIFT")
    assert sorted(page.rows(OVERVIEW)) == ["captum-deeplift", "deeplift"]
    assert page.one("#count").text.startswith("2 of 6 methods")
    marks = page.all(".ranks .lanes .row") + page.all(".plot.wide > g[class*=m]")
    seen = [each.get_attribute("textContent") for each in marks if each.is_displayed()]
    assert seen
    assert all("deeplift" in each for each in seen)
    page.one("#controls").click()
    assert page.rows(OVERVIEW) == ["deeplift"]
    page.one(".filters [type=reset]").click()
    # a form tells of its reset before its fields are reset, so the page filters in a later turn
    WebDriverWait(page.browser, 10).until(lambda _: len(page.rows(OVERVIEW)) == 6)
    assert page.one("#count").text == "6 methods · 3 tasks · 5 metrics"


def test_groups_tasks_applications_families_and_metrics_filter(page):
    page.choose("by-group", "propagation")
    assert page.rows(OVERVIEW) == ["deeplift"]
    page.choose("by-group", "all")
    page.choose("by-task", "valence")
    heads = [each.text for each in page.all(f"{OVERVIEW} thead th") if each.is_displayed()]
    assert heads == ["method", "mean over tasks", "valence"]
    assert [each.is_displayed() for each in page.all("details.task")] == [False, True, False]
    page.choose("by-task", "all")
    page.choose("by-application", "known truth")
    assert [each.is_displayed() for each in page.all("details.task")] == [True, False, True]
    page.choose("by-application", "all")
    page.choose("by-family", "truth")
    titles = [each.text for each in page.all("details.task[open] h4") if each.is_displayed()]
    assert titles == ["adding: truth"]
    page.choose("by-family", "all")
    page.choose("by-metric", "sufficiency")
    heads = [each.text for each in page.all("details.task[open] thead th") if each.is_displayed()]
    assert heads[0] == "method"
    assert [head.startswith("sufficiency") for head in heads[1:]] == [True]


def test_intervals_are_hidden_on_demand(page):
    assert page.one(f"{OVERVIEW} td small").is_displayed()
    page.one("#intervals").click()
    assert not page.one(f"{OVERVIEW} td small").is_displayed()


# ---- pictures -------------------------------------------------------------------------------------------------------


def test_curves_are_put_in_colour(page):
    label = page.one("#chips label:not(:has(:checked))")
    number = label.find_element(By.TAG_NAME, "input").get_attribute("value")
    assert not page.all(f".curve.on[data-method='{number}']")
    label.click()
    assert len(page.all(f".curve.on[data-method='{number}']")) == 3
    assert page.all(f".curve.on[data-method='{number}'] .band")[0].is_displayed()
    label.click()
    assert not page.all(f".curve.on[data-method='{number}']")


def test_no_more_curves_are_in_colour_than_there_are_colours(browser, pages):
    page = Page(browser, pages("hostile"))
    for box in page.all("#chips input"):
        page.run("if (!arguments[0].disabled && !arguments[0].checked) arguments[0].click()", box)
    assert len(page.all("#chips input:checked")) == 6
    assert all(not box.is_enabled() for box in page.all("#chips input:not(:checked)"))
    colours = page.run(
        "return [...document.querySelectorAll('#chips span[class]')].map((e) => e.className).filter(Boolean)"
    )
    assert len(set(colours)) == 6


# ---- single explanations --------------------------------------------------------------------------------------------


def test_explanations_of_text_and_of_series(page):
    said = [each.text for each in page.all("#exhibit .attribution h3")]
    assert said[0].startswith("Truth")
    assert len(page.all("#exhibit .attribution")) == 7
    tokens = [each.text for each in page.all("#exhibit .truth .token")]
    assert tokens == ["one", "two", "one", "two", "one"]
    assert page.one("#exhibit .truth .most").text.startswith("Largest: ")
    page.choose("which-sequence", "sequence 2")
    assert len(page.all("#exhibit .truth .token")) == 9
    page.choose("which-method", "deeplift")
    assert [each.text.split("\n")[0] for each in page.all("#exhibit .attribution h3")] == ["Truth", "deeplift"]
    page.choose("which-task", "valence")
    canvas = page.one("#exhibit .truth canvas")
    assert (canvas.get_property("width"), canvas.get_property("height")) == (5, 3)
    assert canvas.get_attribute("aria-label").startswith("Truth. Largest: ")
    drawn = page.run(
        "const c = arguments[0]; return new Set(c.getContext('2d').getImageData(0, 0, 5, 3).data).size", canvas
    )
    assert drawn > 3


def test_filters_hold_for_explanations(page):
    page.one("#by-name").send_keys("lime")
    assert [each.text.split("\n")[0] for each in page.all("#exhibit .attribution h3") if each.is_displayed()] == [
        "Truth",
        "lime:samples=9",
    ]


# ---- light and dark, keyboard, phone --------------------------------------------------------------------------------


def test_the_dark_is_followed_and_chosen(browser, pages, page):
    light = page.background()
    page.choose("which-task", "valence")
    pixels = (
        "return [...document.querySelector('#exhibit canvas').getContext('2d').getImageData(0, 0, 5, 3).data].join()"
    )
    before = page.run(pixels)
    page.one("#theme").click()
    assert brightness(page.background()) < brightness(light)
    assert page.one("#theme").get_attribute("aria-pressed") == "true"
    assert page.run(pixels) != before
    page.one("#theme").click()
    assert page.background() == light
    page.run("localStorage.clear()")
    followed = Page(browser, pages("small"), dark=True)
    assert brightness(followed.background()) < brightness(light)
    followed.one("#theme").click()
    assert followed.background() == light


def test_everything_is_reached_by_the_keyboard(page):
    wanted = {"theme", "by-name", "by-group", "by-task", "by-metric", "controls", "table-1", "chips", "which-sequence"}
    reached = set()
    for _ in range(400):
        page.browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(page.run("const e = document.activeElement; return e.id || e.closest('[id]')?.id || e.tagName"))
        if wanted <= reached:
            return
    assert wanted <= reached


@pytest.mark.parametrize("name", ["small", "hostile"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_page_is_never_wider_than_the_screen(browser, pages, name, width):
    page = Page(browser, pages(name), width=width)
    page.run("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    wide = "const e = document.documentElement; return [e.scrollWidth, e.clientWidth]"
    assert len(set(page.run(wide))) == 1
    page.choose("which-task", page.run("return document.querySelectorAll('#which-task option')[1].text"))
    assert len(set(page.run(wide))) == 1


def test_a_link_into_a_closed_part_opens_it(browser, pages, page):
    note = page.run("return document.querySelector('details.task:not([open]) .notes li').id")
    Page(browser, f"{pages('small')}#{note}")
    assert page.one(f"#{note}").is_displayed()


# ---- alone and fast -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["small", "hostile", "large"])
def test_nothing_is_asked_of_the_network_and_nothing_goes_wrong(browser, pages, name):
    page = Page(browser, pages(name))
    assert page.run("return performance.getEntriesByName('ready').length") == 1
    assert page.run("return performance.getEntriesByType('resource').map((each) => each.name)") == []
    log = [entry["message"] for entry in browser.get_log("performance")]
    asked = [entry for entry in log if '"Network.requestWillBeSent"' in entry]
    assert all("file:///" in entry for entry in asked)
    assert len(asked) == 1
    assert browser.get_log("browser") == []


def test_a_large_page_opens_in_two_seconds(browser, pages):
    Page(browser, pages("large"))
    # another time: the first one also waits for the browser to start
    page = Page(browser, pages("large"))
    timing = page.run("return performance.getEntriesByType('navigation')[0].toJSON()")
    ready = page.run("return performance.getEntriesByName('ready')[0].startTime")
    assert timing["loadEventEnd"] <= 2000
    assert ready <= 2000
    start = page.run("return performance.now()")
    page.one("#by-name").send_keys("9")
    page.run("return document.body.offsetHeight")
    assert page.run("return performance.now()") - start < 2000
