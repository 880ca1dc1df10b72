"""Sentiment of snippets that people rated, embedded: Hutto and Gilbert 2014, from the vaderSentiment package (MIT)."""

import functools
import html
import math
import string

from ...common.assets import fetch
from .spec import Example, Prompt, comparison, draw, register_task

MOVIES = "movieReviewSnippets_GroundTruth.txt"
MIN_RATING = 0.5  # of 4; nearer to zero, raters found no sentiment or disagreed on its sign


def rated(asset: str) -> dict[str, list[dict]]:
    """Rows {id, rating in [-4, 4], text} of a ground-truth file: a mean over about 20 raters."""
    lines = fetch(asset).read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t", 2) for line in lines)
    return {
        "all": [
            {"id": i, "rating": float(rating), "text": html.unescape(text)}
            for i, rating, text in rows
        ]
    }


def sentiment(row: dict):
    """Is the snippet positive? Mean human rating at least 0.5 away from neutral."""
    if abs(row["rating"]) >= MIN_RATING:
        review = (
            row["id"].partition("_")[0] if "_" in row["id"] else row["text"]
        )  # snippets of one review together
        yield Example((row["text"],), int(row["rating"] > 0), (review,))


@functools.cache
def lexicon() -> dict[str, float]:
    """{word: valence in [-4, 4]} of VADER's lexicon, a mean over ten raters."""
    lines = fetch("vader_lexicon.txt").read_text(encoding="utf-8").splitlines()
    return {
        word: float(valence) for word, valence, *_ in (line.split("\t") for line in lines if line)
    }


def lexicon_score(*texts: str) -> float:
    """P(y = 1) by counting words: the sum s of their valences, as (1 + s / sqrt(s^2 + 15)) / 2.

    That is VADER's normalised score without its rules for negation, emphasis and punctuation. A supervisor that has
    seen no text of any task. Of two texts the second is better with (1 + its score - the first's) / 2.

    Source: Hutto and Gilbert 2014.

    >>> lexicon_score("a great film") > 0.7, lexicon_score("a film")
    (True, 0.5)
    """
    if len(texts) == 2:
        return (1 + lexicon_score(texts[1]) - lexicon_score(texts[0])) / 2
    s = sum(lexicon().get(word.strip(string.punctuation), 0.0) for word in texts[0].lower().split())
    return (1 + s / math.sqrt(s * s + 15)) / 2


for _name, _asset, _what in [
    ("amazon_snippets", "amazonReviewSnippets_GroundTruth.txt", "Product review"),
    ("movie_snippets", MOVIES, "Film review"),
    ("tweet_snippets", "tweets_GroundTruth.txt", "Tweet"),
]:
    register_task(
        _name,
        functools.partial(rated, _asset),
        max_len=64,
        prompt=Prompt(
            f"{_what}: {{0}}\nSentiment:",
            ("negative", "positive"),
            f"Classify the sentiment of each {_what.lower()} as positive or negative.",
        ),
    )(sentiment)


@functools.cache
def rated_apart(gap: str) -> functools.partial:
    """Source of pairs of film snippets whose ratings lie at least `gap` apart, of [-4, 4]; no snippet is in two.

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
    return functools.partial(_pairs, float(gap))


def _pairs(gap: float) -> dict[str, list[dict]]:
    """Rows {better, worse, gap}: each snippet with the first before it, in a hash's order, that is apart enough."""
    rows, waiting, pairs = {row["text"]: row for row in rated(MOVIES)["all"]}, [], []
    for row in sorted(rows.values(), key=lambda row: draw(2**64, row["text"])):
        other = next((w for w in waiting if abs(w["rating"] - row["rating"]) >= gap), None)
        if other is None:
            waiting.append(row)
        else:
            waiting.remove(other)
            worse, better = sorted((row, other), key=lambda row: row["rating"])
            pairs.append(
                {
                    "better": better["text"],
                    "worse": worse["text"],
                    "gap": better["rating"] - worse["rating"],
                }
            )
    return {"all": pairs}


# a hundredth of the paper's comparisons would make a handful of batches of 220: batches and epochs are those of NLP
@register_task(
    "snippet_preferences",
    max_len=64,
    arity=2,
    stop="last",
    source=rated_apart("1"),
    option=rated_apart,
    prompt=Prompt(
        "Review A: {0}\nReview B: {1}\nMore favourable:",
        ("A", "B"),
        "Of two sentences from film reviews, name the more favourable one: A or B.",
    ),
)
def snippet_preferences(row):
    """Did people rate the second snippet higher? By at least 1 of 8 points; `snippet_preferences@2` asks for 2."""
    yield from comparison(row["better"], row["worse"])
