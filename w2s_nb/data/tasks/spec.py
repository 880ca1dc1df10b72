"""What a task is: where its rows come from, and how a row becomes examples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from ...common.registry import TASKS, UnknownName


@dataclass(frozen=True)
class Example:
    """One question to a model.

    Attributes:
        texts: one text to classify or to answer, or two to compare.
        label: 0 or 1; for two texts, 1 says that the second is the better; 0 where there is an answer.
        keys: what ties examples together (the question, the passage); examples that share any key, directly or
            through others, never stand in different halves.
        answer: what a model is to generate after the text, a space and one word; "" for a choice of two classes.
        difficulty: of a question with an answer, in the task's own measure.
        themes: what it is about.
    """

    texts: tuple[str, ...]
    label: int
    keys: tuple[str, ...] = ()
    answer: str = ""
    difficulty: float = float("nan")
    themes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hub:
    """A dataset on the Hugging Face hub, at one commit, with the splits that carry labels.

    Attributes:
        revision: a commit; None takes the one that `main` is at when the rows are first asked for.
        parts: `data_dir` folders to be joined, or () for the whole repository.
        limit: rows streamed of each split, for sets too large to fetch whole; None fetches all.
    """

    id: str
    revision: str | None
    train: str = "train"
    test: str = "test"
    parts: tuple[str, ...] = ()
    limit: int | None = None


@dataclass(frozen=True)
class Prompt:
    """How an example is put to a language model in words.

    Attributes:
        template: of one question, {0} standing for its text ({0} and {1} for the two of a pair); the answer follows.
        words: the answers for the classes 0 and 1.
        instruction: what is asked, once, before all questions; "" for none.
    """

    template: str
    words: tuple[str, str]
    instruction: str = ""

    def ask(self, texts: tuple[str, ...]) -> str:
        """The question about an example's texts."""
        return self.template.format(*texts)


@dataclass(frozen=True)
class TaskSpec:
    """A registered task.

    Attributes:
        source: a `Hub`, or a function without arguments that returns {split name: rows}.
        examples: row -> examples of it; none drops the row.
        arity: texts an example; 1 classifies, 2 compares.
        max_len: tokens kept of a text by default, counted from its end.
        about: first line of the formatter's docstring.
        prompt: how an example is put to a language model.
        hyperparameters: of finetuning, that this task sets; probes keep their own.
        stop: the checkpoint that finetuning on this task takes; "" leaves it to the labels.
        option: text -> the source that it narrows the task to, or None.
        narrow: text -> which examples it narrows the task to, or None.
        keep: which examples are taken; None takes all.
        folders: names of the folder of local files, the first that is there.
        max_answer: tokens that are generated for an answer; 0 for a task of classes.
        options: text -> all answers that are allowed, each with its leading space; None where that is open.
        bare: answer -> how options are written; a mark that gives the answer away is no part of it.
        measure: what the difficulty of an example is measured in.
    """

    name: str
    source: Hub | Callable[[], dict[str, Iterable[dict]]]
    examples: Callable[[dict], Iterable[Example]]
    arity: int
    max_len: int
    about: str
    prompt: Prompt
    hyperparameters: dict = field(default_factory=dict, hash=False)
    stop: str = ""
    option: Callable[[str], Callable] | None = None
    narrow: Callable[[str], Callable[[Example], bool]] | None = None
    keep: Callable[[Example], bool] | None = None
    folders: tuple[str, ...] = ()
    max_answer: int = 0
    options: Callable[[str], tuple[str, ...]] | None = None
    bare: Callable[[str], str] = str
    measure: str = ""

    def with_option(self, option: str) -> TaskSpec:
        """The task narrowed: to one of its hub dataset's parts, or as its own `option` says.

        Raises:
            UnknownName, ValueError: no such part or option.
        """
        if self.narrow:
            return replace(self, name=f"{self.name}@{option}", keep=self.narrow(option))
        parts = self.source.parts if isinstance(self.source, Hub) else ()
        if parts and option not in parts:
            raise UnknownName(f"part of {self.name}", option, parts)
        if not parts and self.option is None:
            raise ValueError(f"{self.name}@{option}: the task {self.name} has no options")
        source = replace(self.source, parts=(option,)) if parts else self.option(option)
        return replace(self, name=f"{self.name}@{option}", source=source)


def register_task(
    name: str, source, *, max_len: int, arity: int = 1, prompt: Prompt | None = None, **more
):
    """Registers a formatter `row -> iterable of Example` as a task; see any file of this folder.

    Args:
        prompt: how an example is put to a language model; None asks the question that the formatter's docstring begins
            with, to be answered with yes or no, or for a pair with B or A.
        more: further fields of `TaskSpec`: hyperparameters, stop, option, narrow, folders, max_answer, options, bare,
            measure.
    """

    def decorate(examples):
        about = (examples.__doc__ or "").strip().split("\n")[0]
        TASKS.register(
            name,
            TaskSpec(
                name,
                source,
                examples,
                arity,
                max_len,
                about,
                prompt or _asking(about, arity),
                **{"folders": (name,)} | more,
            ),
        )
        return examples

    return decorate


def _asking(about: str, arity: int) -> Prompt:
    question = about[: about.index("?") + 1] if "?" in about else about
    if arity == 2:
        instruction, template = (
            f"{question} Answer A for the first, B for the second.",
            "A: {0}\n\nB: {1}\n\nAnswer:",
        )
        return Prompt(template, ("A", "B"), instruction)
    return Prompt("{0}\nAnswer:", ("no", "yes"), f"{question} Answer yes or no.")


def comparison(chosen: str, rejected: str, *keys: str) -> Iterable[Example]:
    """A pair of texts of which people preferred one; which stands second is drawn by the pair's own hash.

    Not by which is preferred: of a pair that was judged twice, both ways, the first judgement counts.
    """
    if chosen != rejected:
        pair = sorted((chosen, rejected))
        pair = tuple(pair[::-1] if draw(2, *pair) else pair)
        yield Example(pair, pair.index(chosen), keys)


def draw(options: int, *key: str) -> int:
    """A number in 0..options-1 fixed by `key`: the same draw in every process, on every machine, at every seed."""
    return int.from_bytes(hashlib.sha256("\x1f".join(key).encode()).digest()[:8]) % options
