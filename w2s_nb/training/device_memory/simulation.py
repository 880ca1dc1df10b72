"""Simulates a training step on tensors without content, and counts the bytes alive in it.

The kit's own classifier runs, on PyTorch's fake tensors, which have shapes only. So nothing here
lists by hand what a block keeps for the backward pass.
"""

from __future__ import annotations

import functools
import json
import warnings
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import transformers
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ...models import classifier
from ...models.anatomy import blocks_of, run_causally
from ...models.classifier import Classifier, compact_embedding
from ...models.encoders import family_of
from ...models.loading import cut_config
from ...models.names import Checkpoint

# the parts of a pass whose peaks `simulate` counts, in order of time
PHASES = ("forward", "top", "bottom")


@dataclass(frozen=True)
class Step:
    """The training step that is simulated, on one device.

    Attributes:
        architecture: configuration of the model, a JSON text.
        method: 'full', 'lora' or 'top'.
        examples, tokens: sequences in one pass, and their length.
        passes: forward and backward passes before the optimiser's step.
        cuda: run with autocast, whose bf16 copies of weights stay until the forward pass ends.
        sharded: gradients leave as soon as they are there, and autocast keeps no copies.
        recompute: blocks are recomputed in the backward pass.
        vocabulary: rows that the embedding is cut to; None keeps all.
        lora_rank: as in `Hyperparameters`.
        outputs: of the classifier's head, for one text.
    """

    architecture: str
    method: str
    examples: int
    tokens: int
    passes: int
    cuda: bool
    sharded: bool
    recompute: bool
    vocabulary: int | None
    lora_rank: int
    outputs: int = 2


def config_of(architecture: str, layers: int | None = None):
    """Returns a configuration of transformers from a JSON text, cut to its first layers.

    Args:
        layers: to keep; None keeps all.
    """
    fields = json.loads(architecture)
    config = transformers.CONFIG_MAPPING[fields["model_type"]].from_dict(fields)
    return cut_config(config, layers)


@functools.cache
def count_parameters(architecture: str) -> int:
    """Counts the parameters of a language model, with its unembedding where that is not tied."""
    with torch.device("meta"):
        lm = _make_lm(config_of(architecture), torch.float32)
    return sum(p.numel() for p in lm.parameters())


@functools.cache
def count_body_parameters(architecture: str, method: str, lora_rank: int, layers: int) -> int:
    """Counts the parameters of the body that a method trains, cut to some layers.

    Training recomputes blocks where they are many, see `classifier.CHECKPOINTED`.
    """
    _, body = _make_body(config_of(architecture, layers), method, layers, lora_rank, cuda=False)
    return sum(p.numel() for p in body.parameters())


def extrapolate(count: Callable[[int], dict[str, int]], layers: int) -> dict[str, int]:
    """Returns what `count` returns for a number of layers, from its results for two and three.

    Every block adds the same to each of the numbers.

    Args:
        count: layers -> numbers by name.
    """
    if layers <= 3:
        return count(layers)
    two = count(2)
    three = count(3)
    return {name: two[name] + (layers - 2) * (three[name] - two[name]) for name in two}


@functools.cache
def simulate(step: Step, layers: int) -> dict[str, int]:
    """Runs a training step of the classifier on the first layers of a model, and counts bytes.

    Method 'top' trains all of these layers.

    Returns:
        trainable: the number of parameters trained.
        weights, gradients: bytes of all parameters, and of the gradients of those trained.
        gathered: bytes that a device gathers of sharded weights and gradients.
        activations: bytes that the forward pass leaves for the backward pass.
        forward, top, bottom: the most bytes, beside weights and optimiser state, in parts of the
            last pass: until the forward pass ends, until the gradient arrives at the output of the
            first block, and to the end. Each grows evenly with depth; their maximum does not.
    """
    config = config_of(step.architecture, layers)
    lm, body = _make_body(config, step.method, layers, step.lora_rank, step.cuda)
    if step.recompute:
        classifier.recompute_blocks(lm.base_model)  # type: ignore[arg-type]
    with torch.device("meta"):
        head = nn.Linear(config.hidden_size, step.outputs, bias=False)
        net = Classifier(body, head, step.outputs).train()
        if step.vocabulary:
            compact_embedding(net, torch.arange(step.vocabulary))
    if step.cuda:
        _AsOnCuda().wrap_leaves(net)
    first_block = blocks_of(body)[0]
    peaks = _run(net, first_block, step, config.hidden_size)
    trained = [p for p in net.parameters() if p.requires_grad]
    weights = _nbytes(net.parameters())
    block = _nbytes(first_block.parameters())
    block_gradients = _nbytes(p for p in first_block.parameters() if p.requires_grad)
    return peaks | {
        "trainable": sum(p.numel() for p in trained),
        "gradients": _nbytes(trained),
        "weights": weights,
        # what is in no block, two blocks, and the gradients of one
        "gathered": weights - (layers - 2) * block + block_gradients,
    }


@functools.cache
def simulate_frozen(
    architecture: str, layers: int, examples: int, tokens: int, cuda: bool
) -> dict[str, int]:
    """Runs the body of a frozen language model on the first layers, and counts bytes.

    Returns:
        weights: of the whole language model, in bf16 on CUDA.
        peak: the most bytes beside them; it does not grow with depth.
    """
    config = config_of(architecture, layers)
    dtype = torch.bfloat16 if cuda else torch.float32
    with torch.device("meta"):
        lm = _make_lm(config, dtype).eval()
    weights = _nbytes(lm.parameters())
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        lm.to_empty(device="cpu")
        live = _LiveBytes(t.untyped_storage() for t in (*lm.parameters(), *lm.buffers()))
        with live, torch.autocast("cpu", torch.bfloat16, enabled=cuda):
            ids = torch.zeros(examples, tokens, dtype=torch.long)
            ends = torch.full((examples, 1), tokens - 1)
            run_causally(lm.base_model, ends, input_ids=ids)
    return {"weights": weights, "peak": live.take_peak()}


@functools.cache
def simulate_encoder(checkpoint: Checkpoint, images: int, side: int) -> dict[str, int]:
    """Runs an encoder on so many images of `side` pixels, and counts bytes.

    Returns:
        weights: of the encoder, in float32.
        peak: the most bytes beside them.
        features: stored of an image, at all depths.
    """
    encoder = family_of(checkpoint).hollow(checkpoint)
    weights = _nbytes(encoder.parameters())
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        encoder.to_empty(device="cpu")
        live = _LiveBytes(t.untyped_storage() for t in encoder.state_dict().values())
        with live:
            features = encoder(torch.zeros(images, side, side, 3, dtype=torch.uint8))
    stored = 2 * sum(each.shape[1] for each in features)  # in float16
    return {"weights": weights, "peak": live.take_peak(), "features": stored}


def _make_lm(config, dtype: torch.dtype):
    """Makes the language model of a configuration, in the place of `loading.load_lm`."""
    return transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)


def _make_body(
    config, method: str, layers: int, lora_rank: int, cuda: bool
) -> tuple[nn.Module, nn.Module]:
    """Makes a language model without content, and its body as a method trains it.

    Args:
        layers: blocks that method 'top' trains: all of the configuration's.
    """
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of peft, which `fit` shows
        return classifier.trainable(
            config,
            method,
            top_layers=layers,
            lora_rank=lora_rank,
            load=_make_lm,
            frozen_type=torch.bfloat16 if cuda else torch.float32,
        )


def _run(net: Classifier, first_block: nn.Module, step: Step, width: int) -> dict[str, int]:
    """Runs the passes of a step; returns `activations` and the peaks of `simulate`."""
    counts: dict[str, int] = {}
    with FakeTensorMode(allow_non_fake_inputs=True):
        net.to_empty(device="cpu")
        if step.sharded:
            _drop_gradients_at_once(net)
        live = _LiveBytes(t.untyped_storage() for t in (*net.parameters(), *net.buffers()))

        def watch_gradient(module, args, out):
            hidden = out[0] if isinstance(out, tuple) else out
            hidden.register_hook(lambda gradient: counts.update(top=live.take_peak()))

        first_block.register_forward_hook(watch_gradient)
        with live:
            for _ in range(step.passes):
                before = live.bytes
                with _autocast(step):
                    value = net(**_batch(step, width)).sum()
                    counts["forward"] = live.take_peak()
                counts["activations"] = live.bytes - before
                value.backward()
                counts["bottom"] = live.take_peak()
    return counts


def _autocast(step: Step):
    return torch.autocast("cpu", torch.bfloat16, enabled=step.cuda, cache_enabled=not step.sharded)


def _drop_gradients_at_once(net: nn.Module) -> None:
    for parameter in net.parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(lambda p: setattr(p, "grad", None))


def _batch(step: Step, width: int) -> dict[str, torch.Tensor]:
    """Returns the inputs of a pass: token ids; for 'top', states (examples, tokens, width)."""
    shape = (step.examples, step.tokens)
    ends = torch.full((step.examples, 1), step.tokens - 1)
    if step.method == "top":
        return {"inputs_embeds": torch.zeros(*shape, width), "ends": ends}
    return {"input_ids": torch.zeros(shape, dtype=torch.long), "ends": ends}


def _nbytes(parameters: Iterable[torch.Tensor]) -> int:
    return sum(p.nbytes for p in parameters)


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that are made under this mode and still there.

    Args:
        uncounted: storages that are left out.

    Attributes:
        bytes: alive now.
    """

    def __init__(self, uncounted: Iterable[torch.UntypedStorage]):
        super().__init__()
        self.bytes = 0
        self._peak = 0
        self._seen = weakref.WeakSet(uncounted)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        """Adds a new storage's bytes, and takes them off when it is freed."""
        if storage not in self._seen:
            self._seen.add(storage)
            self._add(storage.nbytes())
            weakref.finalize(storage, self._add, -storage.nbytes())

    def _add(self, n: int) -> None:
        self.bytes += n
        self._peak = max(self._peak, self.bytes)

    def take_peak(self) -> int:
        """Returns the most bytes alive at one time since the last call."""
        peak = self._peak
        self._peak = self.bytes
        return peak


class _AsOnCuda(TorchFunctionMode):
    """Runs in float32 what autocast runs so on CUDA but not on a CPU, among these models' calls."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.pow, nn.functional.layer_norm):
            args = [a.float() if isinstance(a, torch.Tensor) else a for a in args]
        return func(*args, **(kwargs or {}))

    def wrap_leaves(self, net: nn.Module) -> None:
        """Puts the mode around the forward pass of every module without children.

        Around the whole step it would not be in force in the backward pass.
        """
        for module in net.modules():
            if not any(module.children()):
                module.forward = self._within(module.forward)

    def _within(self, forward: Callable) -> Callable:
        def run(*args, **kwargs):
            with self:
                return forward(*args, **kwargs)

        return run
