"""Measures bf16 on this CPU against float32, where the CPU computes in bf16."""

from __future__ import annotations

import tempfile

from .features import kit_features
from .finetuning import kit_epoch
from .measure import Ratio, apart, matrix_rate, ratio

ROUNDS = 1


def measure() -> list[Ratio]:
    """Measures matrix products, an epoch of finetuning and features, in turn in both precisions."""
    seconds: dict[str, dict[str, list[float]]] = {}
    for _ in range(ROUNDS):
        for precision, dtype in (("fp32", "float32"), ("bf16", "bfloat16")):
            of_one = seconds.setdefault(precision, {"product": [], "training": [], "features": []})
            of_one["product"].append(1 / matrix_rate(dtype))
            of_one["training"].append(apart(kit_epoch, W2S_PRECISION=precision)["cpu_s"])
            with tempfile.TemporaryDirectory() as home:
                done = apart(kit_features, W2S_PRECISION=precision, W2S_HOME=home)
            of_one["features"].append(done["cpu_s"])
    return [
        ratio(
            f"precision.{part}_in_bf16",
            f"{part} in bf16 over {part} in float32, CPU seconds",
            seconds["bf16"][part],
            seconds["fp32"][part],
            figures={"fp32_s": round(seconds["fp32"][part][0], 4)},
        )
        for part in seconds["fp32"]
    ]
