"""What a trained fit makes of single texts: rewards of responses, or log-odds of class 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.splits import Split
from ..inputs.features import features
from ..models.loading import with_depth
from ..models.names import resolve
from .hyperparameters import PROBES
from .result import Fit


def rewards(fit: Fit, dataset: Split | Sequence[str]) -> np.ndarray:
    """Scores of any texts, seen in training or not, by a fit that kept its weights.

    Of a fit on comparisons, r(text): P(the second is better) is sigmoid(r(second) - r(first)), and a constant added to
    all rewards changes nothing. Of a fit on single texts, the log-odds of class 1.

    Args:
        fit: made with `keep_weights=True`.
        dataset: a split, or texts, each with its prompt.
    Returns:
        (n, k) float64, of each example's k texts; (n, 1) for a list of texts.
    Raises:
        FileNotFoundError: the fit kept no weights.
        ValueError: a prompted model, which has none.
    Source: Burns et al. 2023, appendix A.3.
    """
    config = fit.record["config"]
    if config["method"] == "prompt":
        raise ValueError(f"{fit!r} was prompted, not trained; it has no rewards")
    weights = fit.weights()
    checkpoint = with_depth(
        resolve(fit.record["summary"]["model"] if config["method"] in PROBES else fit.name)
    )
    found = features(
        checkpoint.name,
        dataset,
        layers=[checkpoint.layers],
        max_len=config["hyperparameters"]["max_len"],
    )
    states = found[checkpoint.layers].reshape(len(found) * found.arity, -1)
    if config["method"] in PROBES:
        mean, std = (weights[name].numpy() for name in ("mean", "std"))
        states = (states[:, : len(mean)] - mean) / std
    scores = states @ weights["head.weight"].numpy().T.astype(np.float64)
    scores = scores + (weights["head.bias"].numpy() if "head.bias" in weights else 0)
    return (scores[:, -1:] - (scores[:, :1] if scores.shape[1] == 2 else 0)).reshape(
        len(found), found.arity
    )
