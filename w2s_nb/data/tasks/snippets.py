"""Registers tasks on embedded snippets that people rated for sentiment.

Hutto and Gilbert 2014, from the vaderSentiment package (MIT).
"""

import bisect
import functools
import html
import itertools
import math
import string
from collections.abc import Callable
from typing import Any

from ...common.assets import fetch
from ...common.registry import UnknownName
from .spec import Example, Prompt, Sizes, comparison, draw, either, register_task

MOVIES = "movieReviewSnippets_GroundTruth.txt"
THREE = ("negative", "neutral", "positive")
MIN_RATING = 0.5  # of 4; nearer to zero, raters found no sentiment or disagreed on its sign


def rated(asset: str) -> dict[str, list[dict]]:
    """Reads the rows of a ground-truth file.

    Returns:
        {'all': rows {id, rating in [-4, 4], text}}; a rating is the mean over about 20 raters.
    """
    rows = []
    for line in fetch(asset).read_text(encoding="utf-8").splitlines():
        row_id, rating, text = line.split("\t", 2)
        rows.append({"id": row_id, "rating": float(rating), "text": html.unescape(text)})
    return {"all": rows}


def sentiment(row: dict):
    """Is the snippet positive? Mean human rating at least 0.5 away from neutral."""
    if abs(row["rating"]) >= MIN_RATING:
        yield Example((row["text"],), int(row["rating"] > 0), (_review_of(row),))


def three_sentiments(row: dict):
    """Is the snippet negative, neutral or positive? Neutral means rated within 0.5 of zero."""
    label = 1 if abs(row["rating"]) < MIN_RATING else 2 * int(row["rating"] > 0)
    yield Example((row["text"],), label, (_review_of(row),))


def _review_of(row: dict) -> str:
    """Returns what keeps the snippets of one review or article together."""
    return row["id"].partition("_")[0] if "_" in row["id"] else row["text"]


@functools.cache
def lexicon() -> dict[str, float]:
    """Reads VADER's lexicon: {word: valence in [-4, 4]}, a mean over ten raters."""
    valences = {}
    for line in fetch("vader_lexicon.txt").read_text(encoding="utf-8").splitlines():
        if line:
            word, valence, *_ = line.split("\t")
            valences[word] = float(valence)
    return valences


def lexicon_score(*texts: str) -> float:
    """Computes P(y = 1) from the sum s of the words' valences, as (1 + s / sqrt(s^2 + 15)) / 2.

    That is VADER's normalised score without its rules for negation, emphasis and punctuation: a
    supervisor that has seen no text of any task. Of two texts, the second is better with
    probability (1 + its score - the first's) / 2.

    Source: Hutto and Gilbert 2014.

    >>> lexicon_score("a great film") > 0.7, lexicon_score("a film")
    (True, 0.5)
    """
    if len(texts) == 2:
        return (1 + lexicon_score(texts[1]) - lexicon_score(texts[0])) / 2
    s = sum(lexicon().get(word.strip(string.punctuation), 0.0) for word in texts[0].lower().split())
    return (1 + s / math.sqrt(s * s + 15)) / 2


def _prompt_of(what: str, words: tuple[str, ...], asked: str) -> Prompt:
    """Returns a prompt that asks for the sentiment of a kind of text."""
    instruction = f"Classify the sentiment of each {what.lower()} as {asked}."
    return Prompt(f"{what}: {{0}}\nSentiment:", words, instruction)


def _with_neutral(task: str, what: str, sizes: Sizes) -> Callable[[str], dict[str, Any]]:
    """Returns the option of a task that takes the snippets near to neutral as a third class."""

    def option(name: str) -> dict[str, Any]:
        if name != "three":
            raise UnknownName(f"option of {task}", name, ["three"])
        return {
            "examples": three_sentiments,
            "about": "Is the snippet negative, neutral or positive?",
            "classes": THREE,
            "prompt": _prompt_of(what, THREE, either(THREE)),
            "cpu_sizes": sizes,
            "gpu_sizes": sizes,
        }

    return option


# each with its sizes on a CPU and on a GPU, of 1,782, 7,450, 1,626 and 1,782 examples for training;
# and with those of three classes, of 1,527, 1,212, 1,701 and 2,589
for _name, _asset, _what, _cpu_sizes, _gpu_sizes, _three_sizes in [
    (
        "amazon_snippets",
        "amazonReviewSnippets_GroundTruth.txt",
        "Product review",
        (600, 200, 600),
        (700, 200, 600),
        Sizes(498, 198, 600),
    ),
    (
        "movie_snippets",
        MOVIES,
        "Film review",
        (600, 200, 800),
        (3_000, 500, 2_000),
        Sizes(498, 198, 384),
    ),
    (
        "tweet_snippets",
        "tweets_GroundTruth.txt",
        "Tweet",
        (500, 200, 500),
        (600, 200, 500),
        Sizes(600, 198, 600),
    ),
    (
        "editorial_snippets",
        "nytEditorialSnippets_GroundTruth.txt",
        "Sentence of an editorial",
        (600, 200, 500),
        (700, 200, 500),
        Sizes(600, 198, 600),
    ),
]:
    register_task(
        _name,
        functools.partial(rated, _asset),
        max_len=64,
        cpu_sizes=_cpu_sizes,
        gpu_sizes=_gpu_sizes,
        prompt=_prompt_of(_what, ("negative", "positive"), "positive or negative"),
        option=_with_neutral(_name, _what, _three_sizes),
    )(sentiment)


@functools.cache
def rated_apart(gap: str) -> dict[str, functools.partial]:
    """Returns {"source": pairs of film snippets whose ratings in [-4, 4] lie at least `gap` apart}.

    No snippet is in two pairs.

    Raises:
        ValueError: a gap that is no number in (0, 8).
    """
    try:
        if not 0 < float(gap) < 8:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"snippet_preferences@{gap}: expected a gap between two ratings, a number in (0, 8)"
        ) from None
    return {"source": functools.partial(_pairs, float(gap))}


def _pairs(gap: float) -> dict[str, list[dict]]:
    """Pairs each snippet, in the order of a hash, with the first one before it that is apart
    enough.

    Returns:
        {'all': rows {better, worse, gap}}.
    """
    rows = list({row["text"]: row for row in rated(MOVIES)["all"]}.values())
    rows.sort(key=lambda row: draw(2**64, row["text"]))
    # (rating, place in the order), sorted; any two are less than `gap` apart, else they were a pair
    waiting: list[tuple[float, int]] = []
    pairs = []
    for place, row in enumerate(rows):
        apart = _apart(waiting, row["rating"], gap)
        if not apart:
            bisect.insort(waiting, (row["rating"], place))
            continue
        other = min(apart, key=lambda rating_and_place: rating_and_place[1])
        del waiting[bisect.bisect_left(waiting, other)]
        worse, better = sorted((row, rows[other[1]]), key=lambda row: row["rating"])
        difference = better["rating"] - worse["rating"]
        pairs.append({"better": better["text"], "worse": worse["text"], "gap": difference})
    return {"all": pairs}


def _apart(waiting: list[tuple[float, int]], rating: float, gap: float) -> list[tuple[float, int]]:
    """Returns those of sorted (rating, place) that lie at least `gap` from a rating.

    They are at one end, which is read no further than they go.
    """
    lower = itertools.takewhile(lambda each: rating - each[0] >= gap, waiting)
    higher = itertools.takewhile(lambda each: each[0] - rating >= gap, reversed(waiting))
    return [*lower, *higher]


# Batches and epochs are those of NLP tasks: so few comparisons would make a handful of batches of
# 220.
@register_task(
    "snippet_preferences",
    max_len=64,
    arity=2,
    gpu_sizes=(1_500, 300, 1_000),
    stop="last",
    source=rated_apart("1")["source"],
    option=rated_apart,
    prompt=Prompt(
        "Review A: {0}\nReview B: {1}\nMore favourable:",
        ("A", "B"),
        "Of two sentences from film reviews, name the more favourable one: A or B.",
    ),
)
def snippet_preferences(row):
    """Did people rate the second snippet higher? By at least 1 of 8 points; `snippet_preferences@2`
    asks for 2.
    """
    yield from comparison(row["better"], row["worse"])
