"""Registers tasks on one sentence: acceptability (CoLA) and sentiment (SST-2, tweets)."""

from .spec import Example, Hub, Prompt, register_task

SENTIMENTS = ("negative", "positive")


@register_task(
    "cola",
    max_len=64,
    cpu_sizes=(600, 200, 600),
    gpu_sizes=(2_200, 400, 640),
    source=Hub(
        "nyu-mll/glue",
        "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
        test="validation",
        parts=("cola",),
    ),
    folders=("cola", "glue/cola"),
    columns=("sentence", "label"),
    prompt=Prompt(
        "Sentence: {0}\nAcceptable:",
        ("no", "yes"),
        "Judge whether each sentence is acceptable English: yes or no.",
    ),
)
def cola(row):
    """Is the sentence acceptable English? Linguists judged 8,551 for training.

    Source: Warstadt et al. 2018.
    """
    yield Example((row["sentence"].strip(),), row["label"])


@register_task(
    "sst2",
    max_len=64,
    gpu_sizes=(10_000, 1_000, 850),
    source=Hub("stanfordnlp/sst2", "8d51e7e4887a4caaa95b3fbebbf53c0490b58bbb", test="validation"),
    folders=("sst2", "glue/sst2"),
    columns=("sentence", "label"),
    prompt=Prompt(
        "Film review: {0}\nSentiment:",
        SENTIMENTS,
        "Classify the sentiment of each film review as positive or negative.",
    ),
)
def sst2(row):
    """Is the phrase from a film review positive? 67,349 phrases for training, 872 sentences for
    test.

    The rows do not say which sentence a phrase is of. So phrases of one sentence may stand in both
    halves, where the supervisor's labels are then better than on sentences that it has never seen;
    the sentences for test are others.

    Source: Socher et al. 2013.
    """
    yield Example((row["sentence"].strip(),), row["label"])


# The rows of a limit are the first ones. Where their labels are sorted, the task is refused.
@register_task(
    "twitter_sentiment",
    max_len=64,
    source=Hub("EleutherAI/twitter-sentiment", None, limit=60_000),
    columns=("text", "label"),
    prompt=Prompt(
        "Tweet: {0}\nSentiment:",
        SENTIMENTS,
        "Classify the sentiment of each tweet as positive or negative.",
    ),
)
def twitter_sentiment(row):
    """Is the tweet positive? Of 1.57 million tweets the first 60,000.

    The paper does not name its tweets; these are EleutherAI's.
    """
    yield Example((row["text"].strip(),), row["label"])
