"""Logistic regression on soft labels, solved to its optimum."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

_RIDGE = 1e-8  # keeps the equations solvable where nothing else does
_MAX_STEPS = 100  # of Newton's method; a handful are enough
_MAX_LBFGS = 10_000  # of L-BFGS; weak penalties take hundreds


def solve(head: nn.Linear, x: torch.Tensor, targets: np.ndarray, l2: float) -> float:
    """Sets a head to the optimum of L2-penalised logistic regression on soft labels.

    Minimises sum_i CE(f(x_i), target_i) + penalty; intercepts are not penalised. On hard labels
    that is scikit-learn's LogisticRegression with C = 1 / l2, and as there the penalty of two
    classes is l2 / 2 |w_1 - w_0|^2, of more classes l2 / 2 sum_k |w_k|^2, which of two would be
    half of that. So two classes have a solution of their own: Newton's method, whose equations of K
    classes would be K^2 times as many. For pairs, f is the sigmoid of w(x_2 - x_1), without
    intercept. The search starts at the head's present weights.

    Args:
        head: (K, d) with bias for examples of one text, whose rows sum to 0 afterwards; (1, d) for
            pairs.
        x: (n, d), or (2 n, d) for pairs, an example's texts side by side.
        targets: (n, K), rows sum to 1.
        l2: penalty, from 0.
    Returns:
        The mean cross-entropy at the optimum, nats.
    """
    if head.out_features > 2:
        return _solve_classes(head, x.detach().cpu().double(), targets, l2)
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


def _solve_classes(head: nn.Linear, x: torch.Tensor, targets: np.ndarray, l2: float) -> float:
    """Solves for more than two classes, x (n, d) float64, by L-BFGS; the rest is as in `solve`.

    It runs on variables in which the problem is round where all classes are equally likely, so that
    it takes tens of steps instead of thousands.
    """
    from scipy.optimize import minimize  # a second to import, only needed here

    n_classes = head.out_features
    y = torch.from_numpy(np.ascontiguousarray(targets)).double()
    x = torch.cat([x, torch.ones(len(x), 1)], dim=1)
    penalty = torch.full_like(x[0], max(l2, _RIDGE))
    penalty[-1] = _RIDGE
    factor = torch.linalg.cholesky(x.T @ x / n_classes + penalty.diag())
    # with rows v = w @ factor the scores x @ w.T are round @ v.T
    round_x = torch.linalg.solve_triangular(factor, x.T, upper=False).T.contiguous()

    def cost(flat: np.ndarray) -> tuple[float, np.ndarray]:
        v = torch.from_numpy(flat).view(n_classes, -1)
        w = torch.linalg.solve_triangular(factor, v, upper=False, left=False)
        log_p = (round_x @ v.T).log_softmax(dim=1)
        value = (penalty * w**2).sum() / 2 - (y * log_p).sum()
        of_penalty = torch.linalg.solve_triangular(factor, (penalty * w).T, upper=False).T
        gradient = (log_p.exp() - y).T @ round_x + of_penalty
        return float(value), gradient.numpy().ravel()

    rows = torch.cat([head.weight, head.bias[:, None]], dim=1).detach().cpu().double()
    start = (rows @ factor).numpy().ravel()
    options = {"maxiter": _MAX_LBFGS, "maxfun": _MAX_LBFGS, "maxcor": 20, "ftol": 0, "gtol": 1e-6}
    found = minimize(cost, start, jac=True, method="L-BFGS-B", options=options)
    v = torch.from_numpy(found.x).view(n_classes, -1)
    w = torch.linalg.solve_triangular(factor, v, upper=False, left=False)
    w -= w.mean(dim=0)  # which changes no prediction
    with torch.no_grad():
        head.weight.copy_(w[:, :-1])
        head.bias.copy_(w[:, -1])
    return float(F.cross_entropy(x @ w.T, y))


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
