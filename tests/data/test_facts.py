"""Themes and difficulty of examples, and what is refused where there are none."""

import numpy as np
import pandas as pd
import pytest

from w2s_nb.common.registry import UnknownName
from w2s_nb.data.facts import check_theme, facts_of, has_theme
from w2s_nb.data.splits import Split


def split_of(facts):
    return Split(
        "test", np.array(["a", "b"]), (("x",), ("y",)), np.array([0, 1]), np.arange(2), facts=facts
    )


def test_examples_of_a_theme_are_found():
    split = split_of(pd.DataFrame({"difficulty": [1, 2], "themes": [("link", "sent"), ()]}))
    assert has_theme(split, "sent").tolist() == [True, False]
    check_theme(split, "link")
    with pytest.raises(UnknownName, match="unknown theme 'lnk'. Near: link"):
        check_theme(split, "lnk")


def test_a_split_without_facts_is_refused():
    for read in (
        facts_of,
        lambda split: has_theme(split, "a"),
        lambda split: check_theme(split, "a"),
    ):
        with pytest.raises(ValueError, match="no difficulty and no themes"):
            read(split_of(None))
