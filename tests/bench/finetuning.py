"""Measures full finetuning against a bare loop over the same batches, and against the floor.

The floor is what the matrix products alone would take: 6 operations per parameter and token of
training, 2 of prediction, at the rate of large matrix products measured in the same run. Tokens are
real ones: padding is the kit's own cost.
"""

from __future__ import annotations

import time

import numpy as np

from .measure import Ratio, apart, matrix_rate, peak_mb, ratio

TASK = "amazon_snippets"
SIZES = {"n_train": 500, "n_val": 100, "n_test": 500}
WEAK, STRONG = "SmolLM2-135M@2", "SmolLM2-135M@6"
EPOCHS = 2
BATCH = 32
ROUNDS = 2


class _Trained(Exception):
    """Training has come to its end."""


def measure() -> list[Ratio]:
    """Measures an epoch of the student in turn with a bare loop, and then the whole experiment."""
    kit, bare, rates = [], [], []
    for _ in range(ROUNDS):
        rates.append(matrix_rate())
        kit.append(apart(kit_epoch))
        bare.append(apart(bare_epoch))
    rates.append(matrix_rate())
    rate = float(np.median(rates))
    tokens, per_token = kit[0]["tokens"], 6 * bare[0]["parameters"] / rate / 1e9
    arms = apart(triple_and_confidence)
    floor = arms["tflop"] * 1e3 / rate
    common = {"float32_gflop_per_cpu_s": round(rate, 1)}
    return [
        ratio(
            "finetuning.step_over_bare_loop",
            f"an epoch of {STRONG} by the kit over the same batches in a bare loop, CPU seconds",
            [each["cpu_s"] for each in kit],
            [each["cpu_s"] for each in bare],
            figures={"kit_us_a_token": round(1e6 * _median(kit, "cpu_s") / tokens, 1)},
        ),
        ratio(
            "finetuning.step_over_floor",
            "the same epoch over 6 x parameters x tokens at the matrix rate",
            [each["cpu_s"] for each in kit],
            [per_token * tokens] * ROUNDS,
            figures=common | {"tokens": tokens, "parameters": bare[0]["parameters"]},
        ),
        ratio(
            "finetuning.triple_and_confidence_over_floor",
            f"supervisor {WEAK}, students by xent and confidence, and ceiling {STRONG}, 2 epochs, "
            "in one process with its start, over the floor of trainings and one prediction each",
            [arms["process_cpu_s"]],
            [floor],
            figures=common | {"cpu_s": round(arms["process_cpu_s"], 1), "tflop": arms["tflop"]},
        ),
        ratio(
            "finetuning.memory_over_bare_loop",
            "peak memory of the epoch by the kit over that of the bare loop",
            [each["peak_mb"] for each in kit],
            [each["peak_mb"] for each in bare],
            margin=0.05,
            figures={"mb": round(_median(kit, "peak_mb")), "whole_mb": round(arms["peak_mb"])},
        ),
    ]


def _median(rounds: list[dict], name: str) -> float:
    return float(np.median([each[name] for each in rounds]))


def kit_epoch() -> dict:
    """Trains an epoch as `fit` does, without its evaluation; returns seconds, tokens and memory."""
    import w2s_nb as w2s
    from w2s_nb.training import loop

    task = w2s.load_task(TASK, **SIZES)
    measured: dict = {}
    train = loop.train

    def train_timed(net, inputs, *arguments, evaluate, **options):
        started = time.process_time()

        def stop_at_end(*_):
            measured["cpu_s"] = time.process_time() - started
            measured["peak_mb"] = peak_mb()
            raise _Trained

        measured["tokens"] = int(inputs.lengths.sum())
        train(net, inputs, *arguments, evaluate=stop_at_end, **options)

    loop.train = train_timed
    try:
        options = {"method": "full", "epochs": 1, "batch_size": BATCH, "evals": 1, "stop": "last"}
        w2s.fit(STRONG, task.student, **options)
    except _Trained:
        pass
    return measured


def bare_epoch() -> dict:
    """Trains an epoch with Hugging Face and PyTorch alone, over the batches that the kit makes."""
    import torch
    import transformers

    import w2s_nb as w2s
    from w2s_nb import models
    from w2s_nb.inputs.tokens import tokenize
    from w2s_nb.training import loop

    task = w2s.load_task(TASK, **SIZES)
    checkpoint = models.with_depth(models.resolve(STRONG))
    tokens = tokenize(task.student, checkpoint, task.max_len)
    used = np.unique(np.concatenate(tokens.ids))
    ids = [torch.from_numpy(np.searchsorted(used, text)) for text in tokens.ids]
    targets = torch.eye(2)[torch.as_tensor(task.student.hard_label).long()]
    batches = list(loop.schedule(tokens.lengths, BATCH, 1, 0))
    body = transformers.AutoModel.from_pretrained(
        models.folder(checkpoint), num_hidden_layers=checkpoint.layers, dtype=torch.float32
    )
    table = body.get_input_embeddings().weight.detach()[torch.from_numpy(used).long()].clone()
    body.set_input_embeddings(torch.nn.Embedding.from_pretrained(table, freeze=False))
    head = torch.nn.Linear(body.config.hidden_size, 2, bias=False)
    started = time.process_time()
    _train_bare(body, head, ids, targets, batches)
    seconds = time.process_time() - started
    in_blocks = sum(p.numel() for name, p in body.named_parameters() if "embed" not in name)
    return {"cpu_s": seconds, "peak_mb": peak_mb(), "parameters": in_blocks}


def _train_bare(body, head, ids, targets, batches) -> None:
    """Trains a body and a head on batches of rows, as a short script would."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    body.train()
    trained = [*body.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, weight_decay=0.0, fused=True)
    for rows in batches:
        texts = [ids[row] for row in rows]
        lengths = torch.tensor([len(text) for text in texts])
        padded = pad_sequence(texts, batch_first=True)
        mask = (torch.arange(padded.shape[1]) < lengths[:, None]).long()
        hidden = body(input_ids=padded, attention_mask=mask, use_cache=False).last_hidden_state
        logits = head(hidden[torch.arange(len(rows)), lengths - 1])
        loss = torch.nn.functional.cross_entropy(logits, targets[torch.from_numpy(rows)])
        if not torch.isfinite(loss):
            raise FloatingPointError("the bare loop diverged")
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def triple_and_confidence() -> dict:
    """Runs supervisor, two students and ceiling; returns the floor's operations and peak memory."""
    import w2s_nb as w2s
    from w2s_nb import models
    from w2s_nb.inputs.tokens import tokenize
    from w2s_nb.models.loading import config_of, hollow_lm

    options = {"method": "full", "epochs": EPOCHS, "batch_size": BATCH}
    arms = w2s.run_arms(TASK, WEAK, STRONG, losses=("xent", "confidence"), **SIZES, **options)
    assert len(arms.fits) == 4
    peak = peak_mb()
    task = arms.tasks[0]
    operations = 0
    for name, fits in ((WEAK, 1), (STRONG, 3)):
        checkpoint = models.with_depth(models.resolve(name))
        shape = hollow_lm(checkpoint).base_model.named_parameters()
        parameters = sum(p.numel() for key, p in shape if "embed" not in key)
        assert config_of(checkpoint).num_hidden_layers >= checkpoint.layers
        splits = {
            split.name: int(tokenize(split, checkpoint, task.max_len).lengths.sum())
            for split in (task.supervisor, task.student, task.validation, task.test)
        }
        trained = splits[(task.supervisor if name == WEAK else task.student).name]
        predicted = splits[task.test.name] + splits[task.validation.name]
        if name == WEAK:
            predicted += splits[task.student.name]  # labels them
        operations += fits * parameters * (6 * EPOCHS * trained + 2 * predicted)
    return {"tflop": round(operations / 1e12, 3), "peak_mb": peak}
