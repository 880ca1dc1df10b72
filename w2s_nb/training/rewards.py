"""Scores of single texts by a trained fit: rewards of responses, or log-odds of classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.splits import Split
from ..inputs.features import features
from ..models.loading import with_depth
from ..models.names import resolve
from .hyperparameters import PROBES
from .result import Fit, need_fit


def rewards(fit: Fit, dataset: Split | Sequence[str]) -> np.ndarray:
    """Scores any texts, seen in training or not, by a fit that kept its weights.

    A fit on comparisons gives rewards: P(the second text is better) is
    sigmoid(r(second) - r(first)), and a constant added to all rewards changes nothing. A fit on
    single texts gives the log-odds of each class but the first against the first: of two classes,
    those of class 1.

    Args:
        fit: made with `keep_weights=True`.
        dataset: a split, or texts, each with its prompt.
    Returns:
        (n, k) float64, of each example's k texts; (n, 1) for a list of texts. Of K > 2 classes
        (n, k (K - 1)), the log-odds of classes 1 to K - 1 side by side, text by text.
    Raises:
        TypeError: neither a fit nor texts.
        FileNotFoundError: the fit kept no weights.
        ValueError: the model was prompted, not trained.
    Source: Burns et al. 2023, appendix A.3.
    """
    config = need_fit(fit, "fit").record["config"]
    if config["method"] == "prompt":
        raise ValueError(f"{fit!r} was prompted, not trained; it has no rewards")
    weights = {name: tensor.numpy() for name, tensor in fit.weights().items()}
    is_probe = config["method"] in PROBES
    # a probe reads the states of the model as it was; other methods trained the model too
    model = fit.record["summary"]["model"] if is_probe else fit.name
    checkpoint = with_depth(resolve(model))
    layer = config["layers"]
    max_len = config["hyperparameters"]["max_len"]
    texts = features(checkpoint.name, dataset, layers=[layer], max_len=max_len)
    states = texts[layer].reshape(len(texts) * texts.arity, -1)
    if is_probe:
        mean = weights["mean"]
        states = (states[:, : len(mean)] - mean) / weights["std"]
    scores = states @ weights["head.weight"].T.astype(np.float64)
    if "head.bias" in weights:
        scores = scores + weights["head.bias"]
    # a head for single texts has one output per class, whose differences are the log-odds
    if scores.shape[1] > 1:
        scores = scores[:, 1:] - scores[:, :1]
    return scores.reshape(len(texts), -1)
