"""Tables of any form are read alike, and what is wrong in them is said with file and row."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from w2s_nb.data.tables import (
    check_classes,
    check_rows,
    class_numbers,
    find_column,
    read_table,
    rows_in,
)

ROWS = [
    {"text": 'it said "no", twice', "label": "0"},
    {"text": "line one\nline two", "label": "1"},
    {"text": "naïve; or\tnot", "label": "1"},
]
FRAME = pd.DataFrame(ROWS)


def csv_of(**options) -> str:
    return FRAME.to_csv(index=False, **options)


def write(folder, name: str, content: str | bytes):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "name, content",
    [
        ("a.csv", csv_of()),
        ("semicolons.csv", csv_of(sep=";")),
        ("bars.csv", csv_of(sep="|")),
        ("tabs.tsv", csv_of(sep="\t")),
        ("excel.csv", ("\ufeff" + csv_of(sep=";")).replace("\n", "\r\n")),
        ("excels_own_line.csv", "sep=;\n" + csv_of(sep=";")),
        ("unicode_text_of_excel.csv", csv_of(sep="\t").encode("utf-16")),
        ("old_mac.csv", csv_of().replace("\n", "\r")),
        ("empty_lines.csv", csv_of().replace('label\n"', 'label\n\n\n"') + "\n\n"),
        ("columns_without_a_name.csv", FRAME.assign(a="", b="").to_csv(index=False)),
        ("CAPITALS.CSV", csv_of()),
        ("a.csv.gz", gzip.compress(csv_of().encode(), mtime=0)),
        ("a.jsonl", FRAME.to_json(orient="records", lines=True)),
        ("windows.jsonl", FRAME.to_json(orient="records", lines=True).replace("\\n", "\\r\\n")),
        ("a.json", json.dumps(ROWS, indent=1)),
        ("lines.json", FRAME.to_json(orient="records", lines=True)),
    ],
)
def test_a_table_is_read_alike_from_every_form_of_file(tmp_path, name, content):
    if name.startswith("columns_without"):
        content = content.replace("label,a,b", "label,,")
    assert read_table(write(tmp_path, name, content)) == ROWS


def test_parquet_keeps_numbers_and_gaps(tmp_path):
    frame = pd.DataFrame({"text": ["a\r\nb", None], "label": pd.array([1, None], dtype="Int64")})
    frame.to_parquet(tmp_path / "a.parquet")
    rows = [{"text": "a\nb", "label": 1}, {"text": None, "label": None}]
    assert read_table(tmp_path / "a.parquet") == rows
    assert list(rows_in(frame.assign(text=["a\nb", np.nan]))) == rows


def test_values_of_a_csv_stay_texts(tmp_path):
    odd = ["007", "1e5", "NA", "null", "true", "2020-01-01", ""]
    path = write(tmp_path, "a.csv", "id,text\n" + "".join(f"{value},x\n" for value in odd))
    assert [row["id"] for row in read_table(path)] == odd


def test_a_text_may_be_longer_than_csv_takes_by_default(tmp_path):
    path = write(tmp_path, "a.csv", f"text,label\n{'x' * 200_000},1\n")
    assert len(read_table(path)[0]["text"]) == 200_000


def test_other_letters_are_read_when_told_and_else_shown_in_likely_encodings(tmp_path):
    path = write(tmp_path, "a.csv", "text,label\nخوب بود,1\n".encode("cp1256"))
    assert read_table(path, "cp1256") == [{"text": "خوب بود", "label": "1"}]
    with pytest.raises(
        ValueError, match=r"a.csv is not UTF-8, .*line 2: encoding='cp1256' reads 'خوب"
    ):
        read_table(path)
    with pytest.raises(ValueError, match="encoding = 'cp12'; expected a name"):
        read_table(path, "cp12")
    with pytest.raises(ValueError, match="a.csv is not ASCII"):
        read_table(path, "ascii")


@pytest.mark.parametrize(
    "name, content, says",
    [
        (
            "a.csv",
            "text,label\nwell, well,0\n",
            "a.csv, row 1 has 3 values for 2 columns (text, label)",
        ),
        ("a.csv", 'text,label\nso,1\n"open,1\nmore,0\n', "a.csv, row 2: a quotation mark"),
        ("a.csv", 'text,label\nso,1\n"he said \\"no\\"",1\n', "a.csv, row 2: a quotation mark"),
        ("a.csv", "text,text\na,b\n", "2 columns 'text'"),
        ("a.csv", "text,label\n", "a.csv has no rows"),
        ("a.csv", "", "a.csv has no rows"),
        ("a.csv", "text,label\n1,so,0\n2,no,1\n", "a column of row numbers has a name in the h"),
        (
            "a.tsv",
            'text\tlabel\n"So he\t1\nit was "no"\t0\n',
            "row 1: .* mean themselves, .*quoting=3",
        ),
        (
            "a.tsv",
            'text\tlabel\n"So he\t1\nsaid no"\t0\n',
            "row 1: .* mean themselves, .*quoting=3",
        ),
        ("a.csv", "\n<!DOCTYPE html>\n<html>", "a.csv is a web page (HTML)"),
        (
            "a.csv",
            "version https://git-lfs.github.com/spec/v1\noid 4d7a",
            "a.csv is a pointer of git-",
        ),
        (
            "a.parquet",
            "version https://git-lfs.github.com/spec/v1",
            "a.parquet is a pointer of git-lfs",
        ),
        ("a.csv", csv_of().encode("utf-16-le"), "encoding='utf-16-le'"),
        ("a.csv", b"PK\x03\x04\xff\xff", "a.csv is a spreadsheet"),
        ("a.csv", gzip.compress(b"text,label", mtime=0), "a.csv is compressed"),
        ("a.csv.gz", gzip.compress(b"text,label" * 99, mtime=0)[:30], "a.csv.gz cannot be read"),
        ("a.csv", csv_of().encode("utf-32"), "encoding='utf-32'"),
        ("a.numbers", b"PK\x03\x04", "a.numbers is a spreadsheet: save it there as csv"),
        ("a.xlsx", b"PK\x03\x04", "a.xlsx is a spreadsheet: save it there as csv"),
        ("a.parquet", b"PAR1 and no more", "a.parquet cannot be read as parquet"),
        ("a.jsonl", '{"text": "a"}\n{"text": b}\n', "a.jsonl, line 2: '{\"text\": b}'"),
        ("a.jsonl", '{"label": 1}\n' + "[" * 100_000, "a.jsonl, line 2: '[[["),
        ("a.jsonl", '{"label": 1' + "0" * 5000 + "}", 'a.jsonl, line 1: \'{"label": 10'),
        ("a.json", "[" * 100_000, "a.json: a number is too long, or lists are nested too deeply"),
        ("a.jsonl", '{"text": "a"}\n5\n', "a.jsonl, row 2: 5; expected an object"),
        ("a.json", '[{"text": "a"},\n{]', "a.json, line 2: no JSON"),
        ("a.json", '{"text": ["a", "b"]}', "one object with the columns 'text'; expected a list"),
        ("a.txt", "a", "suffix '.txt'; expected one of .csv, .tsv, .jsonl, .json, .parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_line(tmp_path, name, content, says):
    with pytest.raises(ValueError) as caught:
        read_table(write(tmp_path, name, content))
    message = str(caught.value)
    assert all(part in message for part in says.split(".*"))
    assert "\n" not in message and str(tmp_path) not in message


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*none.csv"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="is a folder; expected a file"):
        read_table(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"w2s.Hub\('somebody/reviews', None\)"):
        read_table("somebody/reviews")
    for address in ("https://example.org/a.csv", "hf://datasets/a/b.parquet", "file:///a.csv"):
        with pytest.raises(FileNotFoundError, match=f"no file {address}, but an address; download"):
            read_table(address)


def test_a_space_after_each_comma_of_the_header_belongs_to_no_value(tmp_path):
    table = 'text, label, note\n"so, yes", 1, "a, b"\n no, 0, c\n'
    assert read_table(write(tmp_path, "a.csv", table)) == [
        {"text": "so, yes", "label": "1", "note": "a, b"},
        {"text": "no", "label": "0", "note": "c"},
    ]
    assert read_table(write(tmp_path, "a.csv", "text,label\n so, 1\n"))[0]["text"] == " so"


def test_code_with_breaks_and_tabs_is_one_text_of_a_tsv(tmp_path):
    rows = [{"text": "def f():\n\treturn 1", "label": "1"}, {"text": "a\tb\n\nc", "label": "0"}]
    table = pd.DataFrame(rows).to_csv(sep="\t", index=False)
    assert read_table(write(tmp_path, "a.tsv", table)) == rows


def test_rows_without_a_value_at_the_end_are_no_rows(tmp_path):
    rows = read_table(write(tmp_path, "a.csv", "text,label,,\na,1,,\n,,,\nb,,,\n,,,\n , ,,\n"))
    assert [row["text"] for row in rows] == ["a", "", "b"]


def test_two_columns_of_a_frame_with_one_name_are_refused():
    frame = pd.DataFrame([["a", 1, 2]], columns=["text", "label", "label"])
    with pytest.raises(ValueError, match="the DataFrame has 2 columns 'label'"):
        rows_in(frame)


def test_what_is_no_table_is_shown_in_one_line():
    class Reader:
        def __repr__(self):
            return "two\nlines"

    with pytest.raises(TypeError, match="a table is two lines, a Reader; expected the path"):
        rows_in(Reader())
    with pytest.raises(ValueError, match="a, row 1: two lines; expected a mapping .*pandas.DataF"):
        check_rows([Reader()], "a")


@pytest.mark.parametrize("table", [5, None, b"a", {"text": ["a"]}])
def test_what_is_no_table_is_refused(table):
    with pytest.raises(TypeError, match="expected"):
        rows_in(table)


def test_columns_are_found_whatever_their_capitals():
    assert find_column([{" Text ": 1, "Label": 0}], "text", "a.csv") == " Text "
    assert find_column([{"text": 1, "Text": 0}], "Text", "a.csv") == "Text"
    with pytest.raises(ValueError, match="a.csv has 2 columns 'TEXT'"):
        find_column([{"text": 1, "Text": 0}], "TEXT", "a.csv")
    with pytest.raises(
        ValueError, match="a.csv has no column 'txt', but 'text', 'label'; near: 't"
    ):
        find_column([{"text": 1, "label": 0}], "txt", "a.csv")


def numbers(values, classes=None):
    return class_numbers(values, classes, lambda row: f"row {row + 1}")


@pytest.mark.parametrize(
    "values, classes",
    [
        (["0", "1", " 1", "1.0"], None),
        ([0, 1, 1.0, np.int64(1)], None),
        (["FALSE", "True", True, np.bool_(True)], None),
        (["۰", "۱", "1", "1"], None),  # digits of other scripts
        (["bad", "Good", " good ", "GOOD"], ("bad", "good")),
        ([1, "2", 2.0, "2.00"], (1, 2)),
        ([-1, "1", "+1", 1.0], (-1, 1)),
        (["yes", "none", "None", "NONE"], ("yes", "none")),  # a class that reads as missing
    ],
)
def test_labels_mean_their_class_however_they_are_written(values, classes):
    assert numbers(values, classes) == [0, 1, 1, 1]


@pytest.mark.parametrize(
    "values, classes, says",
    [
        (
            ["0", "2", "1", "2"],
            None,
            "row 2: label is '2'; expected 0 or 1; wrong in 2 of 4 rows. V",
        ),
        (
            ["pos", "neg"],
            None,
            r"row 1: .* class 0 and which is class 1: classes=\('neg', 'pos'\)$",
        ),
        ([0, 1, None, 1], None, "row 3: label is missing; expected 0 or 1; wrong in 1 of 4 rows$"),
        (["0", "1", "nan"], None, "row 3: label is missing; expected 0 or 1"),
        ([0, 1, -1], None, "row 3: label is -1; .*where test labels are hidden"),
        (
            [0, 1, -1, -1, 0, 1],
            None,
            r"hidden: .*a split that has labels; or, if it is a class, say classes=\(-1, 0, 1\)$",
        ),
        ([0, 1, 0.5], None, "row 3: label is 0.5; expected 0 or 1"),
        (["bad", "fine"], ("bad", "good"), "row 2: label is 'fine'; expected 'bad' or 'good'"),
        ([[1], [0]], None, r"row 1: label is \[1\]; expected 0 or 1"),
        (list("abcdefg"), None, "Values: 'a', 'b', 'c', 'd', 'e', ...$"),
    ],
)
def test_a_label_that_is_no_class_is_named_with_its_row(values, classes, says):
    with pytest.raises(ValueError, match=says):
        numbers(values, classes)


def test_labels_of_more_classes_are_numbers_from_0_or_names():
    assert class_numbers(["2", 0.0, "1"], None, str, n_classes=3) == [2, 0, 1]
    assert class_numbers(["Fair", "bad"], ("bad", "good", "fair"), str) == [2, 0]
    with pytest.raises(ValueError, match="1: label is '3'; expected 0, 1 or 2; wrong in 1 of 2"):
        class_numbers(["0", "3"], None, str, n_classes=3)
    with pytest.raises(ValueError, match="0: label is True; expected 0, 1 or 2"):
        class_numbers([True], None, str, n_classes=3)
    with pytest.raises(ValueError, match="expected 'bad', 'good' or 'fair'"):
        class_numbers(["odd"], ("bad", "good", "fair"), str)


def test_classes_are_as_many_values_as_are_asked_for():
    assert check_classes(["a", "b", "c"], 3) == check_classes(["a", "b", "c"], None)
    with pytest.raises(ValueError, match=r"\('a', 'b'\); expected 3 different values"):
        check_classes(("a", "b"), 3)
    with pytest.raises(ValueError, match="expected at least two different values"):
        check_classes(("a",), None)


def test_accents_of_either_form_are_the_same_label_and_column():
    composed, decomposed = "n\u00e9gatif", "ne\u0301gatif"
    classes = (composed, "positif")
    assert class_numbers([decomposed, "positif"], classes, str) == [0, 1]
    assert find_column([{decomposed: 1}], composed, "a") == decomposed


@pytest.mark.parametrize("classes", [("a",), ("a", "b", "c"), ("a", " A"), (1, "1.0"), "ab", 5])
def test_classes_are_two_different_values(classes):
    with pytest.raises(ValueError, match="expected two different values"):
        check_classes(classes)
