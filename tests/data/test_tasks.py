"""Formatters, sources and their fallbacks, on made rows and, where `W2S_DATA` is set, on real
files.
"""

import csv
import os
import re
import unicodedata
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

import w2s_nb as w2s
from w2s_nb.common.registry import TASKS, UnknownName
from w2s_nb.data import sources
from w2s_nb.data.tasks import snippets

SCIQ = dict(
    question="What do plants breathe?",
    distractor1="iron",
    distractor2="salt",
    distractor3="oil",
    correct_answer="carbon dioxide",
    support="Plants take in carbon dioxide.",
)


def made(name, row):
    return list(TASKS[name].examples(row))


def test_multiple_choice_gives_one_right_and_one_wrong_answer():
    right, wrong = made("sciq", SCIQ)
    assert (right.label, wrong.label) == (1, 0) and right.keys == wrong.keys
    assert right.texts[0].endswith("Answer: carbon dioxide") and "carbon" not in wrong.texts[0]
    assert made("sciq", SCIQ) == [right, wrong], "the wrong answer is drawn anew"


def test_the_form_of_the_answer_does_not_give_the_label_away():
    right, wrong = made("sciq", SCIQ)
    prefix = os.path.commonprefix([right.texts[0], wrong.texts[0]])  # noqa: RUF071 (of letters)
    assert prefix.endswith("Answer: ")


def test_cosmos_never_uses_none_of_the_above():
    row = dict(
        context="c",
        question="q",
        answer0="None of the above choices .",
        answer1="a",
        answer2="b",
        answer3="d",
        label=0,
    )
    assert made("cosmos_qa", row) == []
    for answer in range(1, 4):
        assert all("None" not in e.texts[0] for e in made("cosmos_qa", row | {"label": answer}))


def test_hh_is_a_pair_and_its_order_is_drawn():
    rows = [
        dict(
            chosen=f"\n\nHuman: q{i}\n\nAssistant: good",
            rejected=f"\n\nHuman: q{i}\n\nAssistant: bad",
        )
        for i in range(200)
    ]
    examples = [made("anthropic_hh", row)[0] for row in rows]
    assert all(
        e.texts[e.label].endswith("good") and e.texts[1 - e.label].endswith("bad") for e in examples
    )
    assert 70 < sum(e.label for e in examples) < 130
    assert examples[0].keys == ("Human: q0",)


def test_without_a_pinned_commit_nothing_is_downloaded_that_is_not_named(monkeypatch):
    """main's commit is asked for once; in offline mode the cache serves; any other failure ends
    here.
    """
    asked, loaded = [], []

    class Hub:
        def dataset_info(self, hub_id, timeout):
            asked.append(hub_id)
            if isinstance(answer, Exception):
                raise answer
            return type("Info", (), {"sha": answer})

    def load_dataset(id, *, split, streaming, revision, data_dir):
        loaded.append(revision)
        return [
            dict(
                post_id=f"{split}{data_dir}",
                history="h",
                human_ref_A="a",
                human_ref_B="b",
                labels=1,
            )
        ]

    monkeypatch.delenv("W2S_DATA", raising=False)
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    for answer, revisions in (  # noqa: B007 (Hub answers it)
        ("c0ffee", {"c0ffee"}),
        (OfflineModeIsEnabled(), {None}),
        (OSError("503"), set()),
    ):
        sources._newest.cache_clear()
        asked.clear()
        loaded.clear()
        if revisions:
            sources.rows_of(TASKS["shp@askvet"])
        else:
            with pytest.raises(sources.DataUnavailable, match="503"):
                sources.rows_of(TASKS["shp@askvet"])
        assert set(loaded) == revisions and len(asked) == 1
    sources._newest.cache_clear()


def better_of(name, row):
    """The text that an example calls the better, and the other."""
    (example,) = made(name, row)
    return example.texts[example.label], example.texts[1 - example.label]


@pytest.mark.parametrize("as_dict", [False, True])
def test_summaries_follow_their_post_and_the_choice_is_the_better(as_dict):
    info = dict(
        id="t3", post="I lost my keys.", title="Keys", subreddit="advice", site=None, article=None
    )
    summaries = [
        dict(text=" first", policy="a", note=""),
        dict(text=" second", policy="b", note=""),
    ]
    if as_dict:
        summaries = {key: [s[key] for s in summaries] for key in summaries[0]}
    for choice, word in ((0, "first"), (1, "second")):
        row = dict(info=info, summaries=summaries, choice=choice)
        better, worse = better_of("summarize_from_feedback", row)
        assert (
            better
            == f"SUBREDDIT: r/advice\nTITLE: Keys\nPOST: I lost my keys.\n\nTL;DR: {word}"
            != worse
        )
        assert made("summarize_from_feedback", row)[0].keys == ("I lost my keys.",)
    news = info | dict(post=None, title=None, subreddit=None, article="Rain fell.")
    assert better_of("summarize_from_feedback", dict(info=news, summaries=summaries, choice=0))[
        0
    ].startswith("POST: Rain fell.\n\nTL;DR")


def test_shp_label_1_says_that_a_was_voted_higher():
    row = dict(
        post_id="p",
        history="Why?",
        human_ref_A="since",
        human_ref_B="because",
        score_A=9,
        score_B=2,
    )
    assert better_of("shp", row | {"labels": 1}) == (
        "POST: Why?\n\nCOMMENT: since",
        "POST: Why?\n\nCOMMENT: because",
    )
    assert better_of("shp", row | {"labels": 0})[0].endswith("because")


def test_ultrafeedback_takes_the_last_message_and_leaves_out_ties():
    def messages(reply):
        return [{"role": "user", "content": "q"}, {"role": "assistant", "content": reply}]

    row = dict(
        prompt="q",
        chosen=messages("good"),
        rejected=messages("bad"),
        score_chosen=8.0,
        score_rejected=3.5,
    )
    assert better_of("ultrafeedback", row) == (
        "Human: q\n\nAssistant: good",
        "Human: q\n\nAssistant: bad",
    )
    assert made("ultrafeedback", row | {"score_chosen": 3.5}) == []


def test_a_pair_judged_twice_both_ways_stands_once():
    there, back = (
        made("snippet_preferences", dict(better=b, worse=w)) for b, w in (("x", "y"), ("y", "x"))
    )
    assert there[0].texts == back[0].texts and there[0].label == 1 - back[0].label


def test_dialogues_that_begin_alike_stay_together():
    start = "\n\nHuman: q\n\nAssistant: a"
    (one,) = made("anthropic_hh", dict(chosen=f"{start}1", rejected=f"{start}2"))
    (other,) = made(
        "anthropic_hh",
        dict(
            chosen=f"{start}1\n\nHuman: more\n\nAssistant: x",
            rejected=f"{start}1\n\nHuman: more\n\nAssistant: y",
        ),
    )
    assert one.keys == other.keys == ("Human: q",)


def turns(*contents, first="user"):
    """Returns messages of user and assistant in turn."""
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    return [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]


DIALOGUE = "Human: Why?\n\nAssistant: Which one?\n\nHuman: This."


@pytest.mark.parametrize(
    "prompt, chosen, rejected",
    [
        (f"\n\n{DIALOGUE}\n\nAssistant:", " good", " bad"),
        (f"{DIALOGUE}\n\nAssistant:", f"{DIALOGUE}\n\nAssistant: good", "bad"),
        (DIALOGUE, "good", "bad"),
        (DIALOGUE.replace("\n", "\r\n"), "Assistant: good", "\r\n\r\nAssistant: bad"),
        (turns("Why?", "Which one?", "This."), "good", "bad"),
        (
            turns("Why?", "Which one?", "This."),
            turns("good", first="assistant"),
            turns("bad", first="assistant"),
        ),
        (
            "Why?",
            turns("Why?", "Which one?", "This.", "good"),
            turns("Why?", "Which one?", "This.", "bad"),
        ),
        (
            None,
            turns("Why?", "Which one?", "This.", "good"),
            turns("Why?", "Which one?", "This.", "bad"),
        ),
        (
            "",
            f"\n\n{DIALOGUE}\n\nAssistant: good",
            f"\n\n{DIALOGUE}\n\nAssistant: bad",
        ),
    ],
)
def test_a_prompt_beside_two_replies_stands_once_before_each(prompt, chosen, rejected):
    row = dict(prompt=prompt, chosen=chosen, rejected=rejected)
    assert better_of("anthropic_hh", row) == tuple(
        f"{DIALOGUE}\n\nAssistant: {reply}" for reply in ("good", "bad")
    )
    assert made("anthropic_hh", row)[0].keys == ("Human: Why?",)


def test_replies_to_one_plain_prompt_stay_together():
    prompt = "Name a metal."
    one, other = (
        made("anthropic_hh", dict(prompt=prompt, chosen=good, rejected=bad))[0]
        for good, bad in (("Iron", "no"), (f"{prompt} Tin", f"{prompt} No"))
    )
    assert one.texts[one.label] == "Human: Name a metal.\n\nAssistant: Iron"
    assert one.keys == other.keys == ("Human: Name a metal.",)
    assert other.texts[other.label] == "Human: Name a metal.\n\nAssistant: Tin"


def test_the_cut_leaves_two_responses_the_same_prompt(tiny):
    from w2s_nb import models
    from w2s_nb.inputs.tokens import _encode, alike

    tok = models.tokenizer(models.folder(models.resolve(tiny)))
    prompt = " ".join(f"w{i}" for i in range(20))
    short, long = f"{prompt} w30", f"{prompt} w31 w32 w33 w34"
    found = _encode([(short, long)], tok, 10)
    a, b = np.split(found["ids"], [found["lengths"][0]])
    assert (len(a), len(b), alike(a, b)) == (7, 10, 6) and found["truncated"].tolist() == [1, 1]
    apart = _encode([("w5 w6", long)], tok, 10)  # nothing in common: the short one stays whole
    assert apart["lengths"].tolist() == [2, 10] and apart["truncated"].tolist() == [0, 1]
    alone = _encode([(long,)], tok, 10)
    assert alone["ids"].tolist() == b.tolist()


def test_boolq_reads_question_and_passage():
    (example,) = made("boolq", dict(question="is it so", answer=True, passage="It is."))
    assert example.texts == ("Passage: It is.\nQuestion: is it so?",) and example.label == 1


def test_a_local_folder_comes_before_the_hub(tmp_path, monkeypatch):
    rows = [SCIQ | {"question": f"question {i}", "support": ""} for i in range(40)]
    (tmp_path / "sciq").mkdir()
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "sciq" / "validation.parquet")
    monkeypatch.setenv("W2S_DATA", str(tmp_path))
    with pytest.warns(
        UserWarning, match="have the split 'validation' alone, not 'train' and 'test'"
    ):
        task = w2s.load_task("sciq", n_train=12, n_val=4, n_test=8)
    assert task.counts["rows read"] == 40 and len(task.test) == 8


def own_texts(path, n=120):
    """Writes a csv as adding.md describes it: three texts a group, each tenth without one."""
    with open(path, "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "sentiment", "group"])
        for i in range(n):
            sentiment = ("bad", "good")[i % 2]
            writer.writerow([f"text {i}", sentiment, f"author {i // 3}" if i % 10 else ""])


@pytest.fixture
def unregister():
    """Removes the tasks that a test registers."""
    before = set(TASKS)
    yield
    for name in set(TASKS) - before:
        TASKS._entries.pop(name)


def test_the_lines_on_a_csv_on_the_page_keep_its_groups_whole(tmp_path, monkeypatch, unregister):
    own_texts(tmp_path / "mine.csv")
    monkeypatch.chdir(tmp_path)
    readme = (Path(__file__).resolve().parents[2] / "notebooks" / "pages" / "adding.md").read_text()
    block = re.search(r"```python\n(.*?)```", readme.partition("## Your own texts")[2], re.S)[1]
    exec(block.partition("arms =")[0], {})
    task = w2s.load_task("mine", n_train=30, n_val=10, n_test=20)
    part_of = {}
    for split in task.splits:
        for (text,) in split.texts:
            number = int(text.split()[1])
            if number % 10:  # the others have no group, and none of them ties any other
                assert part_of.setdefault(number // 3, split.name) == split.name
    assert len(part_of) > 20


def test_line_breaks_have_one_form_whatever_the_file(unregister):
    texts = [f"text {i}\nin two lines" for i in range(40)]

    def load(name, given):
        @w2s.register_task(name, lambda: {"all": given}, max_len=8)
        def breaks(row):
            """Is it so?"""
            yield w2s.Example((row["t"],), row["y"])

        return w2s.load_task(name, n_train=8, n_val=4, n_test=8)

    rows = [dict(t=t, y=i % 2) for i, t in enumerate(texts)]
    windows = [row | {"t": row["t"].replace("\n", "\r\n")} for row in rows]
    for given in (windows, [*windows, *rows]):
        task = load("breaks", given)
        assert [s.ids.tolist() for s in task.splits] == [
            s.ids.tolist() for s in load("breaks", rows).splits
        ]
        assert {t for s in task.splits for (t,) in s.texts} <= set(texts)


def test_texts_of_the_same_words_never_stand_in_two_splits(unregister):
    words = [f"Un café très, très bon, numéro {i}" for i in range(40)]
    composed = [unicodedata.normalize("NFC", text) for text in words]
    copies = [unicodedata.normalize("NFD", t) if i % 2 else f" {t}  " for i, t in enumerate(words)]
    rows = [{"text": t, "label": i % 2} for t2 in (composed, copies) for i, t in enumerate(t2)]
    task = w2s.load_task(w2s.task_from_file(rows, name="mine"), n_train=8, n_val=4, n_test=8)
    of_split = [
        {" ".join(unicodedata.normalize("NFC", text).split()) for (text,) in split.texts}
        for split in task.splits
    ]
    assert sum(map(len, of_split)) == len(set.union(*of_split))


def test_examples_without_a_text_are_left_out_and_counted(unregister):
    rows = [dict(t=f"text {i}", y=i % 2) for i in range(40)]
    rows += [dict(t=text, y=i % 2) for i, text in enumerate([" \n", "", "\u200b\ufeff", "\u200e "])]

    @w2s.register_task("empty", lambda: {"all": rows}, max_len=8)
    def empty(row):
        """Is it so?"""
        yield w2s.Example((row["t"],), row["y"])

    task = w2s.load_task("empty")
    assert all(text.strip() for split in task.splits for (text,) in split.texts)
    assert task.counts["dropped without a text"] == 4


def test_keys_that_are_missing_tie_nothing_together(unregister):
    gaps = ["", " ", "nan", "None", "<NA>", None, float("nan")]
    rows = [{"text": f"text {i}", "group": gaps[i % len(gaps)], "y": i % 2} for i in range(56)]

    @w2s.register_task("gaps", lambda: {"all": rows}, max_len=8)
    def gaps_task(row):
        """Is it so?"""
        yield w2s.Example((row["text"],), row["y"], (row["group"],))

    task = w2s.load_task("gaps", n_train=12, n_val=4, n_test=12)
    groups = np.concatenate([split.group for split in task.splits])
    assert len(set(groups.tolist())) == len(groups) == 40
    assert "without a key, as others have" not in task.counts
    rows.extend({"text": f"more {i}", "group": f"g{i // 2}", "y": i % 2} for i in range(8))
    w2s.register_task("gaps", lambda: {"all": rows}, max_len=8)(gaps_task)
    counts = w2s.load_task("gaps", n_train=12, n_val=4, n_test=12).counts
    assert counts["without a key, as others have"] == 56


def test_a_source_of_ones_own_is_not_passed_over_for_a_local_folder(
    tmp_path, monkeypatch, unregister
):
    (tmp_path / "mine").mkdir()
    datasets.Dataset.from_list([SCIQ] * 3).to_parquet(tmp_path / "mine" / "train.parquet")
    monkeypatch.setenv("W2S_DATA", str(tmp_path))
    own = [{"text": f"own {i}", "label": i % 2} for i in range(40)]

    @w2s.register_task("mine", lambda: {"all": own}, max_len=8)
    def mine(row):
        """Is it so?"""
        yield w2s.Example((row["text"],), row["label"])

    assert list(sources.rows_of(TASKS["mine"])["all"]) == own


@pytest.mark.parametrize(
    "name, says",
    [
        ("sciq", "task 'sciq' is one of the kit's own; give yours another name"),
        ("re@views", "task 're@views': a name has no @, which begins an option"),
    ],
)
def test_a_task_of_ones_own_takes_no_name_that_means_another(name, says):
    before = TASKS["sciq"]
    with pytest.raises(ValueError, match=says):
        w2s.register_task(name, lambda: {"all": []}, max_len=8)(lambda row: [])
    assert TASKS["sciq"] is before and name.partition("@")[0] not in set(TASKS) - {"sciq"}


@pytest.mark.parametrize(
    "fields, says",
    [
        ({"id": None}, "Hub: id = None; expected a text"),
        ({"id": "https://huggingface.co/datasets/imdb"}, "expected a name such as 'stanfordnlp/"),
        ({"train": ["train"]}, r"Hub: train = \['train'\]; expected a text"),
        ({"parts": "helpful-base"}, "Hub: parts = 'helpful-base'; expected a tuple of folders"),
        ({"limit": "60"}, "Hub: limit = '60'; expected a whole number from 1"),
        ({"limit": 0}, "Hub: limit = 0; expected a whole number from 1"),
    ],
)
def test_a_dataset_of_the_hub_is_named_by_texts(fields, says):
    with pytest.raises((TypeError, ValueError), match=says):
        w2s.Hub(**{"id": "some/body", "revision": None} | fields)


def test_the_hub_out_of_reach_says_what_to_put_where(monkeypatch):
    monkeypatch.delenv("W2S_DATA", raising=False)
    with pytest.raises(
        sources.DataUnavailable, match=r"google/boolq .*W2S_DATA/boolq/.*movie_snippets"
    ):
        w2s.load_task("boolq")


def test_a_script_on_the_hub_is_read_from_its_parquet_branch(monkeypatch):
    asked = []

    def load_dataset(id, *, split, streaming, revision, data_dir):
        asked.append((id, split, revision))
        if revision != "refs/convert/parquet":
            raise RuntimeError("Dataset scripts are no longer supported, but found cosmos_qa.py")
        return [
            dict(
                context=f"{split}{i}",
                question="q",
                answer0="a",
                answer1="b",
                answer2="c",
                answer3="d",
                label=1,
            )
            for i in range(30)
        ]

    monkeypatch.delenv("W2S_DATA", raising=False)
    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    rows = sources.rows_of(TASKS["cosmos_qa"])
    assert len(rows["train"]) == len(rows["test"]) == 30
    assert asked[1] == ("allenai/cosmos_qa", "train", "refs/convert/parquet")


def test_a_streamed_set_is_read_to_its_limit(monkeypatch):
    def load_dataset(id, *, split, streaming, revision, data_dir):
        assert streaming and len(revision) == 40
        return (dict(title="", content=str(i), label=i % 2) for i in range(10**9))

    monkeypatch.delenv("W2S_DATA", raising=False)
    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    assert len(sources.rows_of(TASKS["amazon_polarity"])["train"]) == 60_000


def test_anli_has_three_classes_and_a_round_by_option(tmp_path, monkeypatch):
    (tmp_path / "anli").mkdir()
    for split in ("train_r2", "test_r2", "train_r3", "test_r3", "dev_r3"):
        rows = [
            {
                "uid": str(i),
                "premise": f"{split}, passage {i // 3}",
                "hypothesis": f"claim {i}",
                "label": i % 3,
                "reason": "",
            }
            for i in range(90)
        ]
        pd.DataFrame(rows).to_parquet(tmp_path / "anli" / f"{split}.parquet")
    monkeypatch.setenv("W2S_DATA", str(tmp_path))
    for name, of_round in (("anli", "r2"), ("anli@r2", "r2"), ("anli@r3", "r3")):
        task = w2s.load_task(name)
        assert task.test.classes == ("entailment", "neutral", "contradiction")
        assert len(task.test) == 90 and "Hypothesis: claim" in task.test.texts[0][0]
        for split in task.splits:
            source = f"Premise: {'test' if split.name == 'test' else 'train'}_{of_round}, "
            assert all(text.startswith(source) for (text,) in split.texts)
            claims = [int(text.split()[-1]) % 3 for (text,) in split.texts]
            assert claims == split.hard_label.tolist()
    with pytest.raises(UnknownName, match="option of anli 'r4'.*Known: binary, r1, "):
        TASKS["anli@r4"]


EMBEDDED_TEXTS = ["movie_snippets", "amazon_snippets", "tweet_snippets", "editorial_snippets"]


@pytest.mark.parametrize("name", EMBEDDED_TEXTS)
def test_embedded_texts(name):
    task = w2s.load_task(name, n_train=100, n_val=40, n_test=100)
    texts = {t for s in task.splits for (t,) in s.texts}
    assert len(texts) == 340 and not any("&amp;" in t for t in texts)
    assert all(s.hard_label.mean() == 0.5 for s in task.splits)


@pytest.mark.parametrize("name", EMBEDDED_TEXTS)
def test_embedded_texts_near_to_neutral_are_a_third_class(name):
    spec = TASKS[f"{name}@three"]
    sizes = dict(zip(("n_train", "n_val", "n_test"), spec.cpu_sizes, strict=True))
    task = w2s.load_task(f"{name}@three", seed=3, **sizes)
    assert spec.classes == spec.prompt.words == task.test.classes == snippets.THREE
    rating = {}  # of a text that two rows have, the first counts
    for row in spec.source()["all"]:
        rating.setdefault(row["text"], row["rating"])
    for split in task.splits:
        assert np.bincount(split.hard_label).tolist() == [len(split) // 3] * 3
        signs = np.array([rating[text] for (text,) in split.texts])
        assert (split.hard_label == np.digitize(signs, [-0.49999, 0.5])).all()
    two = w2s.load_task(name, n_train=100)
    same = set(two.test.ids) & {i for split in task.splits for i in split.ids}
    assert same, "one text has one id, whatever is asked of it"
    with pytest.raises(UnknownName, match=f"option of {name} 'four'.* three"):
        TASKS[f"{name}@four"]


def test_sentences_of_one_editorial_are_in_one_split():
    """Of 5,190 sentences of 498 editorials, 2,970 are rated at least 0.5 away from neutral."""
    task = w2s.load_task("editorial_snippets")
    assert task.counts["rows read"] == 5_190 and task.counts["examples"] == 2_970
    article = {}
    for row in TASKS["editorial_snippets"].source()["all"]:
        article.setdefault(row["text"], row["id"].partition("_")[0])
    assert len(set(article.values())) == 498
    articles = [{article[text] for (text,) in split.texts} for split in task.splits]
    assert sum(map(len, articles)) == len(set.union(*articles)) > 400


@pytest.mark.filterwarnings("ignore:.*local files have the split")
@pytest.mark.parametrize("name", ["boolq", "cosmos_qa", "sciq", "anthropic_hh", "amazon_polarity"])
def test_real_files_load_balanced_and_disjoint(name, real_data, tmp_path, monkeypatch):
    if name == "amazon_polarity":  # a stand-in with the same columns
        (tmp_path / name).symlink_to(real_data / "amazon_fine_foods")
        monkeypatch.setenv("W2S_DATA", str(tmp_path))
    task = w2s.load_task(name, n_train=200, n_val=50, n_test=200)
    assert all(s.hard_label.mean() == 0.5 for s in task.splits)
    groups = [set(s.group) for s in task.splits]
    assert sum(map(len, groups)) == len(set.union(*groups)), (
        "a question or passage stands in two splits"
    )
    first = [
        x[0].rpartition("\nAnswer:")[0] if "Answer:" in x[0] else x[0]
        for s in task.splits
        for x in s.texts
    ]
    owner = {}
    for text, part in zip(first, [s.name for s in task.splits for _ in s.texts]):
        assert owner.setdefault(text, part) == part, "one question in two splits"
    if name in ("sciq", "cosmos_qa"):
        by_question = {}
        for split in task.splits:
            for (text,), label in zip(split.texts, split.hard_label):
                by_question.setdefault(text.rpartition("\nAnswer:")[0], []).append(label)
        assert all(np.mean(v) == 0.5 for v in by_question.values())


def test_hh_label_is_not_visible_in_position(real_data):
    task = w2s.load_task("anthropic_hh", n_train=200, n_val=50, n_test=200)
    longer = np.array([len(a) < len(b) for a, b in task.student.texts])
    assert task.student.arity == 2 and abs((longer == task.student.hard_label).mean() - 0.5) < 0.15


@pytest.mark.parametrize("seed", range(4))
def test_further_splits_of_large_groups_leave_the_halves_alone(seed):
    @w2s.register_task(
        "threes", lambda: {"all": [{"i": i} for i in range(900)]}, max_len=8, max_answer=2
    )
    def threes(row):
        """Three questions a group."""
        yield w2s.Example((f"w{row['i']}",), 0, (f"group {row['i'] // 3}",), " w1")

    sizes = dict(n_train=100, n_val=10, n_test=60, seed=seed)
    without, task = (
        w2s.load_task("threes", **sizes),
        w2s.load_task("threes", **sizes, extra_halves=2),
    )
    assert [s.fingerprint for s in without.splits] == [s.fingerprint for s in task.splits]
    groups = [set(s.group) for s in (*task.splits, *task.extra_halves)]
    assert sum(map(len, groups)) == len(set.union(*groups)) and [
        len(s) for s in task.extra_halves
    ] == [100, 100]
