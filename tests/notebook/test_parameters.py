"""Names in a parameter that may hold several."""

import pytest

from w2s_nb.notebook.parameters import names_in


def test_a_list_of_names_is_split_at_commas():
    assert names_in(" xent,confidence, ") == ["xent", "confidence"]
    assert names_in("") == []


def test_a_list_of_names_must_be_text():
    with pytest.raises(TypeError, match="5 is a int; expected a name"):
        names_in(5)
