"""Holds what all figures share: colours, axes, intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

WEAK, CEILING = "weak supervisor", "strong ceiling"
# Okabe and Ito's palette, distinguishable with any colour vision
COLOURS = {
    WEAK: "#E69F00",
    "student, naive": "#56B4E9",
    "student, confidence": "#0072B2",
    "student, product": "#009E73",
    "student, entropy": "#CC79A7",
    "student, l2_confidence": "#332288",
    "student, generalized_xent": "#D55E00",
    "student, label_smoothing": "#882255",
    "student, reverse_xent": "#44AA99",
    "student, temporal_ensembling": "#999933",
    "bootstrapped, same data": "#D55E00",
    "bootstrapped, fresh data": "#009E73",
    "bootstrapped, further data": "#009E73",
    CEILING: "#7F7F7F",
    "lp(weak)": "#CC79A7",
    "lp(gt)": "#AA4499",
    "ft(weak)": "#56B4E9",
    "ft(weak) + lp(gt)": "#009E73",
    "ft(gt)": "#7F7F7F",
    "before": "#AA4499",
    "after": "#009E73",
    "zero-shot": "#DDCC77",
    "few-shot, ground truth": "#117733",
    "few-shot, weak labels": "#44AA99",
    "labels only": "#56B4E9",
    "student on text first": "#009E73",
    "both on text first": "#CC79A7",
}
_MORE = ("#AA4499", "#117733", "#DDCC77", "#661100", "#6699CC")
_UNBOUNDED = 100.0  # length of an interval's arm that has no end, beyond every axis


def colour(arm: str) -> str:
    """Returns the colour of an arm; an arm of a new loss always gets the same one of a few."""
    if arm not in COLOURS:
        COLOURS[arm] = _MORE[sum(map(ord, arm)) % len(_MORE)]
    return COLOURS[arm]


def figure_of(title: str, x: str, y: str, **layout) -> go.Figure:
    """Returns an empty figure in the kit's style; `x` and `y` are the titles of the axes."""
    figure = go.Figure()
    figure.update_layout(
        template="simple_white",
        title=title,
        width=760,
        height=430,
        margin=dict(t=60, r=20),
        legend=dict(orientation="h", y=-0.22),
        **layout,
    )
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y, gridcolor="#E5E5E5", showgrid=True)
    return figure


def by_measure(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Returns rows with the numbers of a measure in the columns that figures draw.

    Args:
        measure: 'accuracy' leaves the rows as they are; 'auroc' puts the columns auroc and
            pgr_auroc, their intervals and notes in the place of accuracy and pgr.
    Raises:
        ValueError: another measure, or rows without AUROC.
    """
    if measure == "accuracy":
        return rows
    if measure != "auroc":
        raise ValueError(f"measure = {measure!r}; expected 'accuracy' or 'auroc'")
    if not {"auroc", "pgr_auroc"} & set(rows):
        raise ValueError(
            "the rows have no AUROC: it is not of generated answers, nor of very many classes; "
            "expected a column auroc or pgr_auroc, as Arms.table has"
        )
    ends = ("", "_low", "_high", "_note")
    names = {f"pgr_auroc{end}": f"pgr{end}" for end in ends}
    names |= {f"auroc{end}": f"accuracy{end}" for end in ends}
    by_auroc = {new: rows[old] for old, new in names.items() if old in rows}
    return rows.drop(columns=[new for new in names.values() if new in rows]).assign(**by_auroc)


def pgr_title(measure: str) -> str:
    """Returns the title of an axis of PGR."""
    return "performance gap recovered" + (", by AUROC" if measure == "auroc" else "")


def measure_title(measure: str) -> str:
    """Returns the title of an axis of accuracy or AUROC."""
    return "test AUROC" if measure == "auroc" else "test accuracy"


def interval_of(low, value, high) -> dict:
    """Returns plotly's error bar for an interval; an end that is not finite leaves every axis.

    Args:
        low, value, high: numbers or sequences of numbers of one length.
    """
    low, value, high = (np.atleast_1d(np.asarray(v, dtype=float)) for v in (low, value, high))
    return dict(
        type="data",
        symmetric=False,
        array=np.nan_to_num(high - value, posinf=_UNBOUNDED),
        arrayminus=np.nan_to_num(value - low, posinf=_UNBOUNDED),
        color="#222222",
        thickness=1.3,
    )


def add_dotted_line(
    figure: go.Figure, y: float, text: str, position: str | None = "top left"
) -> None:
    """Adds a thin dotted horizontal line, such as that of chance."""
    figure.add_hline(
        y=y,
        line_dash="dot",
        line_width=1.5,
        annotation_text=text,
        annotation_position=position,
    )


def chance_of(table: pd.DataFrame) -> float | None:
    """Returns the accuracy of guessing that a table of arms has in `attrs["chance"]`.

    It is None where there is none, or where the table's experiments have different ones.
    """
    chance = table.attrs.get("chance")
    values = set(chance.values()) if isinstance(chance, dict) else {chance}
    return values.pop() if len(values) == 1 else None


def add_chance(figure: go.Figure, chance: float | None, position: str | None = "top left") -> None:
    """Adds the dotted line of guessing; none where the accuracy of guessing is not known."""
    if chance is not None:
        add_dotted_line(figure, chance, "chance", position)


def add_references(figure: go.Figure, accuracies: dict[str, float], position: str) -> None:
    """Adds the accuracy of each arm, {arm: accuracy}, as a dashed horizontal line in its colour."""
    for arm, value in accuracies.items():
        figure.add_hline(
            y=value,
            line_color=colour(arm),
            line_dash="dash",
            line_width=2,
            annotation_text=arm,
            annotation_position=position,
        )


def add_pgr_ends(figure: go.Figure) -> None:
    """Adds the lines of a PGR of 0, the supervisor, and of 1, the ceiling."""
    for y, arm, text in ((0, WEAK, "supervisor"), (1, CEILING, "ceiling")):
        figure.add_hline(
            y=y,
            line_color=colour(arm),
            line_width=2,
            annotation_text=text,
            annotation_position="top left",
        )


def pgr_points(rows: pd.DataFrame, names: Sequence[str] | None = None) -> dict:
    """Returns what a trace of PGRs says of each point: a dagger where it is marked, and on hover
    its name, value, interval and note.

    Args:
        rows: columns pgr, pgr_low, pgr_high; pgr_note, if there is one.
        names: of the rows.
    """
    notes = _notes(rows)
    names = [""] * len(rows) if names is None else names
    hovers = []
    numbers = zip(names, rows.pgr, rows.pgr_low, rows.pgr_high, notes, strict=True)
    for name, value, low, high, note in numbers:
        lines = [str(name), f"{value:.3f} [{low:.3f}, {high:.3f}]", note]
        hovers.append("<br>".join(filter(None, lines)))
    return dict(
        text=["†" if note else "" for note in notes],
        textposition="middle right",
        textfont=dict(size=16),
        hovertext=hovers,
        hoverinfo="text",
    )


def add_notes(figure: go.Figure, rows: pd.DataFrame) -> None:
    """Adds a line below the title for each note of marked PGRs."""
    notes = dict.fromkeys(filter(None, _notes(rows)))
    if notes:
        figure.add_annotation(
            text="† " + "; ".join(notes),
            xref="paper",
            yref="paper",
            x=0,
            y=1,
            yanchor="bottom",
            showarrow=False,
        )


def _notes(rows: pd.DataFrame) -> list[str]:
    return rows["pgr_note"].fillna("").tolist() if "pgr_note" in rows else [""] * len(rows)


def pgr_range(rows: pd.DataFrame) -> list[float]:
    """Returns a range of the PGR axis that shows every point, but not the whole of a long interval.

    Args:
        rows: columns pgr, pgr_low, pgr_high.
    """
    ends = np.r_[rows.pgr_low, rows.pgr_high]
    finite_ends = ends[np.isfinite(ends)]
    in_view = np.r_[np.clip(finite_ends, -1.5, 2.5), rows.pgr, 0, 1]
    return [in_view.min() - 0.15, in_view.max() + 0.15]


def short(names: list[str]) -> list[str]:
    """Returns names of models as tick labels: of one model cut to several depths, the depths alone.

    >>> short(["SmolLM2-135M@4", "SmolLM2-135M@12"]), short(["gpt2", "gpt2-xl"])
    (['4 layers', '12 layers'], ['gpt2', 'gpt2-xl'])
    """
    bases = {name.rpartition("@")[0] for name in names}
    if len(bases) > 1 or "" in bases:
        return list(names)
    return [f"{name.rpartition('@')[2]} layers" for name in names]


def ticks_of(names: pd.Series) -> dict[str, str]:
    """Returns {model: tick label} of the models of a column, in their order."""
    models = list(dict.fromkeys(names))
    return dict(zip(models, short(models), strict=True))
