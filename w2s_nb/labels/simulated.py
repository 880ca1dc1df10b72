"""Makes labels that no single fit gave: simulated errors, and several supervisors combined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..common.registry import UnknownName
from ..common.seeds import check_seed
from ..data.classes import likeliest
from ..data.splits import Split, list_splits
from .dawid_skene import dawid_skene, votes_of
from .from_file import classes_of
from .soft import SoftLabels, need_labels, other_classes

ERRORS = ("random", "longest", "shortest", "unconfident", "confident")
PAIR_ERRORS = ("longer",)  # of comparisons only
OF_LENGTH = ("longest", "shortest")
NEED_STRONG = ("unconfident", "confident")  # errors that a strong model chooses
COMBINE = ("mean", "majority", "weighted", "dawid-skene")


def simulate(
    errors: str,
    splits: Split | Sequence[Split],
    accuracy: float,
    *,
    strong: SoftLabels | None = None,
    seed: int = 0,
) -> SoftLabels:
    """Makes hard labels of a given accuracy whose errors have a given structure.

    In each split, round((1 - accuracy) * n) labels are wrong: another class, drawn evenly among the
    K - 1 others. The structure decides which labels are wrong:

    - random: any, drawn with the seed; no model can predict these errors;
    - longest, shortest: the texts with the most, or fewest, characters (both texts of a pair
      counted);
    - unconfident: first the examples that a strong model trained on ground truth gets right with
      the least confidence, then those that it gets wrong;
    - confident: the examples that this model gets right with the most confidence;
    - longer: pairs whose better text has fewer characters, drawn with the seed, so that each of
      these errors is for the longer text; then, where there are not enough, any others.

    Args:
        errors: one of `ERRORS`, or for comparisons of `PAIR_ERRORS`.
        splits: a split or several, such as the student half and the validation split that early
            stopping needs.
        accuracy: of the labels, in [0, 1].
        strong: labels by a strong model trained on ground truth of *other* examples; 'unconfident'
            and 'confident' need them.
        seed: of 'random', of ties, and of the classes of wrong labels.
    Raises:
        UnknownName: no such structure; lists what exists.
        ValueError: accuracy out of range; splits of different classes; `strong` missing, or
            without an example of the splits; 'longer' of examples with one text; 'longest' or
            'shortest' of images; more errors asked for than there are examples that 'confident' may
            choose.
    Source: Burns et al. 2023, appendix E.2; 'longer' is ours.
    """
    if errors not in (*ERRORS, *PAIR_ERRORS):
        raise UnknownName("error structure", str(errors), (*ERRORS, *PAIR_ERRORS))
    if not isinstance(accuracy, (int, float)) or not 0 <= accuracy <= 1:
        raise ValueError(f"accuracy {accuracy!r}; expected a share in [0, 1]")
    if errors in NEED_STRONG and strong is None:
        raise ValueError(
            f"errors {errors!r} are chosen by a strong model: give strong=fit.label(...), trained "
            f"on other examples than these"
        )
    if strong is not None:
        need_labels(strong, "strong")
    splits = list_splits(splits, "splits")
    n_classes = len(classes_of(splits))
    rng = np.random.default_rng(check_seed(seed))
    classes = [_with_errors(errors, split, accuracy, strong, rng) for split in splits]
    return SoftLabels(
        np.concatenate([split.ids for split in splits]),
        np.eye(n_classes)[np.concatenate(classes)],
        f"simulated, {errors} errors",
    )


def check_errors(errors: str, split: Split) -> None:
    """Refuses a structure of errors that the examples of a split cannot have.

    Raises:
        ValueError: 'longer' of examples with one text; 'longest' or 'shortest' of images.
    """
    if errors in OF_LENGTH:
        split.need_texts(f"the structure of errors {errors!r}")
    if errors in PAIR_ERRORS and split.arity != 2:
        raise ValueError(
            f"errors {errors!r} are of comparisons; {split.name!r} has one text per example"
        )


def _with_errors(
    errors: str,
    split: Split,
    accuracy: float,
    strong: SoftLabels | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Returns the classes of a split, (n,) int64, with errors of a given structure."""
    check_errors(errors, split)
    n_wrong = round((1 - accuracy) * len(split))
    # random numbers break ties
    wrong_first = np.lexsort((rng.random(len(split)), _order(errors, split, strong)))
    if errors == "confident" and strong is not None:
        n_right = int(_right(strong, split).sum())
        if n_wrong > n_right:
            raise ValueError(
                f"errors 'confident': {n_wrong} of {len(split)} labels of {split.name!r} are to be "
                f"wrong; the strong model is right on only {n_right}. Expected a better one, more "
                f"accurate labels, or another structure of errors"
            )
    classes = split.hard_label.copy()
    wrong = wrong_first[:n_wrong]
    classes[wrong] = other_classes(classes[wrong], split.n_classes, rng)
    return classes


def _order(errors: str, split: Split, strong: SoftLabels | None) -> np.ndarray:
    """Returns keys (n,) that sort the examples of a split, those to be got wrong first."""
    if errors == "random":
        return np.zeros(len(split))
    if errors == "longer":
        better_is_shorter = split.longer == 1 - 2 * split.hard_label
        return (~better_is_shorter).astype(int)
    if errors in NEED_STRONG and strong is not None:
        probs = strong.for_split(split)
        p_truth = probs[np.arange(len(split)), split.hard_label]
        is_right = p_truth >= probs.max(axis=1)
        if errors == "confident":
            return np.where(is_right, -p_truth, 2)
        return np.where(is_right, p_truth, 2 - p_truth)
    n_characters = np.array([sum(map(len, texts)) for texts in split.texts])
    return -n_characters if errors == "longest" else n_characters


def _right(labels: SoftLabels, split: Split) -> np.ndarray:
    """Returns whether the likeliest class is the true one, (n,) bool; of equal ones the last."""
    return likeliest(labels.for_split(split)) == split.hard_label


def combine(
    labels: Sequence[SoftLabels], how: str = "mean", *, validation: Split | None = None
) -> SoftLabels:
    """Combines the labels of several supervisors into one set.

    Args:
        labels: at least two, of the same examples in any order.
        how: 'mean' of the probabilities; 'majority': the share of supervisors for a class;
            'weighted': the mean of the probabilities with weights log((K - 1) a / (1 - a)), a the
            supervisor's accuracy on `validation`, none below 0. Those are the best weights for
            hard votes of independent voters whose errors fall on the other classes alike (Nitzan
            and Paroush 1982). 'dawid-skene': votes, as in 'majority', weighed by how each
            supervisor errs, which is estimated from the votes alone (Dawid and Skene 1979); it
            takes errors of different supervisors to be independent.
        validation: labelled examples, for 'weighted', which looks at their ground truth, as
            training a supervisor does.
    Raises:
        UnknownName: no such way; lists what exists.
        ValueError: fewer than two, different examples, no `validation` for 'weighted', or no
            supervisor above chance there.
    """
    if how not in COMBINE:
        raise UnknownName("way to combine", str(how), COMBINE)
    if len(labels) < 2:
        raise ValueError(f"{len(labels)} set of labels; expected at least two")
    for each in labels:
        need_labels(each, "one of the labels")
    first = labels[0]
    probs = []
    for supervisor in labels:
        _check_same_examples(supervisor, first)
        of_supervisor = supervisor.for_ids(first.ids)
        votes = how in ("majority", "dawid-skene")
        probs.append(votes_of(of_supervisor) if votes else of_supervisor)
    source = f"{how} of {len(labels)}"
    if how == "dawid-skene":
        example = np.tile(np.arange(len(first)), len(labels))
        worker = np.repeat(np.arange(len(labels)), len(first))
        return SoftLabels(first.ids, dawid_skene(np.concatenate(probs), example, worker)[0], source)
    weights = _weights(labels, validation) if how == "weighted" else np.ones(len(labels))
    return SoftLabels(first.ids, np.average(probs, axis=0, weights=weights), source)


def _check_same_examples(labels: SoftLabels, first: SoftLabels) -> None:
    if labels.n_classes != first.n_classes:
        raise ValueError(
            f"labels of {labels.source} and of {first.source} are not of the same classes: "
            f"{labels.n_classes} and {first.n_classes}"
        )
    if set(labels.ids) != set(first.ids):
        raise ValueError(
            f"labels of {labels.source} and of {first.source} are not of the same examples: "
            f"{len(labels)} and {len(first)}, {len(set(labels.ids) & set(first.ids))} in common"
        )


def _weights(labels: Sequence[SoftLabels], validation: Split | None) -> np.ndarray:
    """Returns the log-odds of each supervisor's accuracy on a split, none below 0."""
    if validation is None:
        raise ValueError(
            "how='weighted' needs validation=, a split with ground truth that the labels cover"
        )
    accuracy = np.array([_right(supervisor, validation).mean() for supervisor in labels])
    # finitely many examples show no supervisor to be infallible
    accuracy = accuracy.clip(max=1 - 0.5 / len(validation))
    weights = np.log((labels[0].n_classes - 1) * accuracy / (1 - accuracy)).clip(min=0)
    if not weights.any():
        raise ValueError(
            f"no supervisor is better than chance on {validation.name!r}: "
            f"{accuracy.round(3).tolist()}"
        )
    return weights
