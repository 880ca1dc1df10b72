"""Logistic regression on soft labels, solved to its optimum."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

_RIDGE = 1e-8  # keeps the equations solvable where nothing else does
_MAX_STEPS = 100  # of Newton's method; a handful are enough


def solve(head: nn.Linear, x: torch.Tensor, targets: np.ndarray, l2: float) -> float:
    """Sets a head to the optimum of L2-penalised logistic regression on soft labels.

    Minimises sum_i CE(f(x_i), target_i) + l2 / 2 |w|^2 by Newton's method; the intercept is not
    penalised. On hard labels that is scikit-learn's LogisticRegression with C = 1 / l2. For pairs,
    f is the sigmoid of w(x_2 - x_1), without intercept.

    Args:
        head: (2, d) with bias for examples of one text, of which the first row becomes -w / 2 and
            the second w / 2; (1, d) for pairs. The search starts at its present weights.
        x: (n, d), or (2 n, d) for pairs, an example's texts side by side.
        targets: (n, 2), rows sum to 1.
        l2: penalty, from 0.
    Returns:
        The mean cross-entropy at the optimum, nats.
    """
    pairs = head.out_features == 1
    x = x.detach().cpu().double()
    y = torch.from_numpy(np.ascontiguousarray(targets[:, 1])).double()
    rows = torch.cat([head.weight, head.bias[:, None]], dim=1).detach().cpu().double()
    if pairs:
        x = x[1::2] - x[::2]
        w = rows[0, :-1]
    else:
        x = torch.cat([x, torch.ones(len(x), 1)], dim=1)  # the last weight is the intercept
        w = rows[1] - rows[0]
    penalty = torch.full_like(w, max(l2, _RIDGE))
    if not pairs:
        penalty[-1] = _RIDGE
    w = _minimise(w, x, y, penalty)
    with torch.no_grad():
        if pairs:
            head.weight.copy_(w[None])
            head.bias.zero_()
        else:
            head.weight.copy_(torch.stack([-w[:-1], w[:-1]]) / 2)
            head.bias.copy_(torch.stack([-w[-1], w[-1]]) / 2)
    return float(_cross_entropy(w, x, y)) / len(x)


def _cross_entropy(w: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Computes the sum over the examples, nats."""
    return torch.sum(F.softplus(x @ w) - y * (x @ w))


def _minimise(
    w: torch.Tensor, x: torch.Tensor, y: torch.Tensor, penalty: torch.Tensor
) -> torch.Tensor:
    """Minimises cross-entropy plus penalty @ w**2 / 2 by Newton's method with backtracking.

    Args:
        w: (d,) where the search starts.
        x: (n, d); y: (n,) P(class 1); penalty: (d,) per weight.
    """

    def cost(w: torch.Tensor) -> torch.Tensor:
        return _cross_entropy(w, x, y) + penalty @ w**2 / 2

    for _ in range(_MAX_STEPS):
        p = torch.sigmoid(x @ w)
        gradient = x.T @ (p - y) + penalty * w
        if gradient.abs().max() < 1e-6 * len(x):
            break
        hessian = (x.T * (p * (1 - p))) @ x + penalty.diag()
        factor = torch.linalg.cholesky(hessian)
        step = torch.cholesky_solve(gradient[:, None], factor)[:, 0]
        size = 1.0
        # halve the step until the cost falls as far as its slope promises (Armijo's rule)
        while cost(w - size * step) > cost(w) - 1e-4 * size * gradient @ step and size > 1e-6:
            size /= 2
        w = w - size * step
    return w
