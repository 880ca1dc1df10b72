"""Measures the explorer, from a slider's new value to the redrawn points, against the fit in it.

The seconds of a clock are what a person waits, so these ratios need an idle machine.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from .measure import Ratio, apart, ratio

N = 3000
MOVES = 15
SIZES = {"n_train": N, "n_val": 200, "n_test": 800}


def measure() -> list[Ratio]:
    """Measures moves of alpha in the kernel and, where there is a browser, in JupyterLab."""
    done = apart(in_kernel)
    ratios = [_ratio("kernel", "in the kernel", done)]
    try:
        in_lab = apart(in_browser)
        ratios.append(
            _ratio("browser", "in JupyterLab, from the key", in_lab | {"fit": done["fit"]})
        )
    except RuntimeError as error:
        last = str(error).splitlines()[-1]
        print(f"not measured in a browser ({last}): make browser", file=sys.stderr)
    return ratios


def _ratio(name: str, where: str, done: dict) -> Ratio:
    seconds = sorted(done["moves"])
    return ratio(
        f"explorer.{name}_over_fit",
        f"a new alpha to new points {where}, {N} weak labels, median of {len(seconds)} moves, over "
        "the same student's fit alone, seconds of a clock",
        [seconds[len(seconds) // 2]],
        [done["fit"]],
        margin=0.3,
        figures={"s": round(seconds[len(seconds) // 2], 2), "slowest_s": round(seconds[-1], 2)},
    )


def in_kernel() -> dict:
    """Moves the slider in this process; returns the seconds of each move, and of a fit alone."""
    import numpy as np

    import w2s_nb as w2s
    from w2s_nb.notebook import widgets

    explorer = widgets.explorer(n_labels=N, alpha=0.5, **SIZES)
    explorer.worker.wait(600)
    other_alphas = np.delete(np.arange(0, 1.01, 0.05), 10)
    moves = []
    for alpha in np.random.default_rng(0).permutation(other_alphas)[:MOVES].round(2):
        before = explorer.accuracy.outputs
        started = time.perf_counter()
        explorer.alpha.value = alpha
        while explorer.accuracy.outputs is before:
            time.sleep(0.002)
        moves.append(time.perf_counter() - started)
        explorer.worker.wait()
    task = w2s.load_task("movie_snippets", **SIZES)
    started = time.perf_counter()
    options = {"method": "probe", "loss": "confidence", "seed": 100, "stop": "last"}
    w2s.fit("SmolLM2-135M@16", task.student, **options)
    return {"moves": moves, "fit": time.perf_counter() - started}


def in_browser() -> dict:
    """Moves the slider by keys in JupyterLab; returns the seconds of each move."""
    from playwright.sync_api import sync_playwright

    from tests import jupyter

    parameters = {"11_explorer": SIZES | {"n_labels": N, "seeds": 1, "seed": 1}}
    with (
        sync_playwright() as playwright,
        tempfile.TemporaryDirectory() as folder,
        playwright.chromium.launch(
            executable_path=jupyter.CHROMIUM, args=["--no-sandbox"]
        ) as browser,
        jupyter.served(Path(folder), parameters) as address,
    ):
        notebook = jupyter.Notebook(browser, address, "11_explorer")
        notebook.to_cell("widgets.explorer(")
        notebook.page.locator(".js-plotly-plot .points path").first.wait_for()
        notebook.page.wait_for_timeout(3000)
        keys = ["ArrowRight"] * 9 + ["ArrowLeft"] * 17
        seconds = [notebook.page.evaluate(_MOVE, key) / 1000 for key in keys]
    # the nine steps back show settings seen before, which come out of the store
    return {"moves": seconds[:9] + seconds[18:]}


# presses a key on the slider of alpha, and resolves with the milliseconds until plotly has drawn
# other points
_MOVE = """key => new Promise(done => {
  const widget = document.querySelector('.widget-slider').closest('.jp-OutputArea-output');
  const sliders = [...widget.querySelectorAll('.widget-slider')];
  const slider = sliders.find(s => s.innerText.includes('alpha'));
  const plot = () => widget.querySelector('.js-plotly-plot');
  const drawn = () => plot()?.querySelectorAll('.points path').length;
  const started = performance.now(), old = plot(), data = old.data;
  const look = () => drawn() && (plot() !== old || plot().data !== data)
    ? done(performance.now() - started) : requestAnimationFrame(look);
  const press = new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true});
  slider.querySelector('.noUi-handle').dispatchEvent(press);
  look();
})"""
