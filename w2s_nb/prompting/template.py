"""Writes prompts: instruction, solved examples, question and answers, as text or conversation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..data.tasks.spec import Prompt


@dataclass(frozen=True)
class Rendered:
    """A prompt around a question.

    Attributes:
        pieces: what stands before the question, pairs of a text and whether its special tokens are
            meant. Those of a chat template are; where a text of the task spells one out, such as
            an end of turn, it is text.
        tail: what the chat template puts after the question.
        answers: the words that may follow, one per class.
    """

    pieces: tuple[tuple[str, bool], ...]
    tail: str
    answers: tuple[str, ...]

    @property
    def head(self) -> str:
        """Returns all that stands before the question, the same for every question."""
        return "".join(text for text, _ in self.pieces)

    def encode(
        self, tok, questions: Sequence[str]
    ) -> tuple[list[int], list[list[int]], list[list[int]]]:
        """Returns token ids of the head, of each question with the tail, and of the answers.

        White space at the end of the head goes to the questions: tokenizers join it with what
        follows.
        """

        def ids(text: str, special: bool = False, start: bool = False) -> list[int]:
            encoded = tok(
                text, add_special_tokens=start, split_special_tokens=not special, verbose=False
            )
            return encoded["input_ids"]

        pieces = list(self.pieces)
        gap = ""
        if pieces:
            last, special = pieces[-1]
            stripped = last.rstrip()
            gap = last[len(stripped) :]
            pieces[-1] = (stripped, special)
        # A chat template begins the sequence itself; a plain prompt leaves that to the tokenizer.
        plain = not any(special for _, special in pieces)
        head: list[int] = []
        for i, (text, special) in enumerate(pieces):
            head += ids(text, special, start=plain and i == 0)
        if plain and not pieces:
            head = ids("", start=True)
        tail = ids(self.tail, special=True)
        return (
            head,
            [ids(gap + question) + tail for question in questions],
            [ids(answer) for answer in self.answers],
        )


def render(
    wording: Prompt, solved: Sequence[tuple[tuple[str, ...], int]] = (), tok=None
) -> Rendered:
    """Writes the prompt around a question: instruction, solved examples, place of the answer.

    Args:
        solved: (texts, class) of each shot.
        tok: a tokenizer with a chat template, for a conversation whose turns are the shots; None
            for plain text.
    Raises:
        ValueError: a chat template that does not show each turn once.
    """
    turns = [(wording.ask(texts), wording.words[label]) for texts, label in solved]
    instruction = f"{wording.instruction}\n\n" if wording.instruction else ""
    if tok is not None:
        return _render_chat(instruction, turns, wording.words, tok)
    head = instruction + "".join(f"{question} {answer}\n\n" for question, answer in turns)
    answers = tuple(f" {word}" for word in wording.words)
    return Rendered(((head, False),) if head else (), "", answers)


def _render_chat(
    instruction: str, turns: list[tuple[str, str]], words: tuple[str, ...], tok
) -> Rendered:
    """Writes a conversation: solved questions and answers take turns, the last question is open."""
    contents = [text for turn in turns for text in turn] + [""]
    contents[0] = instruction + contents[0]
    # Templates may trim what is said, so they are given marks, which the contents then replace.
    marks = [f"<<turn {i} of {len(contents)}>>" for i in range(len(contents))]
    messages = [
        {"role": ("user", "assistant")[i % 2], "content": mark} for i, mark in enumerate(marks)
    ]
    whole = tok.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    between = re.split("|".join(map(re.escape, marks)), whole)
    if len(between) != len(marks) + 1:
        raise ValueError(
            f"the chat template does not show each turn once; give chat=False. It made:\n{whole}"
        )
    pieces = []
    for of_template, content in zip(between[:-1], contents, strict=True):
        pieces += [(of_template, True), (content, False)]
    return Rendered(tuple(piece for piece in pieces if piece[0]), between[-1], words)


def cut(tok, texts: tuple[str, ...], max_len: int) -> tuple[str, ...]:
    """Cuts texts to their last `max_len` tokens, where a token begins."""
    encoded = tok(list(texts), add_special_tokens=False, verbose=False, return_offsets_mapping=True)
    shortened = []
    for text, offsets in zip(texts, encoded["offset_mapping"], strict=True):
        if len(offsets) > max_len:
            first_character, _ = offsets[-max_len]
            text = text[first_character:]
        shortened.append(text)
    return tuple(shortened)
