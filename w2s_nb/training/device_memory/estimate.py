"""The memory that finetuning takes, on how many devices it fits, and the table of both."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass, replace

import pandas as pd
import transformers

from ...common.registry import MODELS
from ...models import classifier, loading
from ...models.loading import ensure
from ...models.names import Checkpoint, resolve
from ..hyperparameters import PROBES, Hyperparameters, choose_hyperparameters
from ..loop import TRAIN_TOKENS
from . import simulation


def _gpt2(layers: int, width: int, heads: int) -> dict:
    return {"model_type": "gpt2", "n_layer": layers, "n_embd": width, "n_head": heads}


def _qwen(layers: int, width: int, heads: int, ff: int, vocabulary: int) -> dict:
    return {
        "model_type": "qwen2",
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "intermediate_size": ff,
        "vocab_size": vocabulary,
    }


ARCHITECTURES = {  # the paper's models, planned for without the hub
    "gpt2": _gpt2(12, 768, 12),
    "gpt2-medium": _gpt2(24, 1024, 16),
    "gpt2-large": _gpt2(36, 1280, 20),
    "gpt2-xl": _gpt2(48, 1600, 25),
    "Qwen-1_8B": _qwen(24, 2048, 16, 5504, 151936),
    "Qwen-7B": _qwen(32, 4096, 32, 11008, 151936),
    "Qwen-14B": _qwen(40, 5120, 40, 13696, 152064),
    "Qwen-72B": _qwen(80, 8192, 64, 24576, 152064),
}
TOKENS = 1024  # of a sequence unless told otherwise: GPT-2's context, the shortest of these
USABLE = (
    0.9  # of a device; the rest is for its context, kernels' workspaces and holes between tensors
)


@dataclass(frozen=True)
class MemoryEstimate:
    """Memory that finetuning a model as a classifier takes: bytes, of one device unless said otherwise.

    Attributes:
        model, method, device, devices: as given to `plan`.
        n_params: parameters of the language model, its unembedding included where that is not tied.
        trainable: parameters that the method trains, the head's included.
        weights: of body and head; the language model's unembedding is gone when training starts.
        gradients: of all trainable parameters, float32.
        optimiser: AdamW's two moments, float32.
        activations: what a forward pass keeps for the backward pass. Where blocks are not recomputed, autocast's bf16
            copies of the weights are part of it.
        step: the most that is there at one time beside weights and optimiser state: activations, gradients and what the
            block at work needs. Where a batch is one pass, activations go as gradients come, so it is less than their
            sum; in the last of several passes all gradients are there from the start.
        host: the checkpoint in main memory, in the type it is used in; one process holds it while it loads. What is
            stored in that type is mapped from the file, and the system can take it back.
    """

    model: str
    method: str
    device: str
    devices: int
    n_params: int
    trainable: int
    weights: int
    gradients: int
    optimiser: int
    activations: int
    step: int
    host: int

    @property
    def total(self) -> int:
        """The most that a device holds; a CPU's memory is what the checkpoint is loaded into, too."""
        return max(
            self.weights + self.optimiser + self.step, self.host if self.device == "cpu" else 0
        )


def estimate(
    model: str,
    method: str = "full",
    *,
    batch: int = 32,
    tokens: int | None = None,
    micro_batch: int | None = None,
    vocabulary: int | None = None,
    devices: int = 1,
    device: str = "cuda",
    top_layers: int = Hyperparameters.top_layers,
    lora_rank: int = Hyperparameters.lora_rank,
) -> MemoryEstimate:
    """The memory that `fit` takes for a model and method. No weights are loaded; a hub model's configuration is.

    Counted are tensors: float32 weights, gradients and moments; on CUDA bf16 autocast, with the copy of every weight
    that it caches until the forward pass ends, and LoRA's frozen weights in bf16; above
    `models.classifier.CHECKPOINTED` parameters activations recomputed block by block; a batch with padding, whose mask
    (b, 1, t, t) attention keeps in every block.

    Several devices are planned as `parallel.shard` uses them: weights, gradients and moments are sharded and the batch
    is divided. A device puts together what is in no block, the block at work and the next one, and holds a block's
    gradients until they are reduced. Autocast's cache is off, since it would hold a copy of the whole model there.

    Not counted: the allocator's holes, see `USABLE`; the trained weights that `fit` keeps in main memory where it looks
    before the end, up to three times; the trunk's activations of all texts that method 'top' is fed with. On a CPU
    glibc's holes are large, a tenth of all with 'full' to two thirds with 'lora' in `make bench`, which has plans
    within 6 % of what is measured with MALLOC_MMAP_THRESHOLD_=131072 in the environment, which leaves none.

    Args:
        model: a name that `models.resolve` takes.
        method: 'full', 'lora' or 'top'.
        batch: examples an optimiser step, on all devices together.
        tokens: of each sequence, a pair's two texts together; None takes 1024, or the model's context if shorter.
        micro_batch: examples in one pass of a device; None takes what training takes: all of them on CUDA, on a CPU
            what `training.TRAIN_TOKENS` allows.
        vocabulary: token ids that the data use, to which method 'full' cuts the embedding; None takes all.
        devices: over which it is sharded, with 'full' and 'lora'.
        device: 'cuda' or 'cpu'.
        top_layers, lora_rank: as in `Hyperparameters`.
    Raises:
        UnknownName, ValueError: a name or value that does not exist.
        ModelUnavailable: the configuration cannot be had here.
    """
    checkpoint = resolve(model)
    if method in PROBES:
        raise ValueError(f"method {method!r} finetunes nothing; expected full, lora or top")
    choose_hyperparameters(method, {"top_layers": top_layers, "lora_rank": lora_rank})
    counts = {"batch": batch, "devices": devices}
    given = {"tokens": tokens, "micro_batch": micro_batch, "vocabulary": vocabulary}
    for name, value in (
        counts | {name: value for name, value in given.items() if value is not None}
    ).items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} = {value!r}; expected a whole number from 1")
    if device not in ("cuda", "cpu"):
        raise ValueError(f"device {device!r}; expected cuda or cpu")
    if devices > 1 and method == "top":
        raise ValueError(
            f"devices = {devices} with method 'top'; full and lora are trained on several"
        )
    architecture = _architecture(checkpoint)
    config = simulation.config_of(architecture)
    context, layers = (
        getattr(config, "max_position_embeddings", None) or math.inf,
        config.num_hidden_layers,
    )
    tokens, share = tokens or min(TOKENS, context), math.ceil(batch / devices)
    if tokens > context:
        raise ValueError(f"a sequence of {tokens} tokens; {model} takes {context}")
    if vocabulary and (method != "full" or vocabulary > config.vocab_size):
        raise ValueError(
            f"vocabulary = {vocabulary} with method {method!r}; only full cuts the embedding to tokens "
            f"that data use, of the {config.vocab_size} of {model}"
        )
    examples = min(
        share, micro_batch or max(1, int(min(share, TRAIN_TOKENS.get(device, math.inf) / tokens)))
    )
    depth = min(top_layers, layers) if method == "top" else layers
    body = simulation.deep(
        depth, functools.partial(simulation.body_size, architecture, method, lora_rank=lora_rank)
    )
    found = simulation.deep(
        depth,
        functools.partial(
            simulation.simulated,
            architecture,
            method,
            examples=examples,
            tokens=tokens,
            cuda=device == "cuda",
            passes=2 if examples < share and devices == 1 else 1,
            sharded=devices > 1,
            vocabulary=vocabulary,
            recompute=body["parameters"] > classifier.CHECKPOINTED,
            lora_rank=lora_rank,
        ),
    )
    weights, gradients = found["weights"] // devices, found["gradients"] // devices
    step, n_params = (
        max(found[moment] for moment in simulation.MOMENTS),
        simulation.counted(architecture),
    )
    return MemoryEstimate(
        model,
        method,
        device,
        devices,
        n_params,
        found["trainable"],
        weights,
        gradients,
        2 * gradients,
        found["activations"],
        step + (found["gathered"] + gradients if devices > 1 else 0),
        n_params * (2 if method == "lora" and device == "cuda" else 4),
    )


def devices_needed(
    model: str, method: str = "full", *, gb: float = 80, micro_batch: int | None = 1, **options
) -> int | None:
    """The least power of two of devices, up to 1024, that hold what `plan` says; None if those do not.

    Args:
        gb: memory of a device, 10^9 bytes, of which `USABLE` is planned with.
        micro_batch: as in `plan`; one example at a time is the least that will do.
        options: of `plan`, but for `devices`.
    Raises:
        ValueError: `gb` is no number above 0; and as `plan`.
    """
    if isinstance(gb, bool) or not isinstance(gb, (int, float)) or not gb > 0:
        raise ValueError(f"gb = {gb!r}; expected a number above 0, of 10^9 bytes")
    for devices in (2**i for i in range(11)):
        if (
            estimate(model, method, micro_batch=micro_batch, devices=devices, **options).total
            <= USABLE * gb * 1e9
        ):
            return devices
    return None


def table(
    models: tuple[str, ...] = tuple(ARCHITECTURES),
    methods: tuple[str, ...] = ("full", "lora"),
    *,
    gb: float = 80,
    micro_batch: int | None = 1,
    **options,
) -> pd.DataFrame:
    """What finetuning takes on one device, and how many devices of `gb` it needs.

    Unless told otherwise that is the least that will do: batches of 32 sequences of 1024 tokens, run one at a time, on
    CUDA, with the whole embedding.

    Args:
        gb: as in `devices_needed`; micro_batch, options: as in `plan`.
    Returns:
        a row a model and method: parameters (10^9); GB (10^9 bytes) of weights, gradients, optimiser, activations and
        in total, on one device; devices. The total is no sum, see `MemoryPlan.step`.
    """
    rows, parts = [], ("weights", "gradients", "optimiser", "activations", "total")
    for model in models:
        for method in methods:
            one = estimate(model, method, micro_batch=micro_batch, **options)
            rows.append(
                {
                    "model": model,
                    "method": method,
                    "parameters (10^9)": one.n_params / 1e9,
                    **{f"GB {part}": getattr(one, part) / 1e9 for part in parts},
                    "devices": devices_needed(
                        model, method, gb=gb, micro_batch=micro_batch, **options
                    ),
                }
            )
    return pd.DataFrame(rows).astype({"devices": "Int64"})


def _architecture(checkpoint: Checkpoint) -> str:
    """A checkpoint's configuration at its depth, as JSON, without dropout as `load_lm` makes it."""
    root = checkpoint.root
    known = {MODELS[name].hub_id: fields for name, fields in ARCHITECTURES.items()}
    if root.hub_id in known:
        config = transformers.AutoConfig.for_model(**known[root.hub_id])
    elif root.hub_id:
        from ...models import qwen  # takes over a second, and is only needed here

        qwen.register()
        ensure(root)  # fetches the configuration; `config_of` would fetch the weights with it
        config = transformers.AutoConfig.from_pretrained(
            root.hub_id, revision=root.revision, trust_remote_code=False
        )
    else:
        config = loading.config_of(replace(root, layers=None))
    if (checkpoint.layers or 1) > config.num_hidden_layers:
        raise ValueError(
            f"{checkpoint.name!r} asks for {checkpoint.layers} layers; {checkpoint.base} has "
            f"{config.num_hidden_layers}"
        )
    config.num_hidden_layers = checkpoint.layers or config.num_hidden_layers
    return json.dumps(
        {name: 0.0 if "drop" in name else value for name, value in config.to_dict().items()}
    )
