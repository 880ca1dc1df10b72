"""Every student in the store, whichever notebook or sweep made it, beside its supervisor and its ceiling."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pandas as pd

from .. import metrics
from ..common import store
from ..common.progress import collect_warnings, progress
from ..common.registry import LOSSES
from ..losses.contract import loss_args
from ..models.names import size_order
from ..training.hyperparameters import METHODS
from .arms import student_name

# what tells settings apart that have other names in common, where it differs from its default
_SHOWN = (
    "epochs",
    "batch_size",
    "head_lr",
    "weight_decay",
    "warmup",
    "top_layers",
    "lora_rank",
    "features",
    "l2",
)
_LOOKS = ("evals", "curve_test")  # a ceiling is looked at less often in training
_NAMES = ("task", "weak", "strong", "arm", "weak_method", "method", "n_train", "setting", "n_test")


def all_students() -> pd.DataFrame:
    """A row a stored student and setting, its seeds together: accuracies and PGR with intervals, by the student's size.

    Students are those whose supervisor learned from ground truth; of a chain, its first. The ceiling of a student is
    the same model with the same method, hyperparameters and seed on ground truth of the same examples, or where there is none of
    the most examples of that half. A student without a ceiling has no PGR. Each stands at the checkpoint that it was
    trained for, but never at 'oracle', which looks at the test labels: there at 'validation'. Of fits by several
    versions of the code the newest version's count, and of several at a seed the newest. Labels are told apart by their
    source and number. Students on a variant of the task, whose test examples are not their supervisor's, are left out.

    Returns:
        Columns task, weak, strong, arm, weak_method, method, n_train, setting (what differs from the defaults of
        labels, loss and hyperparameters), n_test, seeds; weak_accuracy, accuracy, ceiling_accuracy, pgr, agreement, each with the ends
        of its interval, `_low` and `_high`; seconds that the students took, and when the newest was created.
    """
    records = {a: r for a in store.addresses() if (r := store.record(a)) and _trained(r)}
    ceilings: dict[tuple, list[dict]] = {}
    for r in records.values():
        if _on_truth(r) and r["summary"]["trained_split"] == "student":
            ceilings.setdefault(_shared(r), []).append(r)
    groups: dict[str, tuple[str, dict[int, tuple]]] = {}
    for r in sorted(records.values(), key=lambda r: r["created"]):
        weak = records.get(r["summary"]["labels_address"])
        if weak and _on_truth(weak) and weak["summary"]["task"] == r["summary"]["task"]:
            alike = [
                c
                for c in ceilings.get(_shared(r), [])
                if c["config"]["splits"][0] == r["config"]["splits"][0]
            ]
            found = max(
                alike or ceilings.get(_shared(r), []),
                key=lambda c: (len(c["trained_on"]), c["created"]),
                default=None,
            )
            setting, code = _setting(r, weak), json.dumps(r["config"]["code"])
            seeds = groups[setting][1] if groups.get(setting, ("",))[0] == code else {}
            groups[setting] = code, seeds | {r["summary"]["seed"]: (weak, r, found)}
    rows = [
        _row([seeds[seed] for seed in sorted(seeds)])
        for _, seeds in progress(groups.values(), desc="students")
    ]
    rows = sorted(
        (row for row in rows if row),
        key=lambda r: (
            r["task"],
            _size(r["strong"]),
            _size(r["weak"]),
            r["arm"] != student_name("xent"),
            r["arm"],
        ),
    )
    return pd.DataFrame(
        rows, columns=list(rows[0]) if rows else [*_NAMES, "seeds", "accuracy", "pgr"]
    )


def _trained(r: dict) -> bool:
    """Whether a record is of a model that was trained to classify or to answer."""
    return (
        bool(r["summary"].get("n_train") and r["summary"]["loss"])
        and "accuracy_last" in r["metrics"]
    )


def _on_truth(r: dict) -> bool:
    return r["summary"]["labels"] == "ground truth"


def _shared(r: dict) -> tuple:
    """What a student and its ceiling have in common."""
    config, hyperparameters = (
        r["config"],
        {k: v for k, v in r["config"]["hyperparameters"].items() if k not in _LOOKS},
    )
    return (
        config["model"],
        config["method"],
        config["seed"],
        config["precision"],
        *config["splits"][1:3],
        json.dumps(hyperparameters, sort_keys=True),
    )


def _setting(r: dict, weak: dict) -> str:
    """What the seeds of a setting have in common, as JSON."""
    s, config = r["summary"], r["config"]
    return json.dumps(
        [
            _names(r, weak),
            config["model"],
            config["hyperparameters"],
            config["splits"][1],
            s["loss_args"],
            config["precision"],
            s.get("n_val"),
            r["stop"],
            weak["config"]["model"],
            weak["config"]["hyperparameters"],
            weak["summary"]["n_train"],
            weak["stop"],
        ],
        sort_keys=True,
    )


def _names(r: dict, weak: dict) -> dict:
    """The columns that name a student's setting."""
    s, w = r["summary"], weak["summary"]
    usual = json.loads(json.dumps(loss_args(s["loss"]) if s["loss"] in LOSSES else {}))
    changed = _changed(r) | {k: v for k, v in s["loss_args"].items() if v != usual.get(k)}
    parts = [
        s["labels"].removeprefix(w["model"]).lstrip(", "),
        *(f"{k} = {v}" for k, v in changed.items()),
    ]
    others = {k: v for k, v in _changed(weak).items() if v != changed.get(k)} | (
        {"n_train": w["n_train"]} if w["n_train"] != s["n_train"] else {}
    )
    parts += [f"supervisor's {k} = {v}" for k, v in others.items()]
    return {
        "task": s["task"],
        "weak": w["model"],
        "strong": s["model"],
        "arm": student_name(s["loss"]),
        "weak_method": w["method"],
        "method": s["method"],
        "n_train": s["n_train"],
        "setting": ", ".join(filter(None, parts)),
        "n_test": s["n_test"],
    }


def _changed(r: dict) -> dict:
    """What differs in a fit's hyper-parameters from its method's."""
    usual = json.loads(json.dumps(asdict(METHODS[r["summary"]["method"]])))
    return {k: v for k, v in r["config"]["hyperparameters"].items() if k in _SHOWN and v != usual[k]}


def _row(seeds: list[tuple[dict, dict, dict | None]]) -> dict | None:
    """The row of a setting from (supervisor, student, ceiling) of each seed, but those with a damaged or missing file;
    None where that leaves none."""
    read = [(three, [_test(r) for r in three if r]) for three in seeds]
    read = [
        (three, tests)
        for three, tests in read
        if all(test is not None and set(test.index) == set(tests[0].index) for test in tests)
    ]
    if not read:
        return None
    whole = all(ceiling for (_, _, ceiling), _ in read)
    seeds, tests = [three for three, _ in read], [tests[: 3 if whole else 2] for _, tests in read]
    first = tests[0][0]
    arms = [np.stack([test.p1.loc[first.index] for test in column]) for column in zip(*tests)]
    probs, of = [np.stack([1 - p1, p1], axis=2) for p1 in arms], dict(group=first.group.to_numpy())
    said = [np.stack([test.says.loc[first.index] for test in column]) for column in zip(*tests)]
    weak, student, _ = seeds[-1]
    row = _names(student, weak) | {"seeds": len(seeds)}
    for name, arm in zip(("weak_accuracy", "accuracy", "ceiling_accuracy"), probs):
        row |= metrics.accuracy(arm, first.truth.to_numpy(), **of).as_dict(name)
    with collect_warnings():  # where PGR is not defined it is missing
        found = (
            metrics.pgr(*probs, first.truth.to_numpy(), **of)
            if whole
            else metrics.Estimate(*[math.nan] * 3, 0)
        )
    row |= found.as_dict("pgr") | metrics.of_means(np.asarray, said[0] == said[1], **of).as_dict(
        "agreement"
    )
    return row | {"seconds": sum(r["seconds"] for _, r, _ in seeds), "created": student["created"]}


def _test(r: dict) -> pd.DataFrame | None:
    """A fit's test examples by id: truth, group, P(y = 1) at its checkpoint, and what it says; or None."""
    read = store.read(r["address"])
    if read is None:
        return None
    frame = read[1][read[1]["split"] == "test"].set_index("id")
    if "answer" in frame:
        return pd.DataFrame(
            {
                "truth": 1,
                "group": np.arange(len(frame)),
                "p1": frame.right.astype(float),
                "says": frame.answer,
            }
        )
    if "truth" not in frame:  # of a version that did not keep it
        return None
    p1 = frame[r["stop"] if r["stop"] != "oracle" else "validation"].astype(float)
    return pd.DataFrame({"truth": frame.truth, "group": frame.group, "p1": p1, "says": p1 >= 0.5})


def _size(name: str) -> tuple:
    try:
        return size_order(name)
    except ValueError:  # of a model that another process knew
        return math.inf, name
