"""What experiments refuse: everything, before anything is trained."""

import pytest

import w2s_nb as w2s
from tests.conftest import save_tiny
from w2s_nb.common.registry import UnknownName
from w2s_nb.training.language_model import Tuned

SIZES = dict(n_train=96, n_val=32, n_test=64)
QUICK = SIZES | dict(method="probe", epochs=5)


@pytest.mark.parametrize(
    "change, error, says",
    [
        (dict(weak="gpt3"), UnknownName, "gpt2"),
        (dict(weak=None), TypeError, "model None; expected a name, or a function"),
        (dict(seeds=10**9), ValueError, "1000000000; expected how many, from 1 to 10000"),
        (dict(seeds=None), ValueError, "seeds = None"),
        (dict(losses=[]), ValueError, "expected one name or more"),
        (dict(seed=3), TypeError, "run_arms was given seed = 3, which seeds= decides"),
        (dict(loss="entropy"), TypeError, "loss = 'entropy', which losses= decides"),
        (dict(student_args={"loss": "entropy"}), TypeError, "student_args was given loss"),
        (dict(student_args={"stop": "best"}), ValueError, "'best'; expected one of last"),
        (dict(student_args={"epoch": 3}), TypeError, "epochs"),
        (dict(student_args={"stop": "oracle", "curve_test": 20}), ValueError, "takes all 64"),
        (dict(student_args={"evals": 1, "stop": "oracle"}), ValueError, "one evaluation"),
        (dict(student_args={"method": "prob"}), UnknownName, "probe"),
        (dict(student_args={"features": 17}), ValueError, "features = 17; .* has 16"),
        (dict(student_args=3), TypeError, "student_args = 3; expected {argument of fit: value}"),
        (dict(weak_args={"lr": float("inf")}), ValueError, "lr = inf; expected a finite number"),
        (dict(loss_args={"xent": 0.5}), TypeError, "loss 'xent' was given 0.5"),
        (dict(losses=["confidence"], loss_args={"confidence": {"alpha": 2.0}}), ValueError, "2.0"),
        (dict(losses=["entropy"], student_args={"method": "logistic"}), ValueError, "optimum"),
        (dict(labels={"mine": None}), TypeError, "label set 'mine' is None; expected a function"),
        (dict(labels=w2s.confident(0.5)), TypeError, "expected {name: function"),
        (dict(labels={"x": w2s.taught_by("gpt2-xl")}), OSError, "gpt2-xl"),
        (dict(variant="opinion"), TypeError, "variant is 'opinion'; expected a function"),
        (dict(devices=2), ValueError, "devices = 2"),
        (dict(micro_batch=2.5), ValueError, "micro_batch = 2.5"),
        (dict(keep_weights="no"), TypeError, "keep_weights = 'no'; expected True or False"),
    ],
)
def test_arms_refuse_everything_before_the_first_training(change, error, says, words, tiny):
    given = dict(weak=f"{tiny}@1", strong=tiny, losses=["xent"], **QUICK) | change
    with pytest.raises(error, match=says):
        w2s.run_arms("words", **given)
    assert w2s.results().empty


@pytest.mark.parametrize(
    "labels, says",
    [
        (lambda tiny: w2s.taught_by(tiny, method="prob"), "probe"),
        (lambda tiny: w2s.taught_by(tiny, epoch=3), "epochs"),
        (lambda tiny: w2s.matched("random", "gpt3"), "gpt2"),
        (lambda tiny: w2s.matched("confident", tiny, stop="best"), "last"),
        (lambda tiny: w2s.matched("longer", tiny), "one text per example"),
    ],
)
def test_label_sets_are_checked_before_the_supervisor_is_trained(labels, says, words, tiny):
    with pytest.raises((ValueError, TypeError), match=says):
        w2s.run_arms("words", f"{tiny}@1", tiny, labels={"further": labels(tiny)}, **QUICK)
    assert w2s.results().empty


def test_all_label_sets_are_checked_before_the_first_student_is_trained(words, tiny):
    own = w2s.SoftLabels.truth(words.student)
    for gives, change, error, says in (
        (None, {}, TypeError, "label set 'theirs' gave a NoneType; expected SoftLabels"),
        (own, {"stop": "validation"}, ValueError, "know 0 of 32 validation examples"),
    ):
        sets = {"mine": w2s.matched("own", tiny), "theirs": lambda task, weak, gives=gives: gives}
        with pytest.raises(error, match=says):
            w2s.run_arms("words", tiny, tiny, labels=sets, student_args=change, **QUICK)
        assert len(w2s.results()) == 1  # the supervisor, whose labels the sets may need


@pytest.mark.parametrize(
    "change, error, says",
    [
        (dict(models=None), ValueError, "at least two models"),
        (dict(stop="best"), ValueError, "expected one of last"),
        (dict(features=17), ValueError, "has 16"),
        (dict(seed=1), TypeError, "run_chain was given seed = 1, which seeds= decides"),
        (dict(loss="entropy", method="logistic"), ValueError, "needs method 'probe'"),
        (dict(data="fresh", n_train=2), ValueError, "cannot be cut into 2 parts"),
    ],
)
def test_chains_refuse_everything_before_the_first_training(change, error, says, words, tiny):
    given = dict(models=[f"{tiny}@1", f"{tiny}@2", tiny], **QUICK) | change
    with pytest.raises(error, match=says):
        w2s.run_chain("words", **given)
    assert w2s.results().empty


@pytest.mark.parametrize(
    "change, error, says",
    [
        (dict(stop="best"), ValueError, "expected one of last"),
        (dict(seed=1), TypeError, "run_saliency was given seed = 1"),
        (dict(loss_args={"a": 1}), ValueError, "given a"),
        (dict(weak_method="prob"), UnknownName, "probe"),
    ],
)
def test_saliency_refuses_everything_before_the_first_training(change, error, says, words, tiny):
    with pytest.raises(error, match=says):
        w2s.run_saliency("words", f"{tiny}@1", tiny, **SIZES | change)
    assert w2s.results().empty


@pytest.mark.parametrize(
    "change, error, says",
    [
        (dict(n_labels=1), ValueError, "n_labels = 1"),
        (dict(n_train="96"), ValueError, "n_train = '96'"),
        (dict(seed=1), TypeError, "one_setting was given seed = 1"),
        (dict(stop="best"), ValueError, "expected one of last"),
        (dict(epoch=2), TypeError, "epochs"),
    ],
)
def test_one_setting_refuses_everything_before_the_first_training(change, error, says, words, tiny):
    with pytest.raises(error, match=says):
        w2s.one_setting("words", f"{tiny}@1", tiny, **SIZES | change)
    assert w2s.results().empty


@pytest.mark.parametrize(
    "change, error, says",
    [
        (dict(which="labels only"), TypeError, "expected several names"),
        (dict(chosen=w2s.taught_by("gpt2")), ValueError, "words has one text per example"),
        (dict(chosen=3), TypeError, "chosen is a int; expected a function"),
        (dict(lm_args={"epoch": 1}), TypeError, "epochs"),
        (dict(lm_args={"held_out": 1}), ValueError, "held_out = 1"),
        (dict(lm_args={"seed": 1}), TypeError, "args has seed"),
        (dict(lm_args=3), TypeError, "args = 3"),
        (dict(student_args={"stop": "best"}), ValueError, "expected one of last"),
    ],
)
def test_generative_finetuning_refuses_everything_before_the_first_training(
    change, error, says, words, tiny
):
    with pytest.raises(error, match=says):
        w2s.run_generative("words", tiny, tiny, **QUICK | change)
    assert w2s.results().empty


def test_a_tuned_model_asks_for_pairs_where_it_learns_one_text_of_them(words, tiny):
    strong = Tuned(tiny, "student", w2s.taught_by(tiny, method="probe"))
    with pytest.raises(ValueError, match="words has one text per example"):
        w2s.run_arms("words", f"{tiny}@1", strong, **QUICK)
    assert w2s.results().empty


def test_texts_beyond_a_models_context_are_refused_before_the_supervisor_is_trained(
    words, tiny, tmp_path
):
    from tests.conftest import ARCHITECTURES

    config = ARCHITECTURES["llama"]()
    config.max_position_embeddings = 8
    short = save_tiny(tmp_path / "short", config=config)
    with pytest.raises(ValueError, match="tokens; .*short takes 8"):
        w2s.run_arms("words", tiny, short, **QUICK)
    assert w2s.results().empty


def test_a_supervisor_larger_than_its_student_is_told(words, tiny):
    with pytest.warns(UserWarning, match="is larger than .*@1, which it teaches") as told:
        w2s.run_arms("words", tiny, f"{tiny}@1", **QUICK)
    assert told[0].filename == __file__
    with pytest.warns(UserWarning, match="@2 is larger than .*@1, which it teaches") as told:
        w2s.run_chain("words", [f"{tiny}@1", f"{tiny}@2", f"{tiny}@1"], **QUICK)
    assert told[0].filename == __file__
