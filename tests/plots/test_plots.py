"""Figures show the numbers of the tables that they are given."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import w2s_nb as w2s
from w2s_nb import plots
from w2s_nb.plots import findings


@pytest.fixture
def arms(words, tiny):
    return w2s.run_arms(
        "words",
        f"{tiny}@1",
        tiny,
        losses=("xent", "confidence"),
        n_train=96,
        n_val=32,
        n_test=64,
        seeds=2,
        method="probe",
        epochs=30,
    )


def test_figures_show_the_tables_numbers(arms):
    table, by_seed = arms.table(), arms.by_seed()
    figure = plots.accuracy(table, by_seed, "title")
    points = [t for t in figure.data if t.name]
    assert [p.y[0] for p in points] == table.accuracy.tolist()
    assert [p.x[0] for p in points] == [p.name for p in points] == list(table.index)
    assert [p.text[0].strip() for p in points] == [f"{v:.3f}" for v in table.accuracy]
    assert [len(t.y) for t in figure.data if not t.name] == [2] * 4, "a circle per seed"
    low = [p.y[0] - p.error_y.arrayminus[0] for p in points]
    assert low == pytest.approx(table.accuracy_low.tolist())
    assert len({p.marker.color for p in points}) == 4
    assert points[0].marker.color == plots.COLOURS["weak supervisor"]


ENDS = ("", "_low", "_high")
BOTH = pd.DataFrame(
    [
        {"arm": arm, "strong": "m@4", "task": "t", "auroc": area, "auroc_low": area - 0.1}
        | {"auroc_high": area + 0.1, "accuracy": 0.7, "accuracy_low": 0.6, "accuracy_high": 0.8}
        | {name + end: value for name, value in (("pgr", 0.4), ("pgr_auroc", 0.6)) for end in ENDS}
        | {"seed": 0, "pgr_note": "held against accuracy", "pgr_auroc_note": note}
        for arm, area, note in (
            ("student, naive", 0.85, ""),
            ("student, confidence", 0.9, "held against AUROC"),
        )
    ]
)


def test_figures_by_auroc_draw_its_columns_notes_and_chance():
    by_arm = BOTH.set_index("arm")
    for figure in (
        plots.accuracy(by_arm, BOTH, "t", chance=0.9, measure="auroc"),
        plots.by_task(BOTH, BOTH, "t", chance={"t": 0.9}, measure="auroc"),
    ):
        assert [y for t in figure.data if t.name for y in t.y] == [0.85, 0.9]
        assert figure.layout.yaxis.title.text == "test AUROC"
        assert [shape.y0 for shape in figure.layout.shapes] == [0.5], "the AUROC of guessing"
    assert [t.y[0] for t in plots.accuracy_by_size(BOTH, "t", measure="auroc").data] == [0.85, 0.9]
    medians = BOTH.assign(pgr=0.6)
    for figure in (
        plots.pgr(BOTH, BOTH, "t", x="arm", measure="auroc"),
        plots.spread(BOTH, medians, "t", x="arm", hover="task", measure="auroc"),
    ):
        assert {y for t in figure.data for y in t.y} == {0.6}
        assert figure.layout.yaxis.title.text == "performance gap recovered, by AUROC"
        assert "† held against AUROC" in [note.text for note in figure.layout.annotations]


def test_without_a_measure_figures_are_of_accuracy():
    figure = plots.pgr(BOTH, BOTH, "t", x="arm")
    assert {y for t in figure.data for y in t.y} == {0.4}
    assert "† held against accuracy" in [note.text for note in figure.layout.annotations]


def test_figures_refuse_another_measure_and_rows_without_auroc():
    with pytest.raises(ValueError, match="measure = 'f1'; expected 'accuracy' or 'auroc'"):
        plots.pgr(BOTH, BOTH, "t", x="arm", measure="f1")
    answered = BOTH.drop(columns=[name for name in BOTH if "auroc" in name])
    with pytest.raises(ValueError, match="the rows have no AUROC: it is not of generated answers"):
        plots.accuracy_by_size(answered, "t", measure="auroc")


def test_an_arm_has_the_same_colour_in_every_figure(arms):
    table = arms.table().reset_index().assign(strong="m", pgr=0.5, pgr_low=0.4, pgr_high=0.6)
    for figure in (
        plots.accuracy_by_size(table, "t"),
        plots.pgr(table, arms.by_seed(), "t", x="arm"),
    ):
        for trace in figure.data:
            if trace.name:
                assert plots.COLOURS[trace.name] in (trace.line.color, trace.marker.color)


def test_figures_of_imitation_show_the_tables_numbers(arms, words, tiny):
    rows = arms.imitation()
    panels = plots.by_size(rows, "agreement", "t")
    assert [t.y[0] for t in panels.data if t.name == "student, naive"] == [
        rows.loc[0, f"agreement_{on}"] for on in ("all", "mistakes", "correct")
    ]
    points = plots.gain(rows.assign(pair="a -> b"), "t").data[1:]
    assert [(p.x[0], p.y[0]) for p in points] == list(zip(rows.misfit, rows.gain))
    curves = {arm: [f.curve for f in arms.fits[arm]] for arm in arms.students}
    figure = plots.training_curves(curves, {"strong ceiling": 0.9}, "t")
    thick = next(t for t in figure.data if t.name == "student, naive")
    curves_by_seed = [f.curve.test_accuracy.to_numpy() for f in arms.fits["student, naive"]]
    assert list(thick.y) == pytest.approx(sum(curves_by_seed) / 2)
    assert "64 test examples" in figure.layout.title.subtitle.text
    assert "strong ceiling" in [note.text for note in figure.layout.annotations]


def test_curves_without_validation_labels_have_no_dotted_line(words, tiny):
    truth = w2s.SoftLabels.truth(words.student)
    few = w2s.fit(tiny, words.student, truth, method="probe", epochs=3, evals=2, curve_test=8)
    figure = plots.training_curves({"student, naive": [few.curve]}, {}, "t")
    assert [t.name for t in figure.data if t.name] == ["student, naive"]
    assert "8 test examples" in figure.layout.title.subtitle.text
    band, line = figure.data
    low, high = np.split(np.asarray(band.y), 2)
    ends = stats.binomtest(round(8 * line.y[0]), 8).proportion_ci(method="wilson")
    assert (low[0], high[-1]) == pytest.approx((ends.low, ends.high))


def test_a_curve_from_before_training_has_a_linear_axis():
    """No logarithmic axis has a place for the start of training."""
    n = 3
    curve = pd.DataFrame(
        {"progress": [0, 0.01, 1], "test_accuracy": [0.5, 0.6, 0.7], "test_n": [64] * n}
    ).assign(validation_accuracy_on_labels=np.nan)
    figure = plots.training_curves({"student, naive": [curve]}, {}, "t")
    assert figure.layout.xaxis.type != "log"
    assert 0 in next(t for t in figure.data if t.name == "student, naive").x


def test_flow_figure_draws_every_answer(words, tiny):
    chain = w2s.run_chain(
        "words",
        [f"{tiny}@1", f"{tiny}@2", tiny],
        n_train=96,
        n_val=32,
        n_test=64,
        method="probe",
        epochs=3,
    )
    sankey = plots.flow(chain.flow(), chain.models, "t").data[0]
    assert sum(sankey.link.value) == 2 * 64 and len(sankey.node.label) == 8
    wrong = [chain.probs(step)[0].argmax(1) != chain.test.hard_label for step in range(3)]
    assert sankey.node.label[1].endswith(f"wrong {wrong[0].sum()}")
    assert sankey.node.label[6].endswith(f"still wrong {(wrong[0] & wrong[2]).sum()}")
    assert sankey.node.label[7].endswith(f"newly wrong {(~wrong[0] & wrong[2]).sum()}")


def test_a_pgr_outside_of_the_usual_range_is_still_shown():
    table = pd.DataFrame(
        {
            "arm": ["student, naive"] * 2,
            "labels": ["a", "b"],
            "pgr": [0.2, -3.0],
            "pgr_low": [0.0, -9.0],
            "pgr_high": [0.4, -1.0],
        }
    )
    assert plots.pgr(table, table, "t", x="labels").layout.yaxis.range[0] < -3


def rows_of(values: dict, x: str = "labels") -> pd.DataFrame:
    """Rows of naive students: {place: (PGR, low, high)}."""
    return pd.DataFrame(
        [
            {"arm": "student, naive", x: place, "pgr": pgr, "pgr_low": low, "pgr_high": high}
            for place, (pgr, low, high) in values.items()
        ]
    )


def test_an_interval_beyond_the_frame_has_a_mark_with_its_end():
    """The reader of a picture cannot tell a cut interval from a short one."""
    rows = rows_of({"a": (0.2, -5.44, 0.4), "b": (0.3, 0.1, math.inf), "c": (0.1, 0.0, 0.2)})
    figure = plots.pgr(rows, rows, "t", x="labels")
    marks = {
        t.x[0]: (t.marker.symbol, t.text[0])
        for t in figure.data
        if "triangle" in str(t.marker.symbol)
    }
    assert marks == {"a": ("triangle-down", "-5.4"), "b": ("triangle-up", "no end")}
    low, high = figure.layout.yaxis.range
    assert all(low < t.y[0] < high for t in figure.data)


def test_a_seed_far_from_the_mean_is_inside_the_frame():
    rows = rows_of({"a": (0.2, 0.1, 0.4)})
    seeds = rows_of({"a": (-4.31, -4.31, -4.31)})
    assert plots.pgr(rows, seeds, "t", x="labels").layout.yaxis.range[0] < -4.31


def test_a_pair_without_a_pgr_is_named_and_pairs_are_short():
    pairs = {f"m@{weak} -> m@16": (0.2, 0.1, 0.3) for weak in (4, 8)}
    rows = rows_of({**pairs, "m@4 -> m@8": (math.nan,) * 3}, x="pair")
    figure = plots.pgr(rows, rows, "probe, 5 seeds", x="pair")
    assert list(figure.layout.xaxis.ticktext) == ["4 → 16", "8 → 16"]
    said = figure.layout.title.subtitle.text
    assert said == "probe, 5 seeds; no PGR, as the gap is within its error: 4 → 8"


def test_many_places_stand_one_below_another_with_published_values_beside_them():
    rows = rows_of({f"loss {i}": (i / 10, i / 10 - 0.1, i / 10 + 0.1) for i in range(8)})
    figure = plots.pgr(rows, rows, "t", x="labels")
    assert list(figure.layout.yaxis.ticktext) == [f"loss {i}" for i in range(8)], "largest on top"
    plots.paper_mark(figure, 0.9, x="loss 2", label="theirs")
    assert (figure.data[-1].x, figure.data[-1].y) == ((0.9,), ("loss 2",))


@pytest.mark.parametrize(
    "values, said",
    [
        ([(0.5, 0.3, 0.7)], "The student recovers 50 % of the gap"),
        ([(0.5, 0.3, 0.7), (0.6, 0.4, 0.8)], "Students recover 50 to 60 % of the gap"),
        ([(0.2, -0.1, 0.4)], "The student recovers 20 % of the gap, not beyond the error"),
        (
            [(0.2, -0.1, 0.4), (0.5, 0.3, 0.7)],
            "Students recover 20 to 50 % of the gap; 1 of 2 beyond the error",
        ),
        ([(math.nan,) * 3], "There is no gap between supervisor and ceiling beyond its error"),
    ],
)
def test_the_title_says_what_students_recover(values, said):
    table = rows_of({str(i): each for i, each in enumerate(values)})
    table["arm"] = [f"student, {i}" for i in range(len(values))]
    ends = {"accuracy": 0.7, "accuracy_low": 0.6, "accuracy_high": 0.8}
    table = table.assign(**ends)
    figure = plots.accuracy(table.set_index("arm"), table.assign(seed=0), "top, 1 seed")
    assert figure.layout.title.text == said and figure.layout.title.subtitle.text == "top, 1 seed"


def test_a_title_of_ones_own_is_kept():
    rows = rows_of({"a": (0.2, 0.1, 0.4)})
    assert plots.pgr(rows, rows, "t", x="labels", title="Mine").layout.title.text == "Mine"


def dotted_lines(figure):
    """Heights of the figure's dotted lines."""
    return [shape.y0 for shape in figure.layout.shapes if shape.line.dash == "dot"]


def test_the_line_of_chance_is_that_of_the_tables_task(arms):
    table, by_seed = arms.table(), arms.by_seed()
    assert dotted_lines(plots.accuracy(table, by_seed, "t")) == [0.5]
    assert dotted_lines(plots.accuracy(table.round(3)[1:], by_seed, "t")) == [0.5]
    assert dotted_lines(plots.accuracy(table, by_seed, "t", chance=0.25)) == [0.25]
    table.attrs["chance"] = 1 / 3
    figure = plots.accuracy(table, by_seed, "t")
    assert dotted_lines(figure) == [1 / 3] and figure.layout.yaxis.range[0] < 1 / 3
    of_no_task = pd.DataFrame(table.to_dict())
    assert not dotted_lines(plots.accuracy(of_no_task, by_seed, "t"))


@pytest.mark.parametrize(
    "chance, lines", [((0.5, 0.5), [0.5]), ((0.5, 1 / 3), [0.5, 1 / 3]), ((None, None), [])]
)
def test_tasks_of_unequal_chance_have_a_line_each(chance, lines):
    names = ["two", "three"]
    table = pd.DataFrame({"task": names, "arm": "weak supervisor", "accuracy": 0.7})
    table = table.assign(accuracy_low=0.6, accuracy_high=0.8)
    known = {name: value for name, value in zip(names, chance) if value is not None}
    figure = plots.by_task(table, table, "t", chance=known)
    assert dotted_lines(figure) == lines
    assert figure.layout.yaxis.range[0] < min([0.6, *lines])
    table.attrs["chance"] = known
    assert plots.by_task(table, table, "t").to_json() == figure.to_json()


def test_calibration_of_two_classes_is_that_of_class_1():
    p1 = np.array([0.12, 0.18, 0.55, 0.95])
    figure = plots.reliability(np.stack([1 - p1, p1], axis=1), np.array([0, 1, 1, 1]), "t")
    assert figure.data[1].x == pytest.approx((0.15, 0.55, 0.95))
    assert figure.data[1].y == pytest.approx((0.5, 1.0, 1.0))
    titles = figure.layout.xaxis.title.text, figure.layout.yaxis.title.text
    assert titles == ("predicted P(y = 1)", "share of class 1")


def test_calibration_of_three_classes_is_that_of_the_predicted_class():
    probs = np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.1, 0.1, 0.8], [0.4, 0.4, 0.2]])
    truth = np.array([0, 2, 2, 1])
    points = plots.reliability(probs, truth, "t", bins=10).data[1]
    assert points.x == pytest.approx((0.4, 0.5, 0.8))  # of equal ones the last class is predicted
    assert points.y == pytest.approx((1.0, 0.5, 1.0))
    order = [2, 0, 1]
    renamed = plots.reliability(probs[:3, order], np.argsort(order)[truth[:3]], "t")
    same = plots.reliability(probs[:3], truth[:3], "t")
    assert renamed.to_json() == same.to_json()


def test_intervals_of_shares_are_wilsons_and_inside_the_frame():
    """Those of the normal distribution leave [0, 1], and have no width where all are right."""
    confidence = np.linspace(0.4, 0.9, 10)
    right = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1], dtype=bool)
    figure = plots.quality_by_confidence(confidence, right, "t", parts=2)
    first, last = figure.data[0].y
    bars = figure.data[0].error_y
    ends = stats.binomtest(1, 5).proportion_ci(method="wilson")
    assert (first, last) == (0.2, 1.0)
    assert first - bars.arrayminus[0] == pytest.approx(ends.low)
    assert first + bars.array[0] == pytest.approx(ends.high)
    assert bars.arrayminus[1] > 0.3 and last + bars.array[1] == pytest.approx(1.0)
    assert figure.layout.yaxis.range[0] <= ends.low


def test_nodes_of_a_flow_stand_below_one_another():
    """Newly wrong answers were drawn inside those that are still wrong."""
    counts = pd.DataFrame(
        [
            (0, "right", "right", 50),
            (0, "right", "new", 40),
            (0, "passed on", "passed on", 900),
            (0, "passed on", "right", 10),
        ],
        columns=["step", "before", "after", "examples"],
    )
    node = plots.flow(counts, ["m@1", "m@2"], "t").data[0].node
    right, still, new = node.y[2:]
    shares = [60 / 1000, 900 / 1000, 40 / 1000]
    assert still - right > 0.8 * (shares[0] + shares[1]) / 2
    assert new - still > 0.8 * (shares[1] + shares[2]) / 2


CLASSES = ("red", "green<", "blue")


def rows_of_three():
    """Rows as `w2s.differences` has them, of three classes."""
    rows = pd.DataFrame(
        {
            "id": ["a", "b"],
            "text": ["one", "two"],
            "truth": [2, 1],
            "supervisor": [0.2, 0.6],
            "student": [0.7, 0.1],
            "supervisor_says": [0, 1],
            "student_says": [2, 0],
            "right": ["student", "supervisor"],
        }
    )
    rows.attrs["classes"] = CLASSES
    return rows


def test_differences_of_three_classes_are_those_of_the_true_class():
    rows = rows_of_three()
    figure = plots.differences(rows, "t", chosen="a")
    student_alone = next(t for t in figure.data if t.name == "student alone right: 1")
    assert (student_alone.x, student_alone.y) == ((0.2,), (0.7,))
    assert student_alone.text == ("truth blue<br>supervisor red<br>student blue",)
    assert figure.layout.xaxis.title.text == "supervisor's P(true class)"
    assert dotted_lines(figure) == [1 / 3] * 1 + [0]  # across, and the one upwards


def test_a_card_names_all_classes_with_the_probabilities_of_both_models():
    row = rows_of_three().iloc[0]
    probs = {"supervisor": np.array([0.5, 0.3, 0.2]), "student": np.array([0.06, 0.24, 0.7])}
    card = plots.card(row, probs=probs)
    assert "Truth: <b>blue</b>" in card and "green&lt;" in card and "green<" not in card
    for number in ("0.50", "0.30", "0.20", "0.06", "0.24", "0.70"):
        assert f"<span>{number}</span>" in card
    alone = plots.card(row)
    assert "P(true class)" in alone and "<span>0.70</span>" in alone and "0.24" not in alone


def test_a_card_of_many_classes_shows_the_truth_and_the_likeliest():
    row = rows_of_three().iloc[0].copy()
    row.attrs["classes"] = tuple(f"kind {k}" for k in range(40))
    probs = {model: np.full(40, 0.02) for model in ("supervisor", "student")}
    probs["supervisor"][[7, 8, 9, 10, 11]] = 0.07
    probs["student"][[9, 10, 11, 12, 13]] = 0.07
    card = plots.card(row, probs=probs)
    shown = [k for k in range(40) if f">kind {k}</span>" in card]
    assert shown == [2, 7, 8, 9, 10, 11, 12, 13] and "32 further classes" in card


def test_a_card_of_two_classes_has_their_names():
    row = rows_of_three().iloc[1].copy()
    row.attrs["classes"] = ("bad", "good")
    assert "Truth: <b>class 1, good</b>" in plots.card(row)
    row.attrs["classes"] = ("0", "1")
    assert "Truth: <b>class 1</b>" in plots.card(row)


NOTED = pd.DataFrame(
    {
        "arm": ["student, naive"] * 3,
        "labels": ["x", "y", "z"],
        "hover": ["run x", "run y", "run z"],
        "strong": ["m@1", "m@2", "m@3"],
        "pgr": [0.2, 0.5, 0.8],
        "pgr_low": [0.1, 0.4, 0.2],
        "pgr_high": [0.3, 0.6, 2.5],
        "pgr_note": ["", None, "supervisor not above chance"],
        "seeds": 1,
        **dict.fromkeys(("task", "weak", "weak_method", "method", "setting"), "same"),
        **dict.fromkeys(("n_train", "n_test"), 10),
    }
)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rows: plots.pgr(rows, rows.iloc[:0], "t", x="labels"),
        lambda rows: plots.pgr_by_size(rows, "t"),
        lambda rows: plots.spread(rows, rows.iloc[:2], "t", x="labels", hover="hover"),
    ],
)
def test_a_marked_pgr_is_marked_in_the_figure(draw):
    def texts(figure):
        return [a.text for a in figure.layout.annotations if "†" in a.text]

    figure = draw(NOTED)
    points = next(t for t in figure.data if len(t.y) == 3 and t.text is not None)
    assert list(points.text) == ["", "", "†"] and "text" in points.mode
    assert "supervisor not above chance" in points.hovertext[2]
    assert "0.800 [0.200, 2.500]" in points.hovertext[2]
    assert "chance" not in points.hovertext[0] and "0.200 [0.100, 0.300]" in points.hovertext[0]
    assert texts(figure) == ["† supervisor not above chance"]
    assert not texts(draw(NOTED.assign(pgr_note="")))
    assert not texts(draw(NOTED.drop(columns="pgr_note")))


def test_the_end_of_training_is_told_in_plain_numbers():
    def said(best, end=0.7):
        curve = [0.01, best, 1.0], [0.5, 0.8, end]
        return findings.say_over_training({"student, naive": curve})

    assert "best (0.80) after 50 %, 0.70 at the end" in said(0.5)
    assert "after 1.5 %" in said(0.015)
    assert "best at the end (0.90)" in said(0.5, end=0.9)


def test_a_mark_stands_at_its_series():
    """It stood in a place of its own, right of all series."""
    rows = NOTED.assign(pgr_note="", pgr_low=[-9.0, 0.4, 0.2])
    both = pd.concat([rows, rows.assign(setting="alpha = 0.25", pgr_low=rows.pgr - 0.1)])
    figure = plots.pgr_by_size(both, "t")
    series = {trace.offsetgroup for trace in figure.data if trace.name}
    (mark,) = [trace for trace in figure.data if "triangle-down" in str(trace.marker.symbol)]
    assert mark.offsetgroup in series and mark.x == ("1 layers",)
