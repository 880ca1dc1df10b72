"""Labels that no single fit gave: simulated errors, and several supervisors in one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..common.registry import UnknownName
from ..data.splits import Split
from .soft import SoftLabels

ERRORS = ("random", "longest", "shortest", "unconfident", "confident")
PAIR_ERRORS = ("longer",)  # of comparisons only
COMBINE = ("mean", "majority", "weighted")


def simulate(
    errors: str,
    splits: Split | Sequence[Split],
    accuracy: float,
    *,
    strong: SoftLabels | None = None,
    seed: int = 0,
) -> SoftLabels:
    """Hard labels of a given accuracy whose errors have a given structure.

    In each split round((1 - accuracy) * n) labels are wrong. Which ones, is what the structure says:

    - random: any, drawn with the seed; errors that no model can predict;
    - longest, shortest: the texts with the most, or fewest, characters (both texts of a pair counted);
    - unconfident: where a strong model trained on ground truth is least sure of the truth: it gives it the least
      probability in (1/2, 1] first, then what it gets wrong;
    - confident: where that model is right, and most sure;
    - longer: pairs whose better text has fewer characters, drawn with the seed, so that every error is for the longer
      text; then, where there are not enough, any others.

    Args:
        errors: one of `ERRORS`, or for comparisons of `PAIR_ERRORS`.
        splits: a split or several, such as the student half and the validation split that early stopping needs.
        accuracy: of the labels, in [0, 1].
        strong: labels by a strong model trained on ground truth of *other* examples; 'unconfident' and 'confident'
            need them.
        seed: of 'random', and of ties.
    Raises:
        UnknownName: no such structure; lists what exists.
        ValueError: accuracy out of range; `strong` missing, or without an example of the splits; 'longer' of examples
            with one text; more errors asked for than there are examples that 'confident' may choose.
    Source: Burns et al. 2023, appendix E.2, but for 'longer', which is ours.
    """
    if errors not in (*ERRORS, *PAIR_ERRORS):
        raise UnknownName("error structure", str(errors), (*ERRORS, *PAIR_ERRORS))
    if not 0 <= accuracy <= 1:
        raise ValueError(f"accuracy {accuracy!r}; expected a share in [0, 1]")
    if errors in ("unconfident", "confident") and strong is None:
        raise ValueError(
            f"errors {errors!r} are chosen by a strong model: give strong=fit.label(...), trained on "
            f"other examples than these"
        )
    splits, rng, hard = (
        [splits] if isinstance(splits, Split) else list(splits),
        np.random.default_rng(seed),
        [],
    )
    for split in splits:
        if errors in PAIR_ERRORS and split.arity != 2:
            raise ValueError(
                f"errors {errors!r} are of comparisons; {split.name!r} has one text an example"
            )
        wrong = round((1 - accuracy) * len(split))
        first = np.lexsort((rng.random(len(split)), _order(errors, split, strong)))
        if errors == "confident" and wrong > (right := int(_right(strong, split).sum())):
            raise ValueError(
                f"{wrong} errors asked for in {split.name!r}; the strong model is right on only {right}"
            )
        flipped = split.hard_label.copy()
        flipped[first[:wrong]] ^= 1
        hard.append(flipped)
    return SoftLabels(
        np.concatenate([s.ids for s in splits]),
        np.eye(2)[np.concatenate(hard)],
        f"simulated, {errors} errors",
    )


def _order(errors: str, split: Split, strong: SoftLabels | None) -> np.ndarray:
    """(n,) what sorts the examples, those to be got wrong first."""
    if errors == "random":
        return np.zeros(len(split))
    if errors == "longer":
        return (split.longer != 1 - 2 * split.hard_label).astype(int)
    length = np.array([sum(map(len, texts)) for texts in split.texts])
    if errors in ("longest", "shortest"):
        return -length if errors == "longest" else length
    on_truth = strong.for_split(split)[np.arange(len(split)), split.hard_label]
    right = on_truth >= 0.5
    return (
        np.where(right, -on_truth, 2)
        if errors == "confident"
        else np.where(right, on_truth, 2 - on_truth)
    )


def _right(labels: SoftLabels, split: Split) -> np.ndarray:
    """(n,) bool, whether the likelier class is the true one; a tie says class 1, as everywhere."""
    return (labels.for_split(split)[:, 1] >= 0.5) == (split.hard_label == 1)


def combine(
    labels: Sequence[SoftLabels], how: str = "mean", *, validation: Split | None = None
) -> SoftLabels:
    """One set of labels out of several supervisors'.

    Args:
        labels: at least two, of the same examples in any order.
        how: 'mean' of the probabilities; 'majority': the share of supervisors for a class; 'weighted': the mean of the
            probabilities with weights log(a / (1 - a)), a the supervisor's accuracy on `validation`, none below 0.
            Those are the best weights for hard votes of independent voters (Nitzan and Paroush 1982).
        validation: labelled examples, for 'weighted'; its ground truth is looked at, as in training a supervisor.
    Raises:
        UnknownName: no such way; lists what exists.
        ValueError: fewer than two, different examples, no `validation` for 'weighted', or none above chance there.
    """
    if how not in COMBINE:
        raise UnknownName("way to combine", str(how), COMBINE)
    if len(labels) < 2:
        raise ValueError(f"{len(labels)} set of labels; expected at least two")
    first, probs = labels[0], []
    for one in labels:
        if set(one.ids) != set(first.ids):
            raise ValueError(
                f"labels of {one.source} and of {first.source} are not of the same examples: {len(one)} "
                f"and {len(first)}, {len(set(one.ids) & set(first.ids))} in common"
            )
        p1 = one.for_ids(first.ids)[:, 1]
        p1 = (
            (np.sign(p1 - 0.5) + 1) / 2 if how == "majority" else p1
        )  # who is undecided gives half a vote to each
        probs.append(np.stack([1 - p1, p1], axis=1))
    weights = np.ones(len(labels))
    if how == "weighted":
        if validation is None:
            raise ValueError(
                "how='weighted' needs validation=, a split with ground truth that the labels cover"
            )
        right = np.array([_right(one, validation).mean() for one in labels])
        right = right.clip(
            max=1 - 0.5 / len(validation)
        )  # no supervisor is infallible on finitely many examples
        weights = np.log(right / (1 - right)).clip(min=0)
        if not weights.any():
            raise ValueError(
                f"no supervisor is better than chance on {validation.name!r}: {right.round(3).tolist()}"
            )
    return SoftLabels(
        first.ids, np.average(probs, axis=0, weights=weights), f"{how} of {len(labels)}"
    )
