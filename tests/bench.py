"""Measures times and memory, and tests nothing: `make bench`, on an otherwise idle machine."""

import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")
os.environ["W2S_HOME"] = tempfile.mkdtemp()

import numpy as np
import torch
import transformers

import w2s_nb as w2s
from tests import jupyter
from w2s_nb import models
from w2s_nb.common.device import device, machine
from w2s_nb.common.registry import LOSSES
from w2s_nb.inputs import activations
from w2s_nb.inputs.batches import TokenInputs
from w2s_nb.inputs.tokens import Tokens, tokenize
from w2s_nb.notebook import widgets
from w2s_nb.prompting import prompt
from w2s_nb.training import device_memory, loop
from w2s_nb.training.hyperparameters import Hyperparameters

STRONG = "SmolLM2-135M@16"
SIZES = {"n_train": 600, "n_val": 200, "n_test": 800}


def evaluations() -> None:
    """Measures what evaluations during finetuning cost: four of them against the one at the end."""
    task = w2s.load_task("movie_snippets", **SIZES)
    labels = w2s.fit("SmolLM2-135M@4", task.supervisor, method="probe").label(task.student)
    seconds = {1: math.inf, 4: math.inf}
    train = loop.train

    def train_timed(net, inputs, targets, loss, hyperparameters, *, evaluate, **options):
        ends = []

        def evaluate_before_end(step, progress, train_loss):
            ends.append(time.perf_counter())
            if progress < 1:  # the last one predicts all splits, and happens in any case
                evaluate(step, progress, train_loss)

        started = time.perf_counter()
        train(net, inputs, targets, loss, hyperparameters, evaluate=evaluate_before_end, **options)
        evals = hyperparameters.evals
        seconds[evals] = min(seconds[evals], ends[-1] - started)
        evaluate(1, 1.0, 0.0)

    loop.train = train_timed
    try:
        for seed in range(3):
            for evals in seconds:
                w2s.fit(STRONG, task.student, labels, method="top", evals=evals, seed=seed)
    finally:
        loop.train = train
    print(
        f"finetuning of {STRONG}, top, 600 examples, 2 epochs: {seconds[1]:.1f} s; with three "
        f"evaluations on all validation and test examples before the end {seconds[4]:.1f} s "
        f"({seconds[4] / seconds[1] - 1:+.0%})"
    )


def probes() -> None:
    """Measures a student by probe, from stored features: the cost of an interactive change."""
    task = w2s.load_task("movie_snippets", **SIZES)
    labels = w2s.fit("SmolLM2-135M@4", task.supervisor, method="probe").label(task.student)
    w2s.fit(STRONG, task.student, labels, method="probe", seed=100)
    started = time.perf_counter()
    for seed in range(5):
        w2s.fit(STRONG, task.student, labels, method="probe", seed=seed)
    seconds = (time.perf_counter() - started) / 5
    print(f"a student by probe, 600 examples, 200 epochs: {seconds:.2f} s")


def features(n: int = 3000) -> None:
    """Measures storing all hidden states of n snippets, against the bare forward passes."""
    task = w2s.load_task("movie_snippets", n_train=n, n_test=100)
    texts = task.student
    checkpoint = models.with_depth(models.resolve("SmolLM2-135M"))
    tokens = tokenize(texts, checkpoint, task.max_len)
    started = time.perf_counter()
    pooled = w2s.features("SmolLM2-135M", texts)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    started = time.perf_counter()
    lm = models.load_lm(checkpoint)
    loading = time.perf_counter() - started
    bare = _seconds_of_forward_passes(lm, tokens)
    started = time.perf_counter()
    layer = w2s.features("SmolLM2-135M", texts)[16]
    again = time.perf_counter() - started
    print(
        f"features of {len(texts)} snippets ({tokens.lengths.sum()} tokens), all "
        f"{len(pooled.layers)} hidden states: {seconds:.0f} s with loading ({loading:.1f} s) and "
        f"storing, peak memory {peak:.1f} GB; bare forward pass {bare:.0f} s, "
        f"{(seconds - loading) / bare - 1:+.1%}; one layer {layer.shape} read again in "
        f"{again:.2f} s"
    )


def _seconds_of_forward_passes(lm, tokens: Tokens) -> float:
    """Returns the seconds of forward passes over the batches that `features` makes of texts."""
    distinct = {key: i for i, key in enumerate(tokens.keys)}.values()
    order = sorted(distinct, key=lambda i: -len(tokens.ids[i]))
    seconds = 0.0
    with torch.inference_mode():
        for start in range(0, len(order), activations.SHARD):
            inputs = TokenInputs(tokens.take(order[start : start + activations.SHARD]))
            for rows in inputs.by_length(activations.MAX_TOKENS["cpu"]):
                batch = inputs.batch(rows)
                started = time.perf_counter()
                lm.base_model(**batch, use_cache=False)
                seconds += time.perf_counter() - started
    return seconds


def pairs(n: int = 60) -> None:
    """Measures features of two responses run in one sequence, against each response alone."""
    task = w2s.load_task("movie_snippets", n_train=8 * n, n_test=100)
    snippets = [text for (text,) in task.student.texts]
    texts = []
    for start in range(0, 8 * n, 8):
        prompt_text = " ".join(snippets[start : start + 6])
        responses = snippets[start + 6 : start + 8]
        texts += [f"{prompt_text}\n\n{response}" for response in responses]
    home = os.environ["W2S_HOME"]
    least_shared = activations.LEAST_SHARED
    seconds = {"alone": math.inf, "together": math.inf}
    states = {}
    # no pair saves twice its tokens, so with 2 every text is run alone
    for name, share in (("alone", 2), ("together", least_shared)) * 2:
        activations.LEAST_SHARED = share
        os.environ["W2S_HOME"] = tempfile.mkdtemp()
        started = time.perf_counter()
        states[name] = w2s.features(STRONG, texts, layers=[16], dtype="float32")[16]
        seconds[name] = min(seconds[name], time.perf_counter() - started)
    os.environ["W2S_HOME"] = home
    activations.LEAST_SHARED = least_shared
    print(
        f"features of {n} pairs of responses to prompts of six snippets: "
        f"{seconds['together']:.1f} s with the prompt run once, {seconds['alone']:.1f} s without; "
        f"largest difference {np.abs(states['together'] - states['alone']).max():.1e}"
    )


def prompts() -> None:
    """Measures few-shot prompts with the keys and values of the shots kept, and without."""
    checkpoint = models.with_depth(models.resolve("SmolLM2-135M"))
    tok = models.tokenizer(models.folder(checkpoint))
    task = w2s.load_task("movie_snippets", n_train=100, n_test=60)
    template = w2s.TASKS["movie_snippets"].prompt
    asked = [template.ask(texts) for texts in task.test.texts]
    examples = list(zip(task.student.texts, map(int, task.student.hard_label), strict=True))
    for shots in (5, 20):
        rendered = prompt.render(template, examples[:shots])
        head, questions, answers = rendered.encode(tok, asked)
        seconds = {}
        log_probs = {}
        for reuse in (True, False):
            started = time.perf_counter()
            log_probs[reuse] = prompt.answer_log_probs(
                checkpoint, head, questions, answers, reuse=reuse
            )
            seconds[reuse] = time.perf_counter() - started
        print(
            f"{shots} shots ({len(head)} tokens), {len(questions)} questions: "
            f"{seconds[True]:.1f} s with the shots' keys and values kept, {seconds[False]:.1f} s "
            f"without, with loading; largest difference "
            f"{np.abs(log_probs[True] - log_probs[False]).max():.1e} nats"
        )


def finetuning_memory(
    model: str, method: str, tokens: int, micro_batch: int, steps: int = 2
) -> None:
    """Prints the GB by which this process grows in steps of 32 texts, and those estimated."""
    options = {"tokens": tokens, "micro_batch": micro_batch, "device": "cpu"}
    device_memory.estimate(model, method, **options)  # imports all there is to import
    kilobytes = int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])
    checkpoint = models.with_depth(models.resolve(model))
    net = models.build(checkpoint, method, 1, head_init="unembedding", device=device())
    rng = np.random.default_rng(0)
    ids = tuple(
        rng.integers(0, 5000, size=tokens - i % 3, dtype=np.int32) for i in range(32 * steps)
    )
    vocabulary = None
    if method == "full":
        vocabulary = np.unique(np.concatenate(ids))
        models.compact_embedding(net, torch.from_numpy(vocabulary).long())
    keys = tuple(map(str, range(len(ids))))
    loop.train(
        net,
        TokenInputs(Tokens(ids, np.zeros(len(ids), bool), keys, 1), vocabulary),
        np.eye(2)[np.arange(len(ids)) % 2],
        LOSSES["xent"],
        Hyperparameters(epochs=1, lr=1e-5, evals=1),
        seed=0,
        evaluate=lambda *arguments: None,
        micro_batch=micro_batch,
    )
    n_rows = None if vocabulary is None else len(vocabulary)
    estimate = device_memory.estimate(model, method, vocabulary=n_rows, **options).total
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - kilobytes) * 1024
    print(
        f"measured {grown / 1e9:.2f} GB, estimated {estimate / 1e9:.2f} GB "
        f"({estimate / grown - 1:+.0%})"
    )


def memory() -> None:
    """Measures the peak memory of finetuning, against `device_memory.estimate`.

    The models are random, in the shapes of known ones. Each is run with glibc as it is, and with
    glibc told to give freed tensors back from 128 kB: by default that threshold grows to 32 MB with
    the tensors that are freed, and smaller ones leave holes.
    """
    for model, tokens, micro_batch in (
        ("SmolLM2-135M", 64, 32),
        ("gpt2", 64, 32),
        ("gpt2-medium", 32, 8),
        ("gpt2-large", 16, 8),
    ):
        with tempfile.TemporaryDirectory() as folder:
            path = model
            if model in device_memory.ARCHITECTURES:
                path = folder
                _save_random_model(model, folder)
            for method in ("full", "lora"):
                for name, glibc in (
                    ("glibc as it is", {}),
                    ("holes given back", {"MALLOC_MMAP_THRESHOLD_": str(2**17)}),
                ):
                    line = _run_apart((path, method, tokens, micro_batch), glibc)
                    print(
                        f"{method} finetuning of {model}, 32 texts of {tokens} tokens, "
                        f"{micro_batch} per pass, {name}: {line}"
                    )


def _save_random_model(name: str, folder: str) -> None:
    config = transformers.AutoConfig.for_model(**device_memory.ARCHITECTURES[name])
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    models.tokenizer(models.folder(models.resolve("SmolLM2-135M"))).save_pretrained(folder)


def _run_apart(arguments: tuple, environment: dict[str, str]) -> str:
    """Runs `finetuning_memory` in a process of its own; returns what it prints."""
    code = f"from tests import bench; bench.finetuning_memory(*{arguments})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"W2S_DEVICE": "cpu"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def slider(n: int = 3000, moves: int = 15) -> None:
    """Measures the explorer at n weak labels, from a slider's new value to the redrawn bars."""
    sizes = {"n_train": n, "n_val": 200, "n_test": 800}
    seconds = _seconds_in_kernel(n, moves, sizes)
    print(
        f"explorer, {n} weak labels, confidence loss: alpha's new value to new bars "
        f"{_spread(seconds)} in the kernel"
    )
    try:
        from playwright.sync_api import Error
    except ImportError as error:
        print(f"not measured in a browser ({error}): make browser")
        return
    try:
        seconds = _seconds_in_browser(n, sizes)
        print(f"the same in JupyterLab, from the key to the bars drawn: {_spread(seconds)}")
    except Error as error:
        print(f"not measured in a browser ({str(error).splitlines()[0]}): make browser")


def _seconds_in_kernel(n: int, moves: int, sizes: dict[str, int]) -> list[float]:
    explorer = widgets.explorer(n_labels=n, alpha=0.5, **sizes)
    explorer.worker.wait(600)
    other_alphas = np.delete(np.arange(0, 1.01, 0.05), 10)
    alphas = np.random.default_rng(0).permutation(other_alphas)[:moves].round(2)
    seconds = []
    for alpha in alphas:
        before = explorer.accuracy.outputs
        started = time.perf_counter()
        explorer.alpha.value = alpha
        while explorer.accuracy.outputs is before:
            time.sleep(0.002)
        seconds.append(time.perf_counter() - started)
        explorer.worker.wait()
    return seconds


def _seconds_in_browser(n: int, sizes: dict[str, int]) -> list[float]:
    from playwright.sync_api import sync_playwright

    parameters = {"11_explorer": sizes | {"n_labels": n, "seeds": 1, "seed": 1}}
    with (
        sync_playwright() as playwright,
        tempfile.TemporaryDirectory() as folder,
        playwright.chromium.launch(
            executable_path=jupyter.CHROMIUM, args=["--no-sandbox"]
        ) as browser,
        jupyter.served(Path(folder), parameters) as address,
    ):
        notebook = jupyter.Notebook(browser, address, "11_explorer")
        notebook.to_cell("widgets.explorer(")
        notebook.page.locator(".js-plotly-plot .bars path").first.wait_for()
        notebook.page.wait_for_timeout(3000)
        keys = ["ArrowRight"] * 9 + ["ArrowLeft"] * 17
        seconds = [notebook.page.evaluate(_MOVE, key) / 1000 for key in keys]
    # the nine steps back show settings seen before, which come out of the store
    return seconds[:9] + seconds[18:]


def _spread(seconds: list[float]) -> str:
    low, middle, high = np.quantile(seconds, [0.1, 0.5, 0.9])
    return f"{middle:.2f} s, median of {len(seconds)} (10 to 90 %: {low:.2f} to {high:.2f})"


# presses a key on the slider of alpha, and resolves with the milliseconds until plotly has drawn
# other bars
_MOVE = """key => new Promise(done => {
  const widget = document.querySelector('.widget-slider').closest('.jp-OutputArea-output');
  const sliders = [...widget.querySelectorAll('.widget-slider')];
  const slider = sliders.find(s => s.innerText.includes('alpha'));
  const plot = () => widget.querySelector('.js-plotly-plot');
  const drawn = () => plot()?.querySelectorAll('.bars path').length;
  const started = performance.now(), old = plot(), data = old.data;
  const look = () => drawn() && (plot() !== old || plot().data !== data)
    ? done(performance.now() - started) : requestAnimationFrame(look);
  const press = new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true});
  slider.querySelector('.noUi-handle').dispatchEvent(press);
  look();
})"""


if __name__ == "__main__":
    print(machine())
    slider()
    features()
    pairs()
    prompts()
    probes()
    evaluations()
    memory()
