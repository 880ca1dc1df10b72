"""Registers comparisons of two responses to one prompt, for reward models.

A model is always shown both responses, never one alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ...common.registry import UnknownName
from .spec import Example, Hub, Prompt, choice_of, comparison, need_text, register_task, unix_breaks

_ROLES = {"user": "Human"}
_TURNS = ("Human:", "Assistant:", "System:")  # what the turns of a dialogue begin with

# Burns et al. 2023, appendix A.3: one epoch, batches of 220, no early stopping
REWARD_MODEL: dict[str, Any] = {"hyperparameters": {"epochs": 1, "batch_size": 220}, "stop": "last"}

_HH = Hub(
    "Anthropic/hh-rlhf",
    "09be8c5bbc57cb3887f3a9732ad6aa7ec602a1fa",
    parts=("harmless-base", "helpful-base", "helpful-online", "helpful-rejection-sampled"),
)
_SINGLE = {
    f"{kind}-single": tuple(part for part in _HH.parts if part.startswith(kind))
    for kind in ("harmless", "helpful")
}


def _single_turns(name: str) -> dict[str, Any]:
    """Returns what `@helpful-single` or `@harmless-single` changes: the dialogues with one request
    and one reply, of all parts that are helpful or harmless.
    """
    if name not in _SINGLE:
        raise UnknownName("part of anthropic_hh", name, (*_HH.parts, *_SINGLE))
    return {"source": replace(_HH, parts=_SINGLE[name]), "examples": single_turn_hh}


@register_task(
    "anthropic_hh",
    max_len=512,
    arity=2,
    **REWARD_MODEL,
    source=_HH,
    option=_single_turns,
    columns=("chosen", "rejected"),
    prompt=Prompt(
        "Dialogue A:\n{0}\n\nDialogue B:\n{1}\n\nBetter:",
        ("A", "B"),
        "Of two dialogues that differ in the assistant's last reply, name the one with the reply "
        "that is more helpful and less harmful: A or B.",
    ),
)
def anthropic_hh(row):
    """Is the second dialogue the one that people preferred?

    Dialogues that begin alike stay together. Rows may have their prompt in a column of its own, and
    texts or lists of messages.
    """
    chosen, rejected = _dialogues(row.get("prompt"), row["chosen"], row["rejected"])
    yield from comparison(chosen, rejected, chosen.partition("\n\nAssistant:")[0])


def single_turn_hh(row) -> Iterable[Example]:
    """Is the second dialogue the one that people preferred? Of one request and one reply.

    A reply that plays further turns of the assistant, as some do, is one reply.
    """
    for example in anthropic_hh(row):
        if not any("\n\nHuman:" in text for text in example.texts):
            yield example


def _dialogues(prompt, *replies) -> list[str]:
    """Returns dialogues, each of the prompt and a reply; a prompt that a reply has is not
    doubled.

    Args:
        prompt: a text, a list of messages {role, content}, or None.
        replies: texts or lists of messages.
    """
    request = _text_of(prompt).removesuffix("Assistant:").strip()
    texts = [_text_of(reply) for reply in replies]
    if not request:
        return texts
    if all(text.startswith(request) for text in texts):
        texts = [text.removeprefix(request).strip() for text in texts]
    if not request.startswith(_TURNS):
        request = f"Human: {request}"
    return [_reply_to(request, text) for text in texts]


def _reply_to(request: str, text: str) -> str:
    """Returns a dialogue that begins with the request."""
    if text.startswith(request):
        return text
    if not text.startswith(_TURNS):
        text = f"Assistant: {text}"
    return f"{request}\n\n{text}"


def _text_of(messages) -> str:
    """Returns messages as a dialogue of Human and Assistant; a text as it is, without its ends."""
    if messages is None:
        return ""
    if isinstance(messages, str):
        return unix_breaks(messages).strip()
    return "\n\n".join(
        f"{_ROLES.get(message['role'], message['role'].capitalize())}: "
        f"{need_text(message['content'], 'a message').strip()}"
        for message in messages
    )


# The hub's main branch holds a loading script; its rows are read from the parquet branch.
@register_task(
    "summarize_from_feedback",
    max_len=512,
    arity=2,
    **REWARD_MODEL,
    source=Hub(
        "openai/summarize_from_feedback",
        "b8f7d168b6f4e95b2a92e84768bd6c955bed2f29",
        test="validation",
        parts=("comparisons",),
    ),
    columns=("info", "summaries", "choice"),
    prompt=Prompt(
        "A:\n{0}\n\nB:\n{1}\n\nBetter summary:",
        ("A", "B"),
        "Of two summaries of the same post, each after the post, name the better one: A or B.",
    ),
)
def summarize_from_feedback(row):
    """Is the second summary the one that people preferred?"""
    info = row["info"]
    lines = []
    if info.get("subreddit"):
        lines.append(f"SUBREDDIT: r/{info['subreddit']}")
    if info.get("title"):
        lines.append(f"TITLE: {info['title'].strip()}")
    post = (info.get("post") or info.get("article") or "").strip()  # some rows are news articles
    request = "\n".join([*lines, f"POST: {post}"])
    summaries = [need_text(text, "a summary").strip() for text in _summaries(row)]
    texts = [f"{request}\n\nTL;DR: {summary}" for summary in summaries]
    choice = choice_of(row["choice"], 2, "choice")
    yield from comparison(texts[choice], texts[1 - choice], post)


def _summaries(row: dict) -> list[str]:
    """Returns the two summaries of a row: readers of parquet give a column, others a list."""
    summaries = row["summaries"]
    if isinstance(summaries, dict):
        return summaries["text"]
    return [summary["text"] for summary in summaries]


SUBREDDITS = tuple(
    """
    askacademia askanthropology askbaking askcarguys askculinary askdocs askengineers askhistorians
    askhr askphilosophy askphysics askscience asksciencefiction asksocialscience askvet changemyview
    explainlikeimfive legaladvice
""".split()
)


@register_task(
    "shp",
    max_len=512,
    arity=2,
    **REWARD_MODEL,
    source=Hub("stanfordnlp/SHP", None, parts=SUBREDDITS),
    columns=("history", "human_ref_A", "human_ref_B", "labels", "post_id"),
    prompt=Prompt(
        "A:\n{0}\n\nB:\n{1}\n\nBetter comment:",
        ("A", "B"),
        "Of two comments on the same post, each after the post, name the more helpful: A or B.",
    ),
)
def shp(row):
    """Is the second comment the one that readers voted higher?"""
    texts = [
        f"POST: {row['history'].strip()}\n\nCOMMENT: {row[ref].strip()}"
        for ref in ("human_ref_B", "human_ref_A")
    ]
    better = choice_of(row["labels"], 2, "labels")
    yield from comparison(texts[better], texts[1 - better], row["post_id"])


@register_task(
    "ultrafeedback",
    max_len=1024,
    arity=2,
    gpu_sizes=(10_000, 1_000, 1_800),
    **REWARD_MODEL,
    source=Hub(
        "HuggingFaceH4/ultrafeedback_binarized",
        "3949bf5f8c17c394422ccfab0c31ea9c20bdeb85",
        train="train_prefs",
        test="test_prefs",
    ),
    columns=("prompt", "chosen", "rejected", "score_chosen", "score_rejected"),
    prompt=Prompt(
        "Dialogue A:\n{0}\n\nDialogue B:\n{1}\n\nBetter:",
        ("A", "B"),
        "Of two replies to the same request, name the better one: A or B.",
    ),
)
def ultrafeedback(row):
    """Is the second reply the one that the judge scored higher? Ties are left out."""
    if row["score_chosen"] > row["score_rejected"]:
        request = f"Human: {row['prompt'].strip()}"
        last = [need_text(row[side][-1]["content"], side) for side in ("chosen", "rejected")]
        texts = [f"{request}\n\nAssistant: {reply.strip()}" for reply in last]
        yield from comparison(*texts, row["prompt"])
