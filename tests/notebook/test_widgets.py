"""Widgets without a browser, and the static functions that they are shells over."""

import base64
import dataclasses
import itertools
import re
import shlex
import threading
import time
import warnings
from types import SimpleNamespace

import ipywidgets
import numpy as np
import pandas as pd
import pytest
from papermill.inspection import inspect_notebook

import w2s_nb as w2s
from tests.conftest import THREE, register_words, word_rows
from w2s_nb import metrics, plots
from w2s_nb.common import paths, pictures, progress, store
from w2s_nb.common.registry import LOSSES, TASKS, UnknownName
from w2s_nb.data.classes import likeliest
from w2s_nb.data.tasks.spec import Example, Sizes
from w2s_nb.experiments.arms import Arms
from w2s_nb.notebook import widgets
from w2s_nb.notebook.widgets import base, picture, run_table, setting_explorer
from w2s_nb.training.result import AnswerFit

SIZES = dict(n_train=96, n_val=32, n_test=64)


@pytest.fixture
def setting(words, tiny):
    """Where the explorer starts in these tests."""
    return dict(task="words", weak=f"{tiny}@1", strong=tiny, **SIZES)


@pytest.fixture
def explorer(setting):
    explorer = widgets.explorer(**setting, tasks=["words", "word_pairs"])
    explorer.worker.wait()
    return explorer


@pytest.fixture
def slow():
    """A loss whose every step waits until the event is set."""
    event = threading.Event()

    @w2s.register_loss
    def waits(logits, targets, *, progress):
        """Cross-entropy, after a wait."""
        event.wait(0.02)
        return LOSSES["xent"](logits, targets, progress=progress)

    yield event
    event.set()
    LOSSES._entries.pop("waits")


def points_of(output):
    figure = output.outputs[0]["data"]["application/vnd.plotly.v1+json"]
    return {trace["name"]: trace["y"][0] for trace in figure["data"] if trace.get("name")}


# the explorer


def test_the_explorer_shows_one_setting_and_follows_every_control(explorer, setting):
    def expected(**change):
        asked = setting | dict(loss="confidence", loss_args={"alpha": 0.5}, seeds=[0]) | change
        return w2s.one_setting(**asked)

    def check(arms):
        assert points_of(explorer.accuracy) == pytest.approx(arms.table().accuracy.to_dict())
        assert (
            format(arms.pgr(arms.students[0]), ".2f").replace("[", "").split()[0]
            in explorer.numbers.value
        )
        reliability = explorer.calibration.outputs[0]["data"]["application/vnd.plotly.v1+json"][
            "data"
        ]
        assert [t.get("name") for t in reliability][1:] == ["weak supervisor", arms.students[0]]

    check(expected())
    for name, value, change in [
        ("alpha", 0.0, dict(loss_args={"alpha": 0.0})),
        ("n_labels", 40, dict(n_labels=40)),
        ("seed", 2, dict(seeds=[2])),
        ("loss", "xent", dict(loss="xent", loss_args={})),
        ("weak", setting["strong"] + "@2", dict(weak=setting["strong"] + "@2")),
    ]:
        before = setting.copy()
        getattr(explorer, name).value = value
        explorer.worker.wait()
        setting |= change
        check(
            w2s.one_setting(
                **setting
                | {
                    k: v
                    for k, v in dict(
                        loss=explorer.loss.value,
                        seeds=[explorer.seed.value],
                        n_labels=explorer.n_labels.value,
                        loss_args={"alpha": explorer.alpha.value}
                        if explorer.loss.value == "confidence"
                        else {},
                    ).items()
                }
            )
        )
        assert before != setting
    assert explorer.alpha.disabled, "xent has no alpha"


def test_the_lines_to_copy_make_the_fits_shown(explorer):
    explorer.n_labels.value, explorer.alpha.value = 50, 0.75
    explorer.worker.wait()
    lines, table = explorer.code.value.splitlines(), {}
    exec("\n".join(lines[:-1]) + f"\ntable = {lines[-1]}", table)
    assert (
        table["table"].equals(explorer.arms.table()) and len(store.addresses()) == 5
    )  # none of them trained again
    explorer.language.value = "papermill"
    words = shlex.split(explorer.code.value)
    notebook = paths.checkout() / words[1]
    known = inspect_notebook(str(notebook))
    given = dict(zip(words[4::3], words[5::3]))
    changing_nothing = {"recipe", "weak_recipe", "micro_batch"}
    assert words[:1] + words[2:4] == ["papermill", "out.ipynb", "-p"] and set(given) <= set(known)
    assert (
        given["alpha"] == "0.75"
        and given["n_labels"] == "50"
        and set(given)
        >= set(known) - {"seeds", "first_seed", "results", "plugins"} - changing_nothing
    )


def test_a_newer_setting_ends_work_on_the_older_and_cancel_ends_all_work(slow, explorer):
    stored = set(store.addresses())
    explorer.loss.value = "waits"
    while not explorer.status.text.startswith(explorer.strong.value):
        time.sleep(0.01)
    assert explorer.status.cancel.layout.display == "" and " of 200" in explorer.status.text
    explorer.loss.value = "xent"
    explorer.worker.wait(10)
    assert "student, naive" in points_of(explorer.accuracy)
    assert {store.record(a)["summary"]["loss"] for a in set(store.addresses()) - stored} == {"xent"}
    explorer.loss.value = "waits"
    while not explorer.status.text.startswith(explorer.strong.value):
        time.sleep(0.01)
    explorer.status.cancel.click()
    explorer.worker.wait(10)
    assert (
        explorer.status.text.startswith("cancelled")
        and explorer.status.cancel.layout.display == "none"
    )
    assert "student, naive" in points_of(explorer.accuracy), "what was shown stays"
    slow.set()
    explorer.seed.value = 1
    explorer.worker.wait()
    assert "student, waits" in points_of(explorer.accuracy)


def test_the_explorer_shows_an_error_of_a_setting_and_goes_on(explorer):
    @w2s.register_task("few", lambda: {"all": list(word_rows(40))}, max_len=16)
    def few(row):
        """Too few rows."""
        yield Example((row["text"],), row["label"])

    explorer.task.options = [*explorer.task.options, "few"]
    explorer.task.value = "few"
    explorer.worker.wait()
    assert (
        "ValueError" in explorer.status.text and "asked for 2 * n_train 96" in explorer.status.text
    )
    assert "words" in explorer.accuracy.outputs[0]["data"]["text/plain"], (
        "the figure is still that of the last setting"
    )
    explorer.task.value = "words"
    explorer.worker.wait()
    assert "Error" not in explorer.status.text


@pytest.mark.parametrize(
    "change, error, message",
    [
        (dict(task="word"), UnknownName, "Near: word"),
        (dict(loss="x"), UnknownName, "xent"),
        (dict(weak="SmolLM-135M@4"), UnknownName, "SmolLM2-135M"),
        (dict(n_labels=1), ValueError, "from 2 to n_train, 96"),
        (dict(alpha=1.5), ValueError, "alpha 1.5"),
        (dict(seed=-1), ValueError, "seed = -1"),
        (dict(models=["nothing"]), UnknownName, "nothing"),
        (dict(tasks=["nothing"]), UnknownName, "nothing"),
    ],
)
def test_the_explorer_refuses_unknown_names_and_numbers_out_of_range(
    setting, change, error, message
):
    with pytest.raises(error, match=message):
        widgets.explorer(**setting | change)


def test_the_explorer_offers_tasks_and_depths_that_need_no_network(monkeypatch, tmp_path):
    monkeypatch.delenv("W2S_DATA", raising=False)
    assert {"movie_snippets", "snippet_preferences"} <= set(setting_explorer._tasks_at_hand()) - {
        "boolq"
    }
    assert "boolq" not in setting_explorer._tasks_at_hand()
    (tmp_path / "boolq").mkdir()
    monkeypatch.setenv("W2S_DATA", str(tmp_path))
    assert "boolq" in setting_explorer._tasks_at_hand()
    assert setting_explorer._depths_of("SmolLM2-135M@16")[-3:] == [
        "SmolLM2-135M@20",
        "SmolLM2-135M@24",
        "SmolLM2-135M",
    ]


def test_the_explorer_takes_a_task_of_three_classes_at_sizes_of_its_own(explorer, three):
    assert explorer.confusion.outputs == ()
    spec = TASKS["three"]
    TASKS._entries["three"] = dataclasses.replace(spec, cpu_sizes=Sizes(600, 200, 60))
    explorer.task.options = [*explorer.task.options, "three"]
    explorer.task.value = "three"
    explorer.worker.wait()
    assert "Error" not in explorer.status.text, explorer.status.text
    assert [len(split) for split in explorer.arms.tasks[0].splits] == [96, 96, 30, 60]
    lines = {}
    exec(explorer.code.value, lines)
    assert lines["arms"].table().equals(explorer.arms.table())
    chance = explorer.accuracy.outputs[0]["data"]["application/vnd.plotly.v1+json"]["layout"]
    assert chance["shapes"][0]["y0"] == 1 / 3
    heat = explorer.confusion.outputs[0]["data"]["application/vnd.plotly.v1+json"]["data"][0]
    assert list(heat["x"]) == list(heat["y"]) == list(THREE)
    explorer.task.value = "words"
    explorer.worker.wait()
    assert explorer.confusion.outputs == () and explorer.arms.test.n_classes == 2


def test_the_explorer_offers_what_its_models_read(three):
    assert setting_explorer._can_be_explored("three", "gpt2")
    assert not setting_explorer._can_be_explored("three", "efficientnet-lite0")
    assert not setting_explorer._can_be_explored("chess_puzzles", "gpt2")
    depths = setting_explorer._depths_of("efficientnet-lite0@3")
    assert depths[0] == "efficientnet-lite0@1" and depths[-1] == "efficientnet-lite0"


# work in the background


def test_work_ends_where_the_listener_of_its_progress_raises(words, tiny):
    seen = []

    def tell(what, n, total):
        seen.append((what, n, total))
        if (what.startswith("activations") and n >= total) or n == 7:
            raise base.Cancelled

    with progress.report_progress_to(tell), pytest.raises(base.Cancelled):
        w2s.fit(tiny, words.student, method="probe", epochs=50)
    assert seen[-1][1] in (7, seen[-1][2]) and not any(store.record(a) for a in store.addresses())
    with progress.report_progress_to(lambda *where: None):
        assert (
            w2s.fit(tiny, words.student, method="probe", epochs=5).accuracy(words.test).value > 0.5
        )
    assert not isinstance(progress.progress([1]), progress.ReportedProgress), (
        "outside of the block bars are bars again"
    )


def test_a_warning_of_background_work_goes_to_its_status_line_only():
    status, inside = base.Status(), threading.Event()

    def work(request):
        progress.warn("of the work")
        inside.set()
        time.sleep(0.2)

    worker = base.BackgroundWorker(work, lambda asked, result: None, status)
    worker.ask(1)
    inside.wait(5)
    with pytest.warns(UserWarning, match="of a cell"):
        progress.warn("of a cell")
    worker.wait(5)
    assert status.text.endswith("s. of the work")
    with pytest.warns(UserWarning, match="later"):
        warnings.warn("later", stacklevel=1)


def test_after_work_that_exits_the_next_request_is_done():
    done, status = [], base.Status()

    def work(request):
        if request == "exit":
            raise SystemExit("of the work")
        return request

    worker = base.BackgroundWorker(work, lambda asked, result: done.append(result), status)
    worker.ask("exit")
    worker.wait(5)
    assert status.text == "SystemExit: of the work"
    worker.ask("more")
    worker.wait(5)
    assert done == ["more"]


def test_of_many_requests_only_the_last_is_done_and_no_thread_is_left():
    done, status = [], base.Status()

    def work(request):
        for _ in progress.progress(range(20), desc="work"):
            time.sleep(0.005)
        return request

    worker = base.BackgroundWorker(work, lambda asked, result: done.append((asked, result)), status)
    before = threading.active_count()
    for request in range(8):
        worker.ask(request)
        time.sleep(0.01)
    worker.wait(10)
    assert done == [(7, 7)] and worker._thread is None and threading.active_count() <= before


# differences, and their browser


def test_differences_have_the_same_counts_as_the_metrics(words, tiny):
    arms = w2s.run_arms(
        "words",
        f"{tiny}@1",
        tiny,
        losses=("xent", "confidence"),
        method="probe",
        epochs=30,
        seeds=2,
        **SIZES,
    )
    rows = w2s.differences(arms, "student, confidence")
    weak, student = (
        arms.fits[arm][0].predict(words.test) for arm in ("weak supervisor", "student, confidence")
    )
    right = {
        who: metrics.correct(p, words.test.hard_label)[0]
        for who, p in (("w", weak), ("s", student))
    }
    assert rows.right.value_counts().to_dict() == {
        k: v
        for k, v in dict(
            both=(right["w"] & right["s"]).sum(),
            student=(~right["w"] & right["s"]).sum(),
            supervisor=(right["w"] & ~right["s"]).sum(),
            neither=(~right["w"] & ~right["s"]).sum(),
        ).items()
        if v
    }
    assert (
        rows.text.tolist() == [text for (text,) in words.test.texts]
        and (rows.student == student[:, 1]).all()
    )
    figure = plots.differences(rows, "t", student="student, confidence", chosen=rows.id[5])
    assert sum(len(t.x) for t in figure.data[:4]) == len(rows) and figure.data[4].x == (
        rows.supervisor[5],
    )
    with pytest.raises(ValueError, match="expected one of student, naive, student, confidence"):
        w2s.differences(arms, "student, x")


def test_the_browser_pages_through_the_examples_that_its_controls_select(words, tiny):
    arms = w2s.run_arms("words", f"{tiny}@1", tiny, method="probe", epochs=30, **SIZES)
    rows, browser = w2s.differences(arms), widgets.disagreements(arms)
    apart = rows[rows.right.isin(["student", "supervisor"])]
    assert len(apart) > 3 and set(browser.selected.id) == set(apart.id)
    sure = (browser.selected.student - 0.5).abs()
    assert sure.is_monotonic_decreasing and f"1 of {len(apart)}" in browser.page.value
    browser.previous.click()
    assert browser.position == len(apart) - 1, "before the first comes the last"
    browser.next.click()
    browser.next.click()
    row = browser.selected.iloc[1]
    assert (
        browser.position == 1
        and row.text in browser.example.value
        and f"{row.student:.2f}" in browser.example.value
    )
    figure = browser.figure.outputs[0]["data"]["application/vnd.plotly.v1+json"]
    ringed = figure["data"][4]["x"]
    assert np.frombuffer(base64.b64decode(ringed["bdata"]), ringed["dtype"]) == pytest.approx(
        [row.supervisor]
    )
    browser.right.value = "student"
    assert (
        set(browser.selected.id) == set(apart.id[apart.right == "student"])
        and browser.position == 0
    )
    browser.confidence.value = (0.999999, 1.0)
    assert (
        len(browser.selected) == 0
        and browser.next.disabled
        and "no test example" in browser.page.value
    )


def test_the_browser_shows_all_classes_of_three(three, tiny):
    sizes = dict(n_train=96, n_val=33, n_test=63)
    arms = w2s.run_arms("three", f"{tiny}@1", tiny, method="probe", epochs=30, **sizes)
    browser = widgets.disagreements(arms)
    weak, student = (likeliest(arms.probs(arm)[0]) for arm in ("weak supervisor", "student, naive"))
    truth = three.test.hard_label
    both_wrong = (weak != student) & (weak != truth) & (student != truth)
    assert browser.rows.supervisor_says.tolist() == weak.tolist()
    assert browser.right.options[-1] == (
        f"nobody, and they differ ({both_wrong.sum()})",
        "neither",
    )
    assert browser.confidence.value[0] == 1 / 3
    confidence = arms.probs("student, naive")[0].max(axis=1)[browser.selected.index]
    assert len(confidence) > 3 and (np.diff(confidence) <= 0).all(), "the surest first"
    place = browser.selected.index[0]
    for name in THREE:
        assert f">{name}</span>" in browser.example.value
    for probability in arms.probs("student, naive")[0][place]:
        assert f"<span>{probability:.2f}</span>" in browser.example.value
    assert f"Truth: <b>{THREE[truth[place]]}</b>" in browser.example.value
    of_truth = arms.probs("weak supervisor")[0][np.arange(63), truth]
    assert browser.rows.supervisor.tolist() == of_truth.tolist()


def test_a_pair_is_shown_with_both_of_its_texts(words, tiny):
    arms = w2s.run_arms(
        "word_pairs", f"{tiny}@1", tiny, method="probe", epochs=2, n_train=64, n_val=32, n_test=64
    )
    rows = w2s.differences(arms)
    assert [(a, b) for a, b in zip(rows["first"], rows.second)] == list(arms.tasks[0].test.texts)
    card = plots.card(rows.iloc[0])
    better, worse = ("second", "first") if rows.truth[0] else ("first", "second")
    assert (
        f"<b>{better}, better</b>" in card
        and f"<b>{worse}, worse</b>" in card
        and rows.second[0] in card
    )


def test_html_in_a_text_is_escaped():
    row = pd.Series(
        dict(
            id="a",
            text="<script>alert(1)</script>",
            truth=1,
            supervisor=0.2,
            student=0.9,
            right="student",
        )
    )
    card = plots.card(row)
    assert (
        "<script>" not in card
        and "&lt;script&gt;" in card
        and "class 1" in card
        and "width: 90.0%" in card
    )


def test_answers_to_chess_puzzles_are_shown_with_a_board(monkeypatch):
    first = itertools.product(
        ("a3", "a4", "b3", "b4", "c3"), ("a6", "a5", "b6", "b5", "c6", "c5", "h6", "h5")
    )
    games = [f"1. {white} 1... {black} 2. f3 2... e5 3. g4 3..." for white, black in first]

    @w2s.register_task(
        "fool", lambda: {"all": [{"game": game} for game in games]}, max_len=80, max_answer=4
    )
    def fool(row):
        """Mate the fool."""
        yield Example((row["game"],), 0, (), " Qh4#", 6)

    task = w2s.load_task("fool", n_train=8, n_val=2, n_test=8)
    said = {
        "weak supervisor": [" Qh4#"] * 2 + [" d6"] * 6,
        "student, naive": [" d6"] + [" Qh4#"] * 4 + [" Nc6"] + [" d6"] * 2,
    }
    fits = {}
    for arm, answers in said.items():
        right = [answer == " Qh4#" for answer in answers]
        frame = pd.DataFrame(
            {
                "split": "test",
                "id": task.test.ids,
                "answer": answers,
                "right": right,
                "p_right": np.linspace(0.1, 0.8, 8),
            }
        )
        fits[arm] = [AnswerFit("a", {"summary": {}}, frame, pd.DataFrame(), "last")]
    browser = widgets.disagreements(
        Arms("a", "b", [task], fits | {"strong ceiling": fits["student, naive"]})
    )
    assert len(browser.selected) == 4 and browser.selected.p_right.is_monotonic_decreasing
    assert (
        "data:image/svg+xml" in browser.example.value
        and "answer <b>Qh4#</b>" in browser.example.value
    )
    browser.right.value = "neither"
    assert (
        len(browser.selected) == 1
        and "student <b>Nc6</b>, supervisor <b>d6</b>" in browser.example.value
    )
    figure = plots.differences(browser.rows, "t")
    assert [bar.y[0] for bar in figure.data] == [1, 3, 1, 3]


# what is stored, and its table


def test_the_table_of_runs_filters_pages_and_escapes(words, tiny, monkeypatch):
    w2s.run_arms(
        "words",
        tiny,
        f"{tiny}@1",
        losses=("confidence", "xent"),
        method="probe",
        epochs=30,
        **SIZES,
    )
    table = widgets.runs()
    table.worker.wait()
    assert len(table.selected) == 2 and table.filters["arm"].options == (
        "all",
        "student, naive",
        "student, confidence",
    )
    table.filters["arm"].value = "student, naive"
    assert len(table.selected) == 1 and "student, confidence" not in table.table.value
    names = [
        t["name"] for t in table.figure.outputs[0]["data"]["application/vnd.plotly.v1+json"]["data"]
    ]
    assert names == ["student, naive"]
    w2s.run_arms("words", f"{tiny}@2", f"{tiny}@1", method="probe", epochs=30, **SIZES)
    table.refresh.click()
    table.worker.wait()
    assert table.filters["arm"].value == "student, naive" and len(table.selected) == 2, (
        "filters outlive a second look"
    )
    monkeypatch.setattr(run_table, "ROWS_PER_PAGE", 1)
    table.next.click()
    assert "page 2 of 2" in table.page.value
    figure = table.figure.outputs[0]["data"]
    assert "settings 2 to 2 of 2" in figure["text/plain"], "the figure is of the page"
    table.next.click()
    assert "page 1 of 2" in table.page.value
    for asked, found in {f"{tiny}@2": 1, "no such model": 0}.items():
        chosen = widgets.runs(weak=asked)
        chosen.worker.wait()
        assert chosen.filters["weak"].value == asked and len(chosen.selected) == found
    with pytest.raises(ValueError, match="unknown filter of runs 'seed'"):
        widgets.runs(seed=0)
    with pytest.raises(ValueError, match=r"runs\(n_train=\[1, 2\]\): a filter takes one value"):
        widgets.runs(n_train=[1, 2])
    rows = table.rows.assign(setting="<b>&")
    assert "&lt;b&gt;&amp;" in run_table.html_of_rows(rows)


# what is stored of a widget, for pages without a kernel


def test_a_widget_stores_a_picture_of_itself_and_its_controls_in_words(explorer, monkeypatch):
    monkeypatch.setattr(pictures, "_draw", None)  # as where no browser is
    data, metadata = explorer._repr_mimebundle_()
    words = data["text/plain"]
    assert words.startswith("Explorer (live in a running kernel): task = words, supervisor = ")
    assert "loss = confidence, alpha = 0.5, weak labels = 96, seed = 0" in words
    assert set(data) == {"text/plain", "application/vnd.jupyter.widget-view+json"} and not metadata
    pages = []

    def draw(page, width, scale):
        pages.append(page)
        return b"png", (width, 700)

    monkeypatch.setattr(pictures, "_draw", draw)
    monkeypatch.setattr(pictures, "_smaller", lambda png: png)
    data_of = picture.plotly.io.renderers["plotly_mimetype"]
    renderers = Renderers(plotly_mimetype=data_of, picture=SimpleNamespace(png=FigurePng()))
    monkeypatch.setattr(picture.plotly.io, "renderers", renderers)
    explorer.n_labels.value = 54
    data, metadata = explorer._repr_mimebundle_()
    assert data["image/png"] == base64.b64encode(b"png").decode()
    assert (
        metadata["image/png"]["alt"] == data["text/plain"] and "labels = 54" in data["text/plain"]
    )
    (page,) = pages
    assert page.count("src='data:image/png;base64,figure'") == 2, "the figures of the last setting"
    assert "<span>54</span>" in page and "left: 50%" in page and "n_labels=54" in page
    assert "PGR" in page and not re.search(r"<p>[0-9.]+ s", page)
    assert "Cancel" not in page, "what is hidden is not drawn"


class Renderers(dict):
    default = "picture"


class FigurePng:
    def to_mimebundle(self, figure):
        return {"image/png": "figure"}


def test_texts_of_options_are_no_part_of_the_page():
    control = ipywidgets.Dropdown(description="<i>", options=["<script>"])
    page = picture.html_of(ipywidgets.VBox([control, ipywidgets.Textarea("<b>")]))
    assert "&lt;i&gt;" in page and "&lt;script&gt;" in page and "&lt;b&gt;" in page
    assert "<script" not in page and "<b>" not in page


def test_a_batch_run_waits_for_a_widget_longer_than_a_person_does(monkeypatch):
    class Shell:
        kernel = SimpleNamespace(_allow_stdin=False)

    monkeypatch.setattr(picture.sys.modules["IPython"], "get_ipython", Shell)
    assert not picture._somebody_waits()
    Shell.kernel._allow_stdin = True
    assert picture._somebody_waits()
    monkeypatch.setattr(picture.sys.modules["IPython"], "get_ipython", lambda: None)
    assert picture._somebody_waits()


def test_a_marked_pgr_is_marked_among_the_runs():
    measures = ("accuracy", "auroc", "pgr", "pgr_auroc", "agreement")
    numbers = {f"{n}{end}": 0.5 for n in measures for end in ("", "_low", "_high")}
    names = dict.fromkeys(("task", "weak", "strong", "arm", "method", "weak_method"), "a")
    row = names | numbers | dict(n_train=1, n_test=1, seeds=1, setting="")
    notes = ("", "supervisor not above chance")
    page = run_table.html_of_rows(pd.DataFrame([row | {"pgr_note": note} for note in notes]))
    assert page.count("0.500 [0.500, 0.500] †") == 1
    assert page.count("<p>† supervisor not above chance</p>") == 1


def test_a_line_of_the_figure_is_named_by_what_differs_between_lines():
    row = dict(
        arm="student, naive",
        task="a",
        weak="m@1",
        weak_method="probe",
        method="probe",
        n_train=10,
        setting="",
        n_test=20,
        seeds=1,
        pgr=0.5,
        pgr_low=0.4,
        pgr_high=0.6,
    )
    rows = pd.DataFrame(
        [
            row | dict(strong="m@2"),
            row | dict(strong="m@3"),
            row | dict(strong="m@3", weak="m@2"),
            row | dict(strong="m@3", pgr=np.nan),
        ]
    )
    figure = plots.pgr_by_size(rows, "t")
    assert [t.name for t in figure.data] == ["student, naive, weak m@1", "student, naive, weak m@2"]
    assert list(figure.data[0].x) == ["2 layers", "3 layers"]
    assert figure.data[0].marker.symbol != figure.data[1].marker.symbol
    assert len({t.line.color for t in figure.data}) == 1
    assert not plots.pgr_by_size(rows[rows.pgr.isna()], "t").data


def test_the_explorer_offers_a_registered_task(setting):
    register_words()
    assert "words" in setting_explorer._tasks_at_hand()
