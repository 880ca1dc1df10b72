"""Estimates the memory that finetuning takes, and the number of devices on which it fits."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass, replace

import pandas as pd
import transformers

from ...common.seeds import check_count
from ...inputs.activations import MAX_TOKENS
from ...inputs.encoded import MAX_IMAGES
from ...models import classifier, loading
from ...models.configurations import CONFIGURATIONS, shipped
from ...models.encoders import require_probe
from ...models.names import Checkpoint, resolve
from ..hyperparameters import PROBES, SHARDED, Hyperparameters, choose_hyperparameters
from ..loop import TRAIN_TOKENS
from . import simulation

# the paper's models
ARCHITECTURES = {
    name: CONFIGURATIONS[name]
    for name in (
        "gpt2",
        "gpt2-medium",
        "gpt2-large",
        "gpt2-xl",
        "Qwen-1_8B",
        "Qwen-7B",
        "Qwen-14B",
        "Qwen-72B",
    )
}
# tokens of a sequence unless told otherwise: GPT-2's context, the shortest of these
TOKENS = 1024
SIDE = 224  # pixels of the images by which an encoder is judged
# methods that train blocks of the model
TRAINED = (*SHARDED, "top")
# of a frozen model's pass on a GPU that has little memory free
_FROZEN_TOKENS = 4096
_BYTES_A_LOGIT = 16  # of a language model in training
# share of a device's memory that training can use; the rest goes to the device's context, the
# workspaces of kernels and the holes between tensors
USABLE = 0.9


@dataclass(frozen=True)
class MemoryEstimate:
    """Memory that a method takes with a model.

    The numbers are bytes, of one device unless said otherwise.

    Attributes:
        model, method, device, devices: as given to `estimate`.
        micro_batch: examples in one pass of a device.
        n_params: parameters of the language model, its unembedding included where that is not tied.
        trainable: parameters that the method trains, the head's included.
        weights: of what is trained with all that it runs through: body and head, of a probe the
            head alone. A classifier's language model has lost its unembedding by then.
        gradients: of all trainable parameters, float32.
        optimiser: AdamW's two moments, float32.
        activations: what a forward pass keeps for the backward pass. Where blocks are not
            recomputed, autocast's bf16 copies of the weights are part of it.
        step: the most that is there at one time beside weights and optimiser state: activations,
            gradients and what the block at work needs. Where a batch is one pass, activations are
            freed as gradients are made, so it is less than their sum; in the last of several passes
            all gradients are there from the start.
        frozen: of the frozen model that 'top', probes and prompts run before anything is trained,
            with what a pass makes; it is gone when training starts. 0 of other methods.
        host: the checkpoint in main memory, in the type it is used in; one process holds it while
            it loads. Method 'top' reads its own blocks and the unembedding alone. What is stored in
            that type is mapped from the file, and the system can take it back. Later the copies of
            trained weights, where `estimate` is told of them.
        disk: activations of `texts` that are stored.
    """

    model: str
    method: str
    device: str
    devices: int
    micro_batch: int
    n_params: int
    trainable: int
    weights: int
    gradients: int
    optimiser: int
    activations: int
    step: int
    frozen: int
    host: int
    disk: int

    @property
    def total(self) -> int:
        """The most that a device holds at one time; a CPU also holds the checkpoint as it loads."""
        most = max(self.weights + self.optimiser + self.step, self.frozen)
        return max(most, self.host) if self.device == "cpu" else most


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
    predicted: int = 0,
    texts: int = 0,
    copies: int = 0,
    n_classes: int = 2,
) -> MemoryEstimate:
    """Estimates the memory that `fit` or `prompt` takes for a model and method.

    It loads no weights, and needs no network for a model that is known by name; of another hub
    model it loads the configuration.

    Counted are tensors: float32 weights, gradients and moments; on CUDA bf16 autocast, with the
    copy of every weight that it caches until the forward pass ends, and frozen weights in bf16;
    above `models.classifier.CHECKPOINTED` parameters activations recomputed block by block; a
    batch with padding, whose mask (b, 1, t, t) attention keeps in every block.

    Several devices are used as `distributed.shard` uses them: weights, gradients and moments are
    sharded and the batch is divided. A device gathers what is in no block, the block at work and
    the next one, and holds a block's gradients until they are reduced. Autocast's cache is off,
    since it would hold a copy of the whole model there.

    Not counted are the allocator's holes, see `USABLE`. On a CPU glibc's are large in `make bench`,
    from a tenth of all with 'full' to two thirds with 'lora'. Without these holes, which glibc
    avoids with MALLOC_MMAP_THRESHOLD_=131072 in the environment, estimates are within 6 % of
    measurements.

    Args:
        model: a name that `models.resolve` takes.
        method: of `fit`, or 'prompt'.
        batch: examples per optimiser step, on all devices together.
        tokens: of each sequence, a pair's two texts together; None takes 1024, or the model's
            context if shorter.
        micro_batch: examples in one pass of a device; None takes all of a step on CUDA, on a CPU
            what `loop.TRAIN_TOKENS` allows.
        vocabulary: number of token ids that the data use, to which method 'full' cuts the
            embedding; None takes all.
        devices: number of devices that share the model, with 'full' and 'lora'.
        device: 'cuda' or 'cpu'.
        top_layers, lora_rank: as in `Hyperparameters`.
        predicted: tokens of a text that a language model is trained to predict, with 'full', 'lora'
            and 'top'; 0 trains a classifier.
        texts: number of texts, or images, whose activations are stored.
        copies: of the trained weights, that main memory holds beside each other.
        n_classes: outputs of the head of a classifier.
    Raises:
        UnknownName, ValueError: a name or value that does not exist.
        ModelUnavailable: the configuration cannot be had here.
    """
    checkpoint = resolve(model)
    _check_method(method, top_layers, lora_rank)
    _check_counts(
        {"batch": batch, "devices": devices, "n_classes": n_classes},
        {"tokens": tokens, "micro_batch": micro_batch, "vocabulary": vocabulary},
    )
    _check_device(device, devices, method)
    if checkpoint.encoder:
        return _estimate_encoder(checkpoint, method, device, texts)
    architecture = architecture_of(checkpoint)
    config = simulation.config_of(architecture)
    tokens = _sequence_length(tokens, config, model)
    _check_vocabulary(vocabulary, method, config, model)
    examples = math.ceil(batch / devices)
    examples_per_pass = min(examples, micro_batch or default_micro_batch(examples, tokens, device))
    layers = _trained_layers(config, method, top_layers)
    step = simulation.Step(
        architecture=architecture,
        method=method,
        examples=examples_per_pass,
        tokens=tokens,
        passes=2 if examples_per_pass < examples and devices == 1 else 1,
        cuda=device == "cuda",
        sharded=devices > 1,
        recompute=_recomputes(architecture, method, lora_rank, layers),
        vocabulary=vocabulary,
        lora_rank=lora_rank,
        outputs=n_classes,
    )
    counts = _counts_of(step, layers, devices, n_classes * config.hidden_size)
    if predicted:
        _add_unembedding(counts, config, method, device, examples_per_pass * predicted)
    gradients = 4 * counts["trainable"] // devices
    bytes_each = 2 if device == "cuda" and method not in ("full", "top") else 4
    loaded = _count_loaded(architecture, layers if method == "top" else None)
    return MemoryEstimate(
        model=model,
        method=method,
        device=device,
        devices=devices,
        micro_batch=examples_per_pass,
        n_params=simulation.count_parameters(architecture),
        trainable=counts["trainable"],
        weights=counts["weights"] // devices,
        gradients=gradients,
        optimiser=2 * gradients,
        activations=counts["activations"],
        step=counts["peak"],
        frozen=_frozen(architecture, method, tokens, device, top_layers, micro_batch),
        host=max(loaded * bytes_each, copies * 4 * counts["trainable"]),
        disk=texts * _stored_bytes(config, method, tokens, device),
    )


def _trained_layers(config, method: str, top_layers: int) -> int:
    """Returns the number of blocks that training runs through."""
    layers = config.num_hidden_layers
    return min(top_layers, layers) if method == "top" else layers


def _estimate_encoder(
    checkpoint: Checkpoint, method: str, device: str, images: int
) -> MemoryEstimate:
    """Estimates what a probe on an encoder takes: almost all is for the encoder's own pass.

    Args:
        images: number of images whose features are stored.
    Raises:
        ValueError: a method that would train the encoder.
    """
    require_probe(checkpoint, method, PROBES)
    checkpoint = loading.with_depth(checkpoint)
    counts = simulation.simulate_encoder(checkpoint, MAX_IMAGES[device], SIDE)
    head = 2 * loading.n_features(checkpoint)
    return MemoryEstimate(
        model=checkpoint.name,
        method=method,
        device=device,
        devices=1,
        micro_batch=1,
        n_params=counts["weights"] // 4,
        trainable=head,
        weights=4 * head,
        gradients=4 * head,
        optimiser=8 * head,
        activations=0,
        step=4 * head,
        frozen=counts["weights"] + counts["peak"],
        host=counts["weights"],
        disk=images * counts["features"],
    )


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
    check_gb(gb, "gb")
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


def check_gb(gb: float, name: str) -> None:
    """Refuses a size of memory that is no number above 0.

    Raises:
        ValueError: says what is given.
    """
    is_number = isinstance(gb, (int, float)) and not isinstance(gb, bool)
    if not is_number or not 0 < gb < math.inf:
        raise ValueError(f"{name} = {gb!r}; expected a number above 0, of 10^9 bytes")


def _check_method(method: str, top_layers: int, lora_rank: int) -> None:
    if method != "prompt":
        choose_hyperparameters(method, {"top_layers": top_layers, "lora_rank": lora_rank})


def _check_counts(required: dict[str, int], optional: dict[str, int | None]) -> None:
    """Checks that numbers by name are whole and from 1; the optional ones may be None."""
    given = {name: value for name, value in optional.items() if value is not None}
    for name, value in (required | given).items():
        check_count(value, name)


def _check_device(device: str, devices: int, method: str) -> None:
    if device not in ("cuda", "cpu"):
        raise ValueError(f"device {device!r}; expected cuda or cpu")
    if devices > 1 and method not in SHARDED:
        raise ValueError(
            f"devices = {devices} with method {method!r}; {' and '.join(SHARDED)} are trained on "
            f"several"
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


def default_micro_batch(examples: int, tokens: int, device: str) -> int:
    """Returns how many examples training runs in one pass, as `loop.train` chooses it."""
    affordable = TRAIN_TOKENS.get(device, math.inf) / tokens
    return max(1, int(min(examples, affordable)))


def _recomputes(architecture: str, method: str, lora_rank: int, layers: int) -> bool:
    """Tells whether training recomputes the blocks of a body of some layers."""
    if method not in TRAINED:
        return False

    def count(layers: int) -> dict[str, int]:
        n = simulation.count_body_parameters(architecture, method, lora_rank, layers)
        return {"parameters": n}

    return simulation.extrapolate(count, layers)["parameters"] > classifier.CHECKPOINTED


def _counts_of(step: simulation.Step, layers: int, devices: int, head: int) -> dict[str, int]:
    """Simulates a step; returns weights, trainable, activations, and the peak of one device.

    Args:
        head: parameters of a classifier's head, which is all that probes train.
    """
    if step.method not in TRAINED:
        return {"weights": 4 * head, "trainable": head, "activations": 0, "peak": 0}
    counts = simulation.extrapolate(functools.partial(simulation.simulate, step), layers)
    counts["peak"] = max(counts[phase] for phase in simulation.PHASES)
    if devices > 1:
        counts["peak"] += counts["gathered"] + counts["gradients"] // devices
    return counts


def _count_loaded(architecture: str, top: int | None) -> int:
    """Counts the parameters that are read of a model; with `top`, of its last blocks alone."""
    if top is None:
        return simulation.count_parameters(architecture)
    config = simulation.config_of(architecture, top)
    n_params = simulation.count_parameters(json.dumps(config.to_dict()))
    # an embedding that is not the unembedding as well is not read
    return n_params - (0 if config.tie_word_embeddings else config.vocab_size * config.hidden_size)


def _add_unembedding(
    counts: dict[str, int], config, method: str, device: str, predicted: int
) -> None:
    """Adds to the counts of a classifier what a language model has more, in place.

    A logit is there in the precision of the pass, in float32, as its probability and as its
    gradient in both: `_BYTES_A_LOGIT`.

    Args:
        predicted: tokens that one pass predicts.
    """
    counts["peak"] += predicted * config.vocab_size * _BYTES_A_LOGIT
    if config.tie_word_embeddings:
        return
    n = config.vocab_size * config.hidden_size
    frozen_in_bf16 = method == "lora" and device == "cuda"
    counts["weights"] += n * (2 if frozen_in_bf16 else 4)
    if method == "full":
        counts["trainable"] += n
        counts["peak"] += 4 * n


def _frozen(
    architecture: str,
    method: str,
    tokens: int,
    device: str,
    top_layers: int,
    micro_batch: int | None,
) -> int:
    """Returns the bytes that a method's frozen pass takes on a device; 0 where it has none."""
    if method in SHARDED:
        return 0
    layers = simulation.config_of(architecture).num_hidden_layers
    if method == "top":
        layers = max(1, layers - top_layers)
    examples = frozen_tokens(tokens, device) // tokens
    if device == "cuda" and micro_batch:
        # a pass on a GPU has more tokens where memory is free, and fewer where it is short
        examples = min(examples, micro_batch)

    def count(layers: int) -> dict[str, int]:
        return simulation.simulate_frozen(architecture, layers, examples, tokens, device == "cuda")

    counts = simulation.extrapolate(count, layers)
    return counts["weights"] + counts["peak"]


def frozen_tokens(tokens: int, device: str) -> int:
    """Returns the tokens of a pass of a frozen model on texts of so many tokens.

    On a GPU it is a pass of little memory: where more is free, passes are larger.
    """
    most = MAX_TOKENS["cpu"] if device == "cpu" else _FROZEN_TOKENS
    return max(1, most // tokens) * tokens


def _stored_bytes(config, method: str, tokens: int, device: str) -> int:
    """Returns the bytes of a text's activations: of every token for 'top', of each depth else."""
    if method == "top":
        return tokens * config.hidden_size * (2 if device == "cuda" else 4)
    return (config.num_hidden_layers + 1) * config.hidden_size * 2 if method in PROBES else 0


def architecture_of(checkpoint: Checkpoint) -> str:
    """Returns a checkpoint's configuration at its depth, as JSON, as `load_lm` runs it."""
    config = _load_config(checkpoint.root)
    if (checkpoint.layers or 1) > config.num_hidden_layers:
        raise ValueError(
            f"{checkpoint.name!r} asks for {checkpoint.layers} layers; {checkpoint.base} has "
            f"{config.num_hidden_layers}"
        )
    loading.cut_config(config, checkpoint.layers)
    return json.dumps(loading.as_run(config).to_dict())


def _load_config(root: Checkpoint):
    """Returns the configuration of a model at full depth, without fetching its weights."""
    if fields := shipped(root):
        return transformers.AutoConfig.for_model(**fields)
    return loading.config_of(replace(root, layers=None))
