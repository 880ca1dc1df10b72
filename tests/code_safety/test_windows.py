"""What a window of tokens keeps of texts."""

import numpy as np
import pytest

from w2s_nb.code_safety import kept_by_window
from w2s_nb.inputs.tokens import tokenize
from w2s_nb.models.names import resolve


def test_a_window_that_holds_all_keeps_all(words, tiny):
    table = kept_by_window(words.test, tiny, 1000).set_index("class")
    assert list(table.index) == ["no", "yes", "all"]
    assert table["texts"].tolist() == [32, 32, 64]
    assert (table["whole"] == 1).all() and (table["tokens_kept"] == 1).all()


def test_a_short_window_keeps_the_tokens_that_a_model_is_given(words, tiny):
    row = kept_by_window(words.test, tiny, 4).set_index("class").loc["all"]
    n = tokenize(words.test, resolve(tiny), 1000).lengths
    assert row["whole"] == np.mean(n <= 4) and 0 < row["whole"] < 1
    assert row["tokens_kept"] == pytest.approx(np.minimum(n, 4).sum() / n.sum())
    assert row["median_tokens"] == np.median(n)
