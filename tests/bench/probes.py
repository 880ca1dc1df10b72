"""Measures many probes, with their tables, against a bare loop that trains one."""

from __future__ import annotations

import time

import numpy as np

from .measure import Ratio, apart, ratio, timed

TASK = "amazon_snippets"
SIZES = {"n_train": 500, "n_val": 100, "n_test": 500}
WEAK = [f"SmolLM2-135M@{depth}" for depth in (1, 2, 3, 4, 5)]
STRONG = [f"SmolLM2-135M@{depth}" for depth in (6, 7, 8, 9, 10)]
LOSSES = ("xent", "confidence", "reverse_xent")
SEEDS = 3
FITS = SEEDS * (len(WEAK) + len(STRONG) + len(WEAK) * len(STRONG) * len(LOSSES))
FITS_OF_ARMS = SEEDS * (1 + len(STRONG) + len(STRONG) * len(LOSSES))


def measure() -> list[Ratio]:
    """Measures probes whose features are stored: all pairs at once, pair by pair, and one alone."""
    done = apart(sweep)
    bare = done["bare_cpu_s"]
    suite, arms = done["suite_cpu_s"] / FITS, done["arms_cpu_s"] / FITS_OF_ARMS
    return [
        ratio(
            "probes.suite_over_bare_loops",
            f"{FITS} probes (five supervisors, five students, three losses, three seeds) by "
            "`run_suite`, with the tables of all pairs, over as many bare loops, CPU seconds",
            [suite],
            [bare],
            figures={"cpu_s": round(done["suite_cpu_s"], 1), "per_fit_cpu_s": round(suite, 4)},
        ),
        ratio(
            "probes.arms_over_bare_loops",
            f"{FITS_OF_ARMS} probes (one supervisor, five students) by `run_arms` pair by pair, "
            "with a table of each pair, over as many bare loops, CPU seconds",
            [arms],
            [bare],
            figures={"cpu_s": round(done["arms_cpu_s"], 1), "per_fit_cpu_s": round(arms, 4)},
        ),
        ratio(
            "probes.fit_over_bare_loop",
            "one probe by `fit` over a bare loop by autograd, CPU seconds",
            done["fits_cpu_s"],
            [bare] * len(done["fits_cpu_s"]),
            margin=0.15,
            figures={"bare_cpu_s": round(bare, 4)},
        ),
    ]


def sweep() -> dict:
    """Trains all probes on features that are there, and bare loops before and after."""
    import w2s_nb as w2s

    tasks = [w2s.load_task(TASK, seed=seed, **SIZES) for seed in range(2 * SEEDS)]
    for name in reversed(STRONG + WEAK):  # the deepest first: one pass serves all depths
        for task in tasks:
            w2s.fit(name, task.student, method="probe", epochs=1, batch_size=1000)
            w2s.fit(name, task.supervisor, method="probe", epochs=1, batch_size=1000)
    options = {"losses": LOSSES, "method": "probe", **SIZES}
    bare = [bare_probe(w2s, tasks[0]) for _ in range(3)]
    with timed() as suite:
        suite_of_one = w2s.run_suite([TASK], WEAK, STRONG, seeds=range(SEEDS), **options)
        rows = len(suite_of_one.by_task)  # the tables of all pairs
    if rows != len(WEAK) * len(STRONG) * (len(LOSSES) + 2):
        raise RuntimeError(f"the suite's table has {rows} rows")
    with timed() as arms:
        for strong in STRONG:
            w2s.run_arms(TASK, WEAK[0], strong, seeds=range(SEEDS, 2 * SEEDS), **options).table()
    bare += [bare_probe(w2s, tasks[0]) for _ in range(3)]
    fits = []
    for seed in range(100, 103):
        with timed() as each:
            w2s.fit(STRONG[0], tasks[0].student, method="probe", seed=seed)
        fits += each
    return {
        "suite_cpu_s": suite[0],
        "arms_cpu_s": arms[0],
        "bare_cpu_s": float(np.median(bare)),
        "fits_cpu_s": fits,
    }


def bare_probe(w2s, task) -> float:
    """Trains a linear classifier by a bare loop; returns its CPU seconds."""
    import torch

    x = torch.from_numpy(w2s.features(STRONG[0], task.student)[int(STRONG[0].split("@")[1])])
    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
    targets = torch.eye(2)[torch.as_tensor(task.student.hard_label).long()]
    epochs, batch_size = 200, 128
    n_steps = epochs * -(-len(x) // batch_size)
    started = time.process_time()
    head = torch.nn.Linear(x.shape[1], 2)
    torch.nn.init.zeros_(head.weight)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
    step = 0
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch_size):
            optimizer.param_groups[0]["lr"] = 1e-3 * (1 - step / n_steps)
            logits = head(x.index_select(0, rows))
            loss = torch.nn.functional.cross_entropy(logits, targets.index_select(0, rows))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            step += 1
    return time.process_time() - started
