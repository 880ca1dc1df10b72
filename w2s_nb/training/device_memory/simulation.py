"""A training step on tensors that have shapes but no content, and the bytes that are alive at each moment of it.

So nothing here is a list of what a block keeps: the kit's own classifier runs, on PyTorch's fake tensors, and says it.
"""

from __future__ import annotations

import functools
import json
import warnings
import weakref
from collections.abc import Callable

import torch
import transformers
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ...models import classifier
from ...models.anatomy import blocks_of
from ...models.classifier import Classifier, compact_embedding

MOMENTS = ("forward", "top", "bottom")


def config_of(architecture: str, layers: int | None = None):
    """transformers' configuration in a JSON text, cut to its first layers; None leaves all."""
    fields = json.loads(architecture)
    config = transformers.CONFIG_MAPPING[fields["model_type"]].from_dict(fields)
    config.num_hidden_layers = layers or config.num_hidden_layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[: config.num_hidden_layers]
    return config


def _unloaded(config, dtype: torch.dtype):
    """The language model of a configuration, in the place of `models.load_lm`."""
    return transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)


@functools.cache
def counted(architecture: str) -> int:
    """Parameters of the language model, its unembedding included where that is not tied."""
    with torch.device("meta"):
        lm = _unloaded(config_of(architecture), torch.float32)
    return sum(p.numel() for p in lm.parameters())


def _body(
    config, method: str, layers: int, lora_rank: int, cuda: bool
) -> tuple[nn.Module, nn.Module]:
    """A language model of some layers and its body as a method trains it, without content; of 'top', all layers."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft's, which `fit` gives too
        return classifier.trainable(
            config,
            method,
            top_layers=layers,
            lora_rank=lora_rank,
            load=_unloaded,
            device=torch.device("cuda" if cuda else "cpu"),
        )


@functools.cache
def body_size(architecture: str, method: str, *, layers: int, lora_rank: int) -> dict[str, int]:
    """`parameters` of the body that a method trains, on which it depends whether blocks are recomputed."""
    lm, body = _body(config_of(architecture, layers), method, layers, lora_rank, cuda=False)
    return {"parameters": sum(p.numel() for p in body.parameters())}


class _Live(TorchDispatchMode):
    """Bytes of the tensors made under it that are still there.

    Args:
        known: storages that are not counted.
    """

    def __init__(self, known):
        super().__init__()
        self.bytes = self.peak = 0
        self.seen = weakref.WeakSet(known)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if (
                isinstance(tensor, torch.Tensor)
                and (storage := tensor.untyped_storage()) not in self.seen
            ):
                self.seen.add(storage)
                self._add(storage.nbytes())
                weakref.finalize(storage, self._add, -storage.nbytes())
        return made

    def _add(self, n: int) -> None:
        self.bytes += n
        self.peak = max(self.peak, self.bytes)

    def most(self) -> int:
        """The most since the last call."""
        peak, self.peak = self.peak, self.bytes
        return peak


class _AsOnCuda(TorchFunctionMode):
    """Runs in float32 what autocast does on CUDA but not on a CPU, of what these models' modules do."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.pow, nn.functional.layer_norm):
            args = [a.float() if isinstance(a, torch.Tensor) else a for a in args]
        return func(*args, **(kwargs or {}))

    def put(self, net: nn.Module) -> None:
        """Puts the mode around every module without children; around a backward pass it would not be in force."""
        for module in net.modules():
            if not any(module.children()):
                module.forward = self._within(module.forward)

    def _within(self, forward: Callable) -> Callable:
        def run(*args, **kwargs):
            with self:
                return forward(*args, **kwargs)

        return run


def deep(layers: int, shallow: Callable[..., dict[str, int]]) -> dict[str, int]:
    """What `shallow` finds at a depth, from two shallow models: every block adds the same to each of its numbers."""
    if layers <= 3:
        return shallow(layers=layers)
    two, three = shallow(layers=2), shallow(layers=3)
    return {name: two[name] + (layers - 2) * (three[name] - two[name]) for name in two}


@functools.cache
def simulated(
    architecture: str,
    method: str,
    *,
    layers: int,
    examples: int,
    tokens: int,
    passes: int,
    cuda: bool,
    sharded: bool,
    recompute: bool,
    vocabulary: int | None,
    lora_rank: int,
) -> dict[str, int]:
    """A training step of the classifier on the first layers of a model; of method 'top', on as many.

    Args:
        passes: of `examples` sequences each, before the optimiser's step.
        cuda: with autocast, its bf16 copies of weights cached until the forward pass ends.
        sharded: gradients leave as they come, and autocast caches nothing.
        recompute: blocks are recomputed.
        vocabulary: rows that the embedding is cut to, or None.
    Returns:
        The number of `trainable` parameters, and bytes: `weights`, `gradients`; `activations` that the forward pass
        leaves; `gathered`, what a device has whole of sharded weights and gradients; and of the last pass, beside
        weights and optimiser state, the most until the forward pass ends (`forward`), until the gradient arrives at the
        output of the first block (`top`), and to the end (`bottom`). Each grows evenly with depth, their maximum not.
    """
    config = config_of(architecture, layers)
    lm, body = _body(config, method, layers, lora_rank, cuda)
    if recompute:
        classifier.recompute_blocks(lm.base_model)
    with torch.device("meta"):
        net = Classifier(body, nn.Linear(config.hidden_size, 2, bias=False)).train()
        if vocabulary:
            compact_embedding(net, torch.arange(vocabulary))
    if cuda:
        _AsOnCuda().put(net)
    blocks, found = blocks_of(body), {}

    def mark(module, args, out):
        hidden = out[0] if isinstance(out, tuple) else out
        hidden.register_hook(lambda gradient: found.update(top=live.most()))

    blocks[0].register_forward_hook(mark)
    with FakeTensorMode(allow_non_fake_inputs=True):
        net.to_empty(device="cpu")
        trained = [p for p in net.parameters() if p.requires_grad]
        if sharded:
            for parameter in trained:
                parameter.register_post_accumulate_grad_hook(lambda p: setattr(p, "grad", None))
        live = _Live(t.untyped_storage() for t in (*net.parameters(), *net.buffers()))
        with live:
            for _ in range(passes):
                before = live.bytes
                with torch.autocast("cpu", torch.bfloat16, enabled=cuda, cache_enabled=not sharded):
                    value = net(
                        **_batch(examples, tokens, config.hidden_size if method == "top" else None)
                    ).sum()
                    found["forward"] = live.most()
                found["activations"] = live.bytes - before
                value.backward()
                found["bottom"] = live.most()
    weights, block = _nbytes(net.parameters()), _nbytes(blocks[0].parameters())
    return found | {
        "trainable": sum(p.numel() for p in trained),
        "gradients": _nbytes(trained),
        "weights": weights,
        "gathered": weights
        - (layers - 2) * block
        + _nbytes(p for p in blocks[0].parameters() if p.requires_grad),
    }


def _batch(examples: int, tokens: int, width: int | None) -> dict[str, torch.Tensor]:
    shape, ids = (examples, tokens), {"dtype": torch.long}
    given = (
        {"input_ids": torch.zeros(shape, **ids)}
        if width is None
        else {"inputs_embeds": torch.zeros(*shape, width)}
    )
    return given | {"attention_mask": torch.ones(shape, **ids)}


def _nbytes(parameters) -> int:
    return sum(p.nbytes for p in parameters)
