"""Trains a model on labels of a split, or finds that training in the store.

`fit` is the one function behind every arm of every experiment. It reads as the recipe of the paper:
check the input, resolve the model, choose hyper-parameters, collect the labels, choose the
checkpoint that counts, and train, or find the result under its address. `choose_stop` decides
whether early stopping applies; `job._BestSteps.keep_best` decides which step it keeps. What is
stored is in `result`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import cast

import numpy as np

from .. import losses
from ..common import store
from ..common.device import precision
from ..common.progress import warn
from ..common.seeds import check_flag, check_seed
from ..data.classes import likeliest
from ..data.sealed import is_sealed, with_made_labels
from ..data.splits import Split
from ..inputs.tokens import tokenize
from ..labels.answers import Answers
from ..labels.soft import SoftLabels
from ..models import encoders
from ..models.loading import (
    context_of,
    lacks_unembedding,
    n_features,
    require_context,
    require_unembedding,
    why_without_label_tokens,
    with_depth,
)
from ..models.names import Checkpoint, resolve
from . import job as training_job
from .answers import check_questions, fit_answers
from .device_memory.of_fit import check_memory_of_fit, micro_batch_of_job
from .hyperparameters import (
    LOOKS,
    PROBES,
    SHARDED,
    Hyperparameters,
    check_micro_batch,
    choose_hyperparameters,
    default_lr,
)
from .job import TrainingJob
from .language_model import choose_text_hyperparameters
from .loop import evaluation_steps
from .result import (
    STOPS,
    Fit,
    check_elsewhere,
    class_columns,
    make_record,
    own_predicted_splits,
    splits_elsewhere,
    task_of,
)
from .speed import tell as tell_speed

# The least number of labelled validation examples for early stopping, unless the split has fewer.
MIN_VALIDATION = 20


def fit(
    model: str,
    split: Split,
    labels: SoftLabels | Answers | None = None,
    *,
    loss: str = "xent",
    loss_args: dict | None = None,
    method: str = "full",
    seed: int = 0,
    stop: str | None = None,
    micro_batch: int | None = None,
    devices: int = 1,
    keep_weights: bool = False,
    label_training_examples: bool = False,
    also: Sequence[Split] = (),
    **hyperparameters,
) -> Fit:
    """Trains a model on labels of a split, or finds that fit in the store.

    On a task that is answered by generating, see `fit_answers`.

    Args:
        model: a name that `models.resolve` takes; a finetuned model is `Fit.name` of its fit.
        split: the examples to train on, a split of a `load_task`.
        labels: of those examples, and of the task's validation split for early stopping; None takes
            ground truth.
        loss: a registered loss; loss_args: its keyword arguments.
        method: 'full', 'lora' or 'top' (see `models.build`); 'probe' or 'logistic', on frozen
            features.
        seed: of the order of batches and of the random initialisation.
        stop: the checkpoint that stands for the fit: 'validation' (best accuracy against `labels`
            on the validation split), 'last', or 'oracle' (best test accuracy; it looks at the test
            labels); None leaves it to `choose_stop`. Predictions of all three are stored, as far as
            there are validation labels and `curve_test` takes all test examples; training keeps
            their weights in main memory.
        micro_batch: examples in one pass on a device; None takes, on a GPU, the most that fit by
            `device_memory.estimate`. It changes memory and speed, not the result beyond rounding.
        devices: how many devices train the model together, by Ray and FSDP, for 'full' and 'lora'.
            It changes memory and speed, not the result beyond rounding.
        keep_weights: store the trained tensors too.
        label_training_examples: predict the examples trained on too, so that `Fit.label` can label
            them.
        also: splits of other tasks with the same classes, such as their test splits, that are
            predicted and stored too, at every checkpoint but the oracle's. Their texts are cut to
            this task's `max_len`; training, curve and stop do not look at them.
        hyperparameters: fields of `Hyperparameters` that differ from `METHODS[method]`, and from
            what the task sets for finetuning.
    Raises:
        UnknownName, TypeError, ValueError: a name or value that does not exist, before any model is
            loaded.
        ModelUnavailable: the weights cannot be had here.
        OutOfMemory: this machine cannot hold the training, by `device_memory.estimate`, before any
            model is loaded; says what would fit.
    Source: Burns et al. 2023, section 3 and appendix A.
    """
    told: dict = {
        "method": method,
        "seed": seed,
        "micro_batch": micro_batch,
        "keep_weights": keep_weights,
        "label_training_examples": label_training_examples,
    }
    all_args = told | hyperparameters
    all_args |= {"loss": loss, "loss_args": loss_args, "stop": stop, "devices": devices}
    all_args["also"] = also
    if not (isinstance(split, Split) and split.answers):
        return prepare_fit(model, split, cast(SoftLabels | None, labels), **all_args).get()
    resolve(model)
    known = _known_in_validation(split, labels)
    choose_settings(split, known, weak=labels is not None, **all_args)
    answers = cast(Answers | None, labels)
    return fit_answers(model, split, answers, **told, **hyperparameters)


@dataclass(frozen=True)
class PreparedFit:
    """A fit of a classifier whose arguments are checked; not trained yet, or stored.

    Attributes:
        job: all that decides the result; config: the same, as the address takes it.
        labels: of the examples trained on.
        stop: the checkpoint that stands for the fit.
    """

    job: TrainingJob
    config: dict
    address: str
    labels: SoftLabels
    stop: str
    micro_batch: int | None
    devices: int

    def get(self) -> Fit:
        """Finds the fit in the store, or trains it."""
        return Fit(self.address, *store.get_or_make(self.address, self._train), self.stop)

    def find(self) -> Fit | None:
        """Finds the fit in the store; None if it is not there."""
        stored = store.read(self.address)
        return None if stored is None else Fit(self.address, *stored, self.stop)

    def _train(self) -> tuple:
        job = self.job_to_train()
        micro_batch = micro_batch_of_job(self.job, self.micro_batch, self.devices)
        return self.to_store(training_job.carry_out(job, micro_batch, self.devices))

    def job_to_train(self) -> TrainingJob:
        """Returns the job, of a sealed task with made labels in place of the truth."""
        if is_sealed(self.job.split):
            return replace(self.job, split=with_made_labels(self.job.split))
        return self.job

    def to_store(self, trained: training_job.Trained) -> tuple:
        """Returns record, predictions, curve and weights, as `store.write` takes them.

        Args:
            trained: what training `job_to_train` gave. Of a sealed task, all that is measured by
                the truth is left out.
        """
        job = self.job
        metrics, speed, predictions, curve, weights = trained
        label_accuracy = math.nan
        if is_sealed(job.split):
            metrics = {}
            predictions = predictions.drop(columns="truth")
            predictions[class_columns("oracle", job.split.n_classes)] = np.nan
            measured = ["validation_accuracy", "test_accuracy", "test_n", "test_se"]
            curve = curve.drop(columns=measured)
        else:
            label_accuracy = float(np.mean(likeliest(job.targets) == job.split.hard_label))
        record = make_record(
            self.config, metrics, self.stop, job.checkpoint, job.split, self.labels, label_accuracy
        )
        if speed is not None:
            tell_speed(job.label, speed)
            record["speed"] = asdict(speed)
        if job.also:
            record["also"] = {other.name: len(other) for other in job.also}
        return record, predictions, curve, weights


def prepare_fit(
    model: str,
    split: Split,
    labels: SoftLabels | None = None,
    *,
    known_models: dict | None = None,
    **fit_args,
) -> PreparedFit:
    """Checks all arguments of a `fit` of a classifier, and finds its address; loads no weights.

    Args:
        known_models: what earlier calls found of models in their files, which takes longer than all
            else; it is added to. None asks the files.
        model, split, labels, fit_args: those of `fit`.
    Raises: as `fit`.
    """
    checkpoint = resolve(model)
    known = _known_in_validation(split, labels)
    settings = choose_settings(split, known, weak=labels is not None, **fit_args)
    training_labels, validation_labels = _collect_labels(split, labels)
    targets = training_labels.for_split(split)
    # all arguments are valid; from here on the model's files are needed
    known_models = {} if known_models is None else known_models
    read = [split, *own_predicted_splits(split, False), *settings.also]
    texts = (task_of(split).name, *(each.fingerprint for each in read))
    key = (model, settings.method, settings.hyperparameters, texts)
    if key not in known_models:
        known_models[key] = _fit_to_model(checkpoint, split, settings)
    checkpoint, layers, chosen = known_models[key]
    label_training_examples = fit_args.get("label_training_examples", False)
    job = TrainingJob(
        checkpoint=checkpoint,
        layers=layers,
        split=split,
        targets=targets,
        validation=_validation_targets(split, validation_labels, known),
        known=np.flatnonzero(known),
        method=settings.method,
        hyperparameters=chosen,
        loss=fit_args.get("loss", "xent"),
        loss_args=settings.loss_args,
        seed=check_seed(fit_args.get("seed", 0)),
        keep_weights=settings.stop if fit_args.get("keep_weights") else None,
        label_training_examples=label_training_examples,
        also=splits_elsewhere(own_predicted_splits(split, label_training_examples), settings.also),
    )
    config = job.config()
    address = store.address(config)
    micro_batch = fit_args.get("micro_batch")
    return PreparedFit(
        job, config, address, training_labels, settings.stop, micro_batch, settings.devices
    )


def check_fit(
    model: str,
    split: Split,
    labels: SoftLabels | Answers | None = None,
    *,
    weak: bool = False,
    **fit_args,
) -> None:
    """Refuses what `fit` would refuse; loads no weights.

    Experiments call it for every fit that they will make before they make the first.

    Args:
        weak: the fit will be given labels that are not there yet; all validation examples are taken
            to have one.
        model, split, labels, fit_args: as of `fit`.
    Raises: as `fit`.
    """
    checkpoint = resolve(model)
    known = _known_in_validation(split, labels)
    if labels is not None:
        labels.for_split(split)
    settings = choose_settings(split, known, weak=weak or labels is not None, **fit_args)
    if split.answers:
        check_questions(model, task_of(split))
        chosen = replace(settings.hyperparameters, max_len=task_of(split).max_len)
    else:
        checkpoint, _, chosen = _fit_to_model(checkpoint, split, settings)
    check_memory_of_fit(checkpoint, split, settings.method, chosen, settings.devices)


@dataclass(frozen=True)
class Settings:
    """What a fit is told beside model, split and labels, checked; the model sets the rest.

    Attributes:
        method: of training.
        hyperparameters: of the method, changed by task and caller.
        loss_args: all keyword arguments of the loss.
        stop: the checkpoint that stands for the fit.
        devices: that train the model together.
        also: splits of other tasks that are predicted too.
    """

    method: str
    hyperparameters: Hyperparameters
    loss_args: dict
    stop: str
    devices: int = 1
    also: tuple[Split, ...] = ()


def choose_settings(
    split: Split,
    known: np.ndarray,
    *,
    weak: bool,
    loss: str = "xent",
    loss_args: dict | None = None,
    method: str = "full",
    seed: int = 0,
    stop: str | None = None,
    micro_batch: int | None = None,
    devices: int = 1,
    keep_weights: bool = False,
    label_training_examples: bool = False,
    also: Sequence[Split] = (),
    **hyperparameters,
) -> Settings:
    """Checks all that a fit is told beside model and labels, and fills in what the task sets.

    Args:
        known: (n_val,) bool, the validation examples that have a label.
        weak: the labels are not ground truth.
        split, loss, loss_args, method, seed, stop, hyperparameters: those of `fit`, as the rest is.
    Raises: as `fit`.
    """
    task = task_of(split)
    check_seed(seed)
    check_flag(keep_weights, "keep_weights")
    check_flag(label_training_examples, "label_training_examples")
    _check_devices(devices, micro_batch, method, split)
    _check_size(split)
    others = check_elsewhere(split, also)
    if split.answers:
        _check_generating(split, loss, loss_args, stop)
        chosen = choose_text_hyperparameters(method, task.hyperparameters, hyperparameters)
        return Settings(method, chosen, {}, "last")
    # a task sets hyper-parameters and stop for finetuning; probes keep their own
    if method not in PROBES:
        hyperparameters = task.hyperparameters | hyperparameters
        stop = stop or task.stop
    chosen = choose_hyperparameters(method, hyperparameters)
    loss_args = losses.loss_args(loss, loss_args)
    losses.check_loss(loss, loss_args, split.n_classes)
    _check_logistic(method, loss)
    stop, chosen = _choose_evaluations(stop, chosen, method, split, weak, known)
    if others and stop == "oracle":
        raise ValueError(
            "stop 'oracle' with also; expected stop 'last' or 'validation', as the oracle's "
            "checkpoint is stored for the test split alone"
        )
    return Settings(method, chosen, loss_args, stop, devices, others)


def _fit_to_model(
    checkpoint: Checkpoint, split: Split, settings: Settings
) -> tuple[Checkpoint, int, Hyperparameters]:
    """Returns the checkpoint with its depth, the depth, and all hyper-parameters.

    Raises:
        ModelUnavailable: the weights cannot be had here.
        ValueError: more features than the model has, texts longer than its context, images for a
            language model, texts for an encoder, or a method that would train an encoder.
    """
    encoders.require_kind(checkpoint, task_of(split).spec)
    encoders.require_probe(checkpoint, settings.method, PROBES)
    checkpoint, layers = _with_depth(checkpoint)
    chosen = fill_defaults(settings.hyperparameters, settings.method, checkpoint, split)
    most = n_features(checkpoint)
    if chosen.features is not None and chosen.features > most:
        raise ValueError(f"features = {chosen.features}; {checkpoint.name} has {most}")
    _check_context(checkpoint, [split, *settings.also], cast(int, chosen.max_len))
    return checkpoint, layers, chosen


def _check_context(checkpoint: Checkpoint, splits: list[Split], max_len: int) -> None:
    """Refuses texts that are longer than the model's context, of all that the fit will read.

    Args:
        splits: the one trained on first, then those of other tasks.
    """
    context = context_of(checkpoint)
    if context is None or max_len <= context:
        return
    for each in (*splits, *own_predicted_splits(splits[0], False)):
        longest = int(tokenize(each, checkpoint, max_len).lengths.max())
        require_context(checkpoint, longest, "Give a smaller max_len.")


def _choose_evaluations(
    stop: str | None,
    chosen: Hyperparameters,
    method: str,
    split: Split,
    weak: bool,
    known: np.ndarray,
) -> tuple[str, Hyperparameters]:
    """Chooses the checkpoint that stands for a fit, and when it is evaluated.

    Args: as of `choose_stop`.
    Returns:
        The stop, and the hyper-parameters with evals set, and with a curve_test that takes the
        whole test split as None, so that both are one fit.
    Raises:
        ValueError: as `choose_stop`; an oracle of fewer than all test examples.
    """
    looks = count_looks(chosen, method, len(split))
    stop = choose_stop(stop, method, weak=weak, known=known, looks=looks)
    if stop == "oracle" and is_sealed(split):
        raise ValueError("stop 'oracle' looks at the truth of the test, which is sealed here")
    if chosen.evals is None:
        chosen = replace(chosen, evals=LOOKS if weak or stop != "last" else 1)
    n_test = len(task_of(split).test)
    if chosen.curve_test is not None and chosen.curve_test >= n_test:
        chosen = replace(chosen, curve_test=None)
    if stop == "oracle" and chosen.curve_test is not None:
        raise ValueError(
            f"stop 'oracle' with curve_test = {chosen.curve_test} of {n_test} test examples; "
            f"expected stop 'last' or 'validation', or curve_test = None, which takes all {n_test}"
        )
    return stop, chosen


def count_looks(chosen: Hyperparameters, method: str, n_train: int) -> int:
    """Counts the evaluations among which a stopping rule chooses; `LOOKS` where none are asked for.

    >>> count_looks(Hyperparameters(epochs=2, batch_size=32), "full", 600)
    4
    """
    if method == "logistic":  # its checkpoints are its penalties
        return len(chosen.l2)  # type: ignore[arg-type]
    n_steps = chosen.epochs * math.ceil(n_train / chosen.batch_size)
    return len(evaluation_steps(chosen.evals or LOOKS, n_steps))


def choose_stop(stop: str | None, method: str, *, weak: bool, known: np.ndarray, looks: int) -> str:
    """Chooses the checkpoint that stands for a fit, and so whether early stopping applies.

    Without a choice it is 'validation' for weak labels, as in the paper, and for probes; and 'last'
    for finetuning on ground truth, where fewer than 20 validation examples have a label, and where
    there is one evaluation.

    Args:
        stop: what the caller or the task asks for; None or "" leaves it to this function.
        weak: the labels are not ground truth.
        known: (n_val,) bool, the validation examples that have a label.
        looks: how many evaluations there are to choose among.
    Raises:
        ValueError: an unknown checkpoint, 'validation' with too few labels, or a choice among one
            evaluation.
    """
    enough = _are_enough(known)
    if not stop:
        may_stop = enough and looks > 1
        stop = "validation" if may_stop and (weak or method in PROBES) else "last"
    if stop not in STOPS:
        raise ValueError(f"stop {stop!r}; expected one of {', '.join(STOPS)}")
    if stop == "validation" and not enough:
        raise ValueError(
            f"stop {stop!r}; expected last or oracle: labels know {known.sum()} of {len(known)} "
            f"validation examples"
        )
    if stop != "last" and looks == 1:
        raise ValueError(
            f"stop {stop!r} chooses among evaluations, and there is one evaluation, at the end of "
            f"training; expected stop 'last', or more evaluations (evals, or l2 of 'logistic')"
        )
    return stop


def fill_defaults(
    chosen: Hyperparameters, method: str, checkpoint: Checkpoint, split: Split
) -> Hyperparameters:
    """Fills in the hyper-parameters that are None by what the model and task ask for."""
    task = task_of(split)
    defaults: dict = {"max_len": task.max_len}
    if chosen.head_init is None:
        defaults["head_init"] = _default_head_init(checkpoint, method, split)
    elif chosen.head_init == "unembedding" and method not in PROBES:
        require_unembedding(checkpoint, "head_init 'unembedding'")
        if why := why_without_label_tokens(checkpoint, split.n_classes):
            raise ValueError(f"head_init 'unembedding': {why}; expected head_init='zero'")
    missing = {name: value for name, value in defaults.items() if getattr(chosen, name) is None}
    chosen = replace(chosen, **missing)  # type: ignore[arg-type]
    if chosen.lr is None:
        chosen = replace(chosen, lr=default_lr(checkpoint, method))
    if chosen.head_lr is None:
        chosen = replace(chosen, head_lr=chosen.lr)
    return chosen


def _default_head_init(checkpoint: Checkpoint, method: str, split: Split) -> str:
    """Returns how the head begins: at zero where the model has no unembedding that fits."""
    if checkpoint.layers != checkpoint.full_layers:
        return "zero"
    if method in PROBES:
        return "unembedding"  # nothing reads it
    why = why_without_label_tokens(checkpoint, split.n_classes)
    if lacks_unembedding(checkpoint):
        why = f"the weights of {checkpoint.base} have no unembedding"
    if why:
        warn(f"{why}; the head starts at zero")
        return "zero"
    return "unembedding"


def _check_devices(devices: int, micro_batch: int | None, method: str, split: Split) -> None:
    check_micro_batch(micro_batch)
    is_count = isinstance(devices, int) and not isinstance(devices, bool) and devices >= 1
    can_share = method in SHARDED and not split.answers
    if not is_count or (devices > 1 and not can_share):
        raise ValueError(
            f"devices = {devices!r} with method {method!r} on {task_of(split).name}; expected a "
            f"whole number from 1, and above 1 methods {' and '.join(SHARDED)} on classes"
        )
    if devices > 1 and precision() == "fp16":
        raise ValueError(
            f"devices = {devices} in fp16, whose scaled loss the kit has on one device; expected "
            f"devices = 1, cards with bf16, or W2S_PRECISION=fp32"
        )


def _check_generating(split: Split, loss: str, loss_args: dict | None, stop: str | None) -> None:
    if loss != "xent" or loss_args or stop not in (None, "", "last"):
        raise ValueError(
            f"loss {loss!r}, stop {stop!r}; answers to {task_of(split).name} take xent and last"
        )


def _check_logistic(method: str, loss: str) -> None:
    if method == "logistic" and loss != "xent":
        raise ValueError(
            f"method 'logistic' is the optimum of cross-entropy; loss {loss!r} needs method 'probe'"
        )


def _check_size(split: Split) -> None:
    if len(split) < 2:
        raise ValueError(
            f"{len(split)} examples of {split.name!r} to train on; expected at least 2"
        )


def _known_in_validation(split: Split, labels: SoftLabels | Answers | None) -> np.ndarray:
    """Returns which validation examples have a label, (n_val,) bool.

    Raises:
        TypeError: labels of another type than the task's.
    """
    validation = task_of(split).validation
    kind = Answers if split.answers else SoftLabels
    if labels is None:
        return np.ones(len(validation), dtype=bool)
    if not isinstance(labels, kind):
        ways = f"{kind.__name__}, such as a fit's label(...) or {kind.__name__}.truth(split)"
        raise TypeError(
            f"labels of {task_of(split).name} are {type(labels).__name__}; expected {ways}"
        )
    return labels.knows(validation)


def _collect_labels(split: Split, labels: SoftLabels | None) -> tuple[SoftLabels, SoftLabels]:
    """Returns the training labels, and the validation labels that early stopping uses.

    Without labels both are ground truth.
    """
    if labels is None:
        return SoftLabels.truth(split), SoftLabels.truth(task_of(split).validation)
    return labels, labels


def _are_enough(known: np.ndarray) -> bool:
    """Returns whether enough validation examples have a label for early stopping."""
    return bool(known.sum() >= min(MIN_VALIDATION, len(known)))


def _validation_targets(
    split: Split, validation_labels: SoftLabels, known: np.ndarray
) -> np.ndarray | None:
    """Returns the labels (k, K) to stop on, of the `known` examples; None where too few are."""
    if not _are_enough(known):
        return None
    return validation_labels.for_ids(task_of(split).validation.ids[known])


def _with_depth(checkpoint: Checkpoint) -> tuple[Checkpoint, int]:
    """Returns the checkpoint with its depth filled in, and the depth."""
    checkpoint = with_depth(checkpoint)
    if checkpoint.layers is None:
        raise ValueError(f"{checkpoint.name}: the model's config says no number of layers")
    return checkpoint, checkpoint.layers
