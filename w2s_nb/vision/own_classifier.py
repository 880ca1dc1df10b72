"""Takes what an encoder's own classifier says as weak labels, without any training.

So does the paper: AlexNet's predictions on ImageNet are its weak labels (appendix D.1).
"""

from __future__ import annotations

import numpy as np
import torch

from ..data.splits import Split, need_split
from ..inputs.encoded import encode, pictures_of
from ..labels.soft import SoftLabels
from ..models.encoders import family_of, require_kind
from ..models.loading import with_depth
from ..models.names import Checkpoint, resolve

N_CLASSES = 1000  # of ImageNet, which these classifiers were trained on


def own_labels(model: str, split: Split) -> SoftLabels:
    """Returns weak labels: the probabilities that an encoder's own classifier gives a split.

    They include the validation split, which early stopping needs. Each image is classified once,
    and the logits are stored.

    Args:
        model: an encoder with a classifier of ImageNet's classes: alexnet, or an efficientnet-lite
            at full depth.
        split: of a task with ImageNet's 1,000 classes in their usual order, such as `imagenet`.
    Raises:
        UnknownName, TypeError: no such model; no split.
        ValueError: an encoder without classifier, or a task of other classes.
        ModelUnavailable: the weights cannot be had here.
    Source: Burns et al. 2023, appendix D.1.
    """
    need_split(split, "split")
    checkpoint = _with_classifier(model, split)
    splits = [split]
    if split.task is not None and split.name != "validation":
        splits.append(split.task.validation)
    probs = [_probabilities(checkpoint, each) for each in splits]
    ids = np.concatenate([each.ids for each in splits])
    return SoftLabels(ids, np.concatenate(probs), f"{model}, its own classifier")


def own_predictions(model: str, split: Split) -> np.ndarray:
    """Returns the probabilities (n, 1000) that an encoder's own classifier gives a split.

    Args and raises: as of `own_labels`.
    """
    return _probabilities(_with_classifier(model, need_split(split, "split")), split)


def _with_classifier(model: str, split: Split) -> Checkpoint:
    """Returns the encoder, refused where its classes cannot be the task's."""
    checkpoint = require_kind(resolve(model), split.task.spec if split.task else None)
    if split.n_classes != N_CLASSES:
        raise ValueError(
            f"{split!r} has {split.n_classes} classes; {model} knows the {N_CLASSES} of ImageNet"
        )
    checkpoint = with_depth(checkpoint)
    if not hasattr(family_of(checkpoint).hollow(checkpoint), "classify"):
        raise ValueError(f"{model} has no classifier; expected alexnet, or an efficientnet-lite")
    if checkpoint.layers != checkpoint.full_layers:
        raise ValueError(f"{model} is cut in depth, below its classifier; leave out the @")
    return checkpoint


def _probabilities(checkpoint: Checkpoint, split: Split) -> np.ndarray:
    logits = encode(checkpoint, pictures_of(split, checkpoint), "float32", logits=True).layer(0)
    return torch.from_numpy(logits).double().softmax(-1).numpy()
