"""Registers methods: functions from weak labels to predictions on texts without labels.

A method takes `(labels, task, strong, seed, budget)` and returns (n_test, K) probabilities of the
task's test texts, rows that sum to 1:

- labels: `SoftLabels` of the supervisor for the student half, validation and test texts;
- task: as the seed deals it. In a sealed comparison the truth of these three splits is not there;
- strong: the strong model's name; seed: of everything random;
- budget: trains models (`Budget.fit`) and, in a sealed comparison, answers a limited number of
  questions about the test (`Budget.ask`).

Further keyword arguments, all with defaults, are its options: `confident@0.3` sets the first of
them. Every loss is a method too, under its name; `xent` is `naive`.

A method may have a check, `(task, strong, fit_args, queries, **options)`, which refuses what it
could not run on before anything is trained; queries is None where no question is answered.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
from scipy.special import softmax

from ..common.registry import LOSSES, METHODS, UnknownName
from ..common.seeds import check_count
from ..data.classes import likeliest
from ..data.splits import Split, Task
from ..experiments.label_sets import check_share, keep_best
from ..experiments.no_supervisor import SIGNS, SUPERVISOR, check_no_supervisor, predict_test
from ..experiments.prepare import check_names, need_function
from ..labels.soft import SoftLabels
from ..losses.contract import check_loss, loss_args
from ..metrics.classification import probs_of
from ..models.encoders import require_kind
from ..models.loading import require_unembedding, with_depth
from ..models.names import resolve
from ..prompting.prompt import check_words, prompt
from ..training.fit import check_fit, fit
from ..training.fit_many import FitArgs
from ..training.result import Fit

NAIVE = "naive"
_FIXED = ("labels", "task", "strong", "seed", "budget")


class QueriesSpent(RuntimeError):
    """A method asked about the test more often than its budget allows."""


def _refuse(probs: np.ndarray) -> float:
    """Refuses every question, as a comparison does that is not sealed."""
    raise QueriesSpent("this comparison answers no questions; a sealed one does")


@dataclass
class Budget:
    """Gives a method what it may spend, and counts what it has spent.

    Attributes:
        fit_args: arguments of `fit` that all methods share, such as method and epochs.
        ask: answers (n_test, K) probabilities with their accuracy on the public half of the test;
            raises `QueriesSpent` when there are no queries left.
        seconds_saved: what the trainings that the store already held took when they were made,
            less what it took to find them.
    """

    fit_args: Mapping = field(default_factory=dict)
    ask: Callable[[np.ndarray], float] = _refuse
    seconds_saved: float = 0.0
    _counted: set[str] = field(default_factory=set, repr=False)

    def fit(self, model: str, split: Split, labels: SoftLabels | None, **fit_args) -> Fit:
        """Trains a model as all methods of the comparison do, on the examples that have a label.

        Args:
            fit_args: of `fit`; they go before the comparison's own.
        """
        started = time.perf_counter()
        wanted = self.args_of_fit(model, split, labels, fit_args)
        fitted = fit(wanted.model, wanted.split, wanted.labels, **wanted.args)
        if fitted.address not in self._counted:
            self._counted.add(fitted.address)
            self.seconds_saved += fitted.record["seconds"] - (time.perf_counter() - started)
        return fitted

    def args_of_fit(
        self, model: str, split: Split, labels: SoftLabels | None, fit_args: Mapping
    ) -> FitArgs:
        """Returns the arguments of the `fit` that `Budget.fit` makes of its own."""
        labelled = split if labels is None else split.take(labels.knows(split))
        return FitArgs(model, labelled, labels, {**self.fit_args, **fit_args})


@dataclass(frozen=True)
class Method:
    """A registered method.

    Attributes:
        name: in tables, with its option.
        function: as it was registered.
        options: keyword arguments of this variant.
        free: it trains nothing, or learns from labels that say nothing: a row to be held against.
        loss: the loss that it trains with, where it is one; "" of others.
        learns: it learns from the labels; a method that does not has no ceiling of its own.
        check_options: refuses options, models and tasks before anything is trained; None checks
            none.
        fits_ahead: up to the first answer of a fit that it reads it does nothing but ask for fits,
            so that they can be trained before it runs, with those of other methods.
        spell_out: `(strong, **options) -> options`, says what an option that is left to the strong
            model stands for; None where none is.
    """

    name: str
    function: Callable
    options: Mapping = field(default_factory=dict)
    free: bool = False
    loss: str = ""
    learns: bool = True
    check_options: Callable | None = None
    fits_ahead: bool = False
    spell_out: Callable | None = None

    def __call__(
        self, labels: SoftLabels, task: Task, strong: str, seed: int, budget: Budget
    ) -> np.ndarray:
        """Returns the method's predictions, (n_test, K)."""
        return self.function(labels, task, strong, seed, budget, **self.options)

    @property
    def about(self) -> str:
        """Returns the first line of what the function says of itself."""
        return (inspect.getdoc(self.function) or "").split("\n")[0]

    @property
    def all_options(self) -> dict:
        """Returns every option with its value in this variant."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in parameters if p.name not in _FIXED} | dict(self.options)

    def canonical(self, strong: str) -> str:
        """Returns the one name of this variant, which spells its first option out: `confident@.5`,
        `confident@0.5` and `confident` are `confident@0.5`.

        Args:
            strong: the strong model's name, which decides some options.
        """
        base = self.name.partition("@")[0]
        options = self.all_options
        if self.spell_out is not None:
            options = self.spell_out(strong, **options)
        first = next(iter(options.values()), "")
        return f"{base}@{first}" if first != "" else base

    def check(self, task: Task, strong: str, fit_args: Mapping, queries: int | None) -> None:
        """Refuses what the method could not run on; trains nothing.

        Args:
            task: as one seed deals it.
            strong: the strong model's name.
            fit_args: of every fit of the comparison.
            queries: how many questions it may ask; None where none is answered.
        Raises:
            ValueError: names the method and its option. What the check raises besides goes on.
        """
        try:
            if self.loss:
                all_args = loss_args(self.loss, dict(self.options))
                check_loss(self.loss, all_args, task.test.n_classes)
            elif self.check_options is not None:
                self.check_options(task, strong, fit_args, queries, **self.all_options)
        except UnknownName:  # lists what exists
            raise
        except ValueError as error:
            raise ValueError(f"method {self.name!r}: {error}") from error

    def with_option(self, option: str) -> Method:
        """Returns the method with its first option set, such as `confident@0.3`.

        Raises:
            ValueError: it has no options, or one of another type.
        """
        first = next(iter(self.all_options.items()), None)
        if first is None:
            raise ValueError(f"method {self.name!r} has no options; given {option!r}")
        name, default = first
        try:
            value = type(default)(option)
        except (TypeError, ValueError):
            raise ValueError(
                f"method {self.name!r} takes {name} = {default!r}; given {option!r}"
            ) from None
        return replace(self, name=f"{self.name}@{option}", options={name: value})


def register_method(
    function=None,
    *,
    free: bool = False,
    learns: bool = True,
    check: Callable | None = None,
    fits_ahead: bool = False,
    spell_out: Callable | None = None,
):
    """Registers a method under its function's name.

    Args:
        free: it learns nothing from the labels; the method is a row to hold others against, and
            none of those that p-values are corrected for.
        learns: from the labels. A method that does not, such as a prompt, is one of those that are
            compared, but has no ceiling of its own on ground truth, and so no pgr_own.
        check: `(task, strong, fit_args, queries, **options)`, called for each task before anything
            is trained; raises a ValueError of one line where the method could not run.
        fits_ahead: up to the first answer of a fit that it reads, the method does nothing but ask
            for fits. Probes are then trained together with those of other methods, which takes a
            fraction of the time; the method is run up to that point once more.
        spell_out: `(strong, **options) -> options`, says what an option that is left to the strong
            model stands for, so that two names of one method are known as one.
    Raises:
        TypeError: no function with a name, or one that takes other arguments than a method; a check
            or spell_out that cannot be called.
        ValueError: the name is that of a loss.
    """

    if check is not None:
        need_function(check, "check", "that refuses what a method cannot run on")
    if spell_out is not None:
        need_function(spell_out, "spell_out", "that says what options stand for")

    def decorate(method):
        _check_function(method)
        name = method.__name__
        METHODS.register(
            name, Method(name, method, {}, free, "", learns, check, fits_ahead, spell_out)
        )
        return method

    return decorate if function is None else decorate(function)


def _check_function(method) -> None:
    """Refuses what has no name of its own, or takes other arguments than a method."""
    name = getattr(method, "__name__", "")
    if not callable(method) or not name.isidentifier():
        given = " ".join(repr(method).split())
        raise TypeError(f"register_method was given {given:.80}; expected a function, by `def`")
    parameters = inspect.signature(method).parameters
    required = [p.name for p in parameters.values() if p.default is p.empty]
    if required != list(_FIXED):
        raise TypeError(
            f"method {name!r} takes {', '.join(parameters) or 'nothing'}; expected "
            f"({', '.join(_FIXED)}) and options with defaults"
        )
    if name in LOSSES:
        raise ValueError(
            f"method {name!r} is a loss, and so a method already; give it another name"
        )


def method_of(name: str) -> Method:
    """Returns a method by its name: registered, or that of a loss; with `@` and an option.

    Raises:
        UnknownName: no such method; lists what exists.
        ValueError: an option that it does not take.
    """
    base, at, option = str(name).partition("@")
    if base in METHODS:
        return METHODS[name]
    if base not in LOSSES:
        raise UnknownName("method", str(name), [*METHODS, *LOSSES])
    method = _of_loss(base)
    return method.with_option(option) if at else method


def _of_loss(loss: str) -> Method:
    """Returns the method that trains a student with a loss; its options are the loss's."""

    def train(labels, task, strong, seed, budget, **options):
        arguments: dict = {"loss": loss, "loss_args": options or None, "seed": seed}
        return budget.fit(strong, task.student, labels, **arguments).predict(task.test)

    train.__doc__ = inspect.getdoc(LOSSES[loss])
    fixed = [inspect.Parameter(p, inspect.Parameter.POSITIONAL_OR_KEYWORD) for p in _FIXED]
    parameters = inspect.signature(LOSSES[loss]).parameters.values()
    own = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for p in parameters
        if p.default is not p.empty and p.name not in ("progress", "previous")
    ]
    train.__signature__ = inspect.Signature([*fixed, *own])  # type: ignore[attr-defined]
    return Method(NAIVE if loss == "xent" else loss, train, loss=loss, fits_ahead=True)


def _check_share(task, strong, fit_args, queries, *, share):
    check_share(share)


def _check_scored_share(task, strong, fit_args, queries, *, share):
    check_share(share)
    task.student.need_classes("a score of labels")


def _check_middle(task, strong, fit_args, queries, *, through):
    middle = through or _halved(strong)
    check_names([middle])
    check_fit(middle, task.student, seed=task.seed, weak=True, **fit_args)
    if queries is not None and resolve(middle).fit:
        raise ValueError(f"{middle} is a fit of this store, which a sealed method cannot read")


def _name_middle(strong, *, through):
    checkpoint = with_depth(resolve(through or _halved(strong)))
    return {"through": f"{checkpoint.base}@{checkpoint.layers}"}


def _check_students(task, strong, fit_args, queries, *, students):
    check_count(students, "students")


def _check_guesses(task, strong, fit_args, queries, *, guesses):
    check_count(guesses, "guesses")
    if queries is None or guesses > queries:
        raise ValueError(
            f"it asks {guesses} questions about the test; expected queries={guesses} or more, "
            f"given {queries}"
        )


def _check_prompt(task, strong, fit_args, queries):
    task.test.need_texts("zero_shot")
    checkpoint = with_depth(require_kind(resolve(strong), task.spec))
    check_words(task.spec.prompt, task)
    require_unembedding(checkpoint, "zero_shot")


def _check_without_supervisor(name: str) -> Callable:
    """Returns the check of a method without a supervisor."""

    def check(task, strong, fit_args, queries, *, sign):
        if sign not in SIGNS:
            raise UnknownName("sign", str(sign), SIGNS)
        half = task.student
        even = np.full((len(half), half.n_classes), 1 / half.n_classes)
        labels = SoftLabels(half.ids, even, "the supervisor") if sign == SUPERVISOR else None
        check_no_supervisor(strong, half, name, labels)

    return check


@register_method(fits_ahead=True)
def naive(labels, task, strong, seed, budget):
    """Trains the strong model on the supervisor's labels with cross-entropy."""
    return budget.fit(strong, task.student, labels, seed=seed).predict(task.test)


@register_method(check=_check_share, fits_ahead=True)
def confident(labels, task, strong, seed, budget, *, share=0.5):
    """Trains on the supervisor's most confident labels alone (Burns et al. 2023, appendix B)."""
    kept = labels.select(task.student, labels.confident(task.student, share))
    return budget.fit(strong, task.student, kept, seed=seed).predict(task.test)


@register_method(check=_check_scored_share, fits_ahead=True)
def rads(labels, task, strong, seed, budget, *, share=0.5):
    """Trains on the labels that strong features express most beyond weak ones (SprocketLab).

    Ground truth has no supervisor whose features count: it has no ceiling of its own.
    """
    kept = keep_best("rads", share, strong, labels, task)
    return budget.fit(strong, task.student, kept, seed=seed).predict(task.test)


@register_method(check=_check_scored_share, fits_ahead=True)
def overlap(labels, task, strong, seed, budget, *, share=0.5):
    """Trains on sure labels of texts like those the supervisor finds hard (Shin et al. 2025)."""
    kept = keep_best("overlap", share, strong, labels, task)
    return budget.fit(strong, task.student, kept, seed=seed).predict(task.test)


@register_method(fits_ahead=True)
def hard_labels(labels, task, strong, seed, budget):
    """Trains on the supervisor's likeliest classes instead of its probabilities."""
    return budget.fit(strong, task.student, labels.harden(), seed=seed).predict(task.test)


@register_method(check=_check_middle, fits_ahead=True, spell_out=_name_middle)
def chain(labels, task, strong, seed, budget, *, through=""):
    """Trains a middle model first; it teaches the strong one (Burns et al. 2023, section 4.3.1).

    Without a middle model it is the strong one, cut to half its layers. It labels the examples that
    it was trained on.
    """
    middle = through or _halved(strong)
    teacher = budget.fit(middle, task.student, labels, seed=seed, label_training_examples=True)
    taught = teacher.label(task.student, training_examples=True)
    return budget.fit(strong, task.student, taught, seed=seed).predict(task.test)


def _halved(strong: str) -> str:
    """Names the strong model, cut to half its layers."""
    checkpoint = with_depth(resolve(strong))
    layers = cast(int, checkpoint.layers)  # `with_depth` has filled it in
    return f"{checkpoint.base}@{max(1, layers // 2)}"


@register_method(check=_check_students, fits_ahead=True)
def ensemble(labels, task, strong, seed, budget, *, students=3):
    """Trains several students on random halves of the labels, and averages their predictions."""
    rng = np.random.default_rng(seed)
    fits = []
    for _ in range(students):
        rows = np.sort(rng.permutation(len(task.student))[: max(2, len(task.student) // 2)])
        half = labels.select(task.student, rows)
        fits.append(budget.fit(strong, task.student, half, seed=seed))
    return np.mean([each.predict(task.test) for each in fits], axis=0)


@register_method(check=_check_guesses)
def best_of_guesses(labels, task, strong, seed, budget, *, guesses=200):
    """Keeps those of many random changes that the public half likes: a planted cheat.

    Each guess re-weights the naive student's log-probabilities of a few test texts at random, and
    is kept if it is more accurate than the best so far. What that gains on the public half is luck,
    and is not there on the sealed half.
    """
    probs = budget.fit(strong, task.student, labels, seed=seed).predict(task.test)
    best = np.log(probs + 1e-6)
    best_accuracy = budget.ask(probs)
    rng = np.random.default_rng(seed)
    for _ in range(guesses - 1):
        is_changed = rng.random(len(best)) < 0.05
        factors = np.where(is_changed, rng.normal(size=len(best)), 1)
        guess = best * factors[:, None]
        accuracy = budget.ask(softmax(guess, axis=1))
        if accuracy > best_accuracy:
            best, best_accuracy = guess, accuracy
    return softmax(best, axis=1)


@register_method(learns=False, check=_check_prompt)
def zero_shot(labels, task, strong, seed, budget):
    """Asks the strong model about each test text; it sees no label (section 5.2.1)."""
    return prompt(strong, task.test).predict(task.test)


@register_method(learns=False, check=_check_without_supervisor("first_component"))
def first_component(labels, task, strong, seed, budget, *, sign=SUPERVISOR):
    """Takes the first principal component of the states; the labels decide its sign alone."""
    return predict_test(strong, task, "first_component", labels, sign=sign, seed=seed)


@register_method(learns=False, check=_check_without_supervisor("contrast_component"))
def contrast_component(labels, task, strong, seed, budget, *, sign=SUPERVISOR):
    """Takes the first component of the states with either answer (Burns et al. 2022)."""
    return predict_test(strong, task, "contrast_component", labels, sign=sign, seed=seed)


@register_method(learns=False, check=_check_without_supervisor("contrast_consistent"))
def contrast_consistent(labels, task, strong, seed, budget, *, sign=SUPERVISOR):
    """Searches for a direction along which one of two answers is right (Burns et al. 2022)."""
    return predict_test(strong, task, "contrast_consistent", labels, sign=sign, seed=seed)


@register_method(learns=False, check=_check_without_supervisor("mutual_predictability"))
def mutual_predictability(labels, task, strong, seed, budget, *, sign=SUPERVISOR):
    """Searches for the labels that predict each other best (Wen et al. 2025)."""
    return predict_test(strong, task, "mutual_predictability", labels, sign=sign, seed=seed)


@register_method(free=True)
def supervisor(labels, task, strong, seed, budget):
    """Takes the supervisor's own predictions."""
    return labels.for_split(task.test)


@register_method(free=True)
def constant(labels, task, strong, seed, budget):
    """Predicts the supervisor's commonest class of the student half for every text."""
    counts = np.bincount(_likeliest(labels, task.student), minlength=labels.n_classes)
    return np.tile(np.eye(labels.n_classes)[counts.argmax()], (len(task.test), 1))


@register_method(free=True)
def longest(labels, task, strong, seed, budget):
    """Prefers the longer text of a pair; of single texts, the class whose length by the
    supervisor's labels is nearest.
    """
    test, half = task.test, task.student
    if test.arity == 2:
        second = (1 + test.longer) / 2  # a tie is half of each
        return np.column_stack([1 - second, second])
    lengths = np.log1p([len(text) for (text,) in half.texts])
    weights = labels.for_split(half)
    means = (weights.T @ lengths) / np.maximum(weights.sum(axis=0), 1e-12)
    of_test = np.log1p([len(text) for (text,) in test.texts])
    return np.eye(len(means))[np.abs(of_test[:, None] - means).argmin(axis=1)]


@register_method(free=True, fits_ahead=True)
def shuffled_labels(labels, task, strong, seed, budget):
    """Trains on the supervisor's labels, each given to another example of its split."""
    rng = np.random.default_rng(seed)
    probs = labels.probs.copy()
    for split in (task.student, task.validation):
        rows = np.flatnonzero(np.isin(labels.ids, split.ids))
        probs[rows] = probs[rng.permutation(rows)]
    mixed = replace(labels, probs=probs, source=f"{labels.source}, shuffled")
    return budget.fit(strong, task.student, mixed, seed=seed).predict(task.test)


def _likeliest(labels: SoftLabels, split: Split) -> np.ndarray:
    return likeliest(labels.for_split(split))


def check_predictions(probs, test: Split) -> np.ndarray:
    """Returns what a method gave as (n_test, K) floats.

    Raises:
        TypeError, ValueError: no probabilities, or of other texts or classes.
    """
    expected = (len(test), test.n_classes)
    given = probs_of(probs)
    if np.ndim(probs) != 2 or given.shape[1:] != expected:
        raise ValueError(
            f"predictions of shape {np.shape(probs)}; expected {expected}, (test texts, classes)"
        )
    return given[0]


def describe(error: BaseException) -> str:
    """Returns an error in one line."""
    first = (str(error).strip() or "no message").split("\n")[0]
    return f"{type(error).__name__}: {first}"
