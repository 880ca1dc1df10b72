"""Local files below `$W2S_DATA` are read as people have them; what is wrong is said with its
file and row.
"""

import dataclasses

import datasets
import pandas as pd
import pyarrow as pa
import pytest

import w2s_nb as w2s
from w2s_nb.data import sources

SIZES = {"n_train": 8, "n_val": 4, "n_test": 8}
FEN = "r1bqkbnr/pppp1ppp/2n5/4p2Q/2B1P3/8/PPPP1PPP/RNB1K1NR b KQkq - 0 1"

# most tests here need one file alone
pytestmark = pytest.mark.filterwarnings("ignore:.*local files have the split")


def sciq(n=40, **changed):
    row = {
        "distractor1": "iron",
        "distractor2": "salt",
        "distractor3": "oil",
        "correct_answer": "air",
        "support": "",
    }
    return [{"question": f"question {i}"} | row | changed for i in range(n)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Returns the folder of local files of sciq; the last file read is not remembered."""
    monkeypatch.setenv("W2S_DATA", str(tmp_path))
    (tmp_path / "sciq").mkdir()
    yield tmp_path / "sciq"


def test_the_hubs_own_layout_is_read(folder):
    (folder / "data").mkdir()
    for name, rows in (
        ("train-00000-of-00002", sciq()[:15]),
        ("train-00001-of-00002", sciq()[15:30]),
        ("validation-00000-of-00001", sciq(5, correct_answer="another")),
        ("test-00000-of-00001-8d3a1f", sciq()[30:]),
    ):
        datasets.Dataset.from_list(rows).to_parquet(folder / "data" / f"{name}.parquet")
    (folder / "dataset_infos.json").write_text("{}")
    task = w2s.load_task("sciq", **SIZES)
    assert task.counts["rows read"] == 40
    assert {int(t.split()[2]) >= 30 for (t,) in task.test.texts} == {True}


def test_the_layout_of_the_hubs_converted_branch_is_read(folder):
    for split, rows in (("train", sciq()[:30]), ("test", sciq()[30:])):
        (folder / "default" / split).mkdir(parents=True)
        datasets.Dataset.from_list(rows).to_parquet(folder / "default" / split / "0000.parquet")
    task = w2s.load_task("sciq", **SIZES)
    assert {int(t.split()[2]) >= 30 for (t,) in task.test.texts} == {True}


def test_of_a_whole_repository_the_tasks_only_part_is_read(folder):
    whole = folder.parent / "summarize_from_feedback"
    summaries = [{"text": "one"}, {"text": "two"}]
    for part, row in (("axis", {"summary": "s"}), ("comparisons", {"choice": 1})):
        (whole / part).mkdir(parents=True)
        rows = [row | {"info": {"post": f"p{i}"}, "summaries": summaries} for i in range(12)]
        for split in ("train", "validation"):
            frame = pd.DataFrame(rows)
            frame.to_json(whole / part / f"{split}.jsonl", orient="records", lines=True)
    rows = sources.rows_of(w2s.TASKS["summarize_from_feedback"])
    assert all(row["choice"] == 1 for split in ("train", "test") for row in rows[split])


def test_a_folder_beside_the_parts_of_a_repository_is_not_read(folder):
    """red-team-attempts of hh-rlhf has other columns; single turns of other parts are doubled."""
    for part, names in (
        ("harmless-base", ("chosen", "rejected")),
        ("red-team-attempts", ("transcript", "task_description")),
    ):
        of_part = folder.parent / "anthropic_hh" / part
        of_part.mkdir(parents=True)
        for split in ("train", "test"):
            rows = [{name: f"{split} {i} {name}" for name in names} for i in range(60)]
            pd.DataFrame(rows).to_json(of_part / f"{split}.jsonl", orient="records", lines=True)
    assert w2s.load_task("anthropic_hh", **SIZES).counts["rows read"] == 120


@pytest.mark.parametrize("with_splits", [True, False])
def test_a_folder_of_save_to_disk_is_read(folder, with_splits):
    whole = datasets.Dataset.from_list(sciq())
    if with_splits:
        parts = {"train": whole.select(range(30)), "test": whole.select(range(30, 40))}
        datasets.DatasetDict(parts).save_to_disk(folder)
    else:
        whole.save_to_disk(folder)
    task = w2s.load_task("sciq", **SIZES)
    assert task.counts["rows read"] == 40
    late = [int(t.split()[2]) >= 30 for (t,) in task.test.texts]
    assert all(late) == with_splits


def test_hidden_files_and_folders_are_passed_over(folder):
    datasets.Dataset.from_list(sciq()).to_parquet(folder / "train.parquet")
    (folder / ".cache").mkdir()
    for name in ("._train.parquet", ".cache/train.parquet"):
        (folder / name).write_bytes(b"\0\5")
    assert w2s.load_task("sciq", **SIZES).counts["rows read"] == 40


def test_a_link_to_nothing_is_named_and_not_passed_over(folder):
    datasets.Dataset.from_list(sciq()).to_parquet(folder / "test.parquet")
    (folder / "train.parquet").symlink_to("blobs/moved.parquet")
    with pytest.raises(sources.DataUnavailable, match="train.parquet is a link to .*moved.parquet"):
        w2s.load_task("sciq", **SIZES)


@pytest.mark.parametrize("codec", ["zstd", "gzip"])
def test_puzzles_as_lichess_publishes_them_are_read(folder, codec):
    pytest.importorskip("chess")
    row = {"FEN": FEN, "Moves": "g8f6 h5f7", "Rating": 900, "Themes": "mateIn1 short"}
    rows = [row | {"GameUrl": f"https://lichess.org/{i}"} for i in range(20)]
    path = folder.parent / "lichess_puzzles" / "lichess_db_puzzle.csv"
    path.parent.mkdir()
    text = pd.DataFrame(rows).to_csv(index=False).encode()
    suffix = {"zstd": "zst", "gzip": "gz"}[codec]
    with pa.CompressedOutputStream(f"{path}.{suffix}", codec) as stream:
        stream.write(text)
    spec = w2s.TASKS["lichess_puzzles"]
    rows = list(sources.rows_of(spec)["all"])
    assert len(rows) == 20 and next(iter(spec.examples(rows[3]))).answer == " Qxf7#"


def test_as_many_local_rows_are_read_as_of_the_hub(folder, monkeypatch):
    path = folder.parent / "amazon_polarity" / "train.csv"
    path.parent.mkdir()
    rows = [{"title": "", "content": f"text {i}", "label": i % 2} for i in range(30)]
    pd.DataFrame(rows).to_csv(path, index=False)
    spec = w2s.TASKS["amazon_polarity"]
    hub = dataclasses.replace(spec.source, limit=20)
    assert len(list(sources.rows_of(dataclasses.replace(spec, source=hub))["all"])) == 20


def test_what_may_be_empty_may_be_null(folder):
    rows = [row | {"support": None, "distractor1": None} for row in sciq()]
    datasets.Dataset.from_list(rows).to_json(folder / "validation.jsonl")
    task = w2s.load_task("sciq", **SIZES)
    assert len({g for split in task.splits for g in split.group}) == 14
    texts = {text for split in task.splits for (text,) in split.texts}
    assert not any("iron" in text or "None" in text for text in texts)


@pytest.mark.parametrize(
    "name, row, says",
    [
        ("sciq", sciq(1, correct_answer=None)[0], "column 'correct_answer' is empty (None)"),
        (
            "boolq",
            {"question": "q", "passage": "p", "answer": "yes"},
            "the label is 'yes', a text; expected the number 0 or 1",
        ),
        ("boolq", {"question": "q", "passage": None, "answer": True}, "column 'passage' is empty"),
        ("anthropic_hh", {"chosen": "a", "rejected": None}, "column 'rejected' is empty (None)"),
        (
            "anthropic_hh",
            {"chosen": [{"role": "user", "content": None}], "rejected": [{"role": "user"}]},
            "a message is None; expected a text",
        ),
        (
            "shp",
            {"history": "h", "human_ref_A": "a", "human_ref_B": "b", "labels": -1, "post_id": "p"},
            "column 'labels' is -1, as where the labels of a test split are hidden; expected a "
            "number from 0 to 1",
        ),
        (
            "cosmos_qa",
            {"context": "c", "question": "q", "label": 4} | {f"answer{i}": "a" for i in range(4)},
            "column 'label' is 4; expected a number from 0 to 3",
        ),
        (
            "boolq",
            {"query": "q", "passage": "p", "answer": True},
            "no column 'question' in query, passage, answer; expected question, passage, answer",
        ),
        (
            "lichess_puzzles",
            {"fen": "x", "moves": "y"},
            "a chess puzzle has columns ctx and target, or FEN and Moves; got fen, moves",
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_file_and_row(folder, name, row, says):
    path = folder.parent / name / "train.jsonl"
    path.parent.mkdir(exist_ok=True)
    first = sciq(1) if name == "sciq" else []
    pd.DataFrame([*first, row]).to_json(path, orient="records", lines=True)
    with pytest.raises(ValueError) as error:
        w2s.load_task(name)
    text = str(error.value)
    assert text.startswith(f"task '{name}', row {len(first) + 1} of {name}/train.jsonl")
    assert says in text and "\n" not in text


@pytest.mark.parametrize(
    "file, content, says",
    [
        ("train.jsonl", b"", "no rows in sciq/train.jsonl"),
        ("train.csv", b"", "sciq/train.csv"),
        ("train.csv", b"question,support\n", "no rows in sciq/train.csv"),
        ("train.parquet", b"junk", "sciq/train.parquet cannot be read as parquet: "),
        ("train.jsonl", b"{junk", "sciq/train.jsonl cannot be read as json: "),
        ("train.csv.zst", b"junk", "sciq/train.csv.zst cannot be read as csv: "),
        ("train.txt", b"", "or <split>.csv.zst, and no folder <split> that save_to_disk wrote"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(folder, file, content, says):
    (folder / file).write_bytes(content)
    with pytest.raises(sources.DataUnavailable) as error:
        w2s.load_task("sciq")
    assert says in str(error.value) and "\n" not in str(error.value)
