"""Says what a table of arms hides: a training that failed, or that was too short."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..common.progress import warn
from ..data.splits import Split
from ..training.result import Fit

# the column of a curve by which a checkpoint is chosen
_SCORES = {"validation": "validation_accuracy_on_labels", "oracle": "test_accuracy"}


def tell(fits: Mapping[str, list[Fit]], ceiling: str, test: Split) -> None:
    """Warns of what is wrong with an experiment, with what to change; nothing where all is well.

    `metrics.pgr` warns of a supervisor and a ceiling at chance.

    Args:
        fits: {arm: one fit per seed}.
        ceiling: the name of that arm.
        test: a test split; where answers are generated, the loss of a guess is not known.
    """
    if not test.answers:
        _tell_of_loss(fits[ceiling], ceiling, _nats_of_guessing(test))
    by_method: dict[str, list[str]] = {}
    for arm, of_arm in fits.items():
        if all(map(_is_best_at_the_end, of_arm)):
            by_method.setdefault(of_arm[0].record["summary"]["method"], []).append(arm)
    for method, arms in by_method.items():
        looked_at = "weakest penalty" if method == "logistic" else "last evaluation"
        remedy = "smaller penalties (l2)" if method == "logistic" else "more epochs"
        warn(
            f"{'; '.join(arms)}: the {looked_at} was the best in every seed, so what lies beyond "
            f"it may be better; to change it: {remedy}"
        )


def _nats_of_guessing(test: Split) -> float:
    """Computes the least loss without a look at the examples: ln K where classes are balanced."""
    counts = np.unique_counts(test.hard_label).counts
    shares = counts / len(test)
    return float(np.sum(shares * -np.log(shares)))


def _tell_of_loss(fits: list[Fit], ceiling: str, guessing: float) -> None:
    """Warns where a ceiling did not learn its labels: its loss is no less than that of guessing."""
    loss = float(np.mean([fit.curve.train_loss.iloc[-1] for fit in fits]))
    if loss >= guessing:
        warn(
            f"{ceiling}: its training loss ended at {loss:.3f}, not below the {guessing:.3f} of "
            f"guessing; to change it: another learning rate, more epochs or more examples"
        )


def _is_best_at_the_end(fit: Fit) -> bool:
    """Tells whether the last of a fit's evaluations is better than all before it."""
    column = _SCORES.get(fit.stop)
    if column is None or len(fit.curve) < 2:
        return False
    scores = fit.curve[column].to_numpy()
    return bool(scores[-1] > scores[:-1].max())
