"""TODO."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

_RIDGE = 1e-8  # keeps the equations solvable where nothing else does


def logistic(head: nn.Linear, x: torch.Tensor, targets: np.ndarray, l2: float) -> float:
    """Sets a head to the optimum of L2-penalised logistic regression on soft labels, by Newton's method.

    Minimises sum_i CE(f(x_i), target_i) + l2 / 2 |w|^2; the intercept is not penalised. On hard labels that is
    scikit-learn's LogisticRegression with C = 1 / l2. For pairs, f is the sigmoid of w(x_2 - x_1), without intercept.

    Args:
        head: (2, d) with bias for examples of one text, of which the first row becomes -w / 2 and the second w / 2; (1,
            d) for pairs. Its present weights are where the search starts.
        x: (n, d), or (2 n, d) for pairs, an example's texts side by side.
        targets: (n, 2), rows sum to 1.
    Returns:
        The mean cross-entropy there, nats.
    """
    pairs, x = head.out_features == 1, x.detach().cpu().double()
    y = torch.from_numpy(np.ascontiguousarray(targets[:, 1])).double()
    x = x[1::2] - x[::2] if pairs else torch.cat([x, torch.ones(len(x), 1)], dim=1)
    rows = torch.cat([head.weight, head.bias[:, None]], dim=1).detach().cpu().double()
    w = rows[0, :-1] if pairs else rows[1] - rows[0]
    penalty = torch.full_like(w, max(l2, _RIDGE))
    if not pairs:
        penalty[-1] = _RIDGE

    def entropy(w: torch.Tensor) -> torch.Tensor:
        return torch.sum(F.softplus(x @ w) - y * (x @ w))

    def cost(w: torch.Tensor) -> torch.Tensor:
        return entropy(w) + penalty @ w**2 / 2

    for _ in range(100):  # a handful are enough
        p = torch.sigmoid(x @ w)
        gradient = x.T @ (p - y) + penalty * w
        if gradient.abs().max() < 1e-6 * len(x):
            break
        hessian = (x.T * (p * (1 - p))) @ x + penalty.diag()
        step, size = (
            torch.cholesky_solve(gradient[:, None], torch.linalg.cholesky(hessian))[:, 0],
            1.0,
        )
        while cost(w - size * step) > cost(w) - 1e-4 * size * gradient @ step and size > 1e-6:
            size /= 2
        w = w - size * step
    with torch.no_grad():
        head.weight.copy_(w[None] if pairs else torch.stack([-w[:-1], w[:-1]]) / 2)
        head.bias.copy_(torch.zeros(1) if pairs else torch.stack([-w[-1], w[-1]]) / 2)
    return float(entropy(w)) / len(x)
