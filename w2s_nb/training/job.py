"""One training of a classifier: everything that decides it, and the training itself.

`TrainingJob` holds what decides the result. `carry_out` trains on one device or on several.
`_BestSteps.evaluate` scores the model at each evaluation, and `_BestSteps.keep_best` decides early
stopping: which step's weights are kept.
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import cast

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load, save

from .. import losses
from ..common import distributed, store
from ..common.device import computing_versions, device, precision, threads
from ..common.out_of_memory import OutOfMemory, explain_out_of_memory, halve
from ..common.registry import LOSSES
from ..data.classes import likeliest
from ..data.splits import Split
from ..inputs import activations
from ..inputs import batches as batches_module
from ..inputs import tokens as tokens_module
from ..inputs.batches import FeatureInputs, Inputs, TokenInputs
from ..inputs.encoded import Pictures
from ..inputs.tokens import Tokens, join, join_inputs, read_split
from ..metrics.classification import auroc, calibration_error, correct
from ..metrics.estimate import error_of_mean
from ..models import classifier, loading
from ..models.anatomy import blocks_of
from ..models.classifier import Classifier, build, compact_embedding, probe
from ..models.names import Checkpoint
from . import logistic, loop, probes
from .hyperparameters import PROBES, Hyperparameters
from .result import (
    STOPS,
    class_columns,
    columns_at,
    labelable_splits,
    own_predicted_splits,
    probs_at,
)
from .speed import Speed

# metrics of the test split, speed (None of a probe), predictions, curve, weights or None
Trained = tuple[dict, Speed | None, pd.DataFrame, pd.DataFrame, dict | None]
_ALONE = threading.Lock()  # torch has one random state for all threads: one training at a time


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """Everything that decides the result of a training: names resolved, defaults filled in.

    Attributes:
        layers: blocks of the checkpoint that are kept.
        split: the n examples trained on.
        targets: (n, K) their labels.
        validation: (k, K) labels of the validation examples at the rows `known` (k,); None where
            there are too few.
        keep_weights: the checkpoint whose weights are stored, or None.
        label_training_examples: predict the examples trained on too.
        also: splits of other tasks that are predicted too, under names of their own.
    """

    checkpoint: Checkpoint
    layers: int
    split: Split
    targets: np.ndarray
    validation: np.ndarray | None
    known: np.ndarray
    method: str
    hyperparameters: Hyperparameters
    loss: str
    loss_args: dict
    seed: int
    keep_weights: str | None
    label_training_examples: bool
    also: tuple[Split, ...] = ()

    @property
    def label(self) -> str:
        """Names the training, on its progress bar and in errors."""
        return f"{self.checkpoint.name} {self.loss} seed {self.seed}"

    @functools.cached_property
    def predicted_splits(self) -> list[Split]:
        """Returns the splits whose predictions are stored: test, validation, those to label, and
        those of other tasks.
        """
        return [*self._own_splits, *self.also]

    @property
    def _own_splits(self) -> list[Split]:
        return own_predicted_splits(self.split, self.label_training_examples)

    @property
    def label_fingerprint(self) -> str:
        """Returns 16 hex digits of the labels trained and stopped on, to 1e-6."""
        content = self.targets.round(6).tobytes()
        if self.validation is not None:
            content += self.validation.round(6).tobytes() + self.known.tobytes()
        return hashlib.sha256(content).hexdigest()[:16]

    def config(self) -> dict:
        """Returns everything that decides the result, as the store's address takes it."""
        # where no other task is predicted, the address is the one that there was before
        others = {"also": [split.fingerprint for split in self.also]} if self.also else {}
        return others | {
            "model": loading.digest(self.checkpoint),
            "layers": self.layers,
            "method": self.method,
            "hyperparameters": asdict(self.hyperparameters),
            "loss": self.loss,
            "loss_args": self.loss_args,
            "seed": self.seed,
            "precision": precision(),
            "versions": computing_versions(),
            "label_training_examples": self.label_training_examples,
            "splits": [split.fingerprint for split in (self.split, *self._own_splits)],
            "code": [code() + tokens_module.code(), losses.code(self.loss)],
            "keep_weights": self.keep_weights,
            "trunk_gb": activations.trunk_limit() if self.method == "top" else None,
            "labels": self.label_fingerprint,
        }


@functools.cache
def code() -> str:
    """Returns the version of the code that decides a fit's result."""
    return activations.code() + store.code_version(
        *loading.code_parts(),
        loop,
        distributed,
        batches_module,
        classifier,
        logistic,
        probes,
        correct,
        likeliest,
        columns_at,
        error_of_mean,
        labelable_splits,
        _make_inputs,
        _standardised_features,
        _build_net,
        _train,
        _train_net,
        train_together,
        _prepare_probes,
        _Prepared,
        _PreparedProbe,
        _measure,
        _BestSteps,
    )


def carry_out(job: TrainingJob, micro_batch: int | None, devices: int = 1) -> Trained:
    """Trains on one or several devices.

    Returns:
        (metrics, speed or None, predictions, curve, weights or None); the last three as
        `store.write` takes them.
    """
    if job.method == "probe":
        ((_, result),) = train_together([job])
        if isinstance(result, Exception):
            raise result
        return result
    if devices > 1:
        return _carry_out_on_devices(job, micro_batch, devices)
    fitting = f"fitting {job.checkpoint.name} by method {job.method!r}"
    with _ALONE, explain_out_of_memory(fitting, loop.LESS_PER_PASS):
        return _train(job, micro_batch)


def _carry_out_on_devices(job: TrainingJob, micro_batch: int | None, devices: int) -> Trained:
    """Trains on several devices; where a pass does not fit, again with half the micro-batch."""
    while True:
        try:
            *tables, weights = distributed.on_devices(
                devices, _train_in_worker, LOSSES[job.loss], job, micro_batch
            )
            return *tables, weights and load(weights)
        except OutOfMemory as error:
            too_many = re.search(r"with a micro-batch of (\d+)", str(error))
            if too_many is None or too_many[1] == "1":
                raise
        micro_batch = halve(int(too_many[1]), "micro-batch")


def _train_in_worker(loss: Callable, job: TrainingJob, micro_batch: int | None) -> tuple:
    LOSSES.register(job.loss, loss)  # a notebook may have registered it
    fitting = f"fitting {job.checkpoint.name} by method {job.method!r} on several devices"
    with explain_out_of_memory(fitting, loop.LESS_PER_PASS):
        *tables, weights = _train(job, micro_batch)
    if weights is None or distributed.rank():
        return *tables, None
    return *tables, save(weights)  # Ray carries bytes, not tensors


def _train(job: TrainingJob, micro_batch: int | None) -> Trained:
    """Trains by any method but 'probe', and predicts the task's other splits at the three
    checkpoints.
    """
    torch.manual_seed(job.seed)
    prepared = _Prepared(job, *_make_inputs(job))
    with threads(1 if job.method in PROBES else None):
        speed = _train_net(prepared, micro_batch)
        return prepared.results(speed)


def stack_key(job: TrainingJob, n_features: int) -> tuple:
    """Returns what probes share that `train_together` can train together.

    Args:
        n_features: of the job's model.
    """
    width = job.hyperparameters.features or n_features
    return job.hyperparameters, len(job.split), job.split.arity, job.split.n_classes, width


def train_together(
    jobs: Sequence[TrainingJob],
) -> Iterator[tuple[TrainingJob, Trained | Exception]]:
    """Trains probes of one `stack_key` together; yields each job with its result, or its error.

    Where a loss or a prediction is not finite, or a loss raises an error, the others are trained
    again without that probe. Where memory does not suffice for all, they are trained one by one.
    """
    fitting = f"fitting {jobs[0].label} by method 'probe'"
    left = list(jobs)
    while left:
        try:
            with _ALONE, explain_out_of_memory(fitting, loop.LESS_PER_PASS):
                prepared = _prepare_probes(left)
                with threads(1):
                    probes.train([each.probe for each in prepared], left[0].hyperparameters)
        except probes.ProbesFailed as failed:
            errors = [failed.errors.get(each.probe) for each in prepared]
            yield from [(job, error) for job, error in zip(left, errors, strict=True) if error]
            left = [job for job, error in zip(left, errors, strict=True) if not error]
            continue
        except OutOfMemory as error:
            if len(left) == 1:
                yield left[0], error
                return
            for job in left:
                yield from train_together([job])
            return
        for job, each in zip(left, prepared, strict=True):
            with threads(1):
                result = each.results(None)
            yield job, result
        return


def _prepare_probes(jobs: Sequence[TrainingJob]) -> list[_PreparedProbe]:
    """Prepares probes; those that read the same texts alike share their inputs."""
    inputs_of: dict[tuple, tuple] = {}
    prepared = []
    for job in jobs:
        key = (
            loading.digest(job.checkpoint),
            job.layers,
            job.hyperparameters.max_len,
            job.hyperparameters.features,
            *(split.fingerprint for split in (job.split, *job.predicted_splits)),
        )
        if key not in inputs_of:
            inputs_of[key] = _make_inputs(job)
        torch.manual_seed(job.seed)
        prepared.append(_PreparedProbe(job, *inputs_of[key]))
    return prepared


class _Prepared:
    """A training with its inputs and module made.

    Attributes:
        net: the module; training_inputs: of the split trained on.
        best_steps: the evaluations; they hold the inputs of the splits predicted.
    """

    def __init__(
        self,
        job: TrainingJob,
        training_inputs: Inputs,
        predicted: Inputs,
        made_with: dict[str, np.ndarray],
    ):
        self.job = job
        self.made_with = made_with
        self.training_inputs = training_inputs
        self.net = _build_net(job, self.training_inputs, made_with)
        self.best_steps = _BestSteps(self.net, job, predicted)

    def results(self, speed: Speed | None) -> Trained:
        """Returns what is stored of the trained module, which may get the weights of other steps.

        Args:
            speed: of the training.
        """
        job = self.job
        last_weights = loop.copy_weights(self.net) if job.keep_weights else None
        predictions = self.best_steps.predictions()
        weights = None
        if job.keep_weights:
            loop.load_weights(self.net, self.best_steps.weights[job.keep_weights] or last_weights)
            weights = loop.copy_weights(self.net, whole=True)
            weights |= {name: torch.from_numpy(array) for name, array in self.made_with.items()}
        metrics = _measure(predictions, job.predicted_splits[0])
        return metrics, speed, predictions, pd.DataFrame(self.best_steps.curve), weights


class _PreparedProbe(_Prepared):
    """A probe with its features and head made.

    Attributes:
        probe: as `probes.train` takes it.
    """

    def __init__(
        self,
        job: TrainingJob,
        training_inputs: Inputs,
        predicted: Inputs,
        made_with: dict[str, np.ndarray],
    ):
        super().__init__(job, training_inputs, predicted, made_with)
        self.probe = probes.Probe(
            head=self.net.head,
            inputs=cast(FeatureInputs, training_inputs),
            predicted=cast(FeatureInputs, predicted),
            targets=job.targets,
            loss=job.loss,
            loss_args=job.loss_args,
            seed=job.seed,
            random_state=torch.get_rng_state(),
            evaluate=self.best_steps.evaluate,
            label=job.label,
        )


def _make_inputs(job: TrainingJob) -> tuple[Inputs, Inputs, dict[str, np.ndarray]]:
    """Makes the inputs of the split trained on and of those predicted, as the method needs them.

    Returns:
        the inputs of the split trained on; those of the predicted splits, one after another, so
        that texts of all of them can share a pass; and the arrays that they were made with: the
        `mean` and `std` (d,) that standardise a probe's features, or the `vocabulary` (u,) of token
        ids that a compact embedding is cut to.
    """
    max_len = cast(int, job.hyperparameters.max_len)  # filled in
    splits = [job.split, *job.predicted_splits]
    inputs = [read_split(split, job.checkpoint, max_len) for split in splits]
    longest = max(int(each.lengths.max()) for each in inputs)
    loading.require_context(job.checkpoint, longest, "Give a smaller max_len.")
    if job.method in PROBES:
        *features, made_with = _standardised_features(job, inputs)
        of_training, of_predicted = (FeatureInputs(part, job.split.arity) for part in features)
        return of_training, of_predicted, made_with
    # methods beside probes train no encoder
    training, *predicted = cast(list[Tokens], inputs)
    tokens_of = [training, join(predicted)]
    if job.method == "top":
        depth = max(0, job.layers - job.hyperparameters.top_layers)
        trunks = activations.trunk_inputs(job.checkpoint, depth, tokens_of)
        return trunks[0], trunks[1], {}
    if job.method == "lora":
        return TokenInputs(tokens_of[0]), TokenInputs(tokens_of[1]), {}
    vocabulary = np.unique(np.concatenate(join(tokens_of).ids))
    texts = [TokenInputs(tokens, vocabulary) for tokens in tokens_of]
    return texts[0], texts[1], {"vocabulary": vocabulary}


def _standardised_features(
    job: TrainingJob, inputs: list[Tokens | Pictures]
) -> tuple[torch.Tensor, torch.Tensor, dict[str, np.ndarray]]:
    """Returns features, standardised over the split trained on, and mean and std.

    Args:
        inputs: of the split trained on, then of each predicted split.
    Returns:
        features of the split trained on; of all predicted splits; and the `mean` and `std`.
    """
    wanted = job.hyperparameters.features
    pooled = activations.pooled(job.checkpoint, join_inputs(inputs))
    # without a copy where all are wanted
    states = np.ascontiguousarray(pooled.layer(job.layers)[:, :wanted])
    if wanted and states.shape[1] < wanted:
        raise ValueError(f"features = {wanted}; {job.checkpoint.name} has {states.shape[1]}")
    n_training = len(inputs[0].keys)
    mean = states[:n_training].mean(axis=0)
    std = states[:n_training].std(axis=0) + 1e-6
    states -= mean
    states /= std
    features = torch.from_numpy(states)
    return features[:n_training], features[n_training:], {"mean": mean, "std": std}


def _build_net(
    job: TrainingJob, training_inputs: Inputs, made_with: dict[str, np.ndarray]
) -> Classifier:
    """Builds the module that the method trains, on the training device or sharded over several.

    A probe stays on the CPU: a step of it is a few tiny kernels, and a GPU takes as long to start
    them as a CPU to compute them.
    """
    hyperparameters = job.hyperparameters
    if isinstance(training_inputs, FeatureInputs):
        width = training_inputs.features.shape[1]
        net = probe(width, job.split.arity, job.split.n_classes)
    else:
        net = build(
            job.checkpoint,
            job.method,
            job.split.arity,
            n_classes=job.split.n_classes,
            head_init=cast(str, hyperparameters.head_init),  # filled in
            device=device(),
            top_layers=hyperparameters.top_layers,
            lora_rank=hyperparameters.lora_rank,
        )
    if "vocabulary" in made_with:
        compact_embedding(net, torch.from_numpy(made_with["vocabulary"]).long())
    if net.body is not None:
        distributed.shard(net, blocks_of(net.body))
    return net


def _train_net(prepared: _Prepared, micro_batch: int | None) -> Speed | None:
    """Trains the module in place, or solves for its head; evaluates at each checkpoint.

    Returns:
        how fast it read texts; None of a probe, which reads none.
    """
    job, net, best_steps = prepared.job, prepared.net, prepared.best_steps
    if job.method == "logistic":
        penalties = cast(tuple[float, ...], job.hyperparameters.l2)
        features = cast(FeatureInputs, prepared.training_inputs).features
        for step, l2 in enumerate(penalties, start=1):
            mean_loss = logistic.solve(net.head, features, job.targets, l2)
            best_steps.evaluate(step, step / len(penalties), mean_loss)
        return None
    loss = LOSSES[job.loss]
    return loop.train(
        net,
        prepared.training_inputs,
        job.targets,
        functools.partial(losses.values_of, job.loss, **job.loss_args),
        job.hyperparameters,
        seed=job.seed,
        evaluate=best_steps.evaluate,
        batchwise=loss.batchwise,
        decay=job.loss_args.get(loss.running_average),
        micro_batch=micro_batch,
        label=job.label,
    )


def _measure(predictions: pd.DataFrame, test: Split) -> dict[str, float]:
    """Returns test metrics: accuracy at each stop; AUROC and calibration error at the last.

    A stop without predictions has no accuracy.
    """
    metrics = {}
    probs = {stop: probs_at(predictions[: len(test)], stop) for stop in STOPS}
    for stop in STOPS:
        if not np.isnan(probs[stop]).all():
            metrics[f"accuracy_{stop}"] = float(correct(probs[stop], test.hard_label).mean())
    for metric in (auroc, calibration_error):
        estimate = metric(probs["last"], test.hard_label, resamples=0)
        metrics[metric.__name__] = estimate.value
    return metrics


class _BestSteps:
    """The best step of a training by each of the three rules in `STOPS`, with its weights.

    An example is predicted at most once with the weights of a step: what an evaluation predicts is
    kept as long as its step is the best by some rule.

    Args:
        inputs: of the job's predicted splits, one after another.
    Attributes:
        curve: rows, one per evaluation.
        best_step: {stop: the step whose weights are best by that stop's rule}.
        weights: {stop: copy of these weights, or None where they are the last, or nobody needs
            them}.
        probs_at_step: {step: (n, K) predictions of the examples of all splits, NaN where there is
            none yet}, of the steps in `best_step`.
    """

    def __init__(self, net: Classifier, job: TrainingJob, inputs: Inputs):
        self.net = net
        self.job = job
        self.inputs = inputs
        self.curve: list[dict[str, float]] = []
        self.best_score = dict.fromkeys(self._rules(), -1.0)
        self.best_step: dict[str, int] = {}
        self.weights: dict[str, dict[str, torch.Tensor] | None] = {}
        self.probs_at_step: dict[int, np.ndarray] = {}
        n_test, n_validation = map(len, job.predicted_splits[:2])
        self.validation_rows = np.arange(n_test, n_test + n_validation)
        drawn = np.random.default_rng(0).permutation(n_test)
        # the test examples that the curve and the oracle look at, and the group of each from 0
        self.curve_rows = np.sort(drawn[: job.hyperparameters.curve_test or n_test])
        groups = job.predicted_splits[0].group[self.curve_rows]
        self.curve_group_of = np.unique(groups, return_inverse=True)[1]

    def _rules(self) -> list[str]:
        """Returns the rules in `STOPS` that have what they choose by.

        'validation' needs labels of the validation split. 'oracle' needs an accuracy on the whole
        test split, or it may choose a step that others surpass.
        """
        chosen_by = {
            "last": True,
            "validation": self.job.validation is not None,
            "oracle": self.job.hyperparameters.curve_test is None,
        }
        return [stop for stop in STOPS if chosen_by[stop]]

    def evaluate(
        self, step: int, progress: float, train_loss: float, predict: Callable | None = None
    ) -> None:
        """Scores the module on validation and some test examples; keeps it if it is the best.

        Args:
            predict: rows (m,) -> the module's predictions (m, K) of them; None runs it.
        """
        test, validation = self.job.predicted_splits[:2]
        rows = np.arange(len(self.inputs))
        if progress < 1:
            rows = np.concatenate([self.curve_rows, self.validation_rows])
        probs = self._predict(step, rows, predict)
        on_test = probs[self.curve_rows]
        on_validation = probs[self.validation_rows]
        on_labels = math.nan
        validation_classes = likeliest(on_validation)
        if self.job.validation is not None:
            labels = likeliest(self.job.validation)
            on_labels = (validation_classes[self.job.known] == labels).mean()
        right = likeliest(on_test) == test.hard_label[self.curve_rows]
        self.curve.append(
            {
                "step": step,
                "progress": progress,
                "train_loss": train_loss,
                "validation_accuracy_on_labels": on_labels,
                "validation_accuracy": (validation_classes == validation.hard_label).mean(),
                "test_accuracy": right.mean(),
                "test_n": len(right),
                "test_se": error_of_mean(right, self.curve_group_of),
            }
        )
        self.keep_best(step, on_labels, right.mean(), is_last=progress >= 1)
        best_steps = self.best_step.values()
        self.probs_at_step = {s: p for s, p in self.probs_at_step.items() if s in best_steps}

    def _predict(self, step: int, rows: np.ndarray, predict: Callable | None = None) -> np.ndarray:
        """Predicts those of the examples at `rows` that have no prediction of a step yet.

        The module must have the weights of that step.

        Args:
            predict: as of `evaluate`.
        Returns:
            (n, K) the predictions of the step, as in `probs_at_step`.
        """
        none_yet = np.full((len(self.inputs), self.job.split.n_classes), np.nan, dtype=np.float32)
        probs = self.probs_at_step.setdefault(step, none_yet)
        lacking = rows[np.isnan(probs[rows, 0])]
        if len(lacking):
            predict = predict or functools.partial(loop.predict, self.net, self.inputs)
            probs[lacking] = predict(lacking)
        return probs

    def keep_best(
        self, step: int, accuracy_on_labels: float, test_accuracy: float, *, is_last: bool
    ) -> None:
        """Decides early stopping: for each rule, keeps this step's weights if they score best.

        Training itself always goes on to the last step. Of equal scores the first is kept.

        Args:
            accuracy_on_labels: on the validation split, against the labels that the fit is given.
            test_accuracy: on the whole test split, where there is an oracle.
        """
        scores = {
            "last": step,
            "validation": accuracy_on_labels,
            "oracle": test_accuracy,
        }
        better = [stop for stop, best in self.best_score.items() if scores[stop] > best]
        # the weights of the last step are in the module itself and need no copy
        weights = None
        if not is_last and any(map(self._needs_weights, better)):
            weights = loop.copy_weights(self.net)
        for stop in better:
            self.best_score[stop] = scores[stop]
            self.best_step[stop] = step
            self.weights[stop] = None if stop == "last" else weights

    def _needs_weights(self, stop: str) -> bool:
        """Returns whether the weights of a rule's best step are used after a later step.

        The oracle's has predicted all that is asked of it, the test split, when it is evaluated.
        """
        return stop == "validation" or stop == self.job.keep_weights != "last"

    def predictions(self) -> pd.DataFrame:
        """Returns rows as `Fit.predictions` has them; of the oracle's checkpoint test only.

        A rule that has nothing to choose by has no predictions: NaN.
        """
        frames = [
            pd.DataFrame(
                {
                    "split": split.name,
                    "id": split.ids,
                    "truth": split.hard_label,
                    "group": split.group,
                }
            )
            for split in self.job.predicted_splits
        ]
        table = pd.concat(frames, ignore_index=True)
        n_test = len(self.job.predicted_splits[0])
        for stop in STOPS:
            if stop not in self.best_step:
                table[class_columns(stop, self.job.split.n_classes)] = np.nan
                continue
            step = self.best_step[stop]
            if stop != "oracle":
                loop.load_weights(self.net, self.weights[stop])
                self._predict(step, np.arange(len(table)))
            for name, column in columns_at(stop, self.probs_at_step[step]).items():
                table[name] = pd.Series(column)
        table.loc[n_test:, class_columns("oracle", self.job.split.n_classes)] = np.nan
        return table
