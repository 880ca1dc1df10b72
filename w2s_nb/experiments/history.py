"""Lists every student in the store, whoever made it, beside its supervisor and its ceiling."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from typing import get_origin, get_type_hints

import numpy as np
import pandas as pd

from .. import metrics
from ..common import store
from ..common.progress import collect_warnings, progress
from ..common.registry import LOSSES, UnknownName
from ..data.classes import likeliest
from ..losses.contract import loss_args
from ..metrics.gap import pgr_of
from ..models.names import size_order
from ..training.hyperparameters import METHODS, PROBES
from ..training.result import probs_at
from .arms import MANY_CLASSES, NOT_DEFINED, PGR_BY, student_name

# Hyper-parameters that the column `setting` names where they differ from the method's defaults.
_NAMED = (
    "epochs",
    "batch_size",
    "head_lr",
    "weight_decay",
    "beta2",
    "warmup",
    "top_layers",
    "lora_rank",
    "features",
    "l2",
)
# How often a fit is evaluated in training; a ceiling less often than its student.
_EVALUATION = ("evals", "curve_test")
_NAMES = (
    "task",
    "weak",
    "strong",
    "arm",
    "weak_method",
    "method",
    "n_train",
    "setting",
    "n_test",
    "stop",
)
_RATES = ("weak_lr", "lr")
_ARMS = ("weak_", "", "ceiling_")
_OF_ARMS = [f"{arm}{measure}" for measure in PGR_BY for arm in _ARMS]
_ESTIMATES = (*_OF_ARMS, *PGR_BY.values(), "agreement")
_COLUMNS = [
    *_NAMES,
    *_RATES,
    "seeds",
    *(name + end for name in _ESTIMATES for end in ("", "_low", "_high")),
    *(f"{pgr}_note" for pgr in PGR_BY.values()),
    "seconds",
    "created",
]


def all_students(**where) -> pd.DataFrame:
    """Builds a row per student and setting in the store, its seeds together.

    Students are those whose supervisor learned from ground truth; of a chain, its first. The
    ceiling of a student is the same model at the same depth, trained by the loss xent with the same
    method, hyper-parameters, seed and version of the code, on ground truth of the same examples;
    where there is none, of the whole half that they were taken from. Of several, the first that was
    made is taken, so that later runs change nothing. A student without a ceiling has no PGR. Each
    stands at the checkpoint that it was trained for, but a fit stored with stop 'oracle', which
    uses test labels, is shown at 'validation' instead, or at 'last' where it has no validation
    labels. If fits of a setting are of several versions of the code, or of the task's examples,
    those of the newest count, and of several fits of a seed the newest. Labels are told apart by
    their source and number. Students on a variant of the task, whose test examples are not their
    supervisor's, are left out.

    Args:
        where: which rows: by a column's name a value, or several values, that it must have, such
            as `all_students(task="boolq", n_train=[200, 400])`.

    Returns:
        Rows in the order of task and the student's size. Columns task, weak, strong, arm,
        weak_method, method, n_train, setting (what differs from the defaults of labels, loss and
        hyper-parameters), n_test, stop (the student's checkpoint), weak_lr and lr (learning rates
        of the bodies, NaN of probes), seeds; weak_accuracy, accuracy, ceiling_accuracy, weak_auroc,
        auroc, ceiling_auroc, pgr, pgr_auroc, agreement, each with the ends of its interval, `_low`
        and `_high`; pgr_note and pgr_auroc_note, see `metrics.pgr`; seconds that the students took,
        and when the newest was created. AUROC is missing where `Arms.table` has none.

    Raises:
        UnknownName: `where` names a column that there is not.
    """
    for name in where:
        if name not in _COLUMNS:
            raise UnknownName("column of students", name, _COLUMNS)
    rows = _build_rows(_find_settings(_read_fits()))
    rows.sort(key=_row_order)
    table = pd.DataFrame(rows, columns=_COLUMNS)
    for name, wanted in where.items():
        values = list(wanted) if pd.api.types.is_list_like(wanted) else [wanted]
        table = table[table[name].isin(values)]
    return table.reset_index(drop=True)


@dataclass(frozen=True)
class _StoredFit:
    """A trained classifier or answering model, as its record in the store describes it.

    Attributes:
        stop: the checkpoint at which it is shown.
        model, model_digest, layers: its name, a hash of the weights that it started from, which all
            depths of a model share, and its depth.
        labels, labels_address, labels_stop: who gave the labels; if it is a fit, its address, and
            its checkpoint that gave them.
        trained_on, half: hashes of its training examples, and of the whole split they are of.
        evaluated_on: hashes of its test split and of the split after it.
        data: version of all examples of its task; "" in fits of earlier versions of the kit.
        code: the version of the code that made it.
        chance: the accuracy of guessing on test.
    """

    address: str
    created: str
    seconds: float
    stop: str
    task: str
    model: str
    model_digest: str
    layers: int
    method: str
    hyperparameters: dict
    loss: str
    loss_args: dict
    labels: str
    labels_address: str
    labels_stop: str
    precision: str
    seed: int
    trained_on: str
    half: str
    evaluated_on: tuple[str, ...]
    n_train: int
    n_val: int | None
    n_test: int
    data: str
    code: tuple[str, ...]
    chance: float

    @property
    def lr(self) -> float:
        """Returns the body's learning rate; NaN of a probe, which trains no body."""
        return math.nan if self.method in PROBES else self.hyperparameters["lr"]

    @property
    def on_truth(self) -> bool:
        return self.labels == "ground truth"

    @property
    def is_ceiling(self) -> bool:
        """Tells whether it is trained as ceilings are: by cross-entropy on ground truth."""
        return self.on_truth and self.loss == "xent" and not self.changed_loss_args

    @property
    def shared_with_ceiling(self) -> tuple:
        """Returns what a student and its ceiling have in common, the examples apart."""
        hyperparameters = {k: v for k, v in self.hyperparameters.items() if k not in _EVALUATION}
        return (
            self.task,
            self.model_digest,
            self.layers,
            self.method,
            self.seed,
            self.precision,
            self.evaluated_on,
            self.code[0],  # the rest is of the loss
            json.dumps(hyperparameters, sort_keys=True),
        )

    @property
    def changed(self) -> dict:
        """Returns the named hyper-parameters that differ from the method's defaults."""
        defaults = _as_stored(asdict(METHODS[self.method]))
        return {k: v for k, v in self.hyperparameters.items() if k in _NAMED and v != defaults[k]}

    @property
    def changed_loss_args(self) -> dict:
        """Returns the loss's arguments that differ from its defaults."""
        defaults = _as_stored(loss_args(self.loss)) if self.loss in LOSSES else {}
        return {k: v for k, v in self.loss_args.items() if v != defaults.get(k)}


@dataclass(frozen=True)
class _Trio:
    """The fits of one seed: a student with its supervisor, and its ceiling if there is one."""

    weak: _StoredFit
    student: _StoredFit
    ceiling: _StoredFit | None

    @property
    def fits(self) -> tuple[_StoredFit | None, ...]:
        """Returns supervisor, student and ceiling."""
        return self.weak, self.student, self.ceiling

    @property
    def names(self) -> dict:
        """Returns the columns that name the student's setting."""
        weak, student = self.weak, self.student
        return {
            "task": student.task,
            "weak": weak.model,
            "strong": student.model,
            "arm": student_name(student.loss),
            "weak_method": weak.method,
            "method": student.method,
            "n_train": student.n_train,
            "setting": self._describe(),
            "n_test": student.n_test,
            "stop": student.stop,
        }

    @property
    def rates(self) -> dict:
        """Returns the columns with the learning rates of supervisor and student."""
        return {"weak_lr": self.weak.lr, "lr": self.student.lr}

    def _describe(self) -> str:
        """Says how labels, loss and hyper-parameters differ from their defaults."""
        weak, student = self.weak, self.student
        changed = student.changed | student.changed_loss_args
        weak_changed = {k: v for k, v in weak.changed.items() if v != changed.get(k)}
        if weak.n_train != student.n_train:
            weak_changed["n_train"] = weak.n_train
        if weak.loss != "xent":
            weak_changed["loss"] = weak.loss
        weak_changed |= weak.changed_loss_args
        phrases = [
            student.labels.removeprefix(weak.model).lstrip(", "),
            *(f"{k} = {v}" for k, v in changed.items()),
            *(f"supervisor's {k} = {v}" for k, v in weak_changed.items()),
        ]
        return ", ".join(filter(None, phrases))

    @property
    def setting(self) -> str:
        """Returns what the seeds of a setting have in common, as JSON."""
        weak, student = self.weak, self.student
        common = [
            self.names,
            student.model_digest,
            student.hyperparameters,
            student.evaluated_on[0],
            student.loss_args,
            student.precision,
            student.n_val,
            student.stop,
            weak.model_digest,
            weak.hyperparameters,
            weak.loss,
            weak.loss_args,
            weak.precision,
            weak.n_train,
            weak.stop,
        ]
        return json.dumps(common, sort_keys=True)


def _as_stored(values: dict) -> dict:
    """Returns values as JSON gives them back: tuples as lists."""
    return json.loads(json.dumps(values))


def _read_fits() -> dict[str, _StoredFit]:
    """Returns {address: fit} of all models in the store that were trained to classify or answer."""
    fits = {}
    for address in store.addresses():
        record = store.record(address)
        # records of other versions of the kit may be of any form
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            if record is not None and _is_trained(record):
                fit = _read_fit(record)
                if _is_readable(fit):
                    fits[address] = fit
    return fits


def _is_trained(record: dict) -> bool:
    summary = record["summary"]
    trained = bool(summary.get("n_train") and summary["loss"])
    # Prompts, finetuning on text and fits of earlier versions lack one of the two.
    return (
        trained and "accuracy_last" in record["metrics"] and "hyperparameters" in record["config"]
    )


def _is_readable(fit: _StoredFit) -> bool:
    """Returns whether each field is of its type, and the method is one that this version has."""
    return fit.method in METHODS and all(
        isinstance(getattr(fit, name), expected) for name, expected in _types_of_fields().items()
    )


@functools.cache
def _types_of_fields() -> dict:
    """Returns {field of `_StoredFit`: its type}."""
    hints = get_type_hints(_StoredFit)
    types = {name: get_origin(hint) or hint for name, hint in hints.items()}
    return types | {"n_val": int | None, "seconds": int | float}


def _read_fit(record: dict) -> _StoredFit:
    summary = record["summary"]
    config = record["config"]
    trained_on, *others = config["splits"]
    return _StoredFit(
        address=record["address"],
        created=record["created"],
        seconds=record["seconds"],
        stop=_stop_without_test_labels(record),
        task=summary["task"],
        model=summary["model"],
        model_digest=config["model"],
        layers=config["layers"],
        method=summary["method"],
        hyperparameters=config["hyperparameters"],
        loss=summary["loss"],
        loss_args=summary["loss_args"],
        labels=summary["labels"],
        labels_address=summary["labels_address"],
        labels_stop=record.get("labels_stop", ""),
        precision=config["precision"],
        seed=summary["seed"],
        trained_on=trained_on,
        # fits of earlier versions do not tell
        half=record.get("half", trained_on),
        evaluated_on=tuple(others[:2]),
        n_train=summary["n_train"],
        n_val=summary.get("n_val"),
        n_test=summary["n_test"],
        data=record.get("data", ""),
        code=tuple(np.atleast_1d(config["code"]).tolist()),
        # fits of earlier versions do not tell; they are of two balanced classes, or of answers
        chance=record.get("chance", 0.0 if config.get("objective") == "answers" else 0.5),
    )


def _find_settings(fits: dict[str, _StoredFit]) -> list[list[_Trio]]:
    """Returns the students of each setting, by seed, with their supervisors and ceilings."""
    ceilings: dict[tuple, _StoredFit] = {}
    from_old_to_new = sorted(fits.values(), key=lambda fit: (fit.created, fit.address))
    for fit in from_old_to_new:
        if fit.is_ceiling:
            ceilings.setdefault((fit.trained_on, fit.shared_with_ceiling), fit)
    settings: dict[str, dict[int, _Trio]] = {}
    versions: dict[str, tuple] = {}
    for student in from_old_to_new:
        weak = fits.get(student.labels_address)
        if weak is None or not weak.on_truth or weak.task != student.task:
            continue
        shared = student.shared_with_ceiling
        ceiling = ceilings.get((student.trained_on, shared)) or ceilings.get((student.half, shared))
        trio = _Trio(replace(weak, stop=student.labels_stop or weak.stop), student, ceiling)
        # A newer version of the code or of the examples replaces an older one.
        version = (student.code, student.data)
        setting = trio.setting
        if versions.get(setting) != version:
            settings[setting] = {}
        versions[setting] = version
        settings[setting][student.seed] = trio
    return [[seeds[seed] for seed in sorted(seeds)] for seeds in settings.values()]


def _stop_without_test_labels(record: dict) -> str:
    """Returns the checkpoint at which a fit is shown: the oracle chose by the test labels."""
    if record["stop"] != "oracle":
        return record["stop"]
    return "validation" if "accuracy_validation" in record["metrics"] else "last"


def _row_order(row: dict) -> tuple:
    """Returns what rows are sorted by: the naive student of each pair comes first."""
    is_other = row["arm"] != student_name("xent")
    return row["task"], _size(row["strong"]), _size(row["weak"]), is_other, row["arm"]


def _size(model: str) -> tuple:
    try:
        return size_order(model)
    except ValueError:  # a model that was registered in another process only
        return math.inf, model


# the rows of the last call, {files that a row is made of: row}
_last_rows: dict[tuple, dict | None] = {}


def _build_rows(settings: list[list[_Trio]]) -> list[dict]:
    """Builds a row per setting; those whose files are as at the last call are taken from there."""
    global _last_rows
    rows = {}
    tests = _StoredTests()
    for trios in progress(settings, desc="students"):
        files = tuple(_files_of(fit) for trio in trios for fit in trio.fits)
        rows[files] = _last_rows[files] if files in _last_rows else _build_row(trios, tests)
    _last_rows = rows
    return [row.copy() for row in rows.values() if row is not None]


def _files_of(fit: _StoredFit | None) -> tuple:
    """Returns what changes when a fit's files do: their places, sizes and times of change."""
    if fit is None:
        return ()
    files = []
    for name in (store.RECORD, "predictions.parquet"):
        path = store.folder(fit.address) / name
        stat = path.stat() if path.is_file() else None
        files.append((str(path), stat and (stat.st_size, stat.st_mtime_ns)))
    return tuple(files)


class _StoredTests:
    """Reads the test predictions of fits, each once, and computes each AUROC once: supervisors and
    ceilings stand in many rows.
    """

    def __init__(self):
        self._shared: dict[tuple[str, str], pd.DataFrame | None] = {}
        self._aurocs: dict[tuple, metrics.Estimate] = {}

    def auroc(self, probs: np.ndarray, truth: np.ndarray, group: np.ndarray) -> metrics.Estimate:
        """Returns the AUROC of predictions (s, n, K); not defined where tables have none."""
        if probs.shape[-1] > MANY_CLASSES or len(np.unique(truth)) < 2:  # answers are all true
            return NOT_DEFINED
        digest = hashlib.sha256(probs.tobytes() + truth.tobytes()).hexdigest()
        key = digest, tuple(group.tolist())
        if key not in self._aurocs:
            self._aurocs[key] = metrics.auroc(probs, truth, group=group)
        return self._aurocs[key]

    def read(self, trio: _Trio) -> list[pd.DataFrame] | None:
        """Returns what each fit of a seed predicts on test, or None if one cannot be compared."""
        tests: list[pd.DataFrame] = []
        for fit in filter(None, trio.fits):
            test = self._read(fit, keep=fit is not trio.student)
            if test is None or (tests and not _same_ids(test, tests[0])):
                return None
            tests.append(test)
        return tests

    def _read(self, fit: _StoredFit, *, keep: bool) -> pd.DataFrame | None:
        key = fit.address, fit.stop
        if key in self._shared:
            return self._shared[key]
        test = _read_test(fit)
        # Supervisors and ceilings stand in many rows, a student in one.
        if keep:
            self._shared[key] = test
        return test


def _same_ids(test: pd.DataFrame, other: pd.DataFrame) -> bool:
    return test.index.equals(other.index) or set(test.index) == set(other.index)


def _build_row(trios: list[_Trio], stored: _StoredTests) -> dict | None:
    """Builds one row from the fits of a setting, one trio per seed.

    Skips seeds with missing or damaged files; returns None if none is left.
    """
    trios_read = []
    tests_read = []
    for trio in trios:
        tests = stored.read(trio)
        if tests is not None:
            trios_read.append(trio)
            tests_read.append(tests)
    if not trios_read:
        return None
    first = tests_read[0][0]
    truth = first.truth.to_numpy()
    group = first.group.to_numpy()
    chance = trios_read[-1].student.chance
    # A setting has a ceiling if every seed has one.
    n_arms = 3 if all(trio.ceiling for trio in trios_read) else 2
    row = trios_read[-1].names | trios_read[-1].rates | {"seeds": len(trios_read)}
    probs = [
        np.stack([_probs_of(tests[arm], first.index) for tests in tests_read])
        for arm in range(n_arms)
    ]
    accuracies = [metrics.accuracy(p, truth, group=group) for p in probs]
    aurocs = [stored.auroc(p, truth, group) for p in probs]
    row |= _measures({"accuracy": accuracies, "auroc": aurocs}, chance)
    weak_says, student_says = (
        np.stack([tests[arm].says.loc[first.index] for tests in tests_read]) for arm in (0, 1)
    )
    agreement = metrics.of_means(np.asarray, weak_says == student_says, group=group)
    return row | {
        **agreement.as_dict("agreement"),
        "seconds": sum(trio.student.seconds for trio in trios_read),
        "created": trios_read[-1].student.created,
    }


def _measures(by_measure: dict[str, list[metrics.Estimate]], chance: float) -> dict:
    """Returns a row's columns with accuracy, AUROC and PGR by both.

    Args:
        by_measure: {measure: its value of supervisor, student and, if there is one, ceiling}.
    """
    row: dict = {}
    for measure, of_arms in by_measure.items():
        for arm, estimate in zip(_ARMS, of_arms, strict=False):
            row |= estimate.as_dict(arm + measure)
        pgr = NOT_DEFINED
        if len(of_arms) == len(_ARMS) and not any(math.isnan(arm.value) for arm in of_arms):
            with collect_warnings():  # where PGR is not defined it is missing
                pgr = pgr_of(*of_arms, chance=chance, measure=measure)
        row |= pgr.as_dict(PGR_BY[measure]) | {f"{PGR_BY[measure]}_note": pgr.note}
    return row


def _probs_of(test: pd.DataFrame, ids: pd.Index) -> np.ndarray:
    """Returns probabilities (n, K) of examples, from what `_read_test` returns."""
    return test.loc[ids, [column for column in test if isinstance(column, int)]].to_numpy()


def _read_test(fit: _StoredFit) -> pd.DataFrame | None:
    """Returns a fit's test predictions by id, or None if they cannot be read.

    Returns:
        Columns truth, group, says (class or answer), and one per class, named by its number: the
        probabilities at the fit's checkpoint.
    """
    predictions = store.predictions(fit.address)
    if predictions is None:
        return None
    test = predictions[predictions["split"] == "test"].set_index("id")
    if "group" not in test:  # of a version that did not keep it
        return None
    if "answer" in test:
        right = test.right.astype(float)
        known = {"truth": 1, "group": test.group, "says": test.answer, 0: 1 - right, 1: right}
        return pd.DataFrame(known)
    if fit.stop not in test:
        return None
    probs = probs_at(test, fit.stop)
    known = {"truth": test.truth, "group": test.group, "says": likeliest(probs)}
    return pd.DataFrame(known | dict(enumerate(probs.T)))
