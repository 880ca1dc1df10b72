"""JupyterLab at small copies of the notebooks, and a notebook in a browser's page, for tests."""

import contextlib
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
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}


@contextlib.contextmanager
def served(folder: Path, notebooks: dict[str, dict], theme: str = "light", **env):
    """Yields the address of a JupyterLab at copies of notebooks and of what they show, with
    parameters, without outputs.

    Args:
        folder: empty; holds the copies, the settings and the log.
        notebooks: {name: {parameter: value}}.
        theme: a key of `THEMES`.
        env: of the server and its kernels, beside this process's.
    Raises:
        TimeoutError: it does not start; has the end of its log.
    """
    for name, parameters in notebooks.items():
        copy = parameterize_notebook(
            load_notebook_node(str(NOTEBOOKS / f"{name}.ipynb")), parameters
        )
        for cell in copy.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        (folder / "notebooks").mkdir(exist_ok=True)
        nbformat.write(copy, folder / "notebooks" / f"{name}.ipynb")
    drawings = Path("pages", "static")  # that texts of notebooks show
    shutil.copytree(NOTEBOOKS / drawings, folder / "notebooks" / drawings)
    settings = {
        "themes": {"theme": THEMES[theme]},
        "notification": {"fetchNews": "false", "checkForUpdates": False},
    }
    for name, content in settings.items():
        path = (
            folder
            / "settings"
            / "@jupyterlab"
            / "apputils-extension"
            / f"{name}.jupyterlab-settings"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = (
        os.environ
        | {
            "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(folder),
            "JUPYTER_PREFER_ENV_PATH": "1",
            "PLOTLY_RENDERER": "plotly_mimetype",
        }
        | env
    )
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jupyterlab",
                "--no-browser",
                f"--port={port}",
                "--IdentityProvider.token=",
                "--allow-root",
                "--LabApp.expose_app_in_browser=True",
                f"--ServerApp.root_dir={folder / 'notebooks'}",
            ],
            env=env,
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    try:
        for _ in range(240):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=1).read()
                break
            time.sleep(0.25)
        else:
            raise TimeoutError(f"JupyterLab did not start:\n{(folder / 'log').read_text()[-2000:]}")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


class Notebook:
    """A notebook in a page, with all its cells run."""

    def __init__(self, browser, address: str, name: str):
        self.name = name
        self.errors = []
        self.page = browser.new_page(viewport={"width": 1400, "height": 1000})
        self.page.on("console", self._keep_error)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(f"{address}/lab/tree/{name}.ipynb?reset")
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
        self.page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget?.context?.sessionContext?.session"
            "?.kernel?.connectionStatus === 'connected'",
            timeout=60_000,
        )
        self.page.evaluate(
            "() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }"
        )
        self.page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget.content.widgets.filter("
            "c => c.model.type === 'code' && c.model.sharedModel.source.trim())"
            ".every(c => c.model.executionCount > 0)",
            timeout=300_000,
        )

    def _keep_error(self, message) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def outputs(self) -> list[str]:
        """Returns the kinds of all outputs."""
        return self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.content.widgets.filter("
            "c => c.model.type === 'code')"
            ".flatMap(c => c.model.outputs.toJSON().map(o => o.output_type))"
        )

    def show(self, selector: str):
        """Scrolls the first match into view, and returns it."""
        match = self.page.locator(selector).first
        match.scroll_into_view_if_needed(timeout=20_000)
        return match

    def picture(self, what: str) -> None:
        """Leaves a picture in the folder that `W2S_SCREENSHOTS` names, if it does."""
        if os.environ.get("W2S_SCREENSHOTS"):
            self.page.wait_for_timeout(600)
            self.page.screenshot(
                path=Path(os.environ["W2S_SCREENSHOTS"]) / f"{self.name}-{what}.png"
            )

    def close(self) -> None:
        """Closes the page; AssertionError if anything was wrong in the browser's console."""
        self.page.close()
        assert not self.errors, self.errors

    def to_cell(self, starts: str) -> None:
        """Scrolls to the code cell that starts so; cells out of sight are not in the page."""
        self.page.evaluate(
            "starts => { const nb = window.jupyterapp.shell.currentWidget.content; "
            "const i = nb.widgets.findIndex(c => c.model.sharedModel.source.startsWith(starts)); "
            "nb.activeCellIndex = i; return nb.scrollToItem(i, 'start'); }",
            starts,
        )
        self.page.wait_for_timeout(500)
