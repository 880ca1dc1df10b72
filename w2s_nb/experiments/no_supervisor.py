"""Puts rows without a supervisor beside the arms: classes that a model's states show by themselves.

The only thing that such a method cannot know is which of its two classes is which. That one bit is
taken from a supervisor's labels or from the model's own zero-shot answers, never from the truth;
`Fit.record["sign"]` says from whom, and how clear the choice was.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict
from typing import cast

import numpy as np
import pandas as pd

from ..common import store
from ..common.device import computing_versions, precision
from ..common.registry import UnknownName
from ..common.seeds import check_seed
from ..data.splits import Split, Task, need_split
from ..data.tasks.spec import Prompt
from ..inputs import activations
from ..inputs.features import features
from ..labels.soft import SoftLabels, need_labels
from ..metrics.classification import correct
from ..models.encoders import require_kind
from ..models.loading import digest, with_depth
from ..models.names import resolve
from ..prompting import contrast
from ..prompting.contrast import contrast_features, wording_of
from ..prompting.prompt import prompt
from ..training import unsupervised
from ..training.result import STOPS, Fit, check_elsewhere, columns_at, splits_elsewhere, task_of
from ..training.unsupervised import METHODS, orient
from .arms import WEAK, Arms

SUPERVISOR = "supervisor"
PROMPT = "prompt"
SIGNS = (SUPERVISOR, PROMPT)
LEAST = 4  # examples that a direction is found in


def no_supervisor(
    model: str,
    split: Split,
    method: str = "contrast_consistent",
    labels: SoftLabels | None = None,
    *,
    seed: int = 0,
    wording: Prompt | None = None,
    also: Sequence[Split] = (),
) -> Fit:
    """Finds two classes in a model's states of a split without labels, or finds that in the store.

    Args:
        model: a name that `models.resolve` takes; its last layer is read.
        split: the examples to learn from, a split of a `load_task`; their truth is not used.
        method: a name of `training.unsupervised.METHODS`: 'first_component' and
            'mutual_predictability' read the texts or images alone; 'contrast_component' and
            'contrast_consistent' read each text with either answer below it.
        labels: of some examples of the split. They decide which class is which, by the agreement of
            the likeliest classes, and nothing else. None takes the model's zero-shot answers.
        seed: of random starts and searches.
        wording: template and answers of contrasts and of the zero-shot prompt; None takes the
            task's own, in `also` each split's.
        also: splits of other tasks with the same classes, which are predicted too.
    Returns:
        Predictions of the test and validation split, of `split` and of `also`. `record["sign"]` has
        "by" (who decided which class is which) and "agreement" (the share of examples that agree,
        from .5).
    Raises:
        UnknownName, TypeError, ValueError: no such method; other than two classes; fewer than four
            examples; no label of the split; as `prompt`; before any model is loaded.
        ModelUnavailable: the weights cannot be had here.
    """
    split = check_no_supervisor(model, split, method, labels, wording)
    others = check_elsewhere(split, also)
    task = task_of(split)
    if labels is None:
        answers = prompt(model, split, wording=wording)
        labels = SoftLabels(split.ids, answers.predict(split), PROMPT, answers.address)
    splits = [task.test, task.validation]
    splits += [split] if not any(split.fingerprint == one.fingerprint for one in splits) else []
    splits += splits_elsewhere(splits, others)
    checkpoint = with_depth(resolve(model))
    known = labels.knows(split)
    config = {
        "model": digest(checkpoint),
        "layers": checkpoint.layers,
        "method": method,
        "seed": check_seed(seed),
        "wording": asdict(wording_of(split, wording)) if METHODS[method].contrast else None,
        "max_len": task.max_len,
        "precision": precision(),
        "versions": computing_versions(),
        "splits": [each.fingerprint for each in (split, *splits)],
        "sign": store.address({"labels": labels.for_split(split.take(known)).round(6).tolist()}),
        "code": code(),
    }

    def make():
        found = find_classes(model, split, [split, *splits], method, seed=seed, wording=wording)
        sign, agreement = _orient_known(found[0], split, labels)
        probs = [each[:, ::sign] for each in found[1:]]
        record = {
            "config": config,
            "metrics": _measure(splits[0], probs[0]),
            "stop": "last",
            "trained_on": split.ids.tolist(),
            "sign": {"by": labels.source, "agreement": agreement},
            "summary": _summarize(model, split, method, labels, seed),
        }
        no_steps = pd.DataFrame({"step": pd.Series(dtype=int)})
        return record, _tabulate(splits, probs), no_steps

    address = store.address(config)
    return Fit(address, *store.get_or_make(address, make), "last")


@functools.cache
def code() -> str:
    """Returns the version of the code that decides what is found."""
    version = store.code_version(unsupervised, contrast, find_classes, _orient_known)
    return store.address({"code": version, "states": activations.code()})


def check_no_supervisor(
    model: str,
    split: Split,
    method: str,
    labels: SoftLabels | None = None,
    wording: Prompt | None = None,
) -> Split:
    """Refuses what `no_supervisor` would refuse, before any model is loaded; returns the split."""
    if method not in METHODS:
        raise UnknownName("method without a supervisor", str(method), METHODS)
    need_split(split, "split")
    split.need_classes(method)
    name = task_of(split).name
    if split.n_classes != 2:
        raise ValueError(f"{method} finds two classes; {name} has {split.n_classes}")
    if len(split) < LEAST:
        raise ValueError(f"{method} needs {LEAST} examples or more; {split!r} has {len(split)}")
    require_kind(resolve(model), task_of(split).spec)
    if METHODS[method].contrast or labels is None:
        split.need_texts(method if labels is not None else "a sign by zero-shot prompt")
        wording_of(split, wording)
    if labels is not None and not need_labels(labels, "labels").knows(split).any():
        raise ValueError(
            f"labels of {labels.source} know none of the {len(split)} examples of {split.name!r}, "
            f"so they cannot decide which class is which"
        )
    return split


def find_classes(
    model: str,
    split: Split,
    predicted: Sequence[Split],
    method: str,
    *,
    seed: int = 0,
    wording: Prompt | None = None,
) -> list[np.ndarray]:
    """Returns (n, 2) probabilities of the examples of each split `predicted`, in a sense that is
    not decided yet.

    Args:
        split: the examples to learn from; the other arguments are those of `no_supervisor`.
    """
    way = METHODS[method]

    def states(of: Split) -> np.ndarray:
        if way.contrast:
            return contrast_features(model, of, wording)
        depth = cast(int, with_depth(resolve(model)).layers)
        return features(model, of, layers=[depth])[depth]

    predict = way.learn(states(split), seed)
    second = [predict(states(each)) for each in predicted]
    return [np.column_stack([1 - each, each]) for each in second]


def predict_test(
    model: str,
    task: Task,
    method: str,
    labels: SoftLabels,
    *,
    sign: str = SUPERVISOR,
    seed: int = 0,
) -> np.ndarray:
    """Returns (n_test, 2) probabilities of the test examples; stores nothing and needs no truth.

    Args:
        task: as a seed deals it; the texts of its student half are learned from.
        labels: the supervisor's.
        sign: who decides which class is which, of `SIGNS`.
    Raises: as `no_supervisor`.
    """
    half, test = task.student, task.test
    if sign not in SIGNS:
        raise UnknownName("sign", str(sign), SIGNS)
    check_no_supervisor(model, half, method, labels if sign == SUPERVISOR else None)
    if sign == PROMPT:
        labels = SoftLabels(half.ids, prompt(model, half).predict(half), PROMPT)
    of_half, of_test = find_classes(model, half, [half, test], method, seed=seed)
    turn, _ = _orient_known(of_half, half, labels)
    return of_test[:, ::turn]


def with_no_supervisor(
    arms: Arms,
    methods: Sequence[str] = tuple(METHODS),
    *,
    signs: Sequence[str] = SIGNS,
    wording: Prompt | None = None,
) -> Arms:
    """Returns a copy of the arms with further students: their strong model, without a supervisor.

    Each seed learns from the texts of its student half, and is tested elsewhere where the arms are.

    Args:
        arms: supervisor, students and ceiling, of `run_arms`.
        methods: names of `training.unsupervised.METHODS`.
        signs: who decides which class is which, one arm each: the 'supervisor', by its labels of
            the student half, or the strong model's zero-shot 'prompt'.
        wording: as of `no_supervisor`.
    Raises:
        UnknownName, TypeError, ValueError, ModelUnavailable: as `no_supervisor`.
    """
    for name, given in {"methods": methods, "signs": signs}.items():
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise TypeError(f"{name} = {given!r}; expected several, such as [{given!r}]")
    for sign in signs:
        if sign not in SIGNS:
            raise UnknownName("sign", str(sign), SIGNS)
    halves = [
        (task.student, {SUPERVISOR: weak.label(task.student), PROMPT: None}, task.seed)
        for task, weak in zip(arms.tasks, arms.fits[WEAK], strict=True)
    ]
    asked = [(method, sign) for method in methods for sign in signs]
    for method, sign in asked:
        for half, labels, _ in halves:
            check_no_supervisor(arms.strong, half, method, labels[sign], wording)
    asked_too: dict = {"wording": wording, "also": list(arms.tests_elsewhere.values())}
    found = {
        arm_name(method, sign): [
            no_supervisor(arms.strong, half, method, labels[sign], seed=seed, **asked_too)
            for half, labels, seed in halves
        ]
        for method, sign in asked
    }
    return arms.with_students(found)


def arm_name(method: str, sign: str) -> str:
    """Returns the name of an arm in tables and figures: its method, and who decided the sign."""
    return f"{method.replace('_', ' ')}, sign by {sign}"


def _orient_known(found: np.ndarray, split: Split, labels: SoftLabels) -> tuple[int, float]:
    """Orients by the examples of the split that have a label; see `orient`."""
    known = labels.knows(split)
    return orient(found[known], labels.for_split(split.take(known)))


def _measure(test: Split, probs: np.ndarray) -> dict[str, float]:
    accuracy = float(correct(probs, test.hard_label).mean())
    return {f"accuracy_{stop}": accuracy for stop in STOPS}


def _tabulate(splits: list[Split], probs: list[np.ndarray]) -> pd.DataFrame:
    """Returns the predictions of a fit, the same at every checkpoint."""
    tables = []
    for split, of_split in zip(splits, probs, strict=True):
        columns = {"split": split.name, "id": split.ids, "truth": split.hard_label}
        table = pd.DataFrame(columns | {"group": split.group})
        for stop in STOPS:
            table = table.assign(**columns_at(stop, of_split))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _summarize(model: str, split: Split, method: str, labels: SoftLabels, seed: int) -> dict:
    task = task_of(split)
    checkpoint = with_depth(resolve(model))
    return {
        "task": task.name,
        "model": checkpoint.name,
        "layers": checkpoint.layers,
        "method": method,
        "loss": "",
        "loss_args": {},
        "labels": f"none, sign by {labels.source}",
        "labels_address": labels.address,
        "label_accuracy": np.nan,
        "trained_split": split.name,
        "seed": seed,
        "n_train": len(split),
        "n_val": len(task.validation),
        "n_test": len(task.test),
    }
