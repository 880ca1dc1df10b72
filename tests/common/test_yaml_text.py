"""YAML: what is read, and what is refused in one line with its place."""

import pytest

from w2s_nb.common import yaml_text


def test_texts_numbers_lists_and_mappings_are_read():
    text = "a: 1\nb: 0.5\nc: [x, true, null]\nd: {e: 2026-01-31}\n"
    assert yaml_text.parse(text, "some.yaml") == {
        "a": 1,
        "b": 0.5,
        "c": ["x", True, None],
        "d": {"e": "2026-01-31"},
    }
    assert yaml_text.parse("", "some.yaml") is None


def test_a_number_that_begins_with_0_stays_a_text():
    text = "a: 0200\nb: [-010, 0_7, 0, 0.5, -0, 0x10]\n"  # in YAML 1.1: 128, -8 and 7
    assert yaml_text.parse(text, "some.yaml") == {"a": "0200", "b": ["-010", "0_7", 0, 0.5, 0, 16]}


def test_what_is_merged_may_be_given_again():
    text = "base: &base {a: 1, b: 2}\nmine: {<<: *base, b: 3}"
    assert yaml_text.parse(text, "some.yaml")["mine"] == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    "text, message",
    [
        ("a: [1, 2\n", "some.yaml, line 2, column 1: expected ',' or ']'"),
        ("a:\n\tb: 1", "some.yaml, line 2, column 1: found character '\\t'"),
        ("a: 1\nb: 2\na: 3", "some.yaml, line 3, column 1: 'a' is given twice"),
        ("a: {b: 1, b: 2}", "some.yaml, line 1, column 11: 'b' is given twice"),
        ("a: !!python/object/apply:os.system [ls]", "some.yaml, line 1, column 4: could not"),
        ("a: *none", "line 1, column 4: found undefined alias 'none'"),
        ("? [a]\n: 1", "line 1, column 3: a key that is no text"),
        ("a: \x01", "some.yaml, character 4: special characters"),
        ("a: " + "[" * 20_000, "some.yaml: lists or mappings are nested too deeply"),
        ("a: 1\n---\nb: 2", "another document"),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_place(text, message):
    with pytest.raises(ValueError) as error:
        yaml_text.parse(text, "some.yaml")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_file_of_other_letters_is_refused_with_its_line(tmp_path):
    path = tmp_path / "some.yaml"
    path.write_bytes("a: 1\nb: é".encode("latin-1"))
    with pytest.raises(ValueError, match="some.yaml, line 2: not UTF-8"):
        yaml_text.read(path, "sweep")
    path.write_bytes("a: é".encode("utf-8-sig"))
    assert yaml_text.read(path, "sweep") == {"a": "é"}
    with pytest.raises(FileNotFoundError, match="sweep '.*none.yaml' is no file"):
        yaml_text.read(tmp_path / "none.yaml", "sweep")
