"""Trains linear probes, many at once: most of a step's time does not depend on how many there are.

All probes of a call take the same number of steps with the same hyper-parameters. Those that read
the same examples in the same order share their batches. Each keeps its own labels, loss and head,
and its numbers do not depend on the probes beside it. For that, a matrix product always has
`COLUMNS` outputs, whichever heads they belong to: its last bits depend on its shape.

The mathematics is that of `loop.train`, of a module that is a head alone: the gradient of the
losses with respect to the logits is found by autograd, that of the heads by one matrix product, and
AdamW updates all heads together.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import nn

from .. import losses
from ..common.out_of_memory import is_out_of_memory
from ..common.progress import progress
from ..common.registry import LOSSES
from ..inputs.batches import FeatureInputs
from . import loop
from .hyperparameters import Hyperparameters

# outputs of heads in one matrix product: as many floats as a register of the widest CPUs holds
COLUMNS = 16
# Returns a probe's class probabilities (m, K) of the examples to predict at the rows (m,).
Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(eq=False)
class Probe:
    """One probe to train.

    Attributes:
        head: at its start; it is trained in place.
        inputs: of the n examples trained on; probes may share them.
        predicted: inputs of the examples that it predicts at evaluations; shared likewise.
        targets: (n, K), rows sum to 1.
        loss, loss_args: a registered loss and all its arguments.
        seed: of the order of batches.
        random_state: of torch, for a loss that draws random numbers.
        evaluate: called as `evaluate(step, progress, train_loss, predict)`.
        label: names it in errors.
    """

    head: nn.Linear
    inputs: FeatureInputs
    predicted: FeatureInputs
    targets: np.ndarray
    loss: str
    loss_args: dict
    seed: int
    random_state: torch.Tensor
    evaluate: Callable[[int, float, float, Predict], None]
    label: str


class ProbesFailed(Exception):
    """Some of the probes that are trained together cannot be; the others may be without them.

    Attributes:
        errors: {probe: its error}.
    """

    def __init__(self, errors: dict[Probe, Exception]):
        super().__init__("; ".join(map(str, errors.values())))
        self.errors = errors


def train(probes: Sequence[Probe], hyperparameters: Hyperparameters) -> None:
    """Trains the heads of probes, in place.

    Args:
        probes: with as many classes, texts per example, features and examples as each other.
        hyperparameters: epochs, batch_size, head_lr, weight_decay, beta2, warmup and evals count.
    Raises:
        ProbesFailed: a loss or a prediction is not finite, or a loss raises an error.
    """
    orders = _orders_of(probes, hyperparameters)
    kinds = [_Kind(name, orders) for name in dict.fromkeys(map(_kind_of, probes))]
    parameters = _join_heads(orders)
    peak = cast(float, hyperparameters.head_lr)  # filled in
    optimizer = torch.optim.AdamW(
        parameters,
        lr=peak,
        betas=(0.9, hyperparameters.beta2),
        weight_decay=hyperparameters.weight_decay,
        fused=True,
    )
    n_steps = len(orders[0].batches)
    warmup_steps = max(1, round(hyperparameters.warmup * n_steps))
    evaluated = loop.evaluation_steps(cast(int, hyperparameters.evals), n_steps)
    steps_per_epoch = math.ceil(n_steps / hyperparameters.epochs)
    label = probes[0].label if len(probes) == 1 else f"{len(probes)} probes"
    for step in progress(range(n_steps), desc=label, unit="step"):
        for order in orders:
            order.forward(step)
        for kind in kinds:
            kind.backward(step / n_steps, is_first_epoch=step < steps_per_epoch)
        for order in orders:
            order.backward()
        factor = loop._learning_rate_factor(step, n_steps, warmup_steps)
        loop._set_learning_rates(optimizer, [peak], factor)
        optimizer.step()
        if step + 1 in evaluated:
            _evaluate(orders, step + 1, n_steps, hyperparameters)


def _kind_of(probe: Probe) -> str:
    """Names the loss of a probe with its arguments."""
    return json.dumps([probe.loss, probe.loss_args], sort_keys=True)


def _orders_of(probes: Sequence[Probe], hyperparameters: Hyperparameters) -> list[_Order]:
    """Returns the probes by the batches that they read; in each, those of a kind side by side."""
    by_kind = sorted(probes, key=_kind_of)
    by_order: dict[tuple, list[Probe]] = {}
    for probe in by_kind:
        by_order.setdefault((id(probe.inputs), probe.seed), []).append(probe)
    return [_Order(of_order, hyperparameters) for of_order in by_order.values()]


def _join_heads(orders: list[_Order]) -> list[nn.Parameter]:
    """Moves all heads into one tensor of weights and one of biases.

    Returns:
        What is trained: weights (chunks, columns, d); of single texts biases (chunks, columns) too.
    """
    head = orders[0].probes[0].head
    columns = max(COLUMNS, head.out_features)
    n_chunks = sum(order.n_chunks for order in orders)
    weight = nn.Parameter(torch.zeros(n_chunks, columns, head.in_features))
    bias = nn.Parameter(torch.zeros(n_chunks, columns))
    for parameter in (weight, bias):
        parameter.grad = torch.zeros_like(parameter)
    start = 0
    for order in orders:
        order.move_heads(weight, bias, range(start, start + order.n_chunks))
        start += order.n_chunks
    # of the two texts of a pair the bias cancels
    return [weight, bias] if head.bias.requires_grad else [weight]


def _evaluate(
    orders: list[_Order], step: int, n_steps: int, hyperparameters: Hyperparameters
) -> None:
    """Evaluates all probes after a step, if none has failed.

    Raises:
        ProbesFailed: as `train`.
    """
    errors: dict[Probe, Exception] = {}
    means = []
    for order in orders:
        values = order.take_losses()  # (steps, probes)
        means.append(values.mean(axis=0))
        for column in np.flatnonzero(~np.isfinite(values).all(axis=0)):
            bad = np.flatnonzero(~np.isfinite(values[:, column]))[0]
            probe = order.probes[column]
            where = f"{step - len(values) + bad + 1} of {n_steps}"
            loss = float(values[bad, column])
            errors[probe] = loop.not_finite(probe.label, loss, where, hyperparameters)
    if errors:
        raise ProbesFailed(errors)
    for order, of_order in zip(orders, means, strict=True):
        errors |= order.evaluate(step, step / n_steps, of_order)
    if errors:
        raise ProbesFailed(errors)


class _Order:
    """Probes that read the same batches.

    Attributes:
        probes: S of them.
        batches: the rows of each step.
        rows: those of this step, (b,).
        targets: (n, S, K); batch_targets: those of this step, (b, S, K).
        previous: (n, S, K) the running average of the probes' predictions, where a loss takes one;
            batch_previous: those of this step.
        logits: of this step, (b, S, K).
        gradient: of the mean losses with respect to them; step_losses: (S,) the mean losses.
    """

    def __init__(self, probes: list[Probe], hyperparameters: Hyperparameters):
        first = probes[0]
        self.probes = probes
        self._inputs = first.inputs
        self._arity = first.inputs.arity
        self._n_outputs = first.head.out_features
        self._per_chunk = max(1, COLUMNS // self._n_outputs)
        self.n_chunks = math.ceil(len(probes) / self._per_chunk)
        lengths = first.inputs.lengths
        chosen = hyperparameters
        batches = loop.schedule(lengths, chosen.batch_size, chosen.epochs, first.seed)
        self.batches = list(map(torch.from_numpy, batches))
        targets = np.stack([probe.targets for probe in probes], axis=1)
        self.targets = torch.as_tensor(targets, dtype=torch.float32)
        self.previous = self.targets
        if any(LOSSES[probe.loss].running_average for probe in probes):
            self.previous = self.targets.clone()
        self._losses: list[torch.Tensor] = []

    def move_heads(self, weight: nn.Parameter, bias: nn.Parameter, chunks: range) -> None:
        """Moves the heads into the chunks of `_join_heads`, where each is a view."""
        self._weights = [weight.data[chunk] for chunk in chunks]
        self._biases = [bias.data[chunk] for chunk in chunks]
        self._weight_gradients = [weight.grad[chunk] for chunk in chunks]  # type: ignore[index]
        self._bias_gradients = [bias.grad[chunk] for chunk in chunks]  # type: ignore[index]
        for position, probe in enumerate(self.probes):
            chunk, place = divmod(position, self._per_chunk)
            own = slice(place * self._n_outputs, (place + 1) * self._n_outputs)
            for parameter, joined in (
                (probe.head.weight, self._weights[chunk]),
                (probe.head.bias, self._biases[chunk]),
            ):
                joined[own] = parameter.data
                parameter.data = joined[own]

    def _logits_of(self, features: torch.Tensor) -> torch.Tensor:
        """Returns the logits (b, S, K) of features (b * k, d)."""
        used = self._per_chunk * self._n_outputs
        outputs = [
            torch.addmm(bias, features, weight.T)[:, :used]
            for weight, bias in zip(self._weights, self._biases, strict=True)
        ]
        joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)
        shape = (-1, self._arity, joined.shape[1] // self._n_outputs, self._n_outputs)
        by_probe = joined.reshape(shape)[:, :, : len(self.probes)].transpose(1, 2)
        return by_probe.flatten(2)

    def forward(self, step: int) -> None:
        """Computes the logits of a step's batch."""
        self.rows = self.batches[step]
        self.batch_targets = self.targets.index_select(0, self.rows)
        self.batch_previous = self.batch_targets
        if self.previous is not self.targets:
            self.batch_previous = self.previous.index_select(0, self.rows)
        self._features = self._inputs.batch(self.rows)["features"]
        self.logits = self._logits_of(self._features)
        self.gradient = torch.empty_like(self.logits)
        self.step_losses = torch.empty(len(self.probes), dtype=torch.float64)

    def backward(self) -> None:
        """Carries the gradient of a step's losses into the heads."""
        self._losses.append(self.step_losses)
        n_places = self.n_chunks * self._per_chunk
        columns = self._weights[0].shape[0]
        shape = (len(self.rows), len(self.probes), self._arity, self._n_outputs)
        by_text = self.gradient.view(shape).transpose(1, 2)
        if n_places > len(self.probes):
            free = n_places - len(self.probes)
            by_text = nn.functional.pad(by_text, (0, 0, 0, free))
        outputs = by_text.reshape(len(self._features), self.n_chunks, -1)
        if outputs.shape[2] < columns:
            outputs = nn.functional.pad(outputs, (0, columns - outputs.shape[2]))
        for chunk in range(self.n_chunks):
            gradient = outputs[:, chunk]
            torch.mm(gradient.T, self._features, out=self._weight_gradients[chunk])
            torch.sum(gradient, dim=0, out=self._bias_gradients[chunk])

    def take_losses(self) -> np.ndarray:
        """Returns the mean losses (steps, S) float64 since the call before, nats."""
        values = torch.stack(self._losses).numpy()
        self._losses = []
        return values

    def _predict(
        self, probs_of: dict[int, np.ndarray], column: int, rows: np.ndarray
    ) -> np.ndarray:
        """Predicts examples with a probe; as `Predict`.

        Args:
            probs_of: {n: what was predicted at this step of the first n examples, (S, n, K)}.
        """
        # the splits looked at are the first: no copy of their features is made
        n = int(rows.max()) + 1
        if n not in probs_of:
            features = self.probes[0].predicted.features[: n * self._arity]
            by_probe = self._logits_of(features).transpose(0, 1)
            probs_of[n] = by_probe.softmax(dim=2).numpy()
        probs = probs_of[n][column][rows]
        loop.require_finite(probs)
        return probs

    def evaluate(self, step: int, progress: float, means: np.ndarray) -> dict[Probe, Exception]:
        """Evaluates the probes; returns the errors of those whose predictions are not finite."""
        probs_of: dict[int, np.ndarray] = {}
        errors: dict[Probe, Exception] = {}
        for column, (probe, mean) in enumerate(zip(self.probes, means, strict=True)):
            predict = functools.partial(self._predict, probs_of, column)
            try:
                probe.evaluate(step, progress, float(mean), predict)
            except FloatingPointError as error:
                errors[probe] = error
        return errors


class _Kind:
    """Probes with the same loss and arguments, whose losses are computed together if possible.

    The losses of the kit depend on nothing but their arguments, so that one call serves the probes
    of all orders. A loss of a user is called on one probe's batch at a time, with that probe's own
    random numbers.
    """

    def __init__(self, name: str, orders: list[_Order]):
        # (order, its columns that are of this kind)
        self._places: list[tuple[_Order, slice]] = []
        for order in orders:
            own = [i for i, probe in enumerate(order.probes) if _kind_of(probe) == name]
            if own:
                self._places.append((order, slice(own[0], own[-1] + 1)))
        order, columns = self._places[0]
        probe = order.probes[columns.start]
        self._name, self._args = probe.loss, probe.loss_args
        self._loss = LOSSES[self._name]
        self._is_ours = self._loss.__module__.startswith(__name__.partition(".")[0] + ".")
        self._decay = self._args.get(self._loss.running_average)

    def backward(self, progress: float, *, is_first_epoch: bool) -> None:
        """Computes a step's mean losses and their gradients, and keeps both in the orders.

        Raises:
            ProbesFailed: the loss raises an error.
        """
        if not self._is_ours or (self._loss.batchwise and not self._loss.stacks):
            for order, columns in self._places:
                for column in range(columns.start, columns.stop):
                    self._call_with_own_numbers(order, column, progress)
        elif self._loss.batchwise:
            by_size: dict[int, list[tuple[_Order, slice]]] = {}
            for order, columns in self._places:
                by_size.setdefault(len(order.rows), []).append((order, columns))
            for places in by_size.values():
                self._call(places, progress, stacks=True)
        else:
            self._call(self._places, progress)
        if self._decay is not None:
            # in the first epoch the predictions replace the targets
            self._update_averages(0.0 if is_first_epoch else self._decay)

    def _call_with_own_numbers(self, order: _Order, column: int, progress: float) -> None:
        """Calls the loss on one probe's batch; what it draws is what it would draw alone."""
        probe = order.probes[column]
        torch.set_rng_state(probe.random_state)
        self._call([(order, slice(column, column + 1))], progress)
        probe.random_state = torch.get_rng_state()

    def _call(
        self, places: list[tuple[_Order, slice]], progress: float, *, stacks: bool = False
    ) -> None:
        """Calls the loss once for the batches of several probes.

        Args:
            places: where they are.
            stacks: all batches have one size, and the loss takes them as (s, b, K). Else it takes
                their rows, which do not depend on each other.
        Raises:
            ProbesFailed: the loss raises an error.
        """

        def join(name: str) -> torch.Tensor:
            by_probe = [getattr(order, name)[:, own].transpose(0, 1) for order, own in places]
            return torch.cat(by_probe if stacks else [each.flatten(0, 1) for each in by_probe])

        logits = join("logits").requires_grad_()
        targets = join("batch_targets")
        given = {"progress": progress, **self._args}
        if self._decay is not None:
            given["previous"] = join("batch_previous")
        try:
            values = losses.values_of(self._name, logits, targets, **given)
            shares = [1 / len(order.rows) for order, _ in places]
            if len(set(shares)) == 1:
                weights = torch.full_like(values, shares[0])
            else:
                counts = [(own.stop - own.start) * len(order.rows) for order, own in places]
                weights = torch.repeat_interleave(torch.tensor(shares), torch.tensor(counts))
            (gradient,) = torch.autograd.grad(values, logits, weights.to(values))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise ProbesFailed(self._errors_alone(places, progress, error)) from error
        values = values.detach().reshape(-1)
        gradient = gradient.reshape(-1, gradient.shape[-1])
        start = 0
        for order, own in places:
            n_probes, size = own.stop - own.start, len(order.rows)
            rows = slice(start, start + n_probes * size)
            order.step_losses[own] = values[rows].view(n_probes, size).double().mean(dim=1)
            order.gradient[:, own] = gradient[rows].view(n_probes, size, -1).transpose(0, 1)
            start = rows.stop

    def _errors_alone(
        self, places: list[tuple[_Order, slice]], progress: float, error: Exception
    ) -> dict[Probe, Exception]:
        """Returns the errors of the probes of a call that failed, each probe's batch by itself."""
        errors: dict[Probe, Exception] = {}
        columns = [(order, i) for order, own in places for i in range(own.start, own.stop)]
        if len(columns) == 1:
            order, column = columns[0]
            return {order.probes[column]: error}
        for order, column in columns:
            try:
                self._call([(order, slice(column, column + 1))], progress)
            except ProbesFailed as failed:
                errors |= failed.errors
        return errors or {order.probes[column]: error for order, column in columns}

    def _update_averages(self, decay: float) -> None:
        """Moves the running averages of the probes' predictions towards those of this step."""
        for order, own in self._places:
            probs = order.logits[:, own].softmax(dim=2)
            average = decay * order.batch_previous[:, own] + (1 - decay) * probs
            order.previous[order.rows, own] = average
