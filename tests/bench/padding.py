"""Counts padding in the batches that fits really run, of a tiny model in place of a large one.

The model has the embedded one's tokenizer and so its lengths; its width of 16 makes the passes
cheap. What decides batches (lengths, sizes, tokens of a pass on a CPU) is the same.
"""

from __future__ import annotations

import tempfile

from .measure import Ratio, apart

TASKS = (
    "movie_snippets",
    "amazon_snippets",
    "tweet_snippets",
    "editorial_snippets",
    "snippet_preferences",
)
# {title: (tasks, sizes or None for those of the notebooks, seeds)}
SETTINGS = {
    "": (TASKS, None, 3),
    "_of_100": (TASKS[:1], {"n_train": 100, "n_val": 100, "n_test": 400}, 5),
    "_of_3000": (TASKS[:1], {"n_train": 3000, "n_val": 500, "n_test": 2000}, 1),
}
PHASES = ("training", "prediction", "features")


def measure() -> list[Ratio]:
    """Returns the padding's share of all tokens in passes, mean over tasks and seeds."""
    ratios = []
    for title, (tasks, sizes, seeds) in SETTINGS.items():
        shares = {task: apart(padding_of, task, sizes, seeds) for task in tasks}
        sized = "of the notebooks" if sizes is None else f"{sizes['n_train']} in each half"
        for phase in PHASES:
            of_tasks = {task: round(each[phase], 4) for task, each in shares.items()}
            ratios.append(
                Ratio(
                    f"padding.{phase}{title}",
                    f"padding over all tokens in passes of {phase}, sizes {sized}, mean over "
                    f"{len(tasks)} task(s) and {seeds} seed(s)",
                    round(sum(of_tasks.values()) / len(tasks), 4),
                    margin=0.0,
                    least=0.002,  # exact; texts of other versions of a tokenizer may differ
                    figures=of_tasks,
                )
            )
    return ratios


def padding_of(name: str, sizes: dict | None, seeds: int) -> dict:
    """Returns {phase: padding's share} of finetuning, its predictions and a probe's features."""
    import torch

    import w2s_nb as w2s
    from w2s_nb.inputs.batches import Sequences

    counted = {phase: [0, 0] for phase in PHASES}
    batch = Sequences.batch

    def batch_counted(inputs, rows):
        tensors = batch(inputs, rows)
        with_gradient = "training" if torch.is_grad_enabled() else "prediction"
        phase = "features" if torch.is_inference_mode_enabled() else with_gradient
        counted[phase][0] += int(inputs.lengths[rows].sum())
        counted[phase][1] += tensors[inputs.argument].shape[:2].numel()
        return tensors

    spec = w2s.TASKS[name]
    sizes = sizes or spec.cpu_sizes._asdict()
    Sequences.batch = batch_counted
    with tempfile.TemporaryDirectory() as folder:
        save_tiny_model(folder)
        for seed in range(seeds):
            task = w2s.load_task(name, seed=seed, **sizes)
            labels = true_labels(task.student, task.validation)
            w2s.fit(folder, task.student, labels, method="full", seed=seed, lr=1e-4)
            w2s.fit(folder, task.student, labels, method="probe", seed=seed, epochs=1)
    return {phase: 1 - real / passed for phase, (real, passed) in counted.items()}


def true_labels(*splits):
    """Returns the ground truth of several splits as labels that a supervisor might have given."""
    import numpy as np

    import w2s_nb as w2s

    truth = [w2s.SoftLabels.truth(split) for split in splits]
    ids, probs = (np.concatenate([getattr(t, name) for t in truth]) for name in ("ids", "probs"))
    return w2s.SoftLabels(ids, probs, "truth of two splits")


def save_tiny_model(folder: str) -> None:
    """Saves a random model of two layers of width 16 with the embedded model's tokenizer."""
    import transformers

    from w2s_nb import models

    tokenizer = models.tokenizer(models.folder(models.resolve("SmolLM2-135M")))
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
