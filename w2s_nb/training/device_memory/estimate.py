"""Estimates the memory that finetuning takes, and the number of devices on which it fits."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass, replace

import pandas as pd
import transformers

from ...common.registry import MODELS
from ...common.seeds import check_count
from ...models import classifier, loading
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


# the paper's models, estimated without the hub
ARCHITECTURES = {
    "gpt2": _gpt2(12, 768, 12),
    "gpt2-medium": _gpt2(24, 1024, 16),
    "gpt2-large": _gpt2(36, 1280, 20),
    "gpt2-xl": _gpt2(48, 1600, 25),
    "Qwen-1_8B": _qwen(24, 2048, 16, 5504, 151936),
    "Qwen-7B": _qwen(32, 4096, 32, 11008, 151936),
    "Qwen-14B": _qwen(40, 5120, 40, 13696, 152064),
    "Qwen-72B": _qwen(80, 8192, 64, 24576, 152064),
}
# tokens of a sequence unless told otherwise: GPT-2's context, the shortest of these
TOKENS = 1024
# share of a device's memory that training can use; the rest goes to the device's context, the
# workspaces of kernels and the holes between tensors
USABLE = 0.9


@dataclass(frozen=True)
class MemoryEstimate:
    """Memory that finetuning a model as a classifier takes.

    The numbers are bytes, of one device unless said otherwise.

    Attributes:
        model, method, device, devices: as given to `estimate`.
        n_params: parameters of the language model, its unembedding included where that is not tied.
        trainable: parameters that the method trains, the head's included.
        weights: of body and head; the language model's unembedding is gone when training starts.
        gradients: of all trainable parameters, float32.
        optimiser: AdamW's two moments, float32.
        activations: what a forward pass keeps for the backward pass. Where blocks are not
            recomputed, autocast's bf16 copies of the weights are part of it.
        step: the most that is there at one time beside weights and optimiser state: activations,
            gradients and what the block at work needs. Where a batch is one pass, activations are
            freed as gradients are made, so it is less than their sum; in the last of several passes
            all gradients are there from the start.
        host: the checkpoint in main memory, in the type it is used in; one process holds it while
            it loads. What is stored in that type is mapped from the file, and the system can take
            it back.
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
        """The most that a device holds at one time; a CPU also holds the checkpoint as it loads."""
        training = self.weights + self.optimiser + self.step
        return max(training, self.host) if self.device == "cpu" else training


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
    """Estimates the memory that `fit` takes for a model and method.

    It loads no weights; of a hub model it loads the configuration.

    Counted are tensors: float32 weights, gradients and moments; on CUDA bf16 autocast, with the
    copy of every weight that it caches until the forward pass ends, and LoRA's frozen weights in
    bf16; above `models.classifier.CHECKPOINTED` parameters activations recomputed block by block; a
    batch with padding, whose mask (b, 1, t, t) attention keeps in every block.

    Several devices are used as `distributed.shard` uses them: weights, gradients and moments are
    sharded and the batch is divided. A device gathers what is in no block, the block at work and
    the next one, and holds a block's gradients until they are reduced. Autocast's cache is off,
    since it would hold a copy of the whole model there.

    Not counted are the allocator's holes, see `USABLE`; the trained weights that `fit` keeps in
    main memory where it evaluates before the end, up to three times; the trunk's activations of all
    texts that method 'top' is fed with. On a CPU glibc's holes are large in `make bench`, from a
    tenth of all with 'full' to two thirds with 'lora'. Without these holes, which glibc avoids with
    MALLOC_MMAP_THRESHOLD_=131072 in the environment, estimates are within 6 % of measurements.

    Args:
        model: a name that `models.resolve` takes.
        method: 'full', 'lora' or 'top'.
        batch: examples per optimiser step, on all devices together.
        tokens: of each sequence, a pair's two texts together; None takes 1024, or the model's
            context if shorter.
        micro_batch: examples in one pass of a device; None takes what training takes: all of them
            on CUDA, on a CPU what `loop.TRAIN_TOKENS` allows.
        vocabulary: number of token ids that the data use, to which method 'full' cuts the
            embedding; None takes all.
        devices: number of devices that share the model, with 'full' and 'lora'.
        device: 'cuda' or 'cpu'.
        top_layers, lora_rank: as in `Hyperparameters`.
    Raises:
        UnknownName, ValueError: a name or value that does not exist.
        ModelUnavailable: the configuration cannot be had here.
    """
    checkpoint = resolve(model)
    _check_method(method, top_layers, lora_rank)
    _check_counts(
        {"batch": batch, "devices": devices},
        {"tokens": tokens, "micro_batch": micro_batch, "vocabulary": vocabulary},
    )
    _check_device(device, devices, method)
    architecture = _architecture(checkpoint)
    config = simulation.config_of(architecture)
    tokens = _sequence_length(tokens, config, model)
    _check_vocabulary(vocabulary, method, config, model)
    examples = math.ceil(batch / devices)
    examples_per_pass = min(examples, micro_batch or _default_micro_batch(examples, tokens, device))
    layers = config.num_hidden_layers
    if method == "top":
        layers = min(top_layers, layers)
    n_body = _count_body_parameters(architecture, method, lora_rank, layers)
    step = simulation.Step(
        architecture=architecture,
        method=method,
        examples=examples_per_pass,
        tokens=tokens,
        passes=2 if examples_per_pass < examples and devices == 1 else 1,
        cuda=device == "cuda",
        sharded=devices > 1,
        recompute=n_body > classifier.CHECKPOINTED,
        vocabulary=vocabulary,
        lora_rank=lora_rank,
    )
    counts = simulation.extrapolate(functools.partial(simulation.simulate, step), layers)
    n_params = simulation.count_parameters(architecture)
    return _from_counts(counts, model, method, device, devices, n_params)


def devices_needed(
    model: str, method: str = "full", *, gb: float = 80, micro_batch: int | None = 1, **options
) -> int | None:
    """Returns the least number of devices, a power of two up to 1024, that hold a finetuning.

    Args:
        gb: memory of a device, 10^9 bytes, of which the share `USABLE` is used.
        micro_batch: as in `estimate`; one example at a time takes the least memory.
        options: of `estimate`, except `devices`.
    Returns:
        The number; None if 1024 devices do not hold it.
    Raises:
        ValueError: `gb` is no number above 0; and as `estimate`.
    """
    if isinstance(gb, bool) or not isinstance(gb, (int, float)) or not gb > 0:
        raise ValueError(f"gb = {gb!r}; expected a number above 0, of 10^9 bytes")
    for exponent in range(11):
        devices = 2**exponent
        needed = estimate(model, method, micro_batch=micro_batch, devices=devices, **options)
        if needed.total <= USABLE * gb * 1e9:
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
    """Returns the memory of finetuning on one device, and how many devices of `gb` it needs.

    The defaults take the least memory: batches of 32 sequences of 1024 tokens, run one at a time,
    on CUDA, with the whole embedding.

    Args:
        gb: as in `devices_needed`.
        micro_batch, options: as in `estimate`.
    Returns:
        A row per model and method: parameters (10^9); GB (10^9 bytes) of weights, gradients,
        optimiser, activations and in total, on one device; devices. The total is no sum, see
        `MemoryEstimate.step`.
    """
    rows = []
    for model in models:
        for method in methods:
            one = estimate(model, method, micro_batch=micro_batch, **options)
            devices = devices_needed(model, method, gb=gb, micro_batch=micro_batch, **options)
            rows.append(
                {
                    "model": model,
                    "method": method,
                    "parameters (10^9)": one.n_params / 1e9,
                    "GB weights": one.weights / 1e9,
                    "GB gradients": one.gradients / 1e9,
                    "GB optimiser": one.optimiser / 1e9,
                    "GB activations": one.activations / 1e9,
                    "GB total": one.total / 1e9,
                    "devices": devices,
                }
            )
    return pd.DataFrame(rows).astype({"devices": "Int64"})


def _check_method(method: str, top_layers: int, lora_rank: int) -> None:
    if method in PROBES:
        raise ValueError(f"method {method!r} finetunes nothing; expected full, lora or top")
    choose_hyperparameters(method, {"top_layers": top_layers, "lora_rank": lora_rank})


def _check_counts(required: dict[str, int], optional: dict[str, int | None]) -> None:
    """Checks that numbers by name are whole and from 1; the optional ones may be None."""
    given = {name: value for name, value in optional.items() if value is not None}
    for name, value in (required | given).items():
        check_count(value, name)


def _check_device(device: str, devices: int, method: str) -> None:
    if device not in ("cuda", "cpu"):
        raise ValueError(f"device {device!r}; expected cuda or cpu")
    if devices > 1 and method == "top":
        raise ValueError(
            f"devices = {devices} with method 'top'; full and lora are trained on several"
        )


def _check_vocabulary(vocabulary: int | None, method: str, config, model: str) -> None:
    if vocabulary and (method != "full" or vocabulary > config.vocab_size):
        raise ValueError(
            f"vocabulary = {vocabulary} with method {method!r}; only full cuts the embedding to "
            f"tokens that data use, of the {config.vocab_size} of {model}"
        )


def _sequence_length(tokens: int | None, config, model: str) -> int:
    """Returns the tokens of a sequence, at most the model's context."""
    context = getattr(config, "max_position_embeddings", None) or math.inf
    if tokens is None:
        return int(min(TOKENS, context))
    if tokens > context:
        raise ValueError(f"a sequence of {tokens} tokens; {model} takes {context}")
    return tokens


def _default_micro_batch(examples: int, tokens: int, device: str) -> int:
    """Returns how many examples training runs in one pass, as `loop.train` chooses it."""
    affordable = TRAIN_TOKENS.get(device, math.inf) / tokens
    return max(1, int(min(examples, affordable)))


def _count_body_parameters(architecture: str, method: str, lora_rank: int, layers: int) -> int:
    def count(layers: int) -> dict[str, int]:
        n = simulation.count_body_parameters(architecture, method, lora_rank, layers)
        return {"parameters": n}

    return simulation.extrapolate(count, layers)["parameters"]


def _from_counts(
    counts: dict[str, int], model: str, method: str, device: str, devices: int, n_params: int
) -> MemoryEstimate:
    """Returns the estimate of one device of several, from what `simulation.simulate` counts."""
    gradients = counts["gradients"] // devices
    peak = max(counts[phase] for phase in simulation.PHASES)
    if devices > 1:
        peak += counts["gathered"] + gradients
    return MemoryEstimate(
        model=model,
        method=method,
        device=device,
        devices=devices,
        n_params=n_params,
        trainable=counts["trainable"],
        weights=counts["weights"] // devices,
        gradients=gradients,
        optimiser=2 * gradients,
        activations=counts["activations"],
        step=peak,
        host=n_params * (2 if method == "lora" and device == "cuda" else 4),
    )


def _architecture(checkpoint: Checkpoint) -> str:
    """Returns a checkpoint's configuration at its depth, as JSON; without dropout, as `load_lm`."""
    config = _load_config(checkpoint.root)
    if (checkpoint.layers or 1) > config.num_hidden_layers:
        raise ValueError(
            f"{checkpoint.name!r} asks for {checkpoint.layers} layers; {checkpoint.base} has "
            f"{config.num_hidden_layers}"
        )
    config.num_hidden_layers = checkpoint.layers or config.num_hidden_layers
    fields = config.to_dict()
    return json.dumps({name: 0.0 if "drop" in name else value for name, value in fields.items()})


def _load_config(root: Checkpoint):
    """Returns the configuration of a model at full depth, without fetching its weights."""
    known = {MODELS[name].hub_id: fields for name, fields in ARCHITECTURES.items()}
    if root.hub_id in known:
        return transformers.AutoConfig.for_model(**known[root.hub_id])
    return loading.config_of(replace(root, layers=None))
