"""Finds two classes in hidden states without labels; which class is which remains open.

Each function of `METHODS` learns from the states of unlabelled examples and returns a function from
states to P(class 1). The other sense of its direction would serve it as well: `orient` decides
between the two, by labels that somebody else gives.

States are those of a text, (n, d), or of the two texts of a pair, (n, 2, d). A method that reads
contrasts takes the states of each example with either answer written below it, (n, 2, d).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import eigh
from scipy.sparse.linalg import svds
from scipy.special import expit

from ..data.classes import likeliest

# of contrast-consistent search, as in the authors' code
_STARTS = 10
_STEPS = 1000
_LR = 1e-3
_WEIGHT_DECAY = 0.01
# of the search for mutually predictable labels: temperatures in nats
_SEARCHES = 4  # of either kind of start
_SWEEPS = 20
_HOTTEST, _COLDEST = 1.0, 0.02
MOST_SEARCHED = 2000  # examples whose labels are searched for; the search holds (n, n) numbers

# from states to (n,) P(class 1)
Predictor = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Scaling:
    """Shifts and scales states as those of the examples learned from need it.

    Attributes:
        mean, deviation: of each feature; 0 stands for the mean where states are differences.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @staticmethod
    def of(states: np.ndarray, *, centre: bool = True) -> Scaling:
        """Returns the scaling that gives states (n, d) mean 0, if `centre`, and mean square 1.

        A feature that is the same in all examples becomes 0.
        """
        states = states.astype(np.float64)
        mean = states.mean(axis=0) if centre else np.zeros(states.shape[1])
        deviation = np.sqrt(np.mean((states - mean) ** 2, axis=0))
        constant = deviation <= 1e-9 * np.abs(states).max(initial=0)
        return Scaling(mean, np.where(constant, np.inf, deviation))

    def __call__(self, states: np.ndarray) -> np.ndarray:
        """Returns scaled states, of the same shape, float64."""
        return (states - self.mean) / self.deviation


def first_component(states: np.ndarray, seed: int = 0) -> Predictor:
    """Takes the first principal component of the states for the classes.

    The states of single texts are standardised; of a pair, the difference of its texts is taken,
    so that the order of the two decides the class.

    Args:
        states: (n, d), or (n, 2, d) of pairs.
        seed: plays no part.
    """
    scale = Scaling.of(_plain(states), centre=states.ndim == 2)
    score = _along(_component(scale(_plain(states))), scale(_plain(states)))
    return lambda other: expit(score(scale(_plain(other))))


def contrast_component(states: np.ndarray, seed: int = 0) -> Predictor:
    """Takes the first principal component of the contrasts for the classes.

    The states of each answer are standardised, so that the answer itself cannot be told from them;
    what is left of the difference is about the example.

    Args:
        states: (n, 2, d), of each example with either answer.
        seed: plays no part.
    Source: Burns et al. 2022 (arXiv 2212.03827), "contrastive representation clustering, top
        principal component".
    """
    contrast = _contrasts(states)
    score = _along(_component(contrast(states)), contrast(states))
    return lambda other: expit(score(contrast(other)))


def contrast_consistent(states: np.ndarray, seed: int = 0) -> Predictor:
    """Searches for a direction along which exactly one of the two answers is right.

    Minimises the mean of (p_1 + p_0 - 1)^2 + min(p_1, p_0)^2, where p_k is the logistic function of
    the standardised state with answer k; of ten random starts the least loss is taken. An example's
    P(class 1) is (p_1 + 1 - p_0) / 2.

    Args:
        states: (n, 2, d), of each example with either answer.
        seed: of the starts.
    Source: Burns et al. 2022 (arXiv 2212.03827), section 2.2; steps, learning rate, weight decay
        and starts are those of the authors' code.
    """
    scales = [Scaling.of(states[:, answer]) for answer in (0, 1)]

    def scaled(of: np.ndarray, answer: int) -> torch.Tensor:
        return torch.from_numpy(scales[answer](of[:, answer]))

    found = _search_consistent(scaled(states, 0).float(), scaled(states, 1).float(), seed)
    weights, bias = (parameter.double() for parameter in found)

    def predict(other: np.ndarray) -> np.ndarray:
        wrong, right = (torch.sigmoid(scaled(other, k) @ weights + bias) for k in (0, 1))
        return ((right + 1 - wrong) / 2).numpy()

    return predict


def _search_consistent(
    zero: torch.Tensor, one: torch.Tensor, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns weights (d,) and bias of the start that ends with the least loss."""
    generator = torch.Generator().manual_seed(seed)
    bound = 1 / np.sqrt(zero.shape[1])
    start = torch.rand(zero.shape[1] + 1, _STARTS, generator=generator) * 2 * bound - bound
    parameters = start.requires_grad_()
    optimizer = torch.optim.AdamW([parameters], lr=_LR, weight_decay=_WEIGHT_DECAY)

    def losses() -> torch.Tensor:
        p = [torch.sigmoid(x @ parameters[:-1] + parameters[-1]) for x in (zero, one)]
        return ((p[0] + p[1] - 1) ** 2 + torch.minimum(p[0], p[1]) ** 2).mean(dim=0)

    with torch.enable_grad():
        for _ in range(_STEPS):
            optimizer.zero_grad()
            losses().sum().backward()
            optimizer.step()
    with torch.no_grad():
        best = parameters[:, losses().argmin()].detach()
    return best[:-1], best[-1]


def mutual_predictability(states: np.ndarray, seed: int = 0) -> Predictor:
    """Searches for the labels that predict each other best, and learns from them.

    It is internal coherence maximization in its simplest form: the label of an example is predicted
    from all others by a linear model on frozen states (see `Coherence`), not by a language model
    that reads them. Labels that are all the same predict each other badly, because the states have
    mean 0; and the two orders of a pair always get different labels. So no further rule of
    consistency is needed.

    Args:
        states: (n, d), or (n, 2, d) of pairs.
        seed: of the search, and of the `MOST_SEARCHED` examples that it takes of more.
    Source: Wen et al. 2025 (arXiv 2506.10139), equations 1 and 3 and algorithm 1.
    """
    rng = np.random.default_rng(seed)
    scale = Scaling.of(_plain(states), centre=states.ndim == 2)
    kept = np.sort(rng.permutation(len(states))[:MOST_SEARCHED])
    x = scale(_plain(states[kept]))
    coherence = Coherence(x)
    weights = coherence.weights(search_labels(coherence, rng))
    score = _along(weights, x)
    return lambda other: expit(score(scale(_plain(other))))


class Coherence:
    """Measures how well labels of -1 and 1 predict each other: U, up to a constant, in nats.

    U is the sum over examples of log P(label | state, all other states and labels). P is that of a
    Gaussian process with covariance x x' / d + 1, which is Bayesian linear regression with as much
    noise as signal where features have mean square 1. Its predictions without one example have a
    closed form: with C the inverse of the covariance, the error of example i is [C y]_i / C_ii, and
    its variance 1 / C_ii, so U = -1/2 sum_i [C y]_i^2 / C_ii.

    Source: Wen et al. 2025, equation 1; Rasmussen and Williams 2006, equations 5.10 to 5.12.
    """

    def __init__(self, x: np.ndarray):
        """Prepares the sums over the others.

        Args:
            x: (n, d) states, features of mean square 1.
        """
        n, d = x.shape
        self._x = x / np.sqrt(d)
        self.inverse = np.linalg.inv(self._x @ self._x.T + np.eye(n))
        self.form = self.inverse / np.diag(self.inverse) @ self.inverse

    def __len__(self) -> int:
        return len(self.form)

    def __call__(self, labels: np.ndarray) -> float:
        """Returns U of labels (n,)."""
        return float(-labels @ self.form @ labels / 2)

    def weights(self, labels: np.ndarray) -> np.ndarray:
        """Returns the weights (d,) of the linear model that labels (n,) teach."""
        return self._x.T @ (self.inverse @ labels)


def search_labels(coherence: Coherence, rng: np.random.Generator) -> np.ndarray:
    """Searches for labels of the largest U by simulated annealing, and returns the best it meets.

    It starts from each of some random labels and, because single changes seldom lead away from a
    poor start, from the signs of the vectors that solve the problem when labels may be any numbers.

    Returns:
        (n,) of -1 and 1.
    """
    n = len(coherence)
    count = min(_SEARCHES, n)
    _, relaxed = eigh(coherence.form, subset_by_index=(0, count - 1))
    starts = [*np.where(relaxed.T > 0, 1.0, -1.0), *rng.choice([-1.0, 1.0], size=(count, n))]
    ends = [_anneal(coherence, start, rng) for start in starts]
    return max(ends, key=coherence)


def _anneal(coherence: Coherence, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the labels that a search from `labels` (n,) ends with.

    A random example changes its label if U rises, or else with probability exp(change / T), where T
    falls with every step.
    """
    labels = labels.copy()
    steps = _SWEEPS * len(labels)
    pull = coherence.form @ labels
    own = np.diag(coherence.form)
    temperatures = np.geomspace(_HOTTEST, _COLDEST, steps)
    for i, bar in zip(
        rng.integers(len(labels), size=steps), np.log(rng.random(steps)) * temperatures, strict=True
    ):
        change = 2 * (labels[i] * pull[i] - own[i])
        if change > bar:  # exp(change / T) above a random number
            pull -= 2 * labels[i] * coherence.form[:, i]
            labels[i] = -labels[i]
    return labels


def orient(found: np.ndarray, labels: np.ndarray) -> tuple[int, float]:
    """Decides which sense of a direction is class 1, without truth: that which agrees with labels.

    Args:
        found: (n, 2) probabilities, in one of the two senses.
        labels: (n, 2) of the same examples, whoever gave them.
    Returns:
        1 to keep the sense, -1 to turn it; and the share of examples on which the sense that is
        taken agrees with the labels, from .5. Near .5 the choice is that of a coin.
    """
    agree = float(np.mean(likeliest(found) == likeliest(labels)))
    return (1, agree) if agree >= 0.5 else (-1, 1 - agree)


def _plain(states: np.ndarray) -> np.ndarray:
    """Returns states (n, d) of texts as they are, and of pairs the second text's minus the
    first's.
    """
    states = np.asarray(states, dtype=np.float64)
    return states if states.ndim == 2 else states[:, 1] - states[:, 0]


def _contrasts(states: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from states (n, 2, d) to the difference (n, d) of their standardised
    answers.
    """
    zero, one = (Scaling.of(states[:, answer]) for answer in (0, 1))
    return lambda other: one(other[:, 1]) - zero(other[:, 0])


def _component(x: np.ndarray) -> np.ndarray:
    """Returns the first right singular vector (d,) of x (n, d); its largest weight is positive."""
    if not x.any():
        return np.zeros(x.shape[1])
    start = np.random.default_rng(0).normal(size=min(x.shape))  # the same in every run
    component = svds(x, k=1, v0=start)[2][0]
    return component * np.sign(component[np.abs(component).argmax()])


def _along(weights: np.ndarray, x: np.ndarray) -> Predictor:
    """Returns a function from states to their scores along weights, which have mean square 1 on
    x.
    """
    size = np.sqrt(np.mean((x @ weights) ** 2))
    return lambda other: other @ weights / (size if size > 0 else 1.0)


@dataclass(frozen=True)
class Method:
    """A way to find classes without labels.

    Attributes:
        learn: from states and a seed to a predictor.
        contrast: it reads the states of each example with either answer.
    """

    learn: Callable[[np.ndarray, int], Predictor]
    contrast: bool


METHODS = {
    "first_component": Method(first_component, contrast=False),
    "contrast_component": Method(contrast_component, contrast=True),
    "contrast_consistent": Method(contrast_consistent, contrast=True),
    "mutual_predictability": Method(mutual_predictability, contrast=False),
}
