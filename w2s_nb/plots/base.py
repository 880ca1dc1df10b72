"""Holds what all figures share: colours, axes, intervals."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..common.intervals import interval_text

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
    "direct supervision": "#56B4E9",
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
    "length": "#CC79A7",
    "bag of words": "#117733",
    "neighbouring words": "#D55E00",
    "bandit": "#882255",
}
_MORE = ("#AA4499", "#117733", "#DDCC77", "#661100", "#6699CC")
_UNBOUNDED = 100.0  # length of an interval's arm that has no end, beyond every axis
GREY = "#6E6E6E"
LINE = "#808080"  # of axes and intervals: seen on a light and on a dark ground
_CLEAR = "rgba(0,0,0,0)"
_BUTTONS = ("select", "lasso", "zoomin", "zoomout", "autoscale")  # left out: they lie over titles
_GRID = "rgba(128,128,128,0.25)"
_WORD = 14  # letters of a tick label in one line
# pixels: mean width of a letter of the title and of the settings, height of a line's name
_TITLE_LETTER, _SETTINGS_LETTER, _NAME_HEIGHT = 8.8, 6.3, 15


def colour(arm: str) -> str:
    """Returns the colour of an arm; an arm of a new loss always gets the same one of a few."""
    if arm not in COLOURS:
        COLOURS[arm] = _MORE[sum(map(ord, arm)) % len(_MORE)]
    return COLOURS[arm]


def figure_of(
    title: str,
    x: str,
    y: str,
    *,
    settings: str = "",
    width: int = 760,
    height: int = 430,
    **layout,
) -> go.Figure:
    """Returns an empty figure in the kit's style, on a transparent ground.

    Args:
        title: what is seen.
        x, y: titles of the axes.
        settings: task, models, method, seeds; they stand below the title, smaller.
        width, height: pixels; a long title or long settings take more lines, and height.
        layout: of plotly.
    """
    title_lines = _lines(title, width / _TITLE_LETTER)
    settings_lines = _lines(settings, width / _SETTINGS_LETTER)
    more = 22 * (len(title_lines) - 1) + 15 * max(0, len(settings_lines) - 1)
    figure = go.Figure()
    figure.update_layout(
        template="simple_white",
        title=dict(
            text="<br>".join(title_lines),
            x=0.02,
            y=1,
            yref="container",
            yanchor="top",
            pad=dict(t=12 + 20 * (len(title_lines) - 1)),  # plotly anchors the last line
            subtitle=dict(text="<br>".join(settings_lines), font=dict(size=12, color=GREY)),
        ),
        width=width,
        height=height + more,
        margin=dict(t=80 + more, r=20, b=40),
        # at the foot of the figure, where no title of an axis is
        legend=dict(orientation="h", yref="container", y=0, yanchor="bottom", x=0),
        modebar=dict(remove=list(_BUTTONS)),
        paper_bgcolor=_CLEAR,
        plot_bgcolor=_CLEAR,
        **layout,
    )
    figure.update_xaxes(title=x, linecolor=LINE, tickcolor=LINE)
    figure.update_yaxes(title=y, linecolor=LINE, tickcolor=LINE)
    figure.update_yaxes(gridcolor=_GRID, showgrid=True)
    return figure


def put_panels_into(figure: go.Figure, frame: go.Figure) -> go.Figure:
    """Gives a figure of several panels the title, the size and the style of an empty one.

    Args:
        figure: of `make_subplots`.
        frame: of `figure_of`, without titles of axes.
    """
    figure.update_layout(frame.layout)
    figure.update_layout(xaxis_title_text="", yaxis_title_text="")
    figure.update_annotations(font_size=14)  # the panels' titles
    figure.update_xaxes(linecolor=LINE, tickcolor=LINE)
    figure.update_yaxes(linecolor=LINE, tickcolor=LINE, gridcolor=_GRID, showgrid=True)
    return figure.update_layout(
        margin_t=frame.layout.margin.t + 14, height=frame.layout.height + 14
    )


def _lines(text: str, letters: float) -> list[str]:
    """Returns a text in lines of at most so many letters; its own line breaks stay."""
    lines = []
    for part in text.split("<br>"):
        lines += textwrap.wrap(part, int(letters), break_long_words=False) or [""]
    return lines


def wrapped(name: str) -> str:
    """Returns a tick label in lines of some letters, so that it need not be turned.

    >>> wrapped("student, temporal_ensembling"), wrapped("weak supervisor")
    ('student,<br>temporal_ensembling', 'weak<br>supervisor')
    """
    return "<br>".join(_lines(name, _WORD)) or name


def name_places(axis, names: Sequence[str]) -> None:
    """Writes the names of a category axis level, in lines, in the order given.

    Args:
        axis: `figure.layout.xaxis` or `yaxis`.
    """
    axis.update(
        type="category",
        categoryorder="array",
        categoryarray=list(names),
        tickvals=list(names),
        ticktext=[wrapped(name) for name in names],
        tickangle=0,
        title_standoff=12,
    )


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


def faint(shade: str, opacity: float) -> str:
    """Returns a colour '#rrggbb' as one that lets through what is below.

    >>> faint("#0072B2", 0.2)
    'rgba(0,114,178,0.2)'
    """
    red, green, blue = (int(shade[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


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
        color=LINE,
        thickness=1.5,
    )


def add_dotted_line(figure: go.Figure, y: float, text: str, **place) -> None:
    """Adds a thin dotted horizontal line, such as that of chance, with its name right of the plot.

    Args:
        place: `row` and `col` of a figure with several panels.
    """
    figure.add_hline(
        y=y,
        line_dash="dot",
        line_width=1.5,
        line_color=LINE,
        annotation_text=text,
        annotation_position="right",
        **place,
    )
    figure.update_layout(margin_r=max(figure.layout.margin.r, 16 + 7 * len(text)))


def chance_of(table: pd.DataFrame) -> float | None:
    """Returns the accuracy of guessing that a table of arms has in `attrs["chance"]`.

    It is None where there is none, or where the table's experiments have different ones.
    """
    chance = table.attrs.get("chance")
    values = set(chance.values()) if isinstance(chance, dict) else {chance}
    return values.pop() if len(values) == 1 else None


def add_chance(figure: go.Figure, chance: float | None) -> None:
    """Adds the dotted line of guessing; none where the accuracy of guessing is not known."""
    if chance is not None:
        add_dotted_line(figure, chance, "chance")


def name_lines(
    figure: go.Figure, heights: Mapping[str, float], frame: Sequence[float], **line
) -> None:
    """Adds horizontal lines with their names right of the plot, where no point is.

    Names of lines that lie close together are moved apart.

    Args:
        heights: {name: y}; a line of an arm has its colour.
        frame: lower and upper end of the y axis, which is set to them.
        line: of plotly, in place of the usual dash.
    """
    low, high = frame
    plot = figure.layout.height - figure.layout.margin.t - 110  # pixels, about
    apart = _NAME_HEIGHT * (high - low) / plot
    names = sorted(heights, key=lambda name: heights[name])
    places: list[float] = []
    for name in names:
        lowest = places[-1] + apart if places else low
        places.append(max(heights[name], lowest))
    over = places[-1] - high if places else 0.0
    for i in reversed(range(len(places))):  # down again from the upper end
        ceiling = high if i == len(places) - 1 else places[i + 1] - apart
        places[i] = min(places[i], ceiling) if over > 0 else places[i]
    for name, place in zip(names, places, strict=True):
        shade = COLOURS.get(name, LINE)
        style = dict(line_color=shade, line_width=2) if name in COLOURS else dict(line_width=1.5)
        dash = dict(line_dash="dash" if name in COLOURS else "dot")
        figure.add_hline(y=heights[name], **(style | dash | line))
        figure.add_annotation(
            text=name, x=1, xref="paper", xanchor="left", xshift=4, y=place, showarrow=False
        )
    longest = max(map(len, names), default=0)
    figure.update_layout(margin_r=max(figure.layout.margin.r, 16 + 7 * longest))
    figure.update_yaxes(range=[low, high])


def frame_of(*values, room: float = 0.06, within: Sequence[float] = (-np.inf, np.inf)) -> list:
    """Returns a range of an axis that shows all finite values, with some room at both ends.

    Args:
        values: numbers, or sequences of them.
        room: share of the range.
        within: ends that the range does not leave.
    """
    all_values = np.concatenate([np.atleast_1d(np.asarray(v, dtype=float)) for v in values])
    finite = all_values[np.isfinite(all_values)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    space = room * (high - low) or 0.05
    return [max(within[0], low - space), min(within[1], high + space)]


def add_pgr_ends(figure: go.Figure, *, panel: int | None = None) -> None:
    """Adds the lines of a PGR of 0, the supervisor, and of 1, the ceiling.

    Args:
        panel: the column that gets them; None adds them to all, with the names beside the last.
    """
    for end, arm, text in ((0, WEAK, "supervisor"), (1, CEILING, "ceiling")):
        style = dict(line_color=colour(arm), line_width=2)
        if turned(figure):
            place = dict(annotation_text=text, annotation_position="bottom right")
            figure.add_vline(x=end, **style, **place)
            continue
        figure.add_hline(y=end, **style, **({"row": 1, "col": panel} if panel else {}))
        # outside the plot, where no point is
        figure.add_annotation(
            text=text,
            x=1,
            xref="paper",
            xanchor="left",
            xshift=4,
            y=end,
            yref=f"y{panel}" if panel and panel > 1 else "y",
            showarrow=False,
        )
        figure.update_layout(margin_r=max(figure.layout.margin.r, 90))


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
        lines = [str(name), interval_text(value, low, high), note]
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


def pgr_range(rows: pd.DataFrame, dots: pd.Series | None = None) -> list[float]:
    """Returns a range of the PGR axis that shows every point, but not the whole of a long interval.

    Args:
        rows: columns pgr, pgr_low, pgr_high.
        dots: PGRs of single seeds, which are shown too.
    """
    ends = np.r_[rows.pgr_low, rows.pgr_high]
    finite_ends = ends[np.isfinite(ends)]
    seeds = [] if dots is None else dots.dropna()
    in_view = np.r_[np.clip(finite_ends, -1.5, 2.5), rows.pgr, seeds, 0, 1]
    low, high = in_view.min(), in_view.max()
    # where an interval goes on beyond the frame, room for its mark
    low -= 0.4 if (ends < low).any() else 0.15
    high += 0.4 if (ends > high).any() else 0.15
    return [low, high]


def turned(figure: go.Figure) -> bool:
    """Tells whether a figure has its names one below another, and values from left to right."""
    return bool(figure.layout.meta and figure.layout.meta.get("turned"))


def add_points(figure: go.Figure, **trace) -> None:
    """Adds a scatter trace, given as in an upright figure: names on x, values on y."""
    if turned(figure):
        trace["x"], trace["y"] = trace["y"], trace["x"]
        if "error_y" in trace:
            trace["error_x"] = trace.pop("error_y")
        trace["orientation"] = "h"  # arms of one place stand below one another
    figure.add_scatter(**trace)


def mark_beyond(
    figure: go.Figure, rows: pd.DataFrame, x: str, frame: Sequence[float], **panel
) -> None:
    """Adds a triangle, with the number, where an interval of PGR goes on beyond the frame.

    Args:
        rows: columns pgr_low, pgr_high, arm and the column `x`, the place.
        frame: lower and upper end of the axis of values.
        panel: `row` and `col` of a figure with several panels.
    """
    low, high = frame
    room = 0.02 * (high - low)
    down, up = ("left", "right") if turned(figure) else ("down", "up")
    below = [(row, row["pgr_low"], low + room, down) for row in rows.to_dict("records")]
    above = [(row, row["pgr_high"], high - room, up) for row in rows.to_dict("records")]
    beyond = [each for each in below if each[1] < low] + [each for each in above if each[1] > high]
    arms = list(dict.fromkeys(rows.arm))
    for row, end, at, symbol in beyond:
        side = "left" if len(arms) > 1 and row["arm"] == arms[0] else "right"
        add_points(
            figure,
            x=[row[x]],
            y=[at],
            mode="markers+text",
            marker=dict(symbol=f"triangle-{symbol}", size=9, color=LINE),
            text=[f"{end:.1f}" if np.isfinite(end) else "no end"],
            textposition="top center" if turned(figure) else f"middle {side}",
            textfont=dict(size=11),
            showlegend=False,
            hoverinfo="skip",
            offsetgroup=row["arm"],
            **panel,
        )


def short(names: list[str]) -> list[str]:
    """Returns names of models as tick labels: of one model cut to several depths, the depths alone.

    >>> short(["SmolLM2-135M@4", "SmolLM2-135M@12"]), short(["gpt2", "gpt2-xl"])
    (['4 layers', '12 layers'], ['gpt2', 'gpt2-xl'])
    """
    bases = {name.rpartition("@")[0] for name in names}
    if len(bases) > 1 or "" in bases:
        return list(names)
    return [f"{name.rpartition('@')[2]} layers" for name in names]


def short_pair(name: str) -> str:
    """Returns a pair of models in short: of one model cut to two depths, the depths alone.

    >>> short_pair("SmolLM2-135M@4 -> SmolLM2-135M@16"), short_pair("gpt2 -> gpt2-xl")
    ('4 → 16', 'gpt2 → gpt2-xl')
    """
    models, *settings = name.split(", ")
    weak, arrow, strong = models.partition(" -> ")
    if not arrow:
        return name
    bases = {model.rpartition("@")[0] for model in (weak, strong)}
    if len(bases) == 1 and "" not in bases:
        weak, strong = (model.rpartition("@")[2] for model in (weak, strong))
    return ", ".join([f"{weak} → {strong}", *settings])


def ticks_of(names: pd.Series) -> dict[str, str]:
    """Returns {model: tick label} of the models of a column, in their order."""
    models = list(dict.fromkeys(names))
    return dict(zip(models, short(models), strict=True))
