"""Makes stresses: one thing at a time that usual data sets spare a weak-to-strong experiment.

Each is a `Stress`, which `run_arms(..., stress=...)` takes: training halves in which one class is
rare, items that nobody can know, a salient sentence beside the point, the supervisor's opinion in
the text, and a supervisor whose errors lie in one slice. Which examples are changed is decided by a
hash of their ids, so every seed is tested on the same ones.

Source of the first three kinds: Canavan et al. 2026 (arXiv 2602.20400).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..common.seeds import check_number, check_seed
from ..data.classes import likeliest
from ..data.facts import check_theme, has_theme
from ..data.splits import Split, Task, need_split
from ..data.splitting import apportion
from ..training.result import Fit, columns_at
from .task_variants import make_ids, with_opinion

UNKNOWABLE = "The text {id} is not available."
AUTHORS = ("Author: Anna.", "Author: Boris.", "Author: Clara.", "Author: David.")


@dataclass(frozen=True)
class Stress:
    """A change of a weak-to-strong experiment.

    Attributes:
        name: of its rows in tables.
        change: task -> the task that all arms are given, with as many test examples in the same
            order; None leaves it.
        supervise: (task, trained supervisor) -> the supervisor that labels; None leaves it.
        variant: as in `run_arms`.
        control: what its results are compared with, where that is not the unchanged experiment.
        unknowable: split of the unchanged task -> (n,) bool, the examples whose label cannot be
            known in the changed one; None if there are none.
    """

    name: str
    change: Callable[[Task], Task] | None = None
    supervise: Callable[[Task, Fit], Fit] | None = None
    variant: Callable[[Task, Fit], Task] | None = None
    control: Stress | None = None
    unknowable: Callable[[Split], np.ndarray] | None = None

    def change_task(self, task: Task) -> Task:
        """Returns the task that all arms are given.

        Raises:
            ValueError: a task that is answered by generating, or that the stress does not fit.
        """
        if self.change or self.supervise or self.variant:
            task.test.need_classes(f"the stress {self.name!r}")
        return self.change(task) if self.change else task

    def change_supervisor(self, task: Task, supervisor: Fit) -> Fit:
        """Returns the supervisor that labels the examples of the changed task."""
        return self.supervise(task, supervisor) if self.supervise else supervisor


NONE = Stress("none")


def imbalanced(share: float, *, rare: int = 1) -> Stress:
    """Makes one class rare in the halves and in validation; test examples stay as they are.

    Half of the examples of each split are left out, whatever the share, so that imbalanced and
    balanced halves have the same size: it is compared with an equal share of each class, not with
    the whole halves. Other classes keep their proportions. The first examples of each class stay,
    in the order that the seed deals.

    Args:
        share: of the class in every training and validation split, between 0 and 1: 0.1 for 1:9.
        rare: number of the class.
    Raises:
        ValueError: another share, or no number of a class; of a task that lacks the class or so
            many of its examples, or a share that comes to none in a half, before anything is
            trained. Validation may be left with none.
    """
    check_number(share, "share", low=0, high=1)
    if not 0 < share < 1:
        raise ValueError(f"share = {share!r}; expected one between 0 and 1")
    check_seed(rare, "rare")
    name = f"{share:.3g} of class {rare}"
    equal = Stress("equal shares, half the examples", lambda task: _leave(task, None, rare))
    return Stress(name, lambda task: _leave(task, share, rare), control=equal)


def _leave(task: Task, share: float | None, rare: int) -> Task:
    """Returns the task with half of its training and validation examples.

    Args:
        share: of the class `rare`; None takes 1 / K.
    """
    if rare >= task.test.n_classes:
        raise ValueError(
            f"rare = {rare}; {task.name} has the classes {', '.join(task.test.classes)}, numbered "
            f"from 0"
        )
    share = share or 1 / task.test.n_classes
    splits = [
        _leave_of(split, share, rare, 0 if split.name == "validation" else 1)
        for split in _all_but_test(task)
    ]
    supervisor, student, validation, *extra = splits
    n_before, n_after = sum(map(len, _all_but_test(task))), sum(map(len, splits))
    told = f"left out, for a share {share:.3g} of class {task.test.classes[rare]}"
    return replace(
        task,
        name=f"{task.name}, {share:.3g} {task.test.classes[rare]}",
        supervisor=supervisor,
        student=student,
        validation=validation,
        extra_halves=tuple(extra),
        counts=task.counts | {told: n_before - n_after},
    )


def _leave_of(split: Split, share: float, rare: int, least: int) -> Split:
    """Returns half of a split's examples, in their order, with this share of one class.

    Args:
        least: examples of that class that the share must come to.
    """
    size = len(split) // 2
    has = np.bincount(split.hard_label, minlength=split.n_classes)
    n_rare = round(share * size)
    others = has.copy()
    others[rare] = 0
    wanted = apportion(size - n_rare, others)
    wanted[rare] = n_rare
    if n_rare < least or (wanted > has).any():
        raise ValueError(
            f"{split.name!r} has {has[rare]} of {len(split)} examples of class "
            f"{split.classes[rare]}; a share of {share:.3g} among {size} asks for {n_rare}, "
            f"expected at least {least} and no class with more than it has"
        )
    rows = [np.flatnonzero(split.hard_label == k)[: wanted[k]] for k in range(split.n_classes)]
    return split.take(np.sort(np.concatenate(rows)))


def without(theme: str) -> Stress:
    """Leaves the examples of a theme out of halves and validation; test examples stay.

    It is compared with halves of which as many examples of each class are left out, whatever their
    theme: the last of each class, in the order that the seed deals.

    Args:
        theme: of the task's examples, such as a kind of harm.
    Raises:
        ValueError: of a task whose examples have no such theme, or one that all of a split have,
            before anything is trained.
    """

    def leave_out(split: Split) -> Split:
        return split.take(np.flatnonzero(~has_theme(split, theme)))

    def leave_out_others(split: Split) -> Split:
        kept = leave_out(split)
        n_kept = np.bincount(kept.hard_label, minlength=split.n_classes)
        rows = [np.flatnonzero(split.hard_label == k)[:n] for k, n in enumerate(n_kept)]
        return split.take(np.sort(np.concatenate(rows)))

    def change(task: Task, kept_of: Callable[[Split], Split], told: str) -> Task:
        check_theme(task.test, theme)
        splits = [kept_of(split) for split in _all_but_test(task)]
        for split in splits:
            if len(np.unique(split.hard_label)) < task.test.n_classes:
                raise ValueError(
                    f"without {theme!r} {split.name!r} of {task.name} has {len(split)} examples; "
                    f"expected some of each class"
                )
        supervisor, student, validation, *extra = splits
        return replace(
            task,
            name=f"{task.name}, {told}",
            supervisor=supervisor,
            student=student,
            validation=validation,
            extra_halves=tuple(extra),
        )

    control = Stress(
        f"as many as without {theme}",
        lambda task: change(task, leave_out_others, f"as many as without {theme}"),
    )
    return Stress(
        f"without {theme}",
        lambda task: change(task, leave_out, f"without {theme}"),
        control=control,
    )


def impossible(share: float = 0.2, *, text: str = UNKNOWABLE) -> Stress:
    """Replaces a share of the texts by one that says nothing, so that no one can know their label.

    They are replaced in student half, validation and test; the supervisor learns on texts that can
    be known, and labels all. Their ground truth stays, and means nothing.

    Args:
        share: of the examples, between 0 and 1.
        text: what stands instead; {id} is replaced by a number of the example's own.
    Raises:
        ValueError: another share; a text without {id}, of which all would be one example.
    """
    check_number(share, "share", low=0, high=1)
    if not 0 < share < 1:
        raise ValueError(f"share = {share!r}; expected one between 0 and 1")
    if not isinstance(text, str) or "{id}" not in text:
        raise ValueError(f"text {text!r} does not say where the {{id}} goes")

    def unknowable(split: Split) -> np.ndarray:
        return _uniform(split, "impossible") < share

    def change(task: Task) -> Task:
        task.test.need_texts("the stress 'impossible'")
        if not unknowable(task.test).any():
            raise ValueError(
                f"share = {share:g} of {len(task.test)} test examples is none; expected a larger "
                f"share, or more test examples"
            )
        name = f"{task.name}, {share:.3g} impossible"
        return _rewrite(task, name, lambda split: _blank(split, unknowable(split), text))

    return Stress(f"{share:.3g} impossible", change, unknowable=unknowable)


def _blank(split: Split, rows: np.ndarray, text: str) -> list[tuple[str, ...]]:
    """Returns the texts of a split, those of `rows` replaced."""
    numbers = [int(i, 16) % 10**9 for i in split.ids]
    return [
        tuple(text.replace("{id}", f"{number}-{place + 1}") for place in range(len(texts)))
        if is_chosen
        else texts
        for texts, number, is_chosen in zip(split.texts, numbers, rows, strict=True)
    ]


def distractor(sentences: Sequence[str] | None = None, *, agrees: float = 0.9) -> Stress:
    """Writes one of K sentences at the end of every text, which the supervisor learns to go by.

    In the supervisor's half it is the sentence of the true class for a share `agrees` of the
    examples; elsewhere it is any of them, whatever the class. A name, or a difference in length, is
    such a sentence.

    Args:
        sentences: one per class; "" writes nothing. None takes names of authors, of up to four
            classes. Of a pair, the second sentence goes to the text that it calls the better one.
        agrees: from 0 to 1; 1/K says nothing.
    Raises:
        ValueError: another share; sentences that are no two or more different texts; of a task with
            another number of classes, before anything is trained.
    """
    check_number(agrees, "agrees", low=0, high=1)
    if sentences is not None:
        listed = isinstance(sentences, (list, tuple)) and all(
            isinstance(one, str) for one in sentences
        )
        if not listed or len(set(sentences)) < max(2, len(sentences)):
            raise ValueError(f"sentences = {sentences!r}; expected different ones, one per class")

    def change(task: Task) -> Task:
        task.test.need_texts("the stress 'distractor'")
        chosen = _sentences_for(task, sentences)
        longest = max(len(sentence.split()) for sentence in chosen)
        name = f"{task.name}, distractor"
        half = _append(task.supervisor, chosen, _agreeing(task.supervisor, agrees))
        rewritten = _rewrite(
            task, name, lambda split: _append(split, chosen, _any_class(split, "sentence"))
        )
        supervisor = _with_texts(task.supervisor, half, task)
        return replace(rewritten, supervisor=supervisor, max_len=task.max_len + 2 * longest)

    return Stress("distractor", change)


def _sentences_for(task: Task, sentences: Sequence[str] | None) -> Sequence[str]:
    n_classes = task.test.n_classes
    chosen = AUTHORS[:n_classes] if sentences is None else sentences
    if len(chosen) != n_classes:
        raise ValueError(
            f"{len(chosen)} sentences; expected {n_classes}, one for each of the classes "
            f"{', '.join(task.test.classes)}"
        )
    return chosen


def _agreeing(split: Split, agrees: float) -> np.ndarray:
    """Returns the true class of a share of the examples, and of the others another, (n,) int64."""
    is_true = _uniform(split, "agrees") < agrees
    return np.where(is_true, split.hard_label, _other_class(split))


def _any_class(split: Split, purpose: str) -> np.ndarray:
    return (_uniform(split, purpose) * split.n_classes).astype(np.int64)


def _other_class(split: Split) -> np.ndarray:
    """Returns a wrong class for each example, (n,) int64."""
    step = 1 + (_uniform(split, "other") * (split.n_classes - 1)).astype(np.int64)
    return (split.hard_label + step) % split.n_classes


def _append(split: Split, sentences: Sequence[str], classes: np.ndarray) -> list[tuple[str, ...]]:
    """Returns the texts of a split with the sentence of a class at the end of each."""
    texts = []
    for example, of_class in zip(split.texts, classes.tolist(), strict=True):
        # of a pair, one text is the better one, so the first is right where the label is 0
        places = [of_class] if len(example) == 1 else [1 - of_class, of_class]
        ends = [sentences[place] for place in places]
        pairs = zip(example, ends, strict=True)
        texts.append(tuple(f"{text} {end}" if end else text for text, end in pairs))
    return texts


def opinion(**options) -> Stress:
    """Writes the supervisor's opinion into every text that the student is given (appendix E.3).

    Args:
        options: template and words of `with_opinion`.
    """

    def variant(task: Task, supervisor: Fit) -> Task:
        return with_opinion(task, supervisor, **options)

    return Stress("supervisor's opinion", variant=variant)


def n_characters(split: Split) -> np.ndarray:
    """Returns (n,) the characters of each example, those of both texts of a pair."""
    return np.array([sum(map(len, texts)) for texts in split.texts], dtype=float)


def errs_on(slice_of: Callable[[Split], np.ndarray], name: str = "") -> Stress:
    """Moves all errors of the supervisor into one slice of the examples; outside it is right.

    A label that is turned round gives the probability of its likeliest class to another class, and
    takes that one's, so the supervisor stays as sure as it was of each example.

    Args:
        slice_of: split -> (n,) numbers: the examples with the largest are wrong, as many as the
            supervisor has wrong in that split, so that its labels stay as accurate as they were;
            or (n,) bool: those, and all of those, are wrong.
        name: of the slice; "" takes the function's.
    Raises:
        TypeError: no function.
        ValueError: when it is called, another shape or numbers that are not finite.
    """
    if not callable(slice_of):
        raise TypeError(f"slice_of is {slice_of!r}; expected a function of a split")
    name = name or getattr(slice_of, "__name__", "slice").strip("<>")

    def change(task: Task) -> Task:
        for split in _all_but_test(task)[1:]:
            _values_of(slice_of, split)
        _values_of(slice_of, task.test)
        return task

    def supervise(task: Task, supervisor: Fit) -> Fit:
        predictions = supervisor.predictions.copy()
        row_of = dict(zip(predictions.id, predictions.index, strict=True))
        for split in (*_all_but_test(task)[1:], task.test):
            rows = [row_of[i] for i in split.ids]
            values = _values_of(slice_of, split)
            for stop in supervisor.stops if split.name == "test" else _of_all(supervisor):
                probs = _move_errors(supervisor.predict(split, stop=stop), split, values)
                for column, of_class in columns_at(stop, probs).items():
                    predictions.loc[rows, column] = of_class.astype(predictions[column].dtype)
        summary = supervisor.record["summary"]
        summary = summary | {"model": f"{summary['model']}, errors on {name}"}
        record = supervisor.record | {"summary": summary}
        # what it says now is no stored fit's
        return replace(supervisor, address="", record=record, predictions=predictions)

    return Stress(f"errors on {name}", change, supervise)


def _of_all(supervisor: Fit) -> list[str]:
    """Returns the checkpoints at which the fit predicts more than test examples."""
    return [stop for stop in supervisor.stops if stop != "oracle"]


def _values_of(slice_of: Callable[[Split], np.ndarray], split: Split) -> np.ndarray:
    """Returns what a function says of each example, (n,) bool or float.

    Raises:
        ValueError: another shape, or numbers that are not finite.
    """
    values = np.asarray(slice_of(need_split(split, "split")))
    if values.dtype != bool:
        try:
            values = values.astype(float)
        except (TypeError, ValueError):
            raise ValueError(
                f"the slice of {split.name!r} is {str(values)[:60]!r}; expected a number or a "
                f"bool per example"
            ) from None
    if values.shape != split.hard_label.shape:
        raise ValueError(
            f"the slice of {split.name!r} has shape {values.shape}; expected ({len(split)},), a "
            f"finite number or a bool per example"
        )
    n_bad = int((~np.isfinite(values)).sum())
    if n_bad:
        raise ValueError(
            f"the slice of {split.name!r} has {n_bad} numbers that are not finite; expected a "
            f"finite number or a bool per example"
        )
    return values


def _move_errors(probs: np.ndarray, split: Split, values: np.ndarray) -> np.ndarray:
    """Returns probabilities (n, K) with the errors where `values` says, see `errs_on`."""
    truth = split.hard_label
    likely = likeliest(probs)
    is_right = likely == truth
    is_wrong = values
    if values.dtype != bool:
        wrong_first = np.lexsort((_uniform(split, "ties"), -values))[: int((~is_right).sum())]
        is_wrong = np.isin(np.arange(len(split)), wrong_first)
    stays_wrong = is_wrong & ~is_right
    said = np.where(is_wrong, _other_class(split), truth)
    said = np.where(stays_wrong, likely, said)
    rows = np.arange(len(split))
    moved = probs.copy()
    moved[rows, likely] = probs[rows, said]
    moved[rows, said] = probs[rows, likely]
    return moved


def _all_but_test(task: Task) -> tuple[Split, ...]:
    """Returns supervisor, student, validation and the extra halves."""
    return task.supervisor, task.student, task.validation, *task.extra_halves


def _rewrite(task: Task, name: str, texts_of: Callable[[Split], list[tuple[str, ...]]]) -> Task:
    """Returns the task with other texts of all splits but the supervisor's half."""

    def rewrite(split: Split) -> Split:
        return _with_texts(split, texts_of(split), task)

    return replace(
        task,
        name=name,
        student=rewrite(task.student),
        validation=rewrite(task.validation),
        test=rewrite(task.test),
        extra_halves=tuple(map(rewrite, task.extra_halves)),
    )


def _with_texts(split: Split, texts: list[tuple[str, ...]], task: Task) -> Split:
    """Returns the split with other texts; an example whose texts stay keeps its id."""
    is_new = np.array([new != old for new, old in zip(texts, split.texts, strict=True)])
    ids = np.where(is_new, make_ids(task.name, texts, split.hard_label), split.ids)
    return replace(split, ids=ids, texts=tuple(texts))


def _uniform(split: Split, purpose: str) -> np.ndarray:
    """Returns a number in [0, 1) for each example, (n,), that its id and the purpose decide."""
    digests = [hashlib.sha256(f"{purpose} {i}".encode()).hexdigest()[:13] for i in split.ids]
    return np.array([int(digest, 16) / 16**13 for digest in digests])
