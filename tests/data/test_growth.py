"""What more rows and more seeds cost, in counts of what is done; and that the results are equal."""

import random

import pytest

from w2s_nb.data.tasks import snippets


class Rating(float):
    """A rating that counts how often it is compared with another."""

    compared = 0

    def __sub__(self, other):
        Rating.compared += 1
        return Rating(float(self) - float(other))


def rated_rows(n):
    """Most near to neutral, some at the ends, many of equal rating."""
    rng = random.Random(n)
    ratings = [round(max(-4.0, min(4.0, rng.gauss(0, 1.5))), 1) for _ in range(n)]
    return [{"text": f"text {i}", "rating": Rating(rating)} for i, rating in enumerate(ratings)]


def first_that_waits(rows, gap):
    """Pairs as the task's docstring says it: with the first row before that is apart enough."""
    waiting, pairs = [], []
    for row in sorted(rows, key=lambda row: snippets.draw(2**64, row["text"])):
        other = next((w for w in waiting if abs(w["rating"] - row["rating"]) >= gap), None)
        if other is None:
            waiting.append(row)
            continue
        waiting.remove(other)
        worse, better = sorted((row, other), key=lambda row: row["rating"])
        pairs.append((worse["text"], better["text"], better["rating"] - worse["rating"]))
    return pairs


@pytest.mark.parametrize("gap", [0.1, 1.0, 6.0, 7.9])
def test_pairs_of_snippets_do_not_cost_the_square_of_the_rows(monkeypatch, gap):
    compared = {}
    for n in (500, 2_000):
        rows = rated_rows(n)
        monkeypatch.setattr(snippets, "rated", lambda asset, rows=rows: {"all": rows})
        Rating.compared = 0
        pairs = snippets._pairs(gap)["all"]
        compared[n] = Rating.compared
        made = [(pair["worse"], pair["better"], pair["gap"]) for pair in pairs]
        assert made == first_that_waits(rows, gap)
    assert compared[2_000] < 8 * compared[500], "four times the rows"
