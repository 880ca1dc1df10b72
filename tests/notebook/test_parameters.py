"""Names in a parameter that may hold several, and texts of a user's own."""

import pytest

from w2s_nb.common.registry import TASKS
from w2s_nb.notebook.parameters import check, names_in


def test_a_list_of_names_is_split_at_commas():
    assert names_in(" xent,confidence, ") == ["xent", "confidence"]
    assert names_in("") == []


def test_a_list_of_names_must_be_text():
    with pytest.raises(TypeError, match="5 is a int; expected a name"):
        names_in(5)


@pytest.fixture
def texts(tmp_path):
    rows = [f"text {i},{('bad', 'good')[i % 2]},a{i}" for i in range(40)]
    (tmp_path / "mine.csv").write_text(
        "\n".join(["review;sentiment;author", *rows]).replace(",", ";")
    )
    yield {"texts": str(tmp_path / "mine.csv"), "columns": "review, sentiment, author"}
    TASKS._entries.pop("mine", None)


@pytest.mark.parametrize(
    "changed, error, says",
    [
        (
            {"classes": ""},
            ValueError,
            r"mine.csv, row 1: sentiment is 'bad'.*classes=\('bad', 'good'\)",
        ),
        ({"classes": "bad"}, ValueError, "classes = 'bad'; expected the labels of class 0 and of"),
        ({"columns": "review"}, ValueError, "columns = 'review'; expected the columns of texts"),
        ({"columns": "text, label"}, ValueError, "mine.csv has no column 'text', but 'review', 's"),
        ({"columns": "review, sentiment, who"}, ValueError, "mine.csv has no column 'who'"),
        ({"texts": "none.csv"}, FileNotFoundError, "no file none.csv"),
        ({"texts": 5}, TypeError, "texts = 5; expected the path of a file"),
    ],
)
def test_texts_of_ones_own_are_read_before_anything_else_is_done(texts, changed, error, says):
    texts |= {"classes": "bad, good"}
    check("12_your_own", texts)
    with pytest.raises(error, match=says):
        check("12_your_own", texts | changed)


def test_texts_of_ones_own_may_have_more_classes(tmp_path, registries):
    rows = [f"text {i},{('bad', 'fair', 'good')[i % 3]}" for i in range(60)]
    (tmp_path / "mine.csv").write_text("\n".join(["text,label", *rows]))
    given = {"texts": str(tmp_path / "mine.csv"), "classes": "bad, fair, good"}
    check("12_your_own", given | {"n_train": 9})
    assert TASKS["mine"].classes == ("bad", "fair", "good")
    with pytest.raises(ValueError, match="n_train = 8; expected a multiple of 3.*class of mine"):
        check("12_your_own", given | {"n_train": 8})
