"""Runs the experiments that claims share, each once, in a setting of the register."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from ...common.registry import TASKS, UnknownName
from ...data.splits import Task
from ...experiments.arms import Arms, run_arms
from ...experiments.bootstrapping import Chain, run_chain
from ...experiments.generative_finetuning import LABELS_ONLY, STUDENT_ON_TEXT, run_generative
from ...experiments.label_controls import constant, random_labels, shuffled, with_truth
from ...experiments.label_sets import confident, matched
from ...experiments.saliency import run_saliency
from ...experiments.task_variants import with_opinion
from ...labels.soft import SoftLabels
from ...models.names import models_between
from ...notebook.parameters import names_in
from ...suites.names import suite_of
from ...suites.result import SuiteResult
from ...suites.run import run_suite
from ...training.recipes import read_recipe
from ...training.result import Fit

CONTROLS = {"shuffled": shuffled, "random": random_labels, "constant": constant}
_SUITE = "suite"  # a task's name that stands for the suite of the scale
_PLACES = ("weak", "first_between", "last_between", "strong")


@dataclass(frozen=True)
class Setting:
    """Task, models and training of an experiment, in the words of a scale of the register.

    Attributes:
        task: as in `run_arms`; "suite" stands for the tasks of `suite`.
        weak, strong, method: as in `run_arms`.
        between: models between weak and strong, by size; () takes those that lie between them.
        seeds: how many.
        n_train, n_val, n_test: as in `load_task`; None takes the task's own.
        top_layers: of method 'top'; None takes the default.
        recipe: hyper-parameters, as a notebook's parameter takes them; "" takes the defaults.
        lm_method: of generative finetuning.
        suite: a named list of tasks, for measures over tasks; "" for none.
    """

    task: str
    weak: str
    strong: str
    method: str
    seeds: int
    between: tuple[str, ...] = ()
    n_train: int | None = None
    n_val: int | None = None
    n_test: int | None = None
    top_layers: int | None = None
    recipe: str = ""
    lm_method: str = "top"
    suite: str = ""

    @classmethod
    def read(cls, words: Mapping[str, Any]) -> Setting:
        """Returns the setting that a scale's words and a claim's arguments give.

        A model may be named by its place in the scale's setting, such as weak: last_between. Where
        the arguments change weak or strong for models of another series, `between` is taken anew.

        Raises:
            UnknownName: a word that is none of a setting.
        """
        known = [field.name for field in fields(cls)]
        for word in words:
            if word not in known:
                raise UnknownName("word of a setting", str(word), known)
        between = words.get("between", ())
        names = names_in(between) if isinstance(between, str) else between
        setting = cls(**{**words, "between": tuple(names)})
        places = {place: setting.model(place) for place in _PLACES[1:3]} if names else {}
        weak = places.get(setting.weak, setting.weak)
        if weak in names:
            names = names[names.index(weak) + 1 :]
        if setting.strong in names:
            names = names[: names.index(setting.strong)]
        return replace(setting, weak=weak, between=tuple(names))

    def __str__(self) -> str:
        method = f"{self.method} ({self.recipe})" if self.recipe else self.method
        task = f"suite {self.suite}" if self.task == _SUITE else self.task
        parts = [task, f"{self.weak} → {self.strong}", method, f"{self.seeds} seeds"]
        sizes = {"training": self.n_train, "validation": self.n_val, "test": self.n_test}
        told = [f"{size} {part}" for part, size in sizes.items() if size is not None]
        return ", ".join([*parts, *([" and ".join(told) + " examples"] if told else [])])

    @property
    def tasks(self) -> tuple[str, ...]:
        """Returns the task, or the tasks of the suite, without those that `W2S_DATA` adds.

        Raises:
            UnknownName: no such suite.
        """
        return suite_of(self.suite).tasks if self.task == _SUITE else (self.task,)

    def model(self, name: str) -> str:
        """Returns the model at a place ('weak', 'first_between', ...), or of that name."""
        if name not in _PLACES:
            return name
        if name in ("weak", "strong"):
            return getattr(self, name)
        return self.ladder[1 if name == "first_between" else -2]

    @property
    def ladder(self) -> list[str]:
        """Returns weak supervisor, models between and strong student, by size."""
        between = self.between or models_between(self.weak, self.strong)
        return [self.weak, *between, self.strong]

    @property
    def arguments(self) -> dict[str, Any]:
        """Returns the arguments that all experiments take."""
        given = {"method": self.method, "seeds": self.seeds}
        for name in ("n_train", "n_val", "n_test", "top_layers"):
            if getattr(self, name) is not None:
                given[name] = getattr(self, name)
        of_students = read_recipe(self.recipe, self.method)
        of_supervisor = read_recipe(self.recipe, self.method, supervisor=True)
        weak_args = {k: v for k, v in of_supervisor.items() if of_students.get(k) != v}
        return given | of_students | ({"weak_args": weak_args} if weak_args else {})


class Experiments:
    """The experiments of one setting; a second call with the same arguments costs nothing."""

    def __init__(self, setting: Setting):
        self.setting = setting
        self._done: dict[tuple, Any] = {}

    def arms(
        self,
        *,
        weak: str = "weak",
        strong: str = "strong",
        losses: Sequence[str] = ("xent",),
        errors: Sequence[str] = (),
        surest: float | None = None,
        flipped: float | None = None,
        controls: Sequence[str] = (),
        truth: Sequence[tuple[float, str]] = (),
        opinion: bool = False,
    ) -> Arms:
        """Returns supervisor, students and ceiling of two models of the setting.

        Args:
            errors: further label sets, as `matched` makes them.
            surest: share of the surest labels, a further label set 'surest'.
            flipped: share of the labels that are flipped, in a further label set 'flipped'.
            controls: of `CONTROLS`, further label sets that say nothing.
            truth: (share, by) of further label sets, as `with_truth` makes them.
            opinion: writes the supervisor's answer into the texts.
        """
        setting = self.setting
        pair = (setting.model(weak), setting.model(strong))
        if not TASKS[setting.task].classes:
            losses = ("xent",)  # the one loss of answers that are generated
        sets = (tuple(errors), surest, flipped, tuple(controls), tuple(truth))
        key = ("arms", *pair, tuple(losses), *sets, opinion)

        def run() -> Arms:
            teacher = {"method": "probe"} if setting.method == "top" else {"method": setting.method}
            labels = {name: matched(name, pair[1], **teacher) for name in errors}
            if surest is not None:
                labels["surest"] = confident(surest)
            if flipped is not None:
                labels["flipped"] = functools.partial(_flip, flipped)
            labels |= {name: CONTROLS[name]() for name in controls}
            labels |= {truth_name(share, by): with_truth(share, by) for share, by in truth}
            variant = with_opinion if opinion else None
            return run_arms(
                setting.task,
                *pair,
                losses=list(losses),
                labels=labels,
                variant=variant,
                **setting.arguments,
            )

        return self._once(key, run)

    def chain(self, *, direct: bool, data: str) -> Chain:
        """Returns bootstrapping through the ladder, or direct supervision with the same examples.

        Args:
            data: as in `run_chain`.
        """
        setting = self.setting
        models = setting.ladder

        def run() -> Chain:
            if not direct:
                return run_chain(setting.task, models, data=data, **setting.arguments)
            further = len(models) - 2 if data == "further" else 0
            ends = [models[0], models[-1]]
            return run_chain(setting.task, ends, extra_halves=further, **setting.arguments)

        return self._once(("chain", direct, data), run)

    def suite(self, losses: Sequence[str]) -> SuiteResult:
        """Returns supervisor, students and ceiling on every task of the setting's suite."""
        setting = self.setting

        def run() -> SuiteResult:
            pair = (setting.weak, setting.strong)
            return run_suite(setting.suite, *pair, losses=losses, **setting.arguments)

        return self._once(("suite", tuple(losses)), run)

    def saliency(self) -> Arms:
        """Returns probes and finetuning on weak labels and on ground truth."""
        setting = self.setting

        def run() -> Arms:
            return run_saliency(setting.task, setting.weak, setting.strong, **setting.arguments)

        return self._once(("saliency",), run)

    def generative(self) -> dict[str, Arms]:
        """Returns arms without and with generative finetuning of the student's model."""
        setting = self.setting

        def run() -> dict[str, Arms]:
            return run_generative(
                setting.task,
                setting.weak,
                setting.strong,
                which=(LABELS_ONLY, STUDENT_ON_TEXT),
                lm_args={"method": setting.lm_method},
                **setting.arguments,
            )

        return self._once(("generative",), run)

    def _once(self, key: tuple, run):
        if key not in self._done:
            self._done[key] = run()
        return self._done[key]


@functools.cache
def experiments_of(setting: Setting) -> Experiments:
    """Returns the experiments of a setting, which all claims of one process share."""
    return Experiments(setting)


def _flip(share: float, task: Task, supervisor: Fit) -> SoftLabels:
    """Returns the supervisor's labels of the student half, a share of them flipped."""
    return supervisor.label(task.student).flip(share, seed=task.seed)


def losses_with(loss: str) -> tuple[str, ...]:
    """Returns the losses of an experiment that asks for one, so that claims share their fits."""
    return ("xent", "confidence") if loss == "xent" else tuple(dict.fromkeys(("xent", loss)))


def truth_name(share: float, by: str) -> str:
    """Returns the name of the label set of which a share is ground truth."""
    return f"{share:.0%} truth by {by}"
