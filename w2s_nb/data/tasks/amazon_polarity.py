"""Amazon reviews: negative (1 or 2 stars) or positive (4 or 5)."""

from .spec import Example, Hub, Prompt, register_task


@register_task(
    "amazon_polarity",
    max_len=256,
    source=Hub(
        "fancyzhx/amazon_polarity", "9d9c45c18f8c3cf1b23a3c27917b60cbf28f3289", limit=60_000
    ),
    columns=("title", "content", "label"),
    may_be_empty=("title",),
    prompt=Prompt(
        "Review: {0}\nSentiment:",
        ("negative", "positive"),
        "Classify each product review as positive or negative.",
    ),
)
def amazon_polarity(row):
    """Is the product review positive?"""
    text = "\n".join(part for part in (row["title"], row["content"]) if part)
    yield Example((text,), row["label"], (row["content"],))
