"""Predicts danger from what anybody can count: length, words, and the findings of a rule checker.

A model that does no better than these has read nothing more than they do.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
import re
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..common.progress import warn
from ..data.splits import Split, Task, need_task
from ..training.logistic import solve

MOST_WORDS = 5_000  # of the training texts, the most frequent
L2 = 1.0  # of the logistic regression, scikit-learn's default
_WORD = re.compile(r"\w+|[^\w\s]")  # names, numbers and single marks
_SEVERITY = {"LOW": 1.0, "MEDIUM": 2.0, "HIGH": 3.0}  # of a finding of bandit


def baselines(task: Task | Sequence[Task], *, rule: bool = False) -> dict[str, np.ndarray]:
    """Returns the predictions of each baseline on the test split, for the rows of a table.

    `length` is a logistic regression on the log of the number of letters, `bag of words` one on the
    log of how often each word stands in a text, and `neighbouring words` one that counts pairs of
    neighbours too, which knows some of their order. All learn from the true labels of the
    supervisor's half.

    Args:
        task: a task of texts in two classes, or one per seed, which share their test split.
        rule: adds `bandit`, which learns nothing: see `bandit_findings`.
    Returns:
        {name: (n, 2) or, of several tasks, (s, n, 2)}, rows sum to 1.
    Raises:
        TypeError, ValueError: no task; more than two classes; answers, images or a pair for
            bandit; tests of several tasks that differ.
        ImportError: bandit is not installed.
    """
    if isinstance(task, (list, tuple)):
        return _of_seeds(list(task), rule)
    task = need_task(task, "task")
    spec = task.spec
    if spec.n_classes != 2 or spec.max_answer or spec.images is not None:
        raise ValueError(f"task {task.name!r}; expected texts in two classes")
    train, test = task.supervisor, task.test
    predictions = {
        "length": _fit(_lengths(train), _lengths(test), train, test),
        "bag of words": _bag_of_words(train, test),
        "neighbouring words": _bag_of_words(train, test, neighbours=True),
    }
    if rule:
        if spec.arity != 1:
            raise ValueError(f"task {task.name!r} compares texts; bandit reads one at a time")
        score = bandit_findings([text for (text,) in test.texts])
        predictions["bandit"] = _as_probs(1 - 2.0 ** -(score / _SEVERITY["MEDIUM"]))
    return predictions


def _of_seeds(tasks: list[Task], rule: bool) -> dict[str, np.ndarray]:
    if not tasks or not all(isinstance(task, Task) for task in tasks):
        raise TypeError(f"task = {tasks!r:.80}; expected a task, or a list with one per seed")
    if any(list(task.test.ids) != list(tasks[0].test.ids) for task in tasks):
        raise ValueError(
            f"the tests of the {len(tasks)} tasks differ; expected the same examples of each"
        )
    of_seed = [baselines(task, rule=rule) for task in tasks]
    return {name: np.stack([each[name] for each in of_seed]) for name in of_seed[0]}


def _as_probs(danger: np.ndarray) -> np.ndarray:
    return np.stack([1 - danger, danger], axis=-1)


def _texts(split: Split) -> list[str]:
    """Returns all texts of a split, those of an example side by side."""
    return [text for texts in split.texts for text in texts]


def _lengths(split: Split) -> np.ndarray:
    return np.log([[len(text)] for text in _texts(split)])


def _bag_of_words(train: Split, test: Split, neighbours: bool = False) -> np.ndarray:
    """Returns the predictions of a logistic regression on words, (n, 2).

    Args:
        neighbours: also takes each two words that follow one another.
    """
    counts = [_count_words(text, neighbours) for text in _texts(train)]
    n_texts = Counter(word for count in counts for word in count)
    words = sorted(n_texts, key=lambda word: (-n_texts[word], word))[:MOST_WORDS]
    place = {word: column for column, word in enumerate(words)}
    x = _matrix(counts, place)
    x_test = _matrix([_count_words(text, neighbours) for text in _texts(test)], place)
    if len(words) > len(x):
        # The solution lies in the span of the training texts; in it there are fewer weights.
        basis, _ = np.linalg.qr(x.T)
        x, x_test = x @ basis, x_test @ basis
    return _fit(x, x_test, train, test)


def _count_words(text: str, neighbours: bool) -> Counter:
    words = _WORD.findall(text)
    return Counter(words + [" ".join(two) for two in itertools.pairwise(words)] * neighbours)


def _matrix(counts: list[Counter], place: dict[str, int]) -> np.ndarray:
    """Returns the log of 1 + how often each text has each word, (texts, words)."""
    x = np.zeros((len(counts), len(place)))
    for row, count in enumerate(counts):
        for word, n in count.items():
            if word in place:
                x[row, place[word]] = math.log1p(n)
    return x


def _fit(x: np.ndarray, x_test: np.ndarray, train: Split, test: Split) -> np.ndarray:
    """Returns the predictions (n, 2) of a logistic regression on the true labels."""
    arity = len(train.texts[0])
    head = nn.Linear(x.shape[1], 2 // arity)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    solve(head, torch.from_numpy(x), np.eye(2)[train.hard_label], L2)
    with torch.no_grad():
        scores = head.double()(torch.from_numpy(x_test)).numpy()
    if arity == 2:
        margin = scores[1::2, 0] - scores[::2, 0]
    else:
        margin = scores[:, 1] - scores[:, 0]
    return _as_probs(np.exp(-np.logaddexp(0, -margin)))


def bandit_findings(texts: Sequence[str]) -> np.ndarray:
    """Counts what bandit, a checker of Python by fixed rules, finds in each text, (n,).

    A finding counts 1, 2 or 3, as bandit holds it to be of low, medium or high severity. Texts are
    written to a folder of their own and read by bandit; none is run. A text that is no Python of
    today counts 0, and a warning says how many are none.

    Raises:
        ImportError: bandit is not installed.
    """
    if importlib.util.find_spec("bandit") is None:
        raise ImportError("the rule baseline needs bandit: pip install 'w2s_nb[code]'")
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(texts):
            Path(folder, f"{number}.py").write_text(textwrap.dedent(text), encoding="utf-8")
        command = [sys.executable, "-m", "bandit", "-q", "-r", "-f", "json", folder]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        report = json.loads(run.stdout)
    except ValueError:
        raise RuntimeError(f"bandit gave no report: {run.stderr.strip()[-200:]}") from None
    score = np.zeros(len(texts))
    for finding in report["results"]:
        score[int(Path(finding["filename"]).stem)] += _SEVERITY.get(finding["issue_severity"], 0)
    if report["errors"]:
        warn(f"bandit cannot read {len(report['errors'])} of {len(texts)} texts as Python")
    return score
