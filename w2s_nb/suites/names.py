"""Names the suites: lists of tasks whose results are read together."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.registry import UnknownName

_EMBEDDED = (
    "movie_snippets",
    "amazon_snippets",
    "tweet_snippets",
    "editorial_snippets",
    "snippet_preferences",
)
# in the paper's order; ANLI with neutral and contradiction as one class, as there
_PAPER = (
    "boolq",
    "cosmos_qa",
    "dream",
    "ethics_justice",
    "ethics_deontology",
    "ethics_virtue",
    "ethics_utilitarianism",
    "anli@binary",
    "cola",
    "sst2",
    "hellaswag",
    "mc_taco",
    "openbookqa",
    "paws",
    "quail",
    "piqa",
    "quartz",
    "sciq",
    "social_i_qa",
    "multirc",
    "wic",
    "twitter_sentiment",
)
# those four left out where even weak models of theirs were nearly always right
_ELEUTHER = (
    "anli@binary",
    "cola",
    "dream",
    "ethics_utilitarianism",
    "mc_taco",
    "hellaswag",
    "multirc",
    "paws",
    "piqa",
    "quail",
    "quartz",
    "social_i_qa",
    "sst2",
    "wic",
    "twitter_sentiment",
    "sciq",
    "sciq@support",
    "anthropic_hh",
    "cosmos_qa",
    "boolq",
    "amazon_polarity",
)
_OPENAI = ("sciq", "boolq", "cosmos_qa", "amazon_polarity", "anthropic_hh")


@dataclass(frozen=True)
class Suite:
    """A named list of tasks.

    Attributes:
        about: one line that says where the list is from.
        tasks: their registered names.
        where_local: further tasks, taken where `W2S_DATA` has a folder of theirs.
    """

    name: str
    about: str
    tasks: tuple[str, ...]
    where_local: tuple[str, ...] = ()


SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            "laptop",
            "texts that come with the kit, and the other suites' tasks that W2S_DATA has files of",
            _EMBEDDED,
            tuple(dict.fromkeys((*_PAPER, *_ELEUTHER, *_OPENAI))),
        ),
        Suite("paper", "the 22 NLP tasks of Burns et al. 2023, table 1", _PAPER),
        Suite("eleuther", "the 21 tasks that EleutherAI's w2s (2024) reports", _ELEUTHER),
        Suite("openai", "the 5 tasks of the code that OpenAI released with the paper", _OPENAI),
    )
}


def suite_of(name: str) -> Suite:
    """Returns a suite by its name.

    Raises:
        UnknownName: no such suite; lists what exists.

    >>> suite_of("openai").tasks[:2]
    ('sciq', 'boolq')
    """
    if name not in SUITES:
        raise UnknownName("suite", str(name), SUITES)
    return SUITES[name]
