"""Defines a task: where its rows come from, and how a row becomes examples."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from ...common.files import sha256_of
from ...common.registry import TASKS, UnknownName
from ...common.seeds import check_count, check_seed

# fields of `TaskSpec` that `register_task` has arguments for, or that it makes itself
_GIVEN_APART = (
    "name",
    "source",
    "examples",
    "arity",
    "max_len",
    "about",
    "prompt",
    "classes",
    "keep",
)

IMAGE = "image:"  # how the name of an image begins, in the place of a text
EQUAL, AS_IS = "equal", "as is"  # what a task's `balance` may be
_YES_OR_NO = ("no", "yes")  # classes 0 and 1 of a task that names none
_MANY = 12  # names that are not said one by one


class UnreadableRow(ValueError):
    """A row that a formatter refuses; says what was given and what is expected.

    Whoever reads the rows adds which task, file and row it is.
    """


@dataclass(frozen=True)
class Example:
    """One question to a model.

    Attributes:
        texts: one text to classify or to answer, or two to compare.
        label: the number of the class, from 0; for two texts, 1 says that the second is the better;
            0 where there is an answer.
        keys: names of what the example shares with others (the question, the passage). Examples
            that share a key, directly or through others, never stand in different halves. A name
            that is empty, None or nan ties nothing. Where one name can mean two things, such as a
            function and its package, a key is a pair (kind, name).
        question: name of the question that the text is a right (1) or wrong (0) answer to, with its
            passage if several have the question; "" for none. It is a key too. Of each question as
            many right as wrong answers are used, where there are two classes and as many of each.
            Several examples of one row, of one text each, are answers to one question unless they
            name others.
        answer: the text that a model is to generate, a space and one word; "" for a choice of
            classes.
        difficulty: of a question with an answer, in the task's own measure.
        themes: names of what the question is about.
    """

    texts: tuple[str, ...]
    label: int
    keys: tuple[Hashable, ...] = ()
    answer: str = ""
    difficulty: float = float("nan")
    themes: tuple[str, ...] = ()
    question: str = ""


@dataclass(frozen=True)
class Hub:
    """A dataset on the Hugging Face hub, at one commit, with the splits that carry labels.

    Attributes:
        revision: a commit; None takes the one that `main` is at when the rows are first asked for.
        train, test: names of splits; both the same where there is one. "train+val" joins two.
        parts: `data_dir` folders to be joined, or () for the whole repository.
        limit: rows streamed of each split, for sets too large to fetch whole; None fetches all.
        config: name of the configuration, of a repository that has several; "" takes its default.
    """

    id: str
    revision: str | None
    train: str = "train"
    test: str = "test"
    parts: tuple[str, ...] = ()
    limit: int | None = None
    config: str = ""

    def __post_init__(self):
        for name in ("id", "revision", "train", "test", "config"):
            value = getattr(self, name)
            if not isinstance(value, str) and (name, value) != ("revision", None):
                raise TypeError(f"Hub: {name} = {value!r}; expected a text")
        if "://" in self.id:
            raise ValueError(f"Hub: id = {self.id!r}; expected a name such as 'stanfordnlp/imdb'")
        if not isinstance(self.parts, tuple | list) or not all(
            isinstance(part, str) for part in self.parts
        ):
            raise TypeError(f"Hub: parts = {self.parts!r}; expected a tuple of folders")
        object.__setattr__(self, "parts", tuple(self.parts))
        limit = self.limit
        if limit is not None and (type(limit) is not int or limit < 1):
            raise ValueError(f"Hub: limit = {limit!r}; expected a whole number from 1, or None")


@dataclass(frozen=True)
class Prompt:
    """The words in which a language model is asked about an example.

    Attributes:
        template: of one question, {0} standing for its text ({0} and {1} for the two of a pair);
            the answer follows.
        words: the answers for the K classes, in their order.
        instruction: said once, before all questions; "" for none.
    """

    template: str
    words: tuple[str, ...]
    instruction: str = ""

    def ask(self, texts: tuple[str, ...]) -> str:
        """Returns the question about an example's texts."""
        return self.template.format(*texts)


class Sizes(NamedTuple):
    """Examples of each split: a notebook's, where its parameters name none.

    Attributes:
        n_train: in each half.
    """

    n_train: int
    n_val: int
    n_test: int


# of a task that says none: what two cores train in minutes; and the paper's halves of 10,000
CPU_SIZES = Sizes(600, 200, 800)
GPU_SIZES = Sizes(10_000, 1_000, 5_000)

Source = Hub | Callable[[], object]


@dataclass(frozen=True)
class TaskSpec:
    """A registered task.

    Attributes:
        source: a `Hub`, or a function without arguments that returns {split name: table} or one
            table: rows, a DataFrame, a `Dataset`, or the path of a file.
        examples: row -> examples of it; none drops the row.
        arity: texts per example; 1 classifies, 2 compares.
        max_len: tokens kept of a text by default, counted from its end.
        about: first line of the formatter's docstring.
        prompt: the words in which a language model is asked about an example.
        classes: names of the K classes; () where answers are generated.
        balance: "equal" takes as many examples of each class; "as is" keeps the shares that the
            classes have in the data, the same in every split.
        hyperparameters: of finetuning, that this task sets; probes keep their own.
        stop: the checkpoint that finetuning on this task takes; "" leaves it to the labels.
        option: function from the text after `@` to the fields that it changes, such as {"source":
            ...} or {"examples": ..., "classes": ..., "prompt": ...}, or None.
        narrow: function from the text after `@` to a test of the examples that are kept, or None.
        keep: test of the examples that are taken; None takes all.
        folders: names of the folder of local files, below `W2S_DATA`; the first that exists is
            taken.
        max_answer: tokens that are generated for an answer; 0 for a task of classes.
        options: function from a text to all answers that are allowed, each with its leading space;
            None where any answer is allowed.
        bare: function from an answer to how options are written, without a mark that gives the
            answer away.
        measure: unit of the difficulty of examples.
        cpu_sizes, gpu_sizes: examples that a notebook takes on a CPU and on a GPU where its
            parameters are 0; fewer where the rows that are here have fewer.
        columns: columns that every row must have, each with a value; () leaves it to the formatter.
        may_be_empty: those of the columns that may have no value.
        version: hash of the rows or of the file that was there when the task was registered, where
            its source is a table of the user's own; else "".
        prepared: function that returns what decides the examples beside the rows, such as versions
            of code, so that they are made once and kept in the cache; None makes them in each
            process. Their keys must be texts.
        images: of a task whose examples are images, function that returns their lookup: called
            with names of images, as `Example.texts` has them, it gives the pixels, uint8
            (n, H, W, 3). None where examples are texts.
        fetched: its source is a function that reads the hub, or files in the place of it.
        tie: function that adds keys to the examples of an official split, given one list of them
            per row in the order of the rows, where rows that follow one another belong together;
            None where the formatter knows all keys from the row.
    """

    name: str
    source: Source
    examples: Callable[[dict], Iterable[Example]]
    arity: int
    max_len: int
    about: str
    prompt: Prompt
    classes: tuple[str, ...] = ()
    balance: str = EQUAL
    hyperparameters: dict = field(default_factory=dict, hash=False)
    stop: str = ""
    option: Callable[[str], Mapping[str, Any]] | None = None
    narrow: Callable[[str], Callable[[Example], bool]] | None = None
    keep: Callable[[Example], bool] | None = None
    folders: tuple[str, ...] = ()
    max_answer: int = 0
    options: Callable[[str], tuple[str, ...]] | None = None
    bare: Callable[[str], str] = str
    measure: str = ""
    cpu_sizes: Sizes = CPU_SIZES
    gpu_sizes: Sizes = GPU_SIZES
    columns: tuple[str, ...] = ()
    may_be_empty: tuple[str, ...] = ()
    version: str = ""
    prepared: Callable[[], dict] | None = None
    images: Callable[[], Callable] | None = None
    fetched: bool = False
    tie: Callable[[Iterable[list[Example]]], Iterable[list[Example]]] | None = None

    @property
    def n_classes(self) -> int:
        """Returns the number of classes; 1 where answers are generated, as all are right."""
        return 1 if self.max_answer else len(self.classes)

    @property
    def step(self) -> int:
        """Returns what the sizes of splits are multiples of: K; 2 where answers are generated; 1
        where classes keep their shares.
        """
        return 1 if self.balance == AS_IS else max(2, self.n_classes)

    def with_option(self, option: str) -> TaskSpec:
        """Narrows the task to one of its hub dataset's parts, or as its own `option` says.

        Raises:
            UnknownName, ValueError: no such part or option.
        """
        changes: dict[str, Any] = {"name": f"{self.name}@{option}"}
        if self.narrow:
            return replace(self, **changes, keep=self.narrow(option))
        changes["folders"] = (f"{self.name}/{option}",)
        hub = self.source if isinstance(self.source, Hub) else None
        if hub and option in hub.parts:
            changes["source"] = replace(hub, parts=(option,))
        elif self.option is not None:
            changes |= self.option(option)
        elif hub and hub.parts:
            raise UnknownName(f"part of {self.name}", option, hub.parts)
        else:
            raise ValueError(f"{self.name}@{option}: the task {self.name} has no options")
        return replace(self, **changes)


def register_task(
    name: str,
    source,
    *,
    max_len: int,
    arity: int = 1,
    prompt: Prompt | None = None,
    classes: Sequence[str] | None = None,
    **further,
):
    """Registers a formatter `row -> iterable of Example` as a task; see any file of this folder.

    Args:
        source: a `Hub`; a table (the path of a file as `tables.read_table` takes it, a DataFrame,
            a `Dataset`, a list of rows) or {split name: table}; or a function without arguments
            that returns one of the latter two. Without a split "test" a quarter is for test.
        max_len: tokens kept of a text, counted from its end.
        arity: texts per example; 1 classifies, 2 compares.
        prompt: the words in which a language model is asked; None asks the question that the
            formatter's docstring begins with, to be answered with the name of a class, or for a
            pair with B or A.
        classes: names of the classes, at least two; two of a pair; None takes the words of the
            prompt, which are "no" and "yes" without one.
        further: fields of `TaskSpec`: balance, hyperparameters, stop, option, narrow, folders,
            max_answer, options, bare, measure, cpu_sizes, gpu_sizes, columns, may_be_empty,
            prepared, tie.
    Raises:
        ValueError: a field that a task has not, or that cannot be so; from the formatter's
            registration: the name has an `@`, or is a task of the kit.
    """
    classes = _check_classes(f"task {name!r}", classes, arity, bool(further.get("max_answer")))
    _check_fields(name, max_len, arity, prompt, further)
    if prompt is not None:
        _check_words(f"task {name!r}", prompt, arity, classes)
    n_classes = len(classes or (prompt.words if prompt else _YES_OR_NO))
    _check_balance(f"task {name!r}", n_classes, arity, further)
    table = list(source) if isinstance(source, Iterator) else source
    if isinstance(source, (str, Path)) and Path(source).is_file():
        further["version"] = sha256_of(Path(source))

    def decorate(examples):
        check_name(name, examples)
        about = (examples.__doc__ or "").strip().split("\n")[0]
        words = prompt or _prompt_of_question(about, arity, classes)
        spec = TaskSpec(
            name,
            table if isinstance(table, Hub) or callable(table) else lambda: table,
            examples,
            arity,
            max_len,
            about,
            words,
            () if further.get("max_answer") else classes or words.words,
            **{"folders": (name,)} | further,
        )
        TASKS.register(name, spec)
        return examples

    return decorate


def _check_fields(name, max_len, arity, prompt: Prompt | None, further: dict) -> None:
    """Refuses what no task can have, when it is registered rather than when it is used.

    Raises:
        ValueError: names the field, what was given and what is expected.
    """
    task = f"task {name!r}"
    check_count(max_len, f"{task}: max_len")
    if arity not in (1, 2) or isinstance(arity, bool):
        raise ValueError(f"{task}: arity = {arity!r}; expected 1 or 2 texts per example")
    names = [each.name for each in fields(TaskSpec) if each.name not in _GIVEN_APART]
    for key, value in further.items():
        if key not in names:
            raise UnknownName(f"field of {task}", key, names)
        if key in ("columns", "may_be_empty", "folders") and not isinstance(value, tuple | list):
            raise ValueError(f"{task}: {key} = {value!r}; expected a tuple of names")
    if not isinstance(further.get("hyperparameters", {}), Mapping):
        raise ValueError(
            f"{task}: hyperparameters = {further['hyperparameters']!r}; expected a dict"
        )
    check_seed(further.get("max_answer", 0), f"{task}: max_answer")
    strange = set(further.get("may_be_empty", ())) - set(further.get("columns", ()))
    if strange:
        raise ValueError(f"{task}: may_be_empty names {sorted(strange)}, which are no columns")
    if prompt is not None:
        _check_prompt(task, prompt, arity)


def _check_balance(task: str, n_classes: int, arity: int, further: dict) -> None:
    """Refuses shares of classes that no task can have, and sizes that no splits of it have.

    Sizes that are given as a tuple become `Sizes`.
    """
    balance = further.get("balance", EQUAL)
    if balance not in (EQUAL, AS_IS):
        raise ValueError(f"{task}: balance = {balance!r}; expected {EQUAL!r} or {AS_IS!r}")
    if balance == AS_IS and (further.get("max_answer") or arity == 2):
        raise ValueError(
            f"{task}: balance = {balance!r}; expected {EQUAL!r} of comparisons, whose order is "
            f"drawn, and of answers, which are all right"
        )
    step = 1 if balance == AS_IS else n_classes
    for key in ("cpu_sizes", "gpu_sizes"):
        if key in further:
            further[key] = _sizes(further[key], step, f"{task}: {key}")


def _sizes(given, step: int, name: str) -> Sizes:
    """Returns the sizes of a task's splits, checked to be multiples of `step`."""
    is_whole = isinstance(given, (tuple, list)) and len(given) == 3
    if not is_whole or not all(type(n) is int and n >= 2 and n % step == 0 for n in given):
        numbers = {1: "whole numbers from 2", 2: "even numbers from 2"}
        expected = numbers.get(step, f"multiples of {step}, the number of classes")
        raise ValueError(f"{name} = {given!r}; expected three {expected}: n_train, n_val, n_test")
    return Sizes(*given)


def _check_prompt(task: str, prompt, arity: int) -> None:
    """Refuses a prompt that does not ask about the texts of an example."""
    if not isinstance(prompt, Prompt):
        raise ValueError(f"{task}: prompt = {prompt!r:.60}; expected Prompt(template, words)")
    asked = "{0}" if arity == 1 else "{0} and {1}"
    try:
        question = prompt.ask(("<first>", "<second>")[:arity])
    except (LookupError, ValueError):
        question = ""
    if any(text not in question for text in ("<first>", "<second>")[:arity]):
        raise ValueError(
            f"{task}: the prompt's template is {prompt.template!r:.80}; expected {asked} where "
            f"the text goes, {{{{ and }}}} for braces"
        )


def _check_words(task: str, prompt: Prompt, arity: int, classes: tuple[str, ...] | None) -> None:
    """Refuses a prompt whose words are not one for each class; they name classes without names."""
    words = prompt.words
    n_classes = len(classes) if classes else max(2, len(words)) if arity == 1 else 2
    if len(words) != n_classes or len(set(words)) != n_classes:
        raise ValueError(
            f"{task}: the prompt's words are {words!r}; expected {n_classes} that differ, one per "
            f"class"
        )


def _check_classes(task: str, classes, arity: int, answered: bool) -> tuple[str, ...] | None:
    """Returns the names of classes that a task is registered with, or None.

    Raises:
        ValueError: they are not at least two different texts, or not two of a pair; or answers are
            generated.
    """
    if classes is None:
        return None
    listed = isinstance(classes, (list, tuple)) and all(isinstance(c, str) for c in classes)
    if not listed or not all(map(str.strip, classes)) or len(set(classes)) < max(2, len(classes)):
        raise ValueError(
            f"{task}: classes = {classes!r}; expected at least two different names, such as "
            f"('negative', 'neutral', 'positive')"
        )
    if answered:
        raise ValueError(
            f"{task}: classes = {classes!r} of a task that is answered by generating; expected none"
        )
    if arity == 2 and len(classes) != 2:
        raise ValueError(
            f"{task}: {len(classes)} classes of comparisons; expected two, the first text better "
            f"and the second better"
        )
    return tuple(classes)


def check_name(name: str, examples: Callable) -> None:
    """Refuses a name that would mean another task.

    Raises:
        ValueError: the name has an `@`, a comma or a line break, or white space at an end, or is
            that of a task of the kit.
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"task {name!r}: expected a name")
    if "," in name or name != name.strip() or len(name.splitlines()) > 1:
        raise ValueError(
            f"task {name!r}: a name has no comma, no line break and no white space at its ends, as "
            f"it stands in lists of names; give another name"
        )
    if "@" in name:
        raise ValueError(
            f"task {name!r}: a name has no @, which begins an option; give another name"
        )
    if _is_of_the_kit(examples):
        return
    taken = TASKS.registered(name) if name in TASKS else None
    if taken and _is_of_the_kit(taken.examples):
        raise ValueError(f"task {name!r} is one of the kit's own; give yours another name")


def _is_of_the_kit(examples: Callable) -> bool:
    """Tells a formatter of the kit from one that a user wrote, or that reads a user's file."""
    package = __name__.partition(".")[0]
    module = str(getattr(examples, "__module__", ""))
    of_users = (f"{package}.data.from_file", f"{package}.vision.own_images")
    return module.startswith(f"{package}.") and module not in of_users


def _prompt_of_question(about: str, arity: int, classes: tuple[str, ...] | None) -> Prompt:
    """Returns a prompt that asks the question which a docstring begins with."""
    question = about[: about.index("?") + 1] if "?" in about else about
    if arity == 2:
        instruction = f"{question} Answer A for the first, B for the second."
        return Prompt("A: {0}\n\nB: {1}\n\nAnswer:", ("A", "B"), instruction)
    if classes:
        return Prompt("{0}\nAnswer:", classes, f"{question} Answer {either(classes)}.")
    return Prompt("{0}\nAnswer:", _YES_OR_NO, f"{question} Answer yes or no.")


def comparison(chosen: str, rejected: str, *keys: str) -> Iterable[Example]:
    """Yields an example of a pair of texts of which people preferred one; none where both are
    equal.

    The pair's own hash draws which text stands second, whichever is preferred. So a pair that was
    judged twice, both ways, is one example, and the first judgement counts.
    """
    need_text(chosen, "the chosen text")
    need_text(rejected, "the rejected text")
    if chosen != rejected:
        first, second = sorted((chosen, rejected))
        pair = (second, first) if draw(2, first, second) else (first, second)
        yield Example(pair, pair.index(chosen), keys)


def question_answer(
    prompt: str, right: str, wrong: Iterable[str | None], keys: tuple[Hashable, ...] = ()
) -> Iterable[Example]:
    """Yields two examples of a multiple-choice question: its right answer, label 1, and one wrong
    answer, label 0, that the question's own hash draws.

    Wrong answers that are empty or None are not drawn. Nothing is yielded where no wrong answer
    differs from the right one, or where the right one is empty.

    >>> [(e.texts[0], e.label) for e in question_answer("2 + 2?", "4", ["5", "4"])]
    [('2 + 2?\\nAnswer: 4', 1), ('2 + 2?\\nAnswer: 5', 0)]
    """
    if isinstance(wrong, str):
        raise UnreadableRow(f"the wrong answers are {wrong!r:.60}, one text; expected a list")
    need_text(prompt, "the question")
    need_text(right, "the right answer")
    filled = [answer for answer in wrong if isinstance(answer, str) and answer.strip()]
    others = [answer for answer in filled if answer.strip() != right.strip()]
    if others and right.strip():
        yield Example((f"{prompt}\nAnswer: {right}",), 1, keys)
        yield Example((f"{prompt}\nAnswer: {others[draw(len(others), prompt)]}",), 0, keys)


def need_text(value, what: str) -> str:
    """Returns a text; refuses anything else.

    Raises:
        UnreadableRow: the value is none.
    """
    if not isinstance(value, str):
        raise UnreadableRow(f"{what} is {value!r:.60}; expected a text")
    return value


def choice_of(value, options: int, column: str, first: int = 0) -> int:
    """Returns which of its options a row says to be right, as a number in 0..options-1.

    Args:
        value: a number, or its digits, counted from `first`.
    Raises:
        UnreadableRow: the column holds anything else, such as another text; or -1 or "", as where
            labels are hidden.

    >>> choice_of("3", 3, "label", first=1)
    2
    """
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if number not in range(first, first + options):
        is_hidden = value in (-1, "-1", "")
        hidden = ", as where the labels of a test split are hidden" if is_hidden else ""
        raise UnreadableRow(
            f"column {column!r} is {value!r}{hidden}; expected a number from {first} to "
            f"{first + options - 1}"
        )
    return int(number) - first


def either(names: Iterable[str]) -> str:
    """Returns names as a choice in words, of many the first and the last.

    >>> either("ab"), either("abc"), either(map(str, range(100)))
    ('a or b', 'a, b or c', '0, 1, 2, ... or 99')
    """
    *first, last = names
    if len(first) >= _MANY:
        first = [*first[:3], "..."]
    return f"{', '.join(first)} or {last}" if first else last


def unix_breaks(text: str) -> str:
    """Returns a text whose line breaks are all of the form of Unix."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def words_of(text: str) -> str:
    """Returns the words of a text with one space between two, accents in one form (NFC).

    >>> words_of(" cafe\u0301\\tau lait ") == words_of("caf\u00e9 au lait")
    True
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def is_visible(text: str) -> bool:
    """Tells whether a text has more than white space and characters without a shape, such as the
    zero-width space.
    """
    return any(not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf") for c in text)


def draw(options: int, *key: str) -> int:
    """Draws a number in 0..options-1 that `key` fixes, in every process, on every machine, at every
    seed; such as which wrong answer a question gets.

    >>> ["Rome", "Oslo", "Bern"][draw(3, "What is the capital of Italy?", "wrong")]
    'Oslo'
    """
    return int.from_bytes(hashlib.sha256("\x1f".join(key).encode()).digest()[:8]) % options
