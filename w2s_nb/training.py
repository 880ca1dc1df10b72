"""The training loop of all arms, and prediction: explicit, one contract for every method and loss."""
from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from .config import device, precision, progress
from .inputs import Inputs

MAX_TOKENS = 4096  # of a prediction batch, padding included
BUCKET = 16  # batches whose examples are sorted by length together


def autocast():
    """Mixed precision where `config.precision` says so: bf16 arithmetic over float32 weights."""
    return torch.autocast(device().type, torch.bfloat16, enabled=precision() == "bf16")


def _scores(net: nn.Module, inputs: Inputs, rows: np.ndarray) -> torch.Tensor:
    """(len(rows), 2) logits on the training device."""
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
            bucket = order[start:start + BUCKET * batch_size]
            order[start:start + BUCKET * batch_size] = bucket[np.argsort(lengths[bucket], kind="stable")]
        batches = np.array_split(order, math.ceil(n / batch_size))
        for i in rng.permutation(len(batches)):
            yield batches[i]


def backward(net: nn.Module, inputs: Inputs, rows: np.ndarray, targets: torch.Tensor, loss: Callable,
             micro_batch: int) -> float:
    """Adds the gradient of the batch's mean loss to the parameters, the same for every micro-batch.

    Where the loss looks at the whole batch, a first pass without gradient finds all logits, the loss's gradient with
    respect to them is taken once, and a second pass carries it into the parameters, a micro-batch at a time.

    Args:
        targets: (b, 2) float32, in the order of `rows`.
        loss: (logits (b, 2), targets (b, 2)) -> (b,), with an attribute `batchwise`.
    Returns:
        The mean loss, nats.
    """
    targets = targets.to(device())
    if len(rows) <= micro_batch:
        value = loss(_scores(net, inputs, rows), targets).mean()
        value.backward()
        return value.item()
    parts = [slice(i, i + micro_batch) for i in range(0, len(rows), micro_batch)]
    if not loss.batchwise:
        total = 0.0
        for part in parts:
            value = loss(_scores(net, inputs, rows[part]), targets[part]).sum() / len(rows)
            value.backward()
            total += value.item()
        return total
    with torch.no_grad():
        logits = torch.cat([_scores(net, inputs, rows[part]) for part in parts])
    logits.requires_grad_()
    value = loss(logits, targets).mean()
    gradient, = torch.autograd.grad(value, logits)
    for part in parts:
        _scores(net, inputs, rows[part]).backward(gradient[part])
    return value.item()


def train(net: nn.Module, inputs: Inputs, targets: np.ndarray, loss: Callable, *, epochs: int, batch_size: int,
          lr: float, head_lr: float, weight_decay: float, warmup: float, seed: int, evals: int,
          evaluate: Callable[[int, float], None], micro_batch: int | None = None, label: str = "training") -> None:
    """Trains a module's parameters that require a gradient, in place.

    AdamW, learning rate rising linearly over the first `warmup` of the steps and falling linearly to 0.

    Args:
        targets: (n, 2), rows sum to 1.
        loss: (logits, targets, progress=...) -> (b,), with an attribute `batchwise`.
        lr, head_lr: of the body's parameters and of the head's.
        evals: how often `evaluate(step, train_loss)` is called, evenly spaced, the last after the last step.
        micro_batch: examples in one pass; None takes the batch. Out of memory halves it and goes on.
    Raises:
        FloatingPointError: the loss is not finite.
        MemoryError: out of memory with one example at a time.
    """
    head = {id(p) for p in net.head.parameters()}
    weights = [p for p in net.parameters() if p.requires_grad]
    groups = [{"params": [p for p in weights if id(p) not in head], "lr": lr},
              {"params": [p for p in weights if id(p) in head], "lr": head_lr}]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], weight_decay=weight_decay, fused=True)
    batches = list(schedule(inputs.lengths, batch_size, epochs, seed))
    rises = max(1, round(warmup * len(batches)))
    slope = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(
        (step + 1) / rises, (len(batches) - step) / max(1, len(batches) - rises)))
    stops = set(np.linspace(0, len(batches), evals + 1).round().astype(int).tolist()[1:])
    targets, micro, recent = torch.as_tensor(targets, dtype=torch.float32), micro_batch or batch_size, []
    for step, rows in enumerate(progress(batches, desc=label, unit="step")):
        at = functools.partial(loss, progress=step / len(batches))
        at.batchwise = loss.batchwise
        net.train()
        while True:
            try:
                value = backward(net, inputs, rows, targets[rows], at, micro)
                break
            except RuntimeError as error:  # torch.OutOfMemoryError is one
                micro = _halved(micro, error)
                optimizer.zero_grad()
        if not math.isfinite(value):
            raise FloatingPointError(f"{label}: the loss is {value} at step {step + 1} of {len(batches)}; lower lr "
                                     f"(it is {lr:g}, of the head {head_lr:g}), or look at the labels")
        optimizer.step()
        slope.step()
        optimizer.zero_grad()
        recent.append(value)
        if step + 1 in stops:
            evaluate(step + 1, float(np.mean(recent)))
            recent = []


def _halved(micro: int, error: Exception) -> int:
    """Half the micro-batch after running out of memory; any other error is raised again."""
    if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
        raise error
    if micro == 1:
        raise MemoryError("out of memory with one example at a time; lower max_len, use method='lora' or 'probe', or "
                          "a smaller model") from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    tqdm.write(f"out of memory; micro-batch {micro} -> {micro // 2}")
    return micro // 2


@torch.inference_mode()
def predict(net: nn.Module, inputs: Inputs) -> np.ndarray:
    """(n, 2) float32 class probabilities, in the inputs' order."""
    net.eval()
    probs = np.empty((len(inputs), 2), dtype=np.float32)
    for rows in inputs.by_length(MAX_TOKENS):
        probs[rows] = _scores(net, inputs, rows).softmax(dim=1).cpu().numpy()
    if not np.isfinite(probs).all():
        bad = (~np.isfinite(probs).all(axis=1)).sum()
        raise FloatingPointError(f"{bad} of {len(probs)} predictions are not finite; lower lr")
    return probs
