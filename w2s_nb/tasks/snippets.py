"""Sentiment of snippets that people rated, embedded: Hutto and Gilbert 2014, from the vaderSentiment package (MIT)."""
import functools
import html
import math
import string

from ..assets import fetch
from .base import Example, Prompt, register_task

MIN_RATING = 0.5  # of 4; nearer to zero, raters found no sentiment or disagreed on its sign


def rated(asset: str) -> dict[str, list[dict]]:
    """Rows {id, rating in [-4, 4], text} of a ground-truth file: a mean over about 20 raters."""
    lines = fetch(asset).read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t", 2) for line in lines)
    return {"all": [{"id": i, "rating": float(rating), "text": html.unescape(text)} for i, rating, text in rows]}


def sentiment(row: dict):
    """Is the snippet positive? Mean human rating at least 0.5 away from neutral."""
    if abs(row["rating"]) >= MIN_RATING:
        review = row["id"].partition("_")[0] if "_" in row["id"] else row["text"]  # snippets of one review together
        yield Example((row["text"],), int(row["rating"] > 0), (review,))


@functools.cache
def lexicon() -> dict[str, float]:
    """{word: valence in [-4, 4]} of VADER's lexicon, a mean over ten raters."""
    lines = fetch("vader_lexicon.txt").read_text(encoding="utf-8").splitlines()
    return {word: float(valence) for word, valence, *_ in (line.split("\t") for line in lines if line)}


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


for _name, _asset, _what in [("amazon_snippets", "amazonReviewSnippets_GroundTruth.txt", "Product review"),
                             ("movie_snippets", "movieReviewSnippets_GroundTruth.txt", "Film review"),
                             ("tweet_snippets", "tweets_GroundTruth.txt", "Tweet")]:
    register_task(_name, functools.partial(rated, _asset), max_len=64, prompt=Prompt(
        f"{_what}: {{0}}\nSentiment:", ("negative", "positive"),
        f"Classify the sentiment of each {_what.lower()} as positive or negative."))(sentiment)
