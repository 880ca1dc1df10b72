"""Sentiment of snippets that people rated, embedded: Hutto and Gilbert 2014, from the vaderSentiment package (MIT)."""
import functools
import html

from ..assets import fetch
from .base import Example, register_task

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


for _name, _asset in [("amazon_snippets", "amazonReviewSnippets_GroundTruth.txt"),
                      ("movie_snippets", "movieReviewSnippets_GroundTruth.txt"),
                      ("tweet_snippets", "tweets_GroundTruth.txt")]:
    register_task(_name, functools.partial(rated, _asset), max_len=64)(sentiment)
