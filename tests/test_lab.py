"""A real JupyterLab in a real browser: the tour, the explorer's sliders, the browser of examples; in both themes.

Skipped where Playwright or a Chromium is missing; `make browser` installs both. With `W2S_SCREENSHOTS` naming a folder,
pictures of what was seen are left there.
"""
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make browser")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
SMALL = {"method": "probe", "n_train": 60, "n_val": 40, "n_test": 120, "weak": "SmolLM2-135M@2",
         "strong": "SmolLM2-135M@4"}
GIVEN = {"00_tour": SMALL, "11_explorer": SMALL | {"n_labels": 60, "seeds": 2}}
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
HARMLESS = ("favicon", "ResizeObserver loop", "GPU stall", "WebGL", "Failed to load resource")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        try:
            found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        except sync_api.Error as error:
            pytest.skip(f"no Chromium starts here ({str(error).splitlines()[0]}): make browser")
        yield found
        found.close()


@pytest.fixture(scope="module", params=THEMES)
def lab(request, tmp_path_factory):
    """Address of a JupyterLab in a theme, at small copies of the notebooks."""
    folder = tmp_path_factory.mktemp("lab")
    for name, given in GIVEN.items():
        copy = parameterize_notebook(load_notebook_node(str(NOTEBOOKS / f"{name}.ipynb")), given)
        for cell in copy.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        (folder / "notebooks").mkdir(exist_ok=True)
        nbformat.write(copy, folder / "notebooks" / f"{name}.ipynb")
    settings = {"themes": {"theme": THEMES[request.param]}, "notification": {"fetchNews": "false", "checkForUpdates": False}}
    for name, content in settings.items():
        path = folder / "settings" / "@jupyterlab" / "apputils-extension" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(folder),
                        "W2S_HOME": str(tmp_path_factory.getbasetemp() / "lab_store"), "JUPYTER_PREFER_ENV_PATH": "1",
                        "PLOTLY_RENDERER": "plotly_mimetype", "OMP_NUM_THREADS": "1"}
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}", "--IdentityProvider.token=",
             "--allow-root", "--LabApp.expose_app_in_browser=True", f"--ServerApp.root_dir={folder / 'notebooks'}"],
            env=env, stdout=log, stderr=log, cwd=folder)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=1).read()
                break
            except OSError:
                time.sleep(0.25)
        else:
            pytest.fail(f"JupyterLab did not start:\n{(folder / 'log').read_text()[-2000:]}")
        yield f"http://127.0.0.1:{port}", request.param
    finally:
        server.terminate()
        server.wait(20)


class Notebook:
    """A notebook in a page, all its cells run."""

    def __init__(self, browser, lab, name: str):
        self.address, self.theme = lab
        self.name, self.wrong, self.page = name, [], browser.new_page(viewport={"width": 1400, "height": 1000})
        self.page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.goto(f"{self.address}/lab/tree/{name}.ipynb?reset")
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
        self.page.wait_for_function("() => window.jupyterapp.shell.currentWidget?.context?.sessionContext?.session"
                                    "?.kernel?.connectionStatus === 'connected'", timeout=60_000)
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
        self.page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === 'code' && "
            "c.model.sharedModel.source.trim()).every(c => c.model.executionCount > 0)", timeout=300_000)

    def outputs(self) -> list[str]:
        """Kinds of all outputs."""
        return self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === 'code').flatMap("
            "c => c.model.outputs.toJSON().map(o => o.output_type))")

    def show(self, selector: str):
        """The first visible match, scrolled into view."""
        found = self.page.locator(selector).first
        found.scroll_into_view_if_needed(timeout=20_000)
        return found

    def picture(self, what: str) -> None:
        if os.environ.get("W2S_SCREENSHOTS"):
            self.page.wait_for_timeout(600)
            self.page.screenshot(path=Path(os.environ["W2S_SCREENSHOTS"]) / f"{self.name}-{self.theme}-{what}.png")

    def close(self) -> None:
        """Nothing was wrong in the browser's console."""
        self.page.close()
        assert not [said for said in self.wrong if not any(part in said for part in HARMLESS)]


def to_cell(notebook: Notebook, starts: str) -> None:
    """Scrolls to the code cell that starts so; cells out of sight are not in the page."""
    notebook.page.evaluate(
        "starts => { const nb = window.jupyterapp.shell.currentWidget.content; const i = nb.widgets.findIndex(c => "
        "c.model.sharedModel.source.startsWith(starts)); nb.activeCellIndex = i; return nb.scrollToItem(i, 'start'); }",
        starts)
    notebook.page.wait_for_timeout(500)


def test_the_tour_runs_and_shows_its_figure(browser, lab):
    tour = Notebook(browser, lab, "00_tour")
    assert "error" not in tour.outputs()
    to_cell(tour, "arms = run.arms()")
    tour.page.wait_for_selector(".js-plotly-plot .bars path", timeout=20_000)
    box = tour.show(".js-plotly-plot").bounding_box()
    assert box["width"] > 300 and box["height"] > 200
    dark = tour.page.evaluate("() => document.body.dataset.jpThemeLight") == "false"
    assert dark == (tour.theme == "dark")
    tour.picture("figure")
    tour.close()


def test_the_explorer_follows_its_sliders_and_the_browser_pages(browser, lab):
    explorer = Notebook(browser, lab, "11_explorer")
    page = explorer.page
    assert "error" not in explorer.outputs()
    to_cell(explorer, "widgets.explorer(")
    page.wait_for_selector(".widget-slider", timeout=20_000)
    widget = page.locator(".jp-OutputArea-output", has=page.locator(".widget-slider")).first
    widget.locator(".js-plotly-plot .bars path").first.wait_for(timeout=20_000)

    def seen() -> tuple:
        bars = widget.locator(".js-plotly-plot").first.evaluate("el => el.data.filter(t => t.type === 'bar').map(t => t.y[0]"
                                                                ")")
        return bars, widget.locator("table", has_text="PGR").first.inner_text()

    before = seen()
    explorer.picture("explorer")
    slider = widget.locator(".widget-slider", has_text="weak labels").locator(".noUi-handle")
    slider.focus()  # by keyboard alone
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    page.wait_for_function("([el, old]) => JSON.stringify(el.querySelector('.js-plotly-plot').data.filter(t => t.type === "
                           "'bar').map(t => t.y[0])) !== old", arg=[widget.element_handle(), json.dumps(
                               before[0], separators=(",", ":"))], timeout=30_000)
    page.wait_for_timeout(1500)
    after = seen()
    assert after[0][0] == before[0][0], "the supervisor learns from its own half"
    assert after[0][1:] != before[0][1:] and after[1] != before[1], "bars and PGR do not follow"
    assert "n_labels=20" in widget.locator("textarea").input_value()
    explorer.picture("explorer-moved")

    to_cell(explorer, "widgets.disagreements(")
    onward = page.get_by_role("button", name="next").first
    onward.wait_for(timeout=20_000)
    differ = page.locator(".jp-OutputArea-output", has=onward).first
    place, text = differ.get_by_role("status"), differ.locator("div[style*='pre-wrap']")
    assert place.inner_text().startswith("1 of ")
    first = text.first.inner_text()
    onward.click()
    page.wait_for_function("el => el.innerText.startsWith('2 of')", arg=place.element_handle(), timeout=10_000)
    assert text.first.inner_text() != first
    explorer.picture("disagreements")

    to_cell(explorer, "widgets.runs()")
    page.locator("table.dataframe td", has_text="SmolLM2-135M@2 → SmolLM2-135M@4").first.wait_for(timeout=30_000)
    explorer.picture("runs")
    explorer.close()
