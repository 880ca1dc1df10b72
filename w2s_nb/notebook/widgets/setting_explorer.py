"""The explorer: one setting of a weak-to-strong experiment, changed by hand."""

from __future__ import annotations

import contextlib
import html
import shlex
from collections.abc import Sequence

import ipywidgets
import pandas as pd
import plotly.graph_objects as go

from ... import metrics, plots
from ...common.paths import data_dir
from ...common.progress import collect_warnings
from ...common.registry import LOSSES, TASKS
from ...data.tasks.spec import Hub
from ...experiments.arms import WEAK, Arms, has_auroc
from ...experiments.one_setting import one_setting, sizes_of
from ...losses.contract import check_share, loss_args
from ...models.encoders import with_depth
from ...models.names import resolve
from .base import BackgroundWorker, Status, labelled, options_with, show_figure
from .picture import PicturedBox

NOTEBOOK = "11_explorer"  # its parameters are those of a setting
# Depths of the student's model that are offered, as shares of its layers.
_DEPTHS = (1 / 15, 2 / 15, 1 / 5, 4 / 15, 2 / 5, 8 / 15, 2 / 3, 4 / 5, 1)
_CONFUSED = range(3, 21)  # numbers of classes whose confusion can be seen in a figure
_SIZES = ("n_train", "n_val", "n_test")
_CONTROLS = ("task", "weak", "strong", "loss", "alpha", "n_labels", "seed")


class Explorer(PicturedBox):
    """Controls, and accuracy, PGR, agreement and calibration of their setting; see `explorer`.

    Of three to twenty classes there is also how the student confuses them.

    Attributes:
        task, weak, strong, loss, alpha, n_labels, seed: the controls.
        fixed: arguments of `one_setting` that no control changes. Of its sizes the task that is
            chosen takes no more than its own on two cores, and multiples of its classes.
        arms: the fits that are shown, or None before the first.
        code: the text area with the lines that make the same fits.
    """

    def __init__(self, setting: dict, fixed: dict, tasks: Sequence[str], models: Sequence[str]):
        self.fixed = fixed
        self._first_task = setting["task"]
        self.arms: Arms | None = None
        self._make_dropdowns(setting, tasks, models)
        self._make_sliders(setting)
        self._make_outputs()
        self.worker = BackgroundWorker(self._fit, self._show, self.status)
        controls = [getattr(self, name) for name in _CONTROLS]
        for control in controls:
            control.observe(self._changed, "value")
        self.language.observe(lambda change: self._write_code(), "value")
        left = ipywidgets.VBox(
            [*controls, self.numbers], layout=ipywidgets.Layout(min_width="350px")
        )
        top = ipywidgets.HBox([left, self.accuracy], layout=ipywidgets.Layout(flex_flow="row wrap"))
        below = ipywidgets.HBox(
            [self.calibration, self.confusion], layout=ipywidgets.Layout(flex_flow="row wrap")
        )
        super().__init__([top, self.status, below, self.language, self.code])
        self._changed()

    def _make_dropdowns(self, setting: dict, tasks: Sequence[str], models: Sequence[str]) -> None:
        def dropdown(label: str, name: str, options: Sequence[str]) -> ipywidgets.Dropdown:
            chosen = setting[name]
            return labelled(
                ipywidgets.Dropdown, label, chosen, options=options_with(chosen, options)
            )

        self.task = dropdown("task", "task", tasks)
        self.weak = dropdown("supervisor", "weak", models)
        self.strong = dropdown("student", "strong", models)
        self.loss = dropdown("loss", "loss", list(LOSSES))

    def _make_sliders(self, setting: dict) -> None:
        def slider(kind: type, label: str, value, **limits):
            return labelled(kind, label, value, continuous_update=False, **limits)

        n_train = self.fixed["n_train"]
        n_labels = setting["n_labels"]
        seed = setting["seed"]
        step = 10 if n_train <= 1000 else 100
        self.alpha = slider(
            ipywidgets.FloatSlider, "alpha", setting["alpha"], min=0.0, max=1.0, step=0.05
        )
        self.n_labels = slider(
            ipywidgets.IntSlider,
            "weak labels",
            n_labels,
            min=min(step, n_labels),
            max=n_train,
            step=step,
        )
        self.seed = slider(ipywidgets.IntSlider, "seed", seed, min=0, max=max(9, seed))

    def _make_outputs(self) -> None:
        self.accuracy = ipywidgets.Output()
        self.calibration = ipywidgets.Output()
        self.confusion = ipywidgets.Output()
        self.numbers = ipywidgets.HTML()
        self.status = Status()
        self.language = labelled(
            ipywidgets.ToggleButtons, "the same by", "Python", options=["Python", "papermill"]
        )
        self.code = ipywidgets.Textarea(rows=6, layout=ipywidgets.Layout(width="95%"))

    def settle(self, seconds: float) -> None:
        """Waits until the first figure is there, at most so long."""
        with contextlib.suppress(TimeoutError):  # then the picture shows how far it is
            self.worker.wait(seconds)

    @property
    def setting(self) -> dict:
        """Returns the values of the controls, by name."""
        setting = {name: getattr(self, name).value for name in _CONTROLS}
        setting["n_labels"] = min(setting["n_labels"], self._fixed["n_train"])
        return setting

    @property
    def _fixed(self) -> dict:
        """Returns `fixed` with the sizes of the task that is chosen."""
        if self.task.value == self._first_task:
            return self.fixed
        spec = TASKS[self.task.value]
        sizes = {name: min(self.fixed[name], getattr(spec.cpu_sizes, name)) for name in _SIZES}
        return self.fixed | {name: size // spec.step * spec.step for name, size in sizes.items()}

    def python(self) -> str:
        """Returns lines of Python that make the fits shown and end in their table."""
        setting = self.setting
        loss = repr(setting["loss"])
        if self._takes_alpha:
            loss += f", loss_args={{'alpha': {setting['alpha']:g}}}"
        fixed = ", ".join(f"{name}={value!r}" for name, value in self._fixed.items())
        return (
            f"import w2s_nb as w2s\n\n"
            f"arms = w2s.one_setting({setting['task']!r}, {setting['weak']!r}, "
            f"{setting['strong']!r}, loss={loss},\n"
            f"                   n_labels={setting['n_labels']}, seeds=[{setting['seed']}], "
            f"{fixed})\n"
            f"arms.table()"
        )

    def papermill(self) -> str:
        """Returns the command that runs this notebook on the setting."""
        arguments = []
        for name, value in (self.setting | self._fixed_parameters).items():
            text = f"{value:g}" if isinstance(value, float) else f"{value}"
            arguments.append(f"-p {name} {shlex.quote(text)}")
        return f"papermill notebooks/{NOTEBOOK}.ipynb out.ipynb {' '.join(arguments)}"

    @property
    def _fixed_parameters(self) -> dict:
        """Returns the notebook's parameters that no control changes, recipes as texts."""
        own = (*_SIZES, "method", "micro_batch")
        fixed = self._fixed
        weak_args = fixed.get("weak_args", {})
        parameters = {name: fixed[name] for name in own if name in fixed}
        fields = {k: v for k, v in fixed.items() if k not in (*own, "weak_args")}
        for name, recipe in (("recipe", fields), ("weak_recipe", weak_args)):
            if recipe:
                parameters[name] = ", ".join(f"{k}={v!r}" for k, v in recipe.items())
        return parameters

    @property
    def _takes_alpha(self) -> bool:
        return "alpha" in loss_args(self.loss.value)

    def _changed(self, change=None) -> None:
        self.alpha.disabled = not self._takes_alpha
        self._write_code()
        request = self.setting
        alpha = request.pop("alpha")
        request["seeds"] = [request.pop("seed")]
        request["loss_args"] = {"alpha": alpha} if self._takes_alpha else {}
        self.worker.ask(request | self._fixed)

    def _write_code(self) -> None:
        self.code.value = self.python() if self.language.value == "Python" else self.papermill()

    def _fit(self, request: dict) -> Arms:
        return one_setting(**request)

    def _show(self, request: dict, arms: Arms) -> None:
        self.arms = arms
        show_figure(self.accuracy, accuracy_figure(arms))
        self.numbers.value = html_of_metrics(arms)
        show_figure(self.calibration, calibration_figure(arms))
        if arms.test.n_classes in _CONFUSED:
            show_figure(self.confusion, confusion_figure(arms))
        else:  # of two classes the other numbers say it all
            self.confusion.outputs = ()


def accuracy_figure(arms: Arms) -> go.Figure:
    """Draws the accuracy of the arms of `one_setting`."""
    n_labels = len(arms.fits[arms.students[0]][0].record["trained_on"])
    seeds = ", ".join(str(task.seed) for task in arms.tasks)
    settings = (
        f"{arms.strong} taught by {arms.weak}<br>"
        f"{arms.tasks[0].name}, {n_labels} labels, seed {seeds}"
    )
    rows = {arm: arms.accuracy(arm).as_dict("accuracy") for arm in arms.fits}
    table = pd.DataFrame(rows).T
    chance = arms.test.chance
    title = "Test accuracy"  # a claim is too long for so narrow a figure
    figure = plots.accuracy(table, arms.by_seed(), settings, title=title, chance=chance)
    return figure.update_layout(width=560)


def calibration_figure(arms: Arms) -> go.Figure:
    """Draws the calibration of supervisor and student of `one_setting` on the test examples, at the
    first seed.
    """
    probs = {arm: arms.probs(arm)[0] for arm in (WEAK, arms.students[0])}
    title = f"calibration on {len(arms.hard_label)} test examples, seed {arms.tasks[0].seed}"
    return plots.reliability(probs, arms.hard_label, title)


def confusion_figure(arms: Arms) -> go.Figure:
    """Draws how the student of `one_setting` confuses classes."""
    student = arms.students[0]
    return plots.confusion(arms.confusion(student), f"{student}: predicted classes")


def html_of_metrics(arms: Arms) -> str:
    """Returns an HTML table of PGR, AUROC, agreement and expected calibration errors of
    `one_setting`, with 95 % intervals.
    """
    student = arms.students[0]
    by_auroc = {}
    if has_auroc(arms.test):
        with collect_warnings():  # PGR has said what is held against the arms
            by_auroc["PGR by AUROC"] = arms.pgr(student, measure="auroc")
        by_auroc["AUROC, supervisor"] = arms.auroc(WEAK)
        by_auroc["AUROC, student"] = arms.auroc(student)
    rows = {
        "PGR": arms.pgr(student),
        **by_auroc,
        "agreement": arms.agreement(student),
        "on its mistakes": arms.agreement(student, on="mistakes"),
        "ECE, supervisor": _calibration_error(arms, WEAK),
        "ECE, student": _calibration_error(arms, student),
    }
    lines = [
        f"<tr><td style='padding-right: 12px'>{name}</td>"
        f"<td>{html.escape(format(estimate, '.2f'))}</td></tr>"
        for name, estimate in rows.items()
    ]
    style = "color: var(--jp-content-font-color1, #222); line-height: 1.4"
    return f"<table style='{style}'>{''.join(lines)}</table>"


def _calibration_error(arms: Arms, arm: str) -> metrics.Estimate:
    test = arms.tasks[0].test
    return metrics.calibration_error(arms.probs(arm), test.hard_label, group=test.group)


def explorer(
    task: str = "movie_snippets",
    weak: str = "SmolLM2-135M@4",
    strong: str = "SmolLM2-135M@16",
    *,
    loss: str = "confidence",
    alpha: float = 0.5,
    n_labels: int | None = None,
    seed: int = 0,
    n_train: int | None = None,
    n_val: int | None = None,
    n_test: int | None = None,
    method: str = "probe",
    weak_args: dict | None = None,
    tasks: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    **fit_args,
) -> Explorer:
    """Shows controls of one setting, and what follows from it a second after each change (by probe,
    on stored features).

    Work that takes longer, such as features of another task or a deeper model, shows how far it is
    and can be cancelled; every fit is stored, so a setting seen before is there at once.

    Args:
        task, weak, strong, loss, alpha, n_labels, seed: where it starts; n_labels None takes the
            whole half. alpha is an argument of the loss, where it has one of that name.
        n_train, n_val, n_test, method, weak_args, fit_args: of `one_setting`, for all settings. For
            another task than the first, no more than its own on two cores, and multiples of its
            classes.
        tasks: offered; None takes the embedded ones and those with files in `W2S_DATA`. Those
            that the student cannot read, of images or of texts, are left out.
        models: offered; None takes depths of the student's model.
    Raises:
        UnknownName, ValueError: a name or number that does not exist.
    """
    offered_tasks = [name for name in tasks or _tasks_at_hand() if _can_be_explored(name, strong)]
    for model in (weak, strong, *(models or ())):
        resolve(model)
    sizes = sizes_of(task, n_train, n_val, n_test)
    setting = {
        "task": task,
        "weak": weak,
        "strong": strong,
        "loss": loss,
        "alpha": alpha,
        "n_labels": sizes.n_train if n_labels is None else n_labels,
        "seed": seed,
    }
    _check_setting(setting, sizes.n_train)
    fixed = {**sizes._asdict(), "method": method, **fit_args}
    weak_changes = {k: v for k, v in (weak_args or {}).items() if fixed.get(k) != v}
    if weak_changes:
        fixed["weak_args"] = weak_changes
    return Explorer(setting, fixed, offered_tasks, models or _depths_of(strong))


def _check_setting(setting: dict, n_train: int) -> None:
    """Refuses names and numbers that do not exist; models have been looked up before."""
    TASKS[setting["task"]]  # raises for an unknown task
    loss_args(setting["loss"])  # raises for an unknown loss
    check_share("alpha", setting["alpha"])
    seed = setting["seed"]
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed = {seed!r}; expected a whole number from 0")
    n_labels = setting["n_labels"]
    if not 2 <= n_labels <= n_train:
        raise ValueError(
            f"n_labels = {n_labels}; expected a whole number from 2 to n_train, {n_train}"
        )


def _can_be_explored(task: str, model: str) -> bool:
    """Tells whether a task has classes, and examples that the model reads: texts or images."""
    spec = TASKS[task]
    has_images = spec.images is not None
    return bool(spec.classes) and has_images == bool(resolve(model).encoder)


def _tasks_at_hand() -> list[str]:
    """Returns the tasks whose examples can be had without a network."""
    folder = data_dir()
    names = []
    for name, spec in TASKS.items():
        from_hub = isinstance(spec.source, Hub) or spec.fetched
        if not from_hub or (folder and any((folder / local).is_dir() for local in spec.folders)):
            names.append(name)
    return names


def _depths_of(strong: str) -> list[str]:
    """Returns depths of the student's model from small to large; the model alone where it cannot be
    cut.
    """
    checkpoint = resolve(strong)
    n_layers = (with_depth(checkpoint) if checkpoint.encoder else checkpoint).full_layers
    if not n_layers:
        return [strong]
    # A model of few layers has fewer depths than shares.
    depths = dict.fromkeys(max(1, round(share * n_layers)) for share in _DEPTHS)
    return [
        f"{checkpoint.base}@{depth}" if depth < n_layers else checkpoint.base for depth in depths
    ]
