"""Measures the features of all depths against bare forward passes over the same texts."""

from __future__ import annotations

import tempfile

import numpy as np

from .measure import Ratio, apart, peak_mb, ratio, timed

MODEL = "SmolLM2-135M@8"
TASK = "amazon_snippets"
N = 600
BATCH = 32
ROUNDS = 2


def measure() -> list[Ratio]:
    """Measures, in turn, features with loading and storing, and a bare loop with loading."""
    kit, bare = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as home:
            kit.append(apart(kit_features, W2S_HOME=home))
        bare.append(apart(bare_features))
    return [
        ratio(
            "features.over_bare_loop",
            f"states after all layers of {MODEL}, {N} texts, with loading and storing, over a bare "
            f"loop over the texts sorted by length, {BATCH} in a batch, CPU seconds",
            [each["cpu_s"] for each in kit],
            [each["cpu_s"] for each in bare],
            figures={"cpu_s": round(float(np.median([each["cpu_s"] for each in kit])), 2)},
        ),
        ratio(
            "features.memory_over_bare_loop",
            "peak memory of the same two processes",
            [each["peak_mb"] for each in kit],
            [each["peak_mb"] for each in bare],
            margin=0.05,
            figures={"mb": round(float(np.median([each["peak_mb"] for each in kit])))},
        ),
    ]


def _texts_and_tokens():
    import w2s_nb as w2s
    from w2s_nb import models
    from w2s_nb.inputs.tokens import tokenize

    task = w2s.load_task(TASK, n_train=N, n_test=100)
    checkpoint = models.with_depth(models.resolve(MODEL))
    return task.student, checkpoint, tokenize(task.student, checkpoint, task.max_len)


def kit_features() -> dict:
    """Computes and stores features by the kit."""
    import w2s_nb as w2s

    texts, checkpoint, _ = _texts_and_tokens()
    with timed() as seconds:
        w2s.features(MODEL, texts)[checkpoint.layers]
    return {"cpu_s": seconds[0], "peak_mb": peak_mb()}


def bare_features() -> dict:
    """Computes the last token's states of all depths with Hugging Face alone."""
    import torch
    import transformers
    from torch.nn.utils.rnn import pad_sequence

    from w2s_nb import models

    _, checkpoint, tokens = _texts_and_tokens()
    with timed() as seconds, torch.inference_mode():
        body = transformers.AutoModel.from_pretrained(
            models.folder(checkpoint), num_hidden_layers=checkpoint.layers, dtype=torch.float32
        ).eval()
        order = np.argsort(-tokens.lengths, kind="stable")
        pooled = []
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            lengths = torch.from_numpy(tokens.lengths[rows])
            ids = [torch.from_numpy(tokens.ids[row]).long() for row in rows]
            padded = pad_sequence(ids, batch_first=True)
            mask = (torch.arange(padded.shape[1]) < lengths[:, None]).long()
            states = body(
                input_ids=padded, attention_mask=mask, use_cache=False, output_hidden_states=True
            ).hidden_states
            last = torch.arange(len(rows)), lengths - 1
            pooled.append(torch.stack([state[last] for state in states], 1).half())
        assert torch.cat(pooled).isfinite().all()
    return {"cpu_s": seconds[0], "peak_mb": peak_mb()}
