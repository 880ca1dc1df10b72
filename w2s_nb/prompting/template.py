"""A prompt's words: instruction, solved examples, question and answers, in plain text or in a chat template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..data.tasks.spec import Prompt


@dataclass(frozen=True)
class Rendered:
    """A prompt around a question.

    Attributes:
        pieces: what stands before the question, (text, whether its special tokens are meant) each. Those of a chat
            template are; a text of the task that spells one out, such as an end of turn, is text.
        tail: what stands after it, of the template.
        answers: for the classes 0 and 1, that may follow.
    """

    pieces: tuple[tuple[str, bool], ...]
    tail: str
    answers: tuple[str, str]

    @property
    def head(self) -> str:
        """All that stands before the question, the same for every question."""
        return "".join(text for text, _ in self.pieces)

    def encode(
        self, tok, questions: Sequence[str]
    ) -> tuple[list[int], list[list[int]], list[list[int]]]:
        """Token ids of the head, of each question with the tail, and of the two answers.

        White space at the end of the head goes to the questions: tokenizers join it with what follows.
        """

        def ids(text: str, special: bool = False, start: bool = False) -> list[int]:
            return tok(
                text, add_special_tokens=start, split_special_tokens=not special, verbose=False
            )["input_ids"]

        pieces, gap = list(self.pieces), ""
        if pieces:
            last, special = pieces[-1]
            gap, pieces[-1] = last[len(last.rstrip()) :], (last.rstrip(), special)
        plain = not any(
            special for _, special in pieces
        )  # then the tokenizer begins the sequence, not a template
        head = [
            i
            for at, (text, special) in enumerate(pieces)
            for i in ids(text, special, plain and at == 0)
        ]
        head = head if pieces or not plain else ids("", start=True)
        tail = ids(self.tail, special=True)
        return (
            head,
            [ids(gap + question) + tail for question in questions],
            [ids(answer) for answer in self.answers],
        )


def render(
    wording: Prompt, solved: Sequence[tuple[tuple[str, ...], int]] = (), tok=None
) -> Rendered:
    """The prompt around a question: instruction, solved examples, and where the answer goes.

    Args:
        solved: (texts, class) of each shot.
        tok: a tokenizer with a chat template, for a conversation whose turns are the shots; None for plain text.
    """
    turns = [(wording.ask(texts), wording.words[y]) for texts, y in solved]
    start = f"{wording.instruction}\n\n" if wording.instruction else ""
    if tok is None:
        head = start + "".join(f"{question} {answer}\n\n" for question, answer in turns)
        return Rendered(
            ((head, False),) if head else (), "", tuple(f" {word}" for word in wording.words)
        )
    said = [text for turn in turns for text in turn] + [
        ""
    ]  # the last, the question's place, is left open
    said[0] = start + said[0]
    marks = [f"<<turn {i} of {len(said)}>>" for i in range(len(said))]
    whole = tok.apply_chat_template(
        [{"role": ("user", "assistant")[i % 2], "content": mark} for i, mark in enumerate(marks)],
        tokenize=False,
        add_generation_prompt=True,
    )
    between = re.split("|".join(map(re.escape, marks)), whole)
    if len(between) != len(marks) + 1:
        raise ValueError(
            f"the chat template does not show each turn once; give chat=False. It made:\n{whole}"
        )
    pieces = [
        piece
        for text, content in zip(between, said)
        for piece in ((text, True), (content, False))
        if piece[0]
    ]
    return Rendered(tuple(pieces), between[-1], wording.words)


def cut(tok, texts: tuple[str, ...], max_len: int) -> tuple[str, ...]:
    """Texts cut to their last `max_len` tokens, where a token begins."""
    starts = [
        [at for at, _ in found]
        for found in tok(
            list(texts), add_special_tokens=False, verbose=False, return_offsets_mapping=True
        )["offset_mapping"]
    ]
    return tuple(
        text if len(at) <= max_len else text[at[-max_len] :] for text, at in zip(texts, starts)
    )
