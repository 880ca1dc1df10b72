"""JupyterLab in a real browser, in both themes: the tour, the explorer, the browser of examples.

Skipped where Playwright or a Chromium is missing; `make browser` installs both. If
`W2S_SCREENSHOTS` names a folder, pictures of the pages are left there.
"""

import json

import pytest

from tests import jupyter

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: make browser"
)
SMALL = {
    "method": "probe",
    "n_train": 60,
    "n_val": 40,
    "n_test": 120,
    "weak": "SmolLM2-135M@2",
    "strong": "SmolLM2-135M@4",
}
PARAMETERS = {"00_tour": SMALL, "11_explorer": SMALL | {"n_labels": 60, "seeds": 2}}
NUMBERS = "el => [...el.querySelectorAll('table')].find(t => t.innerText.includes('PGR')).innerText"
BARS = (
    "el => JSON.stringify(el.querySelector('.js-plotly-plot').data"
    ".filter(t => t.type === 'bar').map(t => t.y[0]))"
)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(
                executable_path=jupyter.CHROMIUM, args=["--no-sandbox"]
            )
        except sync_api.Error as error:
            pytest.skip(f"no Chromium starts here ({str(error).splitlines()[0]}): make browser")
        yield chromium
        chromium.close()


@pytest.fixture(scope="module", params=jupyter.THEMES)
def lab(request, tmp_path_factory):
    """(address, theme) of a JupyterLab."""
    store = tmp_path_factory.getbasetemp() / "lab_store"
    with jupyter.served(
        tmp_path_factory.mktemp("lab"),
        PARAMETERS,
        request.param,
        W2S_HOME=str(store),
        OMP_NUM_THREADS="1",
    ) as address:
        yield address, request.param


def test_the_tour_runs_and_shows_its_figure(browser, lab):
    address, theme = lab
    tour = jupyter.Notebook(browser, address, "00_tour")
    assert "error" not in tour.outputs()
    tour.to_cell("arms = run.arms()")
    tour.page.wait_for_selector(".js-plotly-plot .bars path", timeout=20_000)
    box = tour.show(".js-plotly-plot").bounding_box()
    assert box["width"] > 300 and box["height"] > 200
    assert (tour.page.evaluate("() => document.body.dataset.jpThemeLight") == "false") == (
        theme == "dark"
    )
    tour.picture(f"{theme}-figure")
    tour.close()


def test_the_explorer_follows_its_sliders_and_the_browser_pages(browser, lab):
    address, theme = lab
    explorer = jupyter.Notebook(browser, address, "11_explorer")
    page = explorer.page
    assert "error" not in explorer.outputs()
    explorer.to_cell("widgets.explorer(")
    page.wait_for_selector(".widget-slider", timeout=20_000)
    widget = page.locator(".jp-OutputArea-output", has=page.locator(".widget-slider")).first
    widget.locator(".js-plotly-plot .bars path").first.wait_for(timeout=20_000)
    numbers = widget.locator("table", has_text="PGR").first
    status = widget.get_by_role("status")

    before = json.loads(widget.evaluate(BARS))
    numbers_before = widget.evaluate(NUMBERS)
    assert "PGR" in numbers_before
    ink = (
        numbers.evaluate("el => getComputedStyle(el).color")
        .partition("(")[2]
        .rstrip(")")
        .split(",")[:3]
    )
    assert (max(map(float, ink)) < 128) == (theme == "light"), (
        "numbers that the theme makes hard to read"
    )
    explorer.picture(f"{theme}-explorer")
    widget.locator(".widget-slider", has_text="weak labels").locator(
        ".noUi-handle"
    ).focus()  # by keyboard alone
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    page.wait_for_function(
        f"([el, old]) => ({BARS})(el) !== old",
        timeout=30_000,
        arg=[widget.element_handle(), json.dumps(before, separators=(",", ":"))],
    )
    page.wait_for_function(
        f"([el, old]) => ({NUMBERS})(el) !== old",
        timeout=30_000,
        arg=[widget.element_handle(), numbers_before],
    )
    assert "n_labels=20" in widget.locator("textarea").input_value()
    after = json.loads(widget.evaluate(BARS))
    assert after[0] == before[0], "the supervisor learns from its own half"
    assert after[1:] != before[1:] and "Error" not in status.inner_text()
    explorer.picture(f"{theme}-explorer-moved")

    explorer.to_cell("widgets.disagreements(")
    next_button = page.get_by_role("button", name="next").first
    next_button.wait_for(timeout=20_000)
    differ = page.locator(".jp-OutputArea-output", has=next_button).first
    place, text = differ.get_by_role("status"), differ.locator("div[style*='pre-wrap']")
    assert place.inner_text().startswith("1 of ")
    first = text.first.inner_text()
    next_button.press("Enter")
    page.wait_for_function(
        "el => el.innerText.includes('2 of')", arg=differ.element_handle(), timeout=10_000
    )
    assert text.first.inner_text() != first
    explorer.picture(f"{theme}-disagreements")

    explorer.to_cell("widgets.runs()")
    page.locator(".w2s-runs td", has_text="SmolLM2-135M@2 → @4").first.wait_for(timeout=30_000)
    explorer.picture(f"{theme}-runs")
    explorer.close()
