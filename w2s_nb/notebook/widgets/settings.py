"""The explorer: one setting of a weak-to-strong experiment, changed by hand."""

from __future__ import annotations

import html
import shlex
from collections.abc import Sequence

import ipywidgets
import pandas as pd
import plotly.graph_objects as go

from ... import metrics, plots
from ...common.paths import data_dir
from ...common.registry import LOSSES, TASKS
from ...data.tasks.spec import Hub
from ...experiments.arms import WEAK, Arms
from ...experiments.one_setting import one_setting
from ...losses.contract import check_share, loss_args
from ...models.names import resolve
from .base import Latest, Status, choices, labelled, show

_DEPTHS = (
    1 / 15,
    2 / 15,
    1 / 5,
    4 / 15,
    2 / 5,
    8 / 15,
    2 / 3,
    4 / 5,
    1,
)  # of a model's layers, as rungs of its ladder
NOTEBOOK = "11_explorer"  # whose parameters are a setting


class Explorer(ipywidgets.VBox):
    """Controls, and accuracy, PGR, agreement and calibration of the setting that they make; see `explorer`.

    Attributes:
        task, weak, strong, loss, alpha, n_labels, seed: the controls.
        arms: the fits that are shown, or None before the first.
        copy: the text area with the lines that make the same fits.
    """

    def __init__(self, setting: dict, fixed: dict, tasks: Sequence[str], models: Sequence[str]):
        self.fixed, self.arms = fixed, None
        self.task = labelled(
            ipywidgets.Dropdown, "task", setting["task"], options=choices(tasks, setting["task"])
        )
        self.weak, self.strong = (
            labelled(ipywidgets.Dropdown, name, setting[key], options=choices(models, setting[key]))
            for name, key in (("supervisor", "weak"), ("student", "strong"))
        )
        self.loss = labelled(ipywidgets.Dropdown, "loss", setting["loss"], options=list(LOSSES))
        self.alpha = labelled(
            ipywidgets.FloatSlider,
            "alpha",
            setting["alpha"],
            min=0.0,
            max=1.0,
            step=0.05,
            continuous_update=False,
        )
        step = 10 if fixed["n_train"] <= 1000 else 100
        self.n_labels = labelled(
            ipywidgets.IntSlider,
            "weak labels",
            setting["n_labels"],
            min=min(step, setting["n_labels"]),
            max=fixed["n_train"],
            step=step,
            continuous_update=False,
        )
        self.seed = labelled(
            ipywidgets.IntSlider,
            "seed",
            setting["seed"],
            min=0,
            max=max(9, setting["seed"]),
            continuous_update=False,
        )
        controls = [
            self.task,
            self.weak,
            self.strong,
            self.loss,
            self.alpha,
            self.n_labels,
            self.seed,
        ]
        self.accuracy, self.calibration = ipywidgets.Output(), ipywidgets.Output()
        self.numbers, self.status = ipywidgets.HTML(), Status()
        self.form = labelled(
            ipywidgets.ToggleButtons, "the same by", "Python", options=["Python", "papermill"]
        )
        self.copy = ipywidgets.Textarea(rows=6, layout=ipywidgets.Layout(width="95%"))
        self.latest = Latest(lambda asked: one_setting(**asked, **fixed), self._show, self.status)
        for control in controls:
            control.observe(self._changed, "value")
        self.form.observe(lambda change: self._write(), "value")
        left = ipywidgets.VBox(
            [*controls, self.numbers], layout=ipywidgets.Layout(min_width="350px")
        )
        super().__init__(
            [
                ipywidgets.HBox(
                    [left, self.accuracy], layout=ipywidgets.Layout(flex_flow="row wrap")
                ),
                self.status,
                self.calibration,
                self.form,
                self.copy,
            ]
        )
        self._changed()

    @property
    def setting(self) -> dict:
        """What the controls say."""
        return {
            name: getattr(self, name).value
            for name in ("task", "weak", "strong", "loss", "alpha", "n_labels", "seed")
        }

    def python(self) -> str:
        """Lines that make the fits shown, and end in their table."""
        s = self.setting
        args = f", loss_args={{'alpha': {s['alpha']:g}}}" if self._weighted else ""
        sizes = ", ".join(f"{name}={value!r}" for name, value in self.fixed.items())
        return (
            f"import w2s_nb as w2s\n\narms = w2s.one_setting({s['task']!r}, {s['weak']!r}, {s['strong']!r}, "
            f"loss={s['loss']!r}{args},\n                   n_labels={s['n_labels']}, seeds=[{s['seed']}], "
            f"{sizes})\narms.table()"
        )

    def papermill(self) -> str:
        """The command that runs this notebook on the setting."""
        given = self.setting | self.fixed
        return f"papermill notebooks/{NOTEBOOK}.ipynb out.ipynb " + " ".join(
            f"-p {name} {shlex.quote(format(value, 'g' if isinstance(value, float) else ''))}"
            for name, value in given.items()
        )

    @property
    def _weighted(self) -> bool:
        return "alpha" in loss_args(self.loss.value)

    def _changed(self, change=None) -> None:
        self.alpha.disabled = not self._weighted
        self._write()
        asked = self.setting
        alpha, seed = asked.pop("alpha"), asked.pop("seed")
        self.latest.ask(
            asked | {"loss_args": {"alpha": alpha} if self._weighted else {}, "seeds": [seed]}
        )

    def _write(self) -> None:
        self.copy.value = self.python() if self.form.value == "Python" else self.papermill()

    def _show(self, asked: dict, arms: Arms) -> None:
        self.arms = arms
        show(self.accuracy, bars(arms))
        self.numbers.value = numbers(arms)
        show(self.calibration, calibration(arms))


def bars(arms: Arms) -> go.Figure:
    """Accuracy of the arms of `explore`."""
    labels = len(arms.fits[arms.students[0]][0].record["trained_on"])
    title = f"{arms.tasks[0].name}: {arms.strong} taught by {arms.weak}<br>{labels} labels, {_seeds(arms)}"
    table = pd.DataFrame({arm: arms.accuracy(arm).as_dict("accuracy") for arm in arms.fits}).T
    return plots.accuracy(table, arms.by_seed(), title).update_layout(width=560)


def calibration(arms: Arms) -> go.Figure:
    """Calibration of supervisor and student of `explore` on the test examples, at the first seed."""
    probs = {arm: arms.probs(arm)[0] for arm in (WEAK, arms.students[0])}
    return plots.reliability(
        probs,
        arms.hard_label,
        f"calibration on {len(arms.hard_label)} test examples, seed {arms.tasks[0].seed}",
    )


def numbers(arms: Arms) -> str:
    """PGR, agreement and expected calibration errors of `explore`, with 95 % intervals, as an HTML table."""
    test, student = arms.tasks[0].test, arms.students[0]
    rows = {
        "PGR": arms.pgr(student),
        "agreement": arms.agreement(student),
        "on its mistakes": arms.agreement(student, on="mistakes"),
    }
    rows |= {
        f"ECE, {'supervisor' if arm == WEAK else 'student'}": metrics.calibration_error(
            arms.probs(arm), test.hard_label, group=test.group
        )
        for arm in (WEAK, student)
    }
    lines = "".join(
        f"<tr><td style='padding-right: 12px'>{name}</td><td>{html.escape(format(value, '.2f'))}</td></tr>"
        for name, value in rows.items()
    )
    return f"<table style='color: var(--jp-content-font-color1, #222); line-height: 1.4'>{lines}</table>"


def _seeds(arms: Arms) -> str:
    return "seed " + ", ".join(str(task.seed) for task in arms.tasks)


def explorer(
    task: str = "movie_snippets",
    weak: str = "SmolLM2-135M@4",
    strong: str = "SmolLM2-135M@16",
    *,
    loss: str = "confidence",
    alpha: float = 0.5,
    n_labels: int | None = None,
    seed: int = 0,
    n_train: int = 600,
    n_val: int = 200,
    n_test: int = 800,
    method: str = "probe",
    tasks: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
) -> Explorer:
    """Controls of one setting, and what follows from it, a second after each change (by probe, on stored features).

    Work that takes longer, such as features of another task or a deeper model, shows how far it is and can be
    cancelled; every fit is stored, so a setting seen before is there at once.

    Args:
        task, weak, strong, loss, alpha, n_labels, seed: where it starts; n_labels None takes the whole half. alpha is
            an argument of the loss, where it has one of that name.
        n_train, n_val, n_test, method: of `explore`, for all settings.
        tasks: offered; None takes the embedded ones and those with files in `W2S_DATA`.
        models: offered; None takes depths of the student's model.
    Raises:
        UnknownName, ValueError: a name or number that does not exist.
    """
    tasks = [
        name
        for name in (tasks or _tasks_here())
        if TASKS[name].arity and not TASKS[name].max_answer
    ]
    for model in (weak, strong, *(models or ())):
        resolve(model)
    setting = dict(
        task=task,
        weak=weak,
        strong=strong,
        loss=loss,
        alpha=alpha,
        seed=seed,
        n_labels=n_train if n_labels is None else n_labels,
    )
    TASKS[task], loss_args(loss)  # refuse what does not exist
    check_share("alpha", alpha)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed = {seed!r}; expected a whole number from 0")
    if not 2 <= setting["n_labels"] <= n_train:
        raise ValueError(
            f"n_labels = {n_labels}; expected a whole number from 2 to n_train, {n_train}"
        )
    fixed = dict(n_train=n_train, n_val=n_val, n_test=n_test, method=method)
    return Explorer(setting, fixed, tasks, models or _rungs(strong))


def _tasks_here() -> list[str]:
    """Tasks whose examples can be had without a network."""
    return [
        name
        for name, spec in TASKS.items()
        if not isinstance(spec.source, Hub)
        or (data_dir() and any((data_dir() / folder).is_dir() for folder in spec.folders))
    ]


def _rungs(strong: str) -> list[str]:
    """Depths of the student's model, from small to large; the model alone where it cannot be cut."""
    whole = resolve(strong)
    depth = whole.full_layers
    if not depth:
        return [strong]
    return [
        f"{whole.base}@{k}" if k < depth else whole.base
        for k in dict.fromkeys(max(1, round(part * depth)) for part in _DEPTHS)
    ]
