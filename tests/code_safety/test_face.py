"""Tests of `w2s.code_safety` as the README calls it."""

import w2s_nb as w2s


def test_the_names_that_the_readme_calls_are_functions(words):
    found = w2s.code_safety.baselines(words)
    assert set(found) == {"length", "bag of words", "neighbouring words"}
    for name in ("kept_by_window", "run_script", "script_pairs", "harmful_line"):
        assert callable(getattr(w2s.code_safety, name)), name


def test_the_harmful_line_of_a_script_needs_its_text_alone():
    script = w2s.load_task("shell_safety", n_train=20, n_val=4, n_test=8).test
    lines = [w2s.code_safety.harmful_line(text) for (text,) in script.texts]
    assert [line != "" for line in lines] == (script.hard_label == 1).tolist()
    assert all(line in text.split("\n") for line, (text,) in zip(lines, script.texts) if line)
