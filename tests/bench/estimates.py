"""Measures the memory that finetuning takes against what `device_memory.estimate` says of it."""

from __future__ import annotations

import tempfile

from .measure import Ratio, apart, peak_mb, ratio, rest_mb

# (model, tokens of a text, texts in a pass); the models are random, in the shapes of known ones
SETTINGS = (
    ("SmolLM2-135M", 64, 32),
    ("gpt2", 64, 32),
    ("gpt2-medium", 32, 8),
    ("gpt2-large", 16, 8),
)
# By default glibc gives freed tensors back from a size that grows to 32 MB with those that are
# freed, and smaller ones leave holes.
GLIBC = {"": {}, "_without_holes": {"MALLOC_MMAP_THRESHOLD_": str(2**17)}}


def measure() -> list[Ratio]:
    """Measures full finetuning and LoRA, with glibc as it is and told to leave no holes."""
    ratios = []
    for model, tokens, micro_batch in SETTINGS:
        with tempfile.TemporaryDirectory() as folder:
            path = apart(save_random_model, model, folder)["path"]
            for method in ("full", "lora"):
                for name, glibc in GLIBC.items():
                    done = apart(grown, path, method, tokens, micro_batch, **glibc)
                    ratios.append(
                        ratio(
                            f"estimates.{model}_{method}{name}",
                            f"memory by which {method} finetuning of {model} grows a process, 32 "
                            f"texts of {tokens} tokens, {micro_batch} per pass, over the estimate",
                            [done["grown_mb"]],
                            [done["estimated_mb"]],
                            margin=0.05,
                            figures={"grown_mb": round(done["grown_mb"])},
                        )
                    )
    return ratios


def save_random_model(name: str, folder: str) -> dict:
    """Saves a random model in a known one's shape; returns where, or the embedded model's name."""
    import transformers

    from w2s_nb import models
    from w2s_nb.training import device_memory

    if name not in device_memory.ARCHITECTURES:
        return {"path": name}
    config = transformers.AutoConfig.for_model(**device_memory.ARCHITECTURES[name])
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    models.tokenizer(models.folder(models.resolve("SmolLM2-135M"))).save_pretrained(folder)
    return {"path": folder}


def grown(model: str, method: str, tokens: int, micro_batch: int, steps: int = 2) -> dict:
    """Trains some steps of 32 texts; returns the 10^6 bytes taken, and those estimated."""
    import numpy as np
    import torch

    from w2s_nb import models
    from w2s_nb.common.device import device
    from w2s_nb.common.registry import LOSSES
    from w2s_nb.inputs.batches import TokenInputs
    from w2s_nb.inputs.tokens import Tokens
    from w2s_nb.training import device_memory, loop
    from w2s_nb.training.hyperparameters import Hyperparameters

    options = {"tokens": tokens, "micro_batch": micro_batch, "device": "cpu"}
    device_memory.estimate(model, method, **options)  # imports all there is to import
    before = rest_mb()
    checkpoint = models.with_depth(models.resolve(model))
    net = models.build(checkpoint, method, 1, head_init="unembedding", device=device())
    rng = np.random.default_rng(0)
    lengths = [tokens - i % 3 for i in range(32 * steps)]
    ids = tuple(rng.integers(0, 5000, size=length, dtype=np.int32) for length in lengths)
    vocabulary = None
    if method == "full":
        vocabulary = np.unique(np.concatenate(ids))
        models.compact_embedding(net, torch.from_numpy(vocabulary).long())
    keys = tuple(map(str, range(len(ids))))
    loop.train(
        net,
        TokenInputs(Tokens(ids, np.zeros(len(ids), bool), keys, 1), vocabulary),
        np.eye(2)[np.arange(len(ids)) % 2],
        LOSSES["xent"],
        Hyperparameters(epochs=1, lr=1e-5, evals=1),
        seed=0,
        evaluate=lambda *arguments: None,
        micro_batch=micro_batch,
    )
    n_rows = None if vocabulary is None else len(vocabulary)
    estimate = device_memory.estimate(model, method, vocabulary=n_rows, **options).total
    return {"grown_mb": peak_mb() - before, "estimated_mb": estimate / 1e6}
