"""What is said where a task, a text or a fit is given in the place of a split, and the like."""

import numpy as np
import pytest

import w2s_nb as w2s
from w2s_nb.common.registry import UnknownName
from w2s_nb.data.tasks.spec import Prompt
from w2s_nb.training.language_model import finetune_lm, perplexity

PLAIN = Prompt("{0} w40", ("w41", "w42"), "w50 w51")
QUICK = dict(method="probe", epochs=5)


class Made:
    """A task with a supervisor, its labels and its arms, made once per process."""

    def __init__(self, model, task):
        self.model = model
        self.task = task
        self.weak = w2s.fit(model, task.supervisor, **QUICK)
        self.labels = self.weak.label(task.student)
        sizes = dict(n_train=96, n_val=32, n_test=64)
        self.arms = w2s.run_arms("words", model, model, **sizes, **QUICK)


@pytest.fixture
def made(words, tiny, request):
    kept = request.config.stash.setdefault(KEPT, {})
    if tiny not in kept:
        kept[tiny] = Made(tiny, words)
    return kept[tiny]


KEPT = pytest.StashKey()

A_SPLIT = "split is a .*; expected (one of its splits|a split of w2s.load_task)"
IN_PLACE_OF_A_SPLIT = {
    "fit": lambda m, given: w2s.fit(m.model, given),
    "finetune_lm": lambda m, given: finetune_lm(m.model, given),
    "prompt": lambda m, given: w2s.prompt(m.model, given, wording=PLAIN),
    "swapped": lambda m, given: w2s.swapped(given),
    "Fit.predict": lambda m, given: m.weak.predict(given),
    "Fit.label": lambda m, given: m.weak.label(given),
    "Fit.accuracy": lambda m, given: m.weak.accuracy(given),
    "SoftLabels.truth": lambda m, given: w2s.SoftLabels.truth(given),
    "SoftLabels.for_split": lambda m, given: m.labels.for_split(given),
    "SoftLabels.knows": lambda m, given: m.labels.knows(given),
    "w2s.pgr": lambda m, given: w2s.pgr(m.weak, m.weak, m.weak, given),
}


@pytest.mark.parametrize("call", IN_PLACE_OF_A_SPLIT.values(), ids=IN_PLACE_OF_A_SPLIT)
@pytest.mark.parametrize("given", ["task", "a name", "nothing", "a fit"])
def test_a_task_a_name_or_a_fit_is_no_split(call, given, made):
    what = {"task": made.task, "a name": "student", "nothing": None, "a fit": made.weak}[given]
    with pytest.raises(TypeError, match=A_SPLIT):
        call(made, what)


@pytest.mark.parametrize(
    "call, error, says",
    [
        (lambda m: w2s.fit(m.model, m.task.student, m.weak), TypeError, "a fit's label"),
        (
            lambda m: w2s.fit(m.model, m.task.student, m.task.student.hard_label),
            TypeError,
            "labels of words are ndarray; expected SoftLabels",
        ),
        (lambda m: w2s.fit(m.model, m.task.student, seed=None), ValueError, "seed = None"),
        (lambda m: w2s.fit(m.model, m.task.student, lr=np.nan), ValueError, "lr = nan"),
        (lambda m: w2s.fit(m.model, m.task.student, beta2=None), ValueError, "beta2 = None"),
        (lambda m: w2s.fit(m.model, m.task.student, warmup=5), ValueError, "from 0 to 1"),
        (lambda m: w2s.fit(m.model, m.task.student, epochs=None), ValueError, "epochs = None"),
        (lambda m: w2s.fit(m.model, m.task.student, evals=["a"]), ValueError, "evals = "),
        (lambda m: w2s.fit(m.model, m.task.student, method=["lora"]), UnknownName, "Near: lora"),
        (lambda m: w2s.combine([m.weak, m.weak]), TypeError, "is a Fit; expected SoftLabels"),
        (
            lambda m: w2s.simulate("confident", m.task.student, 0.7, strong=m.weak),
            TypeError,
            "strong is a Fit; expected SoftLabels",
        ),
        (lambda m: w2s.simulate("random", m.task.student, "0.7"), ValueError, "accuracy '0.7'"),
        (lambda m: w2s.simulate("random", m.task, 0.7), TypeError, "splits is a Task"),
        (lambda m: perplexity([]), ValueError, "no fit given"),
        (lambda m: perplexity(m.weak), TypeError, "fits has a Fit; expected a LanguageFit"),
        (lambda m: w2s.zero_shot(m.model, m.task.test), TypeError, "task is a Split"),
        (lambda m: w2s.rewards(m.model, m.task.test), TypeError, "fit is a str; expected a fit"),
        (lambda m: w2s.features(m.model, m.task), TypeError, "dataset is a Task"),
        (lambda m: w2s.features(m.model, [1, 2]), TypeError, "dataset has 1 at 0"),
        (lambda m: w2s.features(m.model, m.task.test, 3), ValueError, "layers 3; expected 'all'"),
        (lambda m: w2s.split_report(m.task.test, m.model), TypeError, "task is a Split"),
        (
            lambda m: w2s.prompt(m.model, m.task.test, wording="Is it?"),
            TypeError,
            r"wording = 'Is it\?'; expected a w2s.Prompt",
        ),
        (
            lambda m: w2s.prompt(m.model, m.task.test, shots=2, labels=m.weak, wording=PLAIN),
            TypeError,
            "labels is a Fit",
        ),
        (
            lambda m: w2s.prompt(m.model, m.task.test, shots=2, source="x", wording=PLAIN),
            TypeError,
            "source is a str",
        ),
        (
            lambda m: w2s.prompt(m.model, m.task.test, calibrate="no", wording=PLAIN),
            TypeError,
            "calibrate = 'no'; expected True or False",
        ),
        (lambda m: w2s.with_opinion(m.task.test, m.weak), TypeError, "task is a Split"),
        (lambda m: w2s.with_opinion(m.task, m.model), TypeError, "weak is a str; expected a fit"),
        (lambda m: w2s.with_opinion(m.task, m.weak, words="ab"), ValueError, "expected 2, one for"),
        (lambda m: w2s.pgr([], [], [], m.task.test), ValueError, "weak is empty"),
        (lambda m: w2s.pgr(m.labels, m.weak, m.weak, m.task.test), TypeError, "weak is a Soft"),
        (lambda m: w2s.tables([]), ValueError, "no experiment given"),
        (lambda m: m.arms.pgr("naive"), UnknownName, "unknown arm 'naive'. Near: student, naive"),
        (lambda m: m.arms.label_accuracy("x"), UnknownName, "Known: strong ceiling, student"),
        (lambda m: m.arms.column("student, naive", "answer"), ValueError, "words has classes"),
        (lambda m: m.arms.with_students({"x": m.weak}), TypeError, "expected a list of fits"),
        (lambda m: m.arms.with_students({"x": []}), ValueError, "has 0 fits; expected one per"),
        (lambda m: w2s.with_prompts(m.arms, 2, shot=3), TypeError, "prompts take no shot"),
        (lambda m: w2s.with_prompts(m.arms, 2, only="zero-shot"), TypeError, "several kinds"),
        (lambda m: w2s.with_prompts(m.arms, 97), ValueError, "shots = 97; .* to the 96"),
        (lambda m: w2s.by_shots(m.arms, []), ValueError, "shots is empty"),
        (lambda m: w2s.by_shots(m.arms, 3), TypeError, "expected several numbers"),
        (lambda m: w2s.by_shots(m.arms, [0, 97], wording=PLAIN), ValueError, "shots = 97"),
        (lambda m: w2s.register_loss("xent"), TypeError, "'xent'; expected a function"),
    ],
)
def test_what_is_given_and_expected_is_said(call, error, says, made):
    before = len(w2s.results())
    with pytest.raises(error, match=says):
        call(made)
    assert len(w2s.results()) == before


def test_one_fit_or_one_experiment_needs_no_list_around_it(words, tiny):
    fit = finetune_lm(tiny, words.student, method="top", top_layers=1)
    assert perplexity(fit) == perplexity([fit])
    other = finetune_lm(tiny, words.student, method="top", top_layers=1, held_out=20)
    with pytest.raises(ValueError, match="measured on different texts"):
        perplexity([fit, other])


def test_a_report_counts_the_tokens_of_a_model_by_its_name(words, tiny):
    report = w2s.split_report(words, tiny)
    assert report.equals(w2s.split_report(words, w2s.resolve(tiny)))
