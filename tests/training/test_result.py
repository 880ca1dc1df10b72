"""A `Fit`: stored predictions that are looked up, weak labels, weights, and how it is shown."""

import numpy as np
import pandas as pd
import pytest

import w2s_nb as w2s
from w2s_nb.training.result import AnswerFit, Fit, class_columns, columns_at, probs_at

QUICK = dict(method="probe", epochs=30)


def test_a_fit_is_shown_as_a_line_and_as_a_small_table(words, tiny):
    fit = w2s.fit(tiny, words.student, seed=3, **QUICK)
    assert repr(fit) == (
        f"Fit({tiny}, words, probe, xent on ground truth, seed 3, stop validation)"
    )
    table = fit._repr_html_()
    for name in ("model", "task", "labels", "loss", "method", "seed", "stop", "test accuracy"):
        assert f"<th>{name}</th>" in table
    assert f"<td>{fit.accuracy(words.test)}</td>" in table


SUMMARY = dict(model="<m>", task="t", labels="ground truth", loss="", method="prompt", seed=0)


def test_the_table_of_answers_has_exact_match_as_accuracy():
    predictions = pd.DataFrame(
        {
            "split": ["test"] * 4 + ["student"],
            "id": list("abcde"),
            "right": [True] * 3 + [False] * 2,
        }
    )
    fit = AnswerFit("0", {"summary": SUMMARY}, predictions, pd.DataFrame(), "last")
    assert "<td>0.750 [" in fit._repr_html_() and "<td>&lt;m&gt;</td>" in fit._repr_html_()


def test_the_table_of_a_prompted_model_has_no_accuracy_without_stored_truth():
    predictions = pd.DataFrame({"split": ["test"], "id": ["a"], "last": [0.5]})
    fit = Fit("0", {"summary": SUMMARY}, predictions, pd.DataFrame(), "last")
    assert "test accuracy" not in fit._repr_html_()


def test_predictions_are_looked_up_and_no_model_runs(words, tiny, monkeypatch):
    from w2s_nb.models import loading

    fit = w2s.fit(tiny, words.supervisor, **QUICK)
    monkeypatch.setattr(loading, "load_lm", None)
    assert fit.predict(words.test).shape == (64, 2)
    with pytest.raises(ValueError, match="96 of 96 examples of 'supervisor' are not there"):
        fit.predict(words.supervisor)
    with pytest.raises(ValueError, match="of the test split only"):
        fit.predict(words.validation, stop="oracle")


def test_two_classes_are_stored_in_one_column_per_checkpoint(words, tiny):
    fit = w2s.fit(tiny, words.supervisor, **QUICK)
    columns = ["split", "id", "truth", "group", "last", "validation", "oracle"]
    assert list(fit.predictions) == columns
    p1 = fit.predictions.set_index("id").last.loc[words.test.ids].to_numpy(np.float64)
    expected = np.stack([1 - p1, p1], axis=1)
    np.testing.assert_array_equal(fit.predict(words.test, stop="last"), expected)


def test_probabilities_of_several_classes_come_back_from_their_columns():
    probs = np.random.default_rng(0).dirichlet(np.ones(4), size=50).astype(np.float32)
    table = pd.DataFrame(columns_at("last", probs) | columns_at("oracle", probs[::-1]))
    assert list(table)[:3] == class_columns("last", 4) == ["last", "last_2", "last_3"]
    np.testing.assert_allclose(probs_at(table, "last"), probs, atol=1e-7)
    np.testing.assert_array_equal(probs_at(table, "oracle"), probs_at(table, "last")[::-1])


def test_the_first_class_is_never_less_than_impossible():
    above_one = pd.DataFrame({"last": [0.7, np.nan], "last_2": [0.3 + 1e-9, np.nan]})
    np.testing.assert_array_equal(probs_at(above_one, "last")[0], [0, 0.7, 0.3 + 1e-9])
    assert np.isnan(probs_at(above_one, "last")[1]).all()


def test_weak_labels_are_held_out_and_cover_validation(words, tiny):
    weak = w2s.fit(tiny, words.supervisor, **QUICK)
    labels = weak.label(words.student)
    assert set(labels.ids) == set(words.student.ids) | set(words.validation.ids)
    assert labels.source == tiny and labels.address == weak.address
    np.testing.assert_allclose(labels.for_split(words.student), weak.predict(words.student))
    with pytest.raises(ValueError, match="held out"):
        weak.label(words.supervisor)
    with pytest.raises(ValueError, match="lack 96 of 96"):
        labels.for_split(words.supervisor)


def test_kept_weights_are_the_trained_ones(words, tiny):
    import torch

    from w2s_nb import models
    from w2s_nb.inputs.batches import TokenInputs
    from w2s_nb.inputs.tokens import tokenize
    from w2s_nb.training import loop

    fit = w2s.fit(tiny, words.student, method="full", lr=1e-3, keep_weights=True)
    checkpoint = models.with_depth(models.resolve(tiny))
    net, weights = (
        models.build(checkpoint, "full", 1, head_init="zero", device=torch.device("cpu")),
        fit.weights(),
    )
    vocabulary = weights.pop("vocabulary")
    models.compact_embedding(net, vocabulary)
    net.load_state_dict(weights)
    probs = loop.predict(net, TokenInputs(tokenize(words.test, checkpoint, 16), vocabulary.numpy()))
    np.testing.assert_allclose(probs, fit.predict(words.test), atol=1e-5)
    with pytest.raises(FileNotFoundError, match="keep_weights=True"):
        w2s.fit(tiny, words.student, **QUICK).weights()


def test_pgr_of_fits_is_pgr_of_their_predictions(words, tiny):
    arms = w2s.run_arms("words", f"{tiny}@1", tiny, n_train=96, n_val=32, n_test=64, **QUICK)
    fits = [arms.fits[a][0] for a in ("weak supervisor", "student, naive", "strong ceiling")]
    weak, student, ceiling = (f.accuracy(words.test).value for f in fits)
    got = w2s.pgr(*fits, words.test).value
    assert np.isnan(got) or got == pytest.approx((student - weak) / (ceiling - weak))


def test_a_student_labels_the_rest_of_its_half(words, tiny):
    first, rest = words.student.take(slice(0, 40)), words.student.take(slice(40, None))
    fit = w2s.fit(tiny, first, **QUICK)
    assert len(fit.label(rest)) == 56 + len(words.validation)
    with pytest.raises(ValueError, match="held out"):
        fit.label(words.student)
    of_all = w2s.fit(tiny, first, label_training_examples=True, **QUICK)
    assert of_all.address != fit.address
    assert of_all.label(words.student, training_examples=True).covers(words.student)
