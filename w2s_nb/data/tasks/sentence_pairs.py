"""Registers tasks on two sentences: paraphrases (PAWS) and the senses of a word (WiC)."""

from .spec import Example, Hub, Prompt, register_task


@register_task(
    "paws",
    max_len=128,
    source=Hub(
        "google-research-datasets/paws",
        "161ece9501cf0a11f3e48bd356eaa82de46d6a09",
        parts=("labeled_final",),
    ),
    columns=("sentence1", "sentence2", "label"),
    prompt=Prompt(
        "{0}\nSame meaning:",
        ("no", "yes"),
        "Judge whether the two sentences, mostly of the same words, mean the same: yes or no.",
    ),
)
def paws(row):
    """Do the two sentences mean the same? They share most words; 49,401 pairs for training.

    Pairs with a sentence in common stay together.

    Source: Zhang et al. 2019.
    """
    yield from _pair(row)


@register_task(
    "wic",
    max_len=128,
    cpu_sizes=(600, 200, 600),
    gpu_sizes=(2_300, 400, 600),
    source=Hub(
        "aps/super_glue",
        "3de24cf8022e94f4ee4b9d55a6f539891524d646",
        test="validation",
        parts=("wic",),
    ),
    folders=("wic", "super_glue/wic"),
    columns=("word", "sentence1", "sentence2", "label"),
    prompt=Prompt(
        "{0}\nSame sense:",
        ("no", "yes"),
        "Judge whether the word is used in the same sense in both sentences: yes or no.",
    ),
)
def wic(row):
    """Has the word the same sense in both sentences? 5,428 pairs for training, 638 for test.

    Pairs with a sentence in common stay together: two of them decide a third.

    Source: Pilehvar and Camacho-Collados 2019.
    """
    yield from _pair(row, f"\nWord: {row['word'].strip()}")


def _pair(row: dict, end: str = ""):
    """Yields the example of two sentences in one text, which both tie it to other pairs."""
    first, second = row["sentence1"].strip(), row["sentence2"].strip()
    text = f"Sentence 1: {first}\nSentence 2: {second}{end}"
    yield Example((text,), row["label"], (first, second))
