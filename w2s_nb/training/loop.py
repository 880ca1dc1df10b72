"""Trains a module and predicts with it: one explicit loop for every method and every loss."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import nn
from torch.amp import GradScaler

from ..common import distributed
from ..common.device import compute_type, copy_to, device, precision
from ..common.out_of_memory import (
    explain_out_of_memory,
    halve,
    is_out_of_memory,
    run_batches,
)
from ..common.progress import progress, warn
from ..inputs.batches import FeatureInputs, Inputs
from ..models.anatomy import TransformersModel
from ..models.classifier import Classifier
from ..models.language import LanguageModel
from ..models.passes import affordable_tokens
from .hyperparameters import Hyperparameters
from .speed import Speed, SpeedMeter

# Tokens in one pass of prediction at most, padding included. A CPU gains nothing from more, and in
# training it takes no more either: the passes of a batch are cut there, see `passes_of`.
MAX_TOKENS = {"cpu": 1024, "cuda": 32768}
# Tokens in one pass of training. A GPU that lacks memory raises an error, so it needs no limit; a
# CPU just becomes slow.
TRAIN_TOKENS = {"cpu": 8192}
# The same of a language model, which has a logit per token and word of the vocabulary.
LM_TOKENS = {"cpu": 4096, "cuda": 32768}
# Tokens of each of several devices, whose free memory may differ: they run the same passes.
SHARED_TOKENS = 4096
# Steps after which losses are read, at the latest. Reading waits for the device: a GPU would idle.
READ_EVERY = {"cpu": 1, "cuda": 32}
# Batches at most whose examples are sorted by length together.
BUCKET = 16
# What to change where the passes of training do not fit, and where the optimiser's numbers do not.
LESS_PER_PASS = "lower max_len, use method='lora' or 'probe', or a smaller model"
LESS_TRAINED = (
    "AdamW keeps two numbers per trained weight: use method='lora', 'top' or 'probe', several "
    "devices, or a smaller model"
)


def train(
    net: Classifier | LanguageModel,
    inputs: Inputs,
    targets: np.ndarray,
    loss: Callable,
    hyperparameters: Hyperparameters,
    *,
    seed: int,
    evaluate: Callable[[int, float, float], None],
    batchwise: bool = False,
    decay: float | None = None,
    micro_batch: int | None = None,
    after_step: Callable[[torch.Tensor], None] | None = None,
    label: str = "training",
) -> Speed:
    """Trains, in place, the parameters of a module that require a gradient.

    The optimiser is AdamW. The learning rate rises linearly over the first `warmup` of the steps
    and then falls linearly to 0.

    Args:
        targets: (n, K), rows sum to 1.
        loss: (logits (b, K), targets (b, K), progress=...) -> (b,) nats; with `decay` it also takes
            `previous` (b, K).
        hyperparameters: epochs, batch_size, lr, head_lr, weight_decay, beta2, warmup and evals
            count here; lr, head_lr and evals must be set.
        seed: of the order of batches.
        evaluate: called as `evaluate(step, progress, train_loss)`, the loss being the mean since
            the call before. Early stopping is decided there, see `job._BestSteps.keep_best`.
        batchwise: an example's loss depends on the other examples of its batch.
        decay: of the running average, over epochs, of the module's own predictions, which the loss
            takes as `previous`; None for a loss that takes none.
        micro_batch: examples in one pass on each device; None takes the batch, or what
            `TRAIN_TOKENS` allows. Where one device runs out of memory, it is halved; several stop,
            and `job.carry_out` starts them again.
        after_step: called after each step with what the module gave for its batch, (b, K) on the
            device.
        label: of the progress bar and of errors.
    Returns:
        how fast the steps ran.
    Raises:
        ValueError: lr or evals is None.
        FloatingPointError: the loss is not finite. On a GPU that is seen up to `READ_EVERY` steps
            late, and before the next evaluation; the message has the step at which it was.
        OutOfMemory: memory does not suffice for one example at a time, or for the optimiser.
    """
    if hyperparameters.lr is None or hyperparameters.evals is None:
        raise ValueError("lr and evals are None; expected a learning rate and evaluations")
    optimizer = _optimizer(net, hyperparameters)
    peaks = [group["lr"] for group in optimizer.param_groups]
    epochs = hyperparameters.epochs
    batches = list(schedule(inputs.lengths, hyperparameters.batch_size, epochs, seed))
    n_steps = len(batches)
    steps_per_epoch = math.ceil(n_steps / epochs)
    warmup_steps = max(1, round(hyperparameters.warmup * n_steps))
    evaluated = evaluation_steps(hyperparameters.evals, n_steps)
    micro_batch = micro_batch or _default_micro_batch(inputs, hyperparameters.batch_size)
    labels = torch.as_tensor(targets, dtype=torch.float32).to(device_of(net))
    previous = labels.clone()
    rows_there = _copy_of_batches(batches, device_of(net))
    losses = _StepLosses(label, n_steps, hyperparameters)
    scaler = GradScaler(device_of(net).type, enabled=precision() == "fp16")
    meter = SpeedMeter()
    evaluate = meter.leave_out(evaluate)
    net.train()
    for step, rows in enumerate(progress(batches, desc=label, unit="step")):
        batch_loss: Callable = functools.partial(loss, progress=step / n_steps)
        batch_targets = labels[rows_there[step]]
        if decay is not None:
            # the average travels beside the targets, so that micro-batches cut both alike
            batch_loss = _with_previous(batch_loss)
            batch_targets = torch.cat([batch_targets, previous[rows_there[step]]], dim=1)
        mean_loss, logits, micro_batch = _backward_in_memory(
            net, inputs, rows, batch_targets, batch_loss, micro_batch, batchwise, scaler.scale
        )
        losses.add(mean_loss)
        _set_learning_rates(optimizer, peaks, _learning_rate_factor(step, n_steps, warmup_steps))
        _update_weights(optimizer, scaler)
        if decay is not None:
            # in the first epoch the predictions replace the targets
            kept = decay if step >= steps_per_epoch else 0.0
            _update_average(previous, rows_there[step], logits, kept)
        if after_step is not None:
            after_step(logits)
        if step + 1 in evaluated:
            _require_scale(scaler, label)
            evaluate(step + 1, (step + 1) / n_steps, losses.take_mean())
            net.train()
    if scaler.is_enabled():
        _tell_skipped_steps(optimizer, n_steps, label)
    return meter.speed(net, inputs.lengths[np.concatenate(batches)])


def _require_scale(scaler: GradScaler, label: str) -> None:
    """Refuses gradients that no scale of the loss keeps within fp16; steps with them are skipped.

    Raises:
        FloatingPointError: the scale was halved below 1.
    """
    scale = scaler.get_scale()  # 1 where nothing is scaled
    if scale < 1:
        raise FloatingPointError(
            f"{label}: gradients do not fit fp16 even where the loss is multiplied by {scale:g}; "
            f"lower lr, or compute in float32 by W2S_PRECISION=fp32"
        )


def _tell_skipped_steps(optimizer: torch.optim.Optimizer, n_steps: int, label: str) -> None:
    """Warns where more than a tenth of the steps were skipped; a few at the start are usual."""
    skipped = n_steps - max(int(state["step"]) for state in optimizer.state.values())
    if skipped > n_steps / 10:
        warn(
            f"{label}: {skipped} of {n_steps} steps were skipped, since their gradients did not "
            f"fit fp16. W2S_PRECISION=fp32 computes in float32"
        )


class _StepLosses:
    """The mean losses of the steps since the last evaluation, read where that holds nothing up."""

    def __init__(self, label: str, n_steps: int, hyperparameters: Hyperparameters):
        self._label = label
        self._n_steps = n_steps
        self._hyperparameters = hyperparameters
        self._n_read = 0  # steps of the whole training
        self._unread: list[torch.Tensor] = []
        self._since_last: list[float] = []

    def add(self, loss: torch.Tensor) -> None:
        """Takes a step's mean loss, a tensor on the training device; reads all where it is time.

        Raises:
            FloatingPointError: one of those read is not finite.
        """
        self._unread.append(loss)
        if len(self._unread) >= READ_EVERY.get(loss.device.type, 1):
            self._read()

    def take_mean(self) -> float:
        """Returns the mean since the call before, nats.

        Raises:
            FloatingPointError: one of them is not finite.
        """
        self._read()
        mean = float(np.mean(self._since_last))
        self._since_last = []
        return mean

    def _read(self) -> None:
        if not self._unread:
            return
        for loss in torch.stack(self._unread).tolist():
            self._n_read += 1
            if not math.isfinite(loss):
                where = f"{self._n_read} of {self._n_steps}"
                raise not_finite(self._label, loss, where, self._hyperparameters)
            self._since_last.append(loss)
        self._unread = []


def not_finite(
    label: str, loss: float, step: str, hyperparameters: Hyperparameters
) -> FloatingPointError:
    """Returns the error of a training whose loss is not finite at a step, such as "3 of 10"."""
    return FloatingPointError(
        f"{label}: the loss is {loss} at step {step}; lower lr (it is {hyperparameters.lr:g}, of "
        f"the head {hyperparameters.head_lr:g}), or look at the labels"
    )


def device_of(net: nn.Module) -> torch.device:
    """Returns the device of a module's parameters; a probe's is the CPU, whatever the kit's is."""
    return next(net.parameters()).device


def _copy_of_batches(batches: list[np.ndarray], target: torch.device) -> tuple[torch.Tensor, ...]:
    """Copies the row numbers of all batches to a device at once, so that no step waits for one."""
    rows = copy_to(target, torch.from_numpy(np.concatenate(batches)))
    return rows.split([len(batch) for batch in batches])


def _optimizer(
    net: Classifier | LanguageModel, hyperparameters: Hyperparameters
) -> torch.optim.Optimizer:
    """Returns AdamW over the body's and the head's trained parameters, each with its own rate."""
    head = {id(parameter) for parameter in net.head.parameters()}
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    groups: list[dict] = [
        {"params": [p for p in trained if id(p) not in head], "lr": hyperparameters.lr},
        {"params": [p for p in trained if id(p) in head], "lr": hyperparameters.head_lr},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        betas=(0.9, hyperparameters.beta2),
        weight_decay=hyperparameters.weight_decay,
        fused=True,
    )


def _learning_rate_factor(step: int, n_steps: int, warmup_steps: int) -> float:
    """Computes the share of its peak that the learning rate has at a step, counted from 0.

    It rises linearly to 1 at the last warm-up step, stays there for one step, and falls linearly;
    it would be 0 one step after the last. `transformers.get_linear_schedule_with_warmup` falls one
    step earlier, so its last step would train nothing.
    """
    rising = (step + 1) / warmup_steps
    falling = (n_steps - step) / max(1, n_steps - warmup_steps)
    return min(rising, falling)


def _set_learning_rates(
    optimizer: torch.optim.Optimizer, peaks: list[float], factor: float
) -> None:
    for group, peak in zip(optimizer.param_groups, peaks, strict=True):
        group["lr"] = peak * factor


@explain_out_of_memory("updating the weights", LESS_TRAINED)
def _update_weights(optimizer: torch.optim.Optimizer, scaler: GradScaler) -> None:
    """Takes the optimiser's step; the first one makes its two numbers per trained weight.

    With fp16 a step is skipped, and the scale halved, where a gradient is not finite.
    """
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()


def _update_average(
    average: torch.Tensor, rows: torch.Tensor, logits: torch.Tensor, decay: float
) -> None:
    """Moves the average of the module's predictions for `rows` towards those of `logits`."""
    probs = logits.softmax(dim=1)
    average[rows] = decay * average[rows] + (1 - decay) * probs


def evaluation_steps(evals: int | tuple[float, ...], n_steps: int) -> set[int]:
    """Returns the steps, counted from 1, after which a module is evaluated, the last included."""
    if isinstance(evals, int):
        fractions = np.linspace(0, 1, evals + 1)[1:]
    else:
        fractions = np.array([*evals, 1.0])
    return set((fractions * n_steps).round().astype(int).clip(1).tolist())


def _default_micro_batch(inputs: Inputs, batch_size: int) -> int:
    """Returns how many of the longest examples one pass of training takes, at most a batch."""
    affordable = TRAIN_TOKENS.get(device().type, math.inf) / inputs.lengths.max()
    return max(1, int(min(batch_size, affordable)))


def schedule(lengths: np.ndarray, batch_size: int, epochs: int, seed: int) -> Iterator[np.ndarray]:
    """Yields batches of row numbers: every epoch in a new order, similar lengths together.

    An epoch deals the examples at random into buckets, each of the same number of whole batches up
    to one, at most `BUCKET`. A bucket is sorted by length, equal lengths in random order, and cut
    into batches; then the batches of all buckets are shuffled.

    So it is random when an example is met, and which examples of its length or nearly share its
    batch; where there are several buckets, also which lengths do. It is not random that they are
    alike. With up to `BUCKET` batches an epoch, one bucket has them all: a batch is then of the
    same lengths in each epoch, though not of the same examples. Long batches come no sooner or
    later than short ones. No batch is short: n examples make ceil(n / batch_size) batches whose
    sizes differ by at most one, so a median over a batch is never one of a single example.
    """
    rng = np.random.default_rng(seed)
    n = len(lengths)
    n_batches = math.ceil(n / batch_size)
    batch_ends = np.cumsum([len(b) for b in np.array_split(np.arange(n), n_batches)])
    n_buckets = math.ceil(n_batches / BUCKET)
    bucket_ends = [ends[-1] for ends in np.array_split(batch_ends, n_buckets)]
    for _ in range(epochs):
        buckets = np.split(rng.permutation(n), bucket_ends[:-1])
        in_order = [rows[np.argsort(lengths[rows], kind="stable")] for rows in buckets]
        batches = np.split(np.concatenate(in_order), batch_ends[:-1])
        for i in rng.permutation(n_batches):
            yield batches[i]


def autocast():
    """Returns a context of mixed precision where `device.precision` asks for it.

    Arithmetic is then in bf16 or fp16, over float32 weights. The cache of weights in that type
    works on one device only: it would keep what FSDP gathers for a moment.
    """
    if precision() == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device().type, compute_type(), cache_enabled=distributed.n_workers() == 1)


def forward(net: nn.Module, inputs: Inputs, rows: np.ndarray) -> torch.Tensor:
    """Runs a module on the examples at `rows`.

    Returns:
        Its output, such as logits (len(rows), K), on the module's device.
    """
    with autocast():
        target = device_of(net)
        batch = inputs.batch(rows)
        return net(**{name: copy_to(target, tensor) for name, tensor in batch.items()})


def passes_of(inputs: Inputs, rows: np.ndarray) -> list[np.ndarray]:
    """Cuts a batch of training, or a micro-batch, into passes of similar lengths.

    One device alone does, a CPU: several devices must run the same passes, and a GPU would be
    idle.

    Returns:
        the positions in `rows` of each pass; of one pass, all in order.
    """
    whole = [np.arange(len(rows))]
    if device().type != "cpu" or distributed.n_workers() > 1 or isinstance(inputs, FeatureInputs):
        return whole
    passes = list(inputs.by_length(MAX_TOKENS["cpu"], rows))
    return passes if len(passes) > 1 else whole


def _forward_in_passes(net: nn.Module, inputs: Inputs, rows: np.ndarray) -> torch.Tensor:
    """Runs a module as `forward` does, in the passes of `passes_of`; keeps the graphs of all."""
    passes = passes_of(inputs, rows)
    if len(passes) == 1:
        return forward(net, inputs, rows)
    with autocast():  # weights are rounded once for all passes
        outputs = torch.cat([forward(net, inputs, rows[positions]) for positions in passes])
    return outputs[np.argsort(np.concatenate(passes))]


def backward(
    net: nn.Module,
    inputs: Inputs,
    rows: np.ndarray,
    targets: torch.Tensor,
    loss: Callable,
    micro_batch: int,
    *,
    batchwise: bool = False,
    scale: Callable[[torch.Tensor], torch.Tensor] = lambda values: values,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Adds the gradient of a batch's mean loss to the parameters.

    The gradient is the same for any micro-batch and number of devices.

    Args:
        targets: (b, ...) float32, in the order of `rows`.
        loss: (logits (b, K), targets (b, ...)) -> (b,).
        micro_batch: examples in one pass, on each device.
        batchwise: an example's loss depends on the other examples of its batch.
        scale: multiplies what goes into the backward pass, and so the gradient: with fp16, small
            numbers would become 0. The mean loss that is returned is not scaled.
    Returns:
        The mean loss (), nats, and the logits (b, K) before the step, both without gradient and
        on the module's device: reading them waits for it.
    """
    n = len(rows)
    targets = targets.to(device_of(net))
    # the usual case, without what the others need
    if distributed.n_workers() == 1 and n <= micro_batch:
        logits = _forward_in_passes(net, inputs, rows)
        value = loss(logits, targets).mean()
        scale(value).backward()
        return value.detach(), logits.detach()
    positions, counts = distributed.my_share(n)
    own_rows = rows[positions.numpy()]
    if len(own_rows) <= micro_batch:
        logits = distributed.gather(forward(net, inputs, own_rows), n)
        value = loss(logits, targets).mean()
        # FSDP averages gradients over the devices; their sum is wanted
        scale(value * distributed.n_workers()).backward()
        return value.detach(), logits.detach()
    starts = range(0, len(own_rows), micro_batch)
    passes = [slice(start, start + micro_batch) for start in starts]
    counts = copy_to(targets.device, counts)
    positions = copy_to(targets.device, positions)
    if not batchwise:
        weight = counts * distributed.n_workers() / n
        logits_of_passes = []
        values = []
        for span in passes:
            logits = _forward_in_passes(net, inputs, own_rows[span])
            value = loss(logits, targets[positions[span]])
            scale((value * weight[span]).sum()).backward()
            logits_of_passes.append(logits.detach())
            values.append(value.detach())
        mean_loss = distributed.gather(torch.cat(values), n).mean()
        return mean_loss, distributed.gather(torch.cat(logits_of_passes), n)
    # find all logits, take the loss's gradient with respect to them once, and carry it into the
    # parameters by a second run of the passes
    with torch.no_grad():
        own_logits = torch.cat([_forward_in_passes(net, inputs, own_rows[span]) for span in passes])
        logits = distributed.gather(own_logits, n)
    logits.requires_grad_()
    value = loss(logits, targets).mean()
    (gradient,) = torch.autograd.grad(value, logits)
    gradient = scale(gradient[positions] * counts[:, None] * distributed.n_workers())
    for span in passes:
        _forward_in_passes(net, inputs, own_rows[span]).backward(gradient[span])
    return value.detach(), logits.detach()


def _backward_in_memory(
    net: nn.Module,
    inputs: Inputs,
    rows: np.ndarray,
    targets: torch.Tensor,
    loss: Callable,
    micro_batch: int,
    batchwise: bool,
    scale: Callable[[torch.Tensor], torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Runs `backward`, with a smaller micro-batch where memory runs out, and returns that too.

    Raises:
        OutOfMemory: one example at a time needs too much, or several devices train the model: the
            others wait in the pass that this one has left.
    """
    while True:
        is_smallest = micro_batch == 1 or distributed.n_workers() > 1
        passes = f"training with a micro-batch of {micro_batch}"
        explained = explain_out_of_memory(passes, LESS_PER_PASS)
        try:
            with explained if is_smallest else contextlib.nullcontext():
                value, logits = backward(
                    net,
                    inputs,
                    rows,
                    targets,
                    loss,
                    micro_batch,
                    batchwise=batchwise,
                    scale=scale,
                )
            return value, logits, micro_batch
        except Exception as error:
            if is_smallest or not is_out_of_memory(error):
                raise
        # outside of the except clause: the error holds the tensors of the pass
        net.zero_grad()
        micro_batch = halve(micro_batch, "micro-batch")


def _with_previous(loss: Callable) -> Callable:
    """Returns the loss as a function of logits (b, K), and targets beside previous (b, 2 K)."""

    def of_both(logits, targets_and_previous):
        targets, previous = targets_and_previous.chunk(2, dim=1)
        return loss(logits, targets, previous=previous)

    return of_both


@torch.no_grad()
def predict(net: Classifier, inputs: Inputs, chosen: np.ndarray | None = None) -> np.ndarray:
    """Predicts the class probabilities of examples.

    Args:
        chosen: (n,) rows; None takes all.
    Returns:
        (n, K) float32, in the order of `chosen`.
    Raises:
        FloatingPointError: a prediction is not finite.
    """
    net.eval()
    chosen = np.arange(len(inputs)) if chosen is None else chosen
    max_tokens = _tokens_of_prediction(net, inputs)

    def run(batch: np.ndarray) -> torch.Tensor:
        positions, _ = distributed.my_share(len(batch))
        logits = forward(net, inputs, chosen[batch[positions.numpy()]])
        return distributed.gather(logits, len(batch)).softmax(dim=1)

    batches = run_batches(inputs.by_length(max_tokens, chosen), run)
    probs = _read_at_end(batches, len(chosen), net.n_classes)
    require_finite(probs)
    return probs


def require_finite(probs: np.ndarray) -> None:
    """Refuses predictions (n, K) that are not finite.

    Raises:
        FloatingPointError: says how many are not.
    """
    if not np.isfinite(probs).all():
        n_bad = (~np.isfinite(probs).all(axis=1)).sum()
        raise FloatingPointError(f"{n_bad} of {len(probs)} predictions are not finite; lower lr")


@torch.inference_mode()
def lm_losses(net: TransformersModel, inputs: Inputs) -> np.ndarray:
    """Computes the nats and the number of tokens of each text.

    Args:
        net: a `models.LanguageModel`.
    Returns:
        (n, 2) float64.
    """
    net.eval()

    def run(rows: np.ndarray) -> torch.Tensor:
        return forward(net, inputs, rows)

    longest = int(inputs.lengths.max(initial=0))
    max_tokens = affordable_tokens(
        net.body.config, LM_TOKENS, longest=longest, logits=1, reserved=_bytes_of_copies(net)
    )
    batches = run_batches(inputs.by_length(max_tokens), run)
    return _read_at_end(batches, len(inputs), 2).astype(np.float64)


def _tokens_of_prediction(net: TransformersModel, inputs: Inputs) -> int:
    """Returns how many tokens a pass of `predict` may have, on all devices together."""
    most = MAX_TOKENS.get(device().type, SHARED_TOKENS)
    if distributed.n_workers() > 1:
        return min(most, SHARED_TOKENS) * distributed.n_workers()
    if net.body is None:  # a probe
        return min(most, SHARED_TOKENS)
    longest = int(inputs.lengths.max(initial=0))
    return affordable_tokens(
        net.body.config, MAX_TOKENS, longest=longest, reserved=_bytes_of_copies(net)
    )


def _bytes_of_copies(net: nn.Module) -> int:
    """Returns the bytes of the copies of trained weights that autocast keeps during a pass."""
    if precision() == "fp32":
        return 0
    trained = sum(p.numel() for p in net.parameters() if p.requires_grad)
    return compute_type().itemsize * trained


def _read_at_end(
    batches: Iterable[tuple[np.ndarray, torch.Tensor]], n: int, width: int
) -> np.ndarray:
    """Returns the results (n, width) float32 of batches, each with its rows.

    They are read together, since a GPU would idle while one of them is read.
    """
    results = np.empty((n, width), dtype=np.float32)
    rows_and_results = list(batches)
    if rows_and_results:
        rows = np.concatenate([rows for rows, _ in rows_and_results])
        results[rows] = torch.cat([each for _, each in rows_and_results]).cpu().numpy()
    return results


def copy_weights(net: nn.Module, *, whole: bool = False) -> dict[str, torch.Tensor]:
    """Copies the trained parameters to main memory.

    Args:
        whole: gather the whole tensors in worker 0, and none in the others; else each worker copies
            its own shards.
    """
    read = distributed.full_tensor if whole else distributed.local_shard
    copies = {}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            tensor = read(parameter.detach())  # all workers take part
            if not (whole and distributed.rank()):
                copies[name] = tensor.to("cpu", copy=True)
    return copies


@torch.no_grad()
def load_weights(net: nn.Module, weights: dict[str, torch.Tensor] | None) -> None:
    """Puts back what `copy_weights` copied with `whole=False`; None leaves the module as it is."""
    for name, parameter in net.named_parameters():
        if weights and name in weights:
            distributed.local_shard(parameter).copy_(weights[name])
