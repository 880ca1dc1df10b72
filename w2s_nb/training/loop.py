"""The training loop of all arms, and prediction: explicit, one contract for every method and loss."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ..common import distributed
from ..common.device import device, precision
from ..common.progress import progress
from ..inputs.batches import Inputs

MAX_TOKENS = {
    "cpu": 1024,
    "cuda": 4096,
}  # of a prediction batch, padding included; a CPU gains nothing from more
TRAIN_TOKENS = {
    "cpu": 8192
}  # of a training pass: beyond main memory nothing says so, on a GPU an error does
LM_TOKENS = 4096  # of a pass of a language model: each has a logit for every word of the vocabulary
BUCKET = 16  # batches whose examples are sorted by length together


def autocast():
    """Mixed precision where `config.precision` says so: bf16 arithmetic over float32 weights.

    Its cache of weights in bf16 is for one device: it would keep what FSDP puts together for a moment.
    """
    if precision() != "bf16":
        return contextlib.nullcontext()
    return torch.autocast(device().type, torch.bfloat16, cache_enabled=distributed.size() == 1)


def scores(net: nn.Module, inputs: Inputs, rows: np.ndarray) -> torch.Tensor:
    """What a module makes of the examples at `rows`, such as logits (len(rows), 2), on the training device."""
    with autocast():
        return net(**{name: tensor.to(device()) for name, tensor in inputs.batch(rows).items()})


def schedule(lengths: np.ndarray, batch_size: int, epochs: int, seed: int) -> Iterator[np.ndarray]:
    """Batches of row numbers: every epoch a new order, near-equal batch sizes, similar lengths together.

    Examples are shuffled, sorted by length within runs of `BUCKET` batches, cut into batches, and the batches
    shuffled. No batch is short: n examples make ceil(n / batch_size) batches whose sizes differ by one at most, so a
    median over a batch always has company.
    """
    rng, n = np.random.default_rng(seed), len(lengths)
    for _ in range(epochs):
        order = rng.permutation(n)
        for start in range(0, n, BUCKET * batch_size):
            bucket = order[start : start + BUCKET * batch_size]
            order[start : start + BUCKET * batch_size] = bucket[
                np.argsort(lengths[bucket], kind="stable")
            ]
        batches = np.array_split(order, math.ceil(n / batch_size))
        for i in rng.permutation(len(batches)):
            yield batches[i]


def backward(
    net: nn.Module,
    inputs: Inputs,
    rows: np.ndarray,
    targets: torch.Tensor,
    loss: Callable,
    micro_batch: int,
) -> tuple[float, torch.Tensor]:
    """Adds the gradient of the batch's mean loss to the parameters, the same for any micro-batch and number of devices.

    Where the loss looks at the whole batch and a device's part of it is no single pass, a first pass without gradient
    finds all logits, the loss's gradient with respect to them is taken once, and a second pass carries it into the
    parameters, a micro-batch at a time.

    Args:
        targets: (b, ...) float32, in the order of `rows`.
        loss: (logits (b, 2), targets (b, ...)) -> (b,), with an attribute `batchwise`.
        micro_batch: examples in one pass, on each device.
    Returns:
        The mean loss, nats, and the logits (b, 2) before the step, without gradient.
    """
    n, devices, targets = (
        len(rows),
        distributed.size(),
        targets.to(device()),
    )  # FSDP averages gradients over the devices
    if devices == 1 and n <= micro_batch:  # the usual case, without what the others need
        logits = scores(net, inputs, rows)
        value = loss(logits, targets).mean()
        value.backward()
        return value.item(), logits.detach()
    positions, counts = distributed.mine(n)
    own = rows[positions.numpy()]
    parts = [slice(i, i + micro_batch) for i in range(0, len(own), micro_batch)]
    if len(parts) == 1:
        logits = distributed.whole(scores(net, inputs, own), n)
        value = loss(logits, targets).mean()
        (value * devices).backward()
        return value.item(), logits.detach()
    if not loss.batchwise:
        found, values, weight = [], [], counts.to(device()) * devices / n
        for part in parts:
            logits = scores(net, inputs, own[part])
            value = loss(logits, targets[positions[part]])
            (value * weight[part]).sum().backward()
            found, values = [*found, logits.detach()], [*values, value.detach()]
        return distributed.whole(torch.cat(values), n).mean().item(), distributed.whole(
            torch.cat(found), n
        )
    with torch.no_grad():
        logits = distributed.whole(torch.cat([scores(net, inputs, own[part]) for part in parts]), n)
    logits.requires_grad_()
    value = loss(logits, targets).mean()
    (gradient,) = torch.autograd.grad(value, logits)
    gradient = gradient[positions] * counts.to(device())[:, None] * devices
    for part in parts:
        scores(net, inputs, own[part]).backward(gradient[part])
    return value.item(), logits.detach()


def train(
    net: nn.Module,
    inputs: Inputs,
    targets: np.ndarray,
    loss: Callable,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    head_lr: float,
    weight_decay: float,
    warmup: float,
    seed: int,
    evals: int | tuple[float, ...],
    evaluate: Callable[[int, float, float], None],
    micro_batch: int | None = None,
    label: str = "training",
) -> None:
    """Trains a module's parameters that require a gradient, in place.

    AdamW, learning rate rising linearly over the first `warmup` of the steps and falling linearly to 0.

    Args:
        targets: (n, 2), rows sum to 1.
        loss: (logits, targets, progress=...) -> (b,), with attributes `batchwise` and `decay`: the decay of the average
            over epochs of its own predictions that it takes as `previous`, or None.
        lr, head_lr: of the body's parameters and of the head's.
        evals: how often `evaluate(step, progress, train_loss)` is called, evenly spaced, or after which fractions of
            training; always after the last step.
        micro_batch: examples in one pass, on each device; None takes the batch, or what `TRAIN_TOKENS` allows. Out of
            memory halves it and goes on, on one device.
    Raises:
        FloatingPointError: the loss is not finite.
        MemoryError: out of memory with one example at a time.
    """
    head = {id(p) for p in net.head.parameters()}
    weights = [p for p in net.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in weights if id(p) not in head], "lr": lr},
        {"params": [p for p in weights if id(p) in head], "lr": head_lr},
    ]
    optimizer = torch.optim.AdamW(
        [g for g in groups if g["params"]], weight_decay=weight_decay, fused=True
    )
    batches = list(schedule(inputs.lengths, batch_size, epochs, seed))
    epoch = math.ceil(len(batches) / epochs)  # steps
    rises = max(1, round(warmup * len(batches)))
    peaks = [group["lr"] for group in optimizer.param_groups]
    at = np.linspace(0, 1, evals + 1)[1:] if isinstance(evals, int) else np.array([*evals, 1.0])
    stops = set((at * len(batches)).round().astype(int).clip(1).tolist())
    most = TRAIN_TOKENS.get(device().type, math.inf) / inputs.lengths.max()
    micro, recent = micro_batch or max(1, int(min(batch_size, most))), []
    targets = torch.as_tensor(targets, dtype=torch.float32)
    memory = targets.clone() if loss.decay is not None else None
    net.train()
    for step, rows in enumerate(progress(batches, desc=label, unit="step")):
        at_step, wanted = functools.partial(loss, progress=step / len(batches)), targets[rows]
        if (
            memory is not None
        ):  # the average travels beside the targets, so that micro-batches cut both alike
            at_step, wanted = _with_previous(at_step), torch.cat([wanted, memory[rows]], dim=1)
        at_step.batchwise = loss.batchwise
        while True:
            try:
                value, logits = backward(net, inputs, rows, wanted, at_step, micro)
                break
            except RuntimeError as error:  # torch.OutOfMemoryError is one
                if distributed.size() > 1:  # the other devices wait in the pass that this one left
                    raise
                micro = _halved(micro, error)
                optimizer.zero_grad()
        if not math.isfinite(value):
            raise FloatingPointError(
                f"{label}: the loss is {value} at step {step + 1} of {len(batches)}; lower lr "
                f"(it is {lr:g}, of the head {head_lr:g}), or look at the labels"
            )
        slope = min((step + 1) / rises, (len(batches) - step) / max(1, len(batches) - rises))
        for group, peak in zip(optimizer.param_groups, peaks):
            group["lr"] = peak * slope
        optimizer.step()
        optimizer.zero_grad()
        recent.append(value)
        if memory is not None:
            now = logits.softmax(dim=1).cpu()
            memory[rows] = (
                now if step < epoch else loss.decay * memory[rows] + (1 - loss.decay) * now
            )
        if step + 1 in stops:
            evaluate(step + 1, (step + 1) / len(batches), float(np.mean(recent)))
            recent = []
            net.train()


def _with_previous(loss: Callable) -> Callable:
    """The loss of (logits (b, 2), targets and previous side by side (b, 4))."""

    def split(logits, both):
        return loss(logits, both[:, :2], previous=both[:, 2:])

    return split


def _halved(micro: int, error: Exception) -> int:
    """Half the micro-batch after running out of memory; any other error is raised again."""
    if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
        raise error
    if micro == 1:
        raise MemoryError(
            "out of memory with one example at a time; lower max_len, use method='lora' or 'probe', or "
            "a smaller model"
        ) from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    tqdm.write(f"out of memory; micro-batch {micro} -> {micro // 2}")
    return micro // 2


@torch.no_grad()
def predict(net: nn.Module, inputs: Inputs, chosen: np.ndarray | None = None) -> np.ndarray:
    """(n, 2) float32 class probabilities of the examples at `chosen`, in that order; None takes all."""
    net.eval()
    chosen = np.arange(len(inputs)) if chosen is None else chosen
    probs = np.empty((len(chosen), 2), dtype=np.float32)
    for rows in inputs.by_length(MAX_TOKENS.get(device().type, 4096) * distributed.size(), chosen):
        part = scores(net, inputs, chosen[rows[distributed.mine(len(rows))[0].numpy()]])
        probs[rows] = distributed.whole(part, len(rows)).softmax(dim=1).cpu().numpy()
    if not np.isfinite(probs).all():
        bad = (~np.isfinite(probs).all(axis=1)).sum()
        raise FloatingPointError(f"{bad} of {len(probs)} predictions are not finite; lower lr")
    return probs


@torch.inference_mode()
def lm_losses(net: nn.Module, inputs: Inputs) -> np.ndarray:
    """(n, 2) float64: nats and tokens of each text, from a `models.LanguageModel`."""
    net.eval()
    found = np.empty((len(inputs), 2))
    for rows in inputs.by_length(LM_TOKENS):
        found[rows] = scores(net, inputs, rows).cpu().numpy()
    return found


def trained(net: nn.Module, *, whole: bool = False) -> dict[str, torch.Tensor]:
    """Copies, in main memory, of the parameters that are trained: this worker's shards; or whole, in worker 0."""
    kept = {}
    for name, p in net.named_parameters():
        if p.requires_grad:
            tensor = (distributed.full if whole else distributed.local)(
                p.detach()
            )  # all workers take part
            if not (whole and distributed.rank()):
                kept[name] = tensor.to("cpu", copy=True)
    return kept


@torch.no_grad()
def load_weights(net: nn.Module, weights: dict[str, torch.Tensor] | None) -> None:
    """Puts back what `trained` copied, not whole; None leaves the module as it is."""
    for name, p in net.named_parameters():
        if weights and name in weights:
            distributed.local(p).copy_(weights[name])
