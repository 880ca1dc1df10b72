"""JupyterLab in a real browser, in both themes: the tour, the explorer, the browser of examples.

Skipped where Playwright or a Chromium is missing; `make browser` installs both. If
`W2S_SCREENSHOTS` names a folder, pictures of the pages are left there.
"""

import json

import nbformat
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
# What real texts hold (reviews with tags, tweets with <3, prices), and what nobody should run.
MARKUP = (
    "a<br />b <3 costs $5 or $6 <script>window.ran = 1</script><img src=x onerror=window.ran=2>"
)
PLUGIN = f"""import w2s_nb as w2s
from w2s_nb.data.tasks.snippets import MOVIES, rated
def rows():
    return {{"all": [row | {{"text": row["text"] + {MARKUP!r}}} for row in rated(MOVIES)["all"]]}}
@w2s.register_task("marked_up", rows, max_len=64)
def marked_up(row):
    '''Is the snippet positive?'''
    yield w2s.Example((row["text"],), int(row["rating"] > 0))
"""
NUMBERS = "el => [...el.querySelectorAll('table')].find(t => t.innerText.includes('PGR')).innerText"
POINTS = (
    "el => JSON.stringify(el.querySelector('.js-plotly-plot').data"
    ".filter(t => t.name).map(t => t.y[0]))"
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
    tour.page.wait_for_selector(".js-plotly-plot .points path", timeout=20_000)
    box = tour.show(".js-plotly-plot").bounding_box()
    assert box["width"] > 300 and box["height"] > 200
    assert (tour.page.evaluate("() => document.body.dataset.jpThemeLight") == "false") == (
        theme == "dark"
    )
    written = ".js-plotly-plot .main-svg .ytick text"
    ink = tour.page.eval_on_selector(written, "el => getComputedStyle(el).fill")
    darkest = max(map(float, ink.partition("(")[2].rstrip(")").split(",")[:3]))
    assert (darkest < 128) == (theme == "light"), "the figure's texts take the theme's ink"
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
    widget.locator(".js-plotly-plot .points path").first.wait_for(timeout=20_000)
    numbers = widget.locator("table", has_text="PGR").first
    status = widget.get_by_role("status")

    before = json.loads(widget.evaluate(POINTS))
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
        f"([el, old]) => ({POINTS})(el) !== old",
        timeout=30_000,
        arg=[widget.element_handle(), json.dumps(before, separators=(",", ":"))],
    )
    page.wait_for_function(
        f"([el, old]) => ({NUMBERS})(el) !== old",
        timeout=30_000,
        arg=[widget.element_handle(), numbers_before],
    )
    assert "n_labels=20" in widget.locator("textarea").input_value()
    after = json.loads(widget.evaluate(POINTS))
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


TABLES = """import pandas as pd
import w2s_nb as w2s
from w2s_nb import widgets
from w2s_nb.sweeps.driver import live_table

models = dict(weak="SmolLM2-135M@2", strong="SmolLM2-135M@4")
sizes = dict(n_train=60, n_val=40, n_test=120)
run = w2s.setup("tables", task="marked_up", method="probe", seeds=1, **models, **sizes)
arms = w2s.one_setting("marked_up", *models.values(), seeds=[0], **sizes)
rows = w2s.differences(arms).head(3)
pd.options.display.max_colwidth = 1000"""


def stylers_of_notebooks() -> list[str]:
    """The expressions that make a Styler in notebooks, each of a table named `rows`."""
    lines = []
    for path in sorted(jupyter.NOTEBOOKS.rglob("*.ipynb")):
        for cell in json.loads(path.read_text())["cells"]:
            source = "".join(cell["source"]) if cell["cell_type"] == "code" else ""
            lines += [line for line in source.splitlines() if ".style." in line]
    assert lines
    return [f"rows.style.{line.partition('.style.')[2]}" for line in lines]


def test_texts_are_shown_as_they_are_and_nothing_in_them_is_run(browser, tmp_path):
    """In the tables of all notebooks, plain tables, a sweep's table and the browser of examples."""
    shown = [
        *stylers_of_notebooks(),
        "rows.style",
        "rows",
        "live_table(rows, 'a <script>window.ran = 3</script>')",
        "widgets.disagreements(arms)",
    ]
    (tmp_path / "marked_up.py").write_text(PLUGIN)
    kernel = {"name": "python3", "display_name": "p", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in (TABLES, *shown)]
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook, tmp_path / "notebooks" / "tables.ipynb")
    with jupyter.served(
        tmp_path,
        {},
        W2S_PLUGINS=str(tmp_path / "marked_up.py"),
        W2S_HOME=str(tmp_path / "store"),
        OMP_NUM_THREADS="1",
    ) as address:
        tables = jupyter.Notebook(browser, address, "tables")
        assert "error" not in tables.outputs()
        wrong = []
        for source in shown:
            tables.to_cell(source)
            cell = tables.page.locator(".jp-Notebook .jp-Cell.jp-mod-active").first
            tables.page.wait_for_timeout(500)
            if MARKUP not in cell.locator(".jp-OutputArea").first.inner_text():
                wrong.append(source)
        tables.picture("tables")
        assert not wrong, "texts that are not shown as they are"
        assert tables.page.evaluate("() => window.ran") is None, "a text's script was run"
        tables.close()
