"""Says in a sentence what a figure shows, from the numbers that it draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .base import CEILING, WEAK, ticks_of

NO_GAP = "There is no gap between supervisor and ceiling beyond its error"


def say_recovered(table: pd.DataFrame) -> str:
    """Says how much of the gap the students of a table recover.

    Args:
        table: rows with pgr, pgr_low; arms as index or in the column arm.
    """
    rows = table if "arm" in table else table.rename_axis("arm").reset_index()
    if "pgr" not in rows:
        values = [f"{bare(row.arm)} {row.accuracy:.3f}" for row in rows.itertuples()]
        return f"Test accuracy: {', '.join(values)}" if len(values) < 5 else "Test accuracy"
    rows = rows[~rows.arm.isin((WEAK, CEILING))]
    if not len(rows):
        return "Test accuracy"
    rows = rows.dropna(subset=["pgr"])
    if not len(rows):
        return NO_GAP
    who, verb = ("The student", "recovers") if len(rows) == 1 else ("Students", "recover")
    said = f"{who} {verb} {_share(rows.pgr)} of the gap"
    sure = int((rows.pgr_low > 0).sum())
    if sure == len(rows):
        return said
    worse = _below(rows)
    if worse and worse == len(rows):
        who = "The student is" if worse == 1 else "Students are"
        return f"{who} worse than the supervisor"
    if sure:
        said = f"{said}; {sure} of {len(rows)} beyond the error"
    else:
        said = f"{said}, not beyond the error"
    return f"{said}; {worse} below the supervisor" if worse else said


def say_above(rows: pd.DataFrame) -> str:
    """Says for how many of several PGRs the interval is above 0.

    Args:
        rows: columns pgr, pgr_low; those without a PGR count as none.
    """
    known = rows.dropna(subset=["pgr"])
    if not len(known):
        return NO_GAP
    if len(known) == 1:
        return say_recovered(known.assign(arm="student"))
    sure = int((known.pgr_low > 0).sum())
    if sure == len(known):
        return f"All {sure} students recover a part of the gap: {_share(known.pgr)}"
    if sure:
        said = f"{sure} of {len(known)} students recover a part of the gap beyond the error"
    else:
        said = f"None of {len(known)} students recovers more of the gap than the error"
    worse = _below(known)
    return f"{said}; {worse} fell below the supervisor" if worse else said


def say_medians(rows: pd.DataFrame) -> str:
    """Says for how many medians of PGR the interval is above 0.

    Args:
        rows: columns pgr, pgr_low; those without a PGR count as none.
    """
    known = rows.dropna(subset=["pgr"])
    if not len(known):
        return NO_GAP
    above = int((known.pgr_low > 0).sum())
    return f"{above} of {len(known)} medians of PGR are above 0 beyond the error"


def say_repeated(rows: pd.DataFrame) -> str:
    """Says how many of the supervisor's mistakes the students repeat.

    Args:
        rows: columns arm, on, value.
    """
    repeated = rows[rows.on == "mistakes"].dropna(subset=["value"])
    if not len(repeated):
        return "Agreement with the supervisor"
    who, verb = ("The student", "repeats") if len(repeated) == 1 else ("Students", "repeat")
    return f"{who} {verb} {_share(repeated.value)} of the supervisor's mistakes"


def say_told_apart(table: pd.DataFrame, level: float) -> str:
    """Says how many methods are told from naive finetuning after correction.

    Args:
        table: columns difference, p_holm; rows without p_holm are not tested.
        level: below which a p-value counts.
    """
    tested = table.dropna(subset=["p_holm"])
    found = tested[tested.p_holm < level]
    better = int((found.difference > 0).sum())
    said = f"{better} of {len(tested)} methods beat naive finetuning, corrected for their number"
    worse = len(found) - better
    return f"{said}; {worse} {'is' if worse == 1 else 'are'} worse" if worse else said


def say_by_size(rows: pd.DataFrame, ticks: dict[str, str]) -> str:
    """Says what arms gain from the smallest to the largest student.

    Args:
        rows: columns arm, strong, accuracy, ordered by size.
        ticks: {model: its short name}.
    """
    models = list(dict.fromkeys(rows.strong))
    if len(models) < 2:
        return "Test accuracy"
    gains = []
    for arm, of_arm in rows[rows.arm != WEAK].groupby("arm", sort=False):
        by_model = of_arm.set_index("strong").accuracy
        if {models[0], models[-1]} <= set(by_model.index):
            gain = 100 * (by_model[models[-1]] - by_model[models[0]])
            gains.append(f"{arm} {gain:+.1f}")
    if not gains:
        return "Test accuracy by the student's size"
    sizes = between(ticks[models[0]], ticks[models[-1]])
    return f"From {sizes}, in points: {'; '.join(gains[:3])}"


def say_by_task(table: pd.DataFrame) -> str:
    """Says for how many students on several tasks the interval of PGR is above 0.

    Args:
        table: columns task, arm; pgr and pgr_low where there is a PGR.
    """
    if "pgr" not in table or table.pgr.isna().all():
        return f"Test accuracy on {table.task.nunique()} tasks"
    return say_above(table[~table.arm.isin((WEAK, CEILING))])


def say_best_depth(rows: pd.DataFrame) -> str:
    """Says above which layer the probes of each arm are best.

    Args:
        rows: columns arm ('before', 'after'), layers, accuracy.
    """
    said: list[str] = []
    for arm, probes in rows.groupby("arm", sort=False):
        best = probes.loc[probes.accuracy.idxmax()]
        what = f"{arm} finetuning" if not said else f"{arm} it"
        said.append(f"{what} above layer {best.layers:.0f} ({best.accuracy:.2f})")
    return f"Best probes: {', '.join(said)}"


def say_by_shots(rows: pd.DataFrame) -> str:
    """Says how accuracy changes from the fewest to the most shots, with intervals.

    Args:
        rows: columns shots, accuracy, accuracy_low, accuracy_high, by the number of shots.
    """
    first, last = rows.iloc[0], rows.iloc[-1]
    few, many = rows.shots.iloc[0], rows.shots.iloc[-1]
    if len(rows) < 2:
        return f"Accuracy with {few} shots: {_interval(first, 'accuracy')}"
    ends = f"{_interval(first, 'accuracy')} to {_interval(last, 'accuracy')}"
    return f"From {few} to {many} shots accuracy goes from {ends}"


def say_over_training(curves: dict[str, tuple[pd.Series, pd.Series]]) -> str:
    """Says where in training each arm is best, and where it ends.

    Args:
        curves: {arm: (progress, test accuracy)}, the mean over seeds.
    """
    said = []
    for arm, (progress, accuracy) in curves.items():
        values = np.asarray(accuracy)
        best = int(values.argmax())
        if best == len(values) - 1:
            said.append(f"{bare(arm)} best at the end ({values[best]:.2f})")
            continue
        percent = f"{100 * np.asarray(progress)[best]:.1f}".removesuffix(".0")
        peak = f"best ({values[best]:.2f}) after {percent} %"
        said.append(f"{bare(arm)} {peak}, {values[-1]:.2f} at the end")
    return f"Over training: {'; '.join(said)}"


def say_copied(rows: pd.DataFrame, measure: str, ticks: dict[str, str]) -> str:
    """Says how agreement on the supervisor's mistakes changes from the smallest to the largest
    student.

    Args:
        rows: columns arm, strong and the measure on mistakes, ordered by size.
        measure: 'agreement' or 'cross_entropy'.
        ticks: {model: its short name}.
    """
    models = list(dict.fromkeys(rows.strong))
    said = []
    for arm, of_arm in rows.groupby("arm", sort=False):
        by_model = of_arm.set_index("strong")[f"{measure}_mistakes"]
        if len(models) > 1 and {models[0], models[-1]} <= set(by_model.index):
            said.append(f"{bare(arm)} {by_model[models[0]]:.2f} to {by_model[models[-1]]:.2f}")
    what = f"{measure.replace('_', '-').capitalize()} on the supervisor's mistakes"
    if not said:
        return what
    return f"{what}, from {between(ticks[models[0]], ticks[models[-1]])}: {', '.join(said)}"


def say_gain(rows: pd.DataFrame) -> str:
    """Says for how many students the gain seen is as predicted within the errors.

    Args:
        rows: columns gain, misfit and their intervals.
    """
    below = int((rows.gain_high < rows.misfit_low).sum())
    above = int((rows.gain_low > rows.misfit_high).sum())
    alike = len(rows) - below - above
    said = [f"Within its error the gain is as predicted for {alike} of {len(rows)} students"]
    said += [f"below it for {below}"] if below else []
    said += [f"above it for {above}"] if above else []
    return ", ".join(said)


def say_survived(counts: pd.DataFrame, first: str, last: str) -> str:
    """Says how many of the first model's mistakes the last one still makes, and how many are new.

    Args:
        counts: `Chain.flow()`.
        first, last: names of the models.
    """
    start = counts[(counts.step == 0) & (counts.before != "right")].examples.sum()
    end = counts[counts.step == counts.step.max()]
    old = end[end.after == "passed on"].examples.sum()
    new = end[end.after == "new"].examples.sum()
    said = f"Of {start:.0f} mistakes at {first}, {old:.0f} are left at {last}"
    return f"{said}, and {new:.0f} are new"


def say_biased(rows: pd.DataFrame) -> str:
    """Says how many models prefer longer texts more often than the truth does, beyond the error.

    Args:
        rows: columns length_bias_low, length_bias_high.
    """
    more = int((rows.length_bias_low > 0).sum())
    less = int((rows.length_bias_high < 0).sum())
    said = f"{more} of {len(rows)} models prefer longer texts too often, beyond the error"
    return f"{said}; {less} too seldom" if less else said


def say_perplexity(rows: pd.DataFrame) -> str:
    """Says each model's perplexity before and after generative finetuning.

    Args:
        rows: columns model, when ('before', 'after'), value.
    """
    ticks = ticks_of(rows.model)
    said = []
    for model, of_model in rows.groupby("model", sort=False):
        values = " to ".join(large(value) for value in of_model.value)
        if values.count(" million") == len(of_model):  # the word once
            values = values.replace(" million", "") + " million"
        said.append(f"{values} ({ticks[model]})")
    return f"Perplexity {' and '.join(dict.fromkeys(rows.when))}: {', '.join(said)}"


def say_calibration(distances: dict[str, float]) -> str:
    """Says how far predictions lie from the diagonal of calibration.

    Args:
        distances: {arm: mean distance over examples}.
    """
    if len(distances) == 1:
        said = [f"{distance:.2f}" for distance in distances.values()]
    else:
        said = [f"{bare(arm)} {distance:.2f}" for arm, distance in distances.items()]
    return f"Mean distance from the diagonal: {', '.join(said)}"


def say_by_confidence(shares: Sequence[float], ends: Sequence[tuple[float, float]]) -> str:
    """Says which share of labels is right in the least and in the most confident part.

    Args:
        shares: of each part, from the least confident.
        ends: 95 % intervals of the shares.
    """
    first, last = (
        f"{shares[i]:.2f} [{ends[i][0]:.2f}, {ends[i][1]:.2f}]" for i in (0, len(shares) - 1)
    )
    return f"Share that is right: {first} of the least confident, {last} of the most"


def say_caught(rows: pd.DataFrame, budget: float) -> str:
    """Says which share of the harm the students find within a budget, and the best other monitor.

    Args:
        rows: columns monitor, budget, recall; the ceiling does not count as another monitor.
        budget: share audited; the nearest of the rows is taken.
    """
    nearest = rows.budget.iloc[(rows.budget - budget).abs().argmin()]
    recall = rows[rows.budget == nearest].set_index("monitor").recall
    students = [name for name in recall.index if name.startswith("student")]
    others = recall.drop([*students, *recall.index.intersection([CEILING])])
    named = students + ([others.idxmax()] if len(others) else [])
    found = [f"{bare(name)} {100 * recall[name]:.0f} %" for name in named]
    return f"Within a budget of {100 * nearest:.3g} % the harm found is: {', '.join(found)}"


def say_right_by(counts: pd.Series) -> str:
    """Says how many examples student and supervisor alone get right.

    Args:
        counts: {'student', 'supervisor', ...: examples}.
    """
    alone = [int(counts.get(who, 0)) for who in ("student", "supervisor")]
    total = int(counts.sum())
    return (
        f"Of {total} test examples the student alone is right on {alone[0]}, "
        f"the supervisor alone on {alone[1]}"
    )


def say_confused(table: pd.DataFrame) -> str:
    """Says which class is least often recognised, and what it is most often taken for.

    Args:
        table: a row per true class, a column per predicted class, shares.
    """
    right = pd.Series({name: table.loc[name, name] for name in table.index if name in table})
    if not len(right) or right.isna().all():
        return "Predicted classes"
    worst = right.idxmin()
    taken = table.loc[worst].drop(worst)
    said = f'"{worst}" is recognised least ({right[worst]:.2f})'
    if len(taken) and taken.max() > 0:
        said += f', and mostly taken for "{taken.idxmax()}" ({taken.max():.2f})'
    return said


def say_elsewhere(students: pd.DataFrame, home: str) -> str:
    """Says for how many students the interval of PGR is above 0 where they were trained, and on
    other tasks.

    Args:
        students: columns tested_on, pgr, pgr_low; those without a PGR count as none.
        home: the task that they were trained on.
    """
    said = []
    for where, rows in (("at home", students.tested_on == home), ("elsewhere", None)):
        some = students[rows if rows is not None else students.tested_on != home]
        if len(some):
            said.append(f"{int((some.pgr_low > 0).sum())} of {len(some)} {where}")
    return f"PGR above 0 beyond the error: {', '.join(said)}" if said else NO_GAP


def say_by_supervisor(rows: pd.DataFrame, ticks: dict[str, str]) -> str:
    """Says the PGR of each arm with the smallest and with the largest supervisor.

    Args:
        rows: columns arm, weak, pgr, ordered by the supervisor's size.
        ticks: {model: its short name}.
    """
    known = rows.dropna(subset=["pgr"])
    if not len(known):
        return NO_GAP
    said = []
    for arm, of_arm in known.groupby("arm", sort=False):
        first, last = of_arm.iloc[0], of_arm.iloc[-1]
        said.append(f"{bare(arm)} {first.pgr:.2f} to {last.pgr:.2f}")
    weak = list(dict.fromkeys(known.weak))
    return f"PGR by supervisor, {between(ticks[weak[0]], ticks[weak[-1]])}: {', '.join(said)}"


def say_parts(table: pd.DataFrame, column: str) -> str:
    """Says in which part of the test set an arm answers best, and in which worst: the first
    student that is in several parts, or else the first arm that is.

    Args:
        table: columns arm, accuracy and the column that names the parts.
        column: its name.
    """
    rows = table.dropna(subset=["accuracy"])
    several = [arm for arm, of_arm in rows.groupby("arm", sort=False) if len(of_arm) > 1]
    if not several:
        return "Exact match by part of the test set"
    arm = next((arm for arm in several if arm.startswith("student")), several[0])
    rows = rows[rows.arm == arm]
    ends = {"best": rows.accuracy.idxmax(), "worst": rows.accuracy.idxmin()}
    said = [f"{end} in {rows[column][i]} ({rows.accuracy[i]:.2f})" for end, i in ends.items()]
    return f"Exact match, {bare(arm)}: {', '.join(said)}"


def say_line(series: dict[str, tuple], y: str) -> str:
    """Says where lines begin and end; of more than three, the one that changes most.

    Args:
        series: {name: (x, y)}.
        y: what is drawn.
    """
    drawn = {bare(name): list(ys) for name, (_, ys) in series.items()}
    ends = {name: (ys[0], ys[-1]) for name, ys in drawn.items() if ys}
    what = y[:1].upper() + y[1:]
    said = [f"{name} from {first:.3g} to {last:.3g}" for name, (first, last) in ends.items()]
    if not said:
        return what
    if len(series) == 1:
        ((first, last),) = ends.values()
        return f"{what} from {first:.3g} to {last:.3g}"
    if len(said) <= 3:
        return f"{what}: {', '.join(said)}"
    most = max(ends, key=lambda name: abs(ends[name][1] - ends[name][0]))
    return f"{what} changes most for {most}: {ends[most][0]:.3g} to {ends[most][1]:.3g}"


def bare(arm: str) -> str:
    """Returns an arm's name without "student", as titles name it.

    >>> bare("student, naive"), bare("weak supervisor")
    ('naive', 'weak supervisor')
    """
    return arm.removeprefix("student, ")


def between(first: str, last: str) -> str:
    """Returns "from to" of two sizes, with their unit once.

    >>> between("4 layers", "16 layers"), between("gpt2", "gpt2-xl")
    ('4 to 16 layers', 'gpt2 to gpt2-xl')
    """
    first = first.removesuffix(" layers") if last.endswith(" layers") else first
    return f"{first} to {last}" if first != last else last


def large(value: float) -> str:
    """Returns a number that may be large in a few letters.

    >>> large(157.3), large(301809), large(217487813), large(3.2e12)
    ('157', '301,809', '217 million', '3.2e+12')
    """
    if value < 1e6:
        return f"{value:,.0f}"
    return f"{value / 1e6:,.0f} million" if value < 1e10 else f"{value:.2g}"


def _interval(row: pd.Series, column: str) -> str:
    return f"{row[column]:.2f} [{row[f'{column}_low']:.2f}, {row[f'{column}_high']:.2f}]"


def _below(rows: pd.DataFrame) -> int:
    """Returns for how many rows the interval of PGR is below 0."""
    return int((rows.pgr_high < 0).sum()) if "pgr_high" in rows else 0


def _share(shares: pd.Series) -> str:
    low, high = (round(100 * end) for end in (shares.min(), shares.max()))
    return f"{low} %" if low == high else f"{low} to {high} %"
