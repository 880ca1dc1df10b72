"""Timings and memory, not tests: `make bench`. Run it on an otherwise idle machine."""

import functools
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
from w2s_nb.training import device_memory as memory_plan
from w2s_nb.training import loop
from w2s_nb.training.hyperparameters import Hyperparameters

STRONG, SIZES = "SmolLM2-135M@16", dict(n_train=600, n_val=200, n_test=800)


def looks() -> None:
    """What looking at a finetuning in training costs it: four looks against the one at the end."""
    task, seconds, train = w2s.load_task("movie_snippets", **SIZES), {}, loop.train
    labels = w2s.fit("SmolLM2-135M@4", task.supervisor, method="probe").label(task.student)

    def timed(net, inputs, targets, loss, hyperparameters, *, evaluate, **options):
        ended = []

        def look(step, progress, loss):
            ended.append(time.perf_counter())
            if progress < 1:  # the last look predicts all splits, and is made in any case
                evaluate(step, progress, loss)

        started = time.perf_counter()
        try:
            train(net, inputs, targets, loss, hyperparameters, evaluate=look, **options)
        finally:
            evals = hyperparameters.evals
            seconds[evals] = min(seconds.get(evals, 1e9), ended[-1] - started)
        evaluate(1, 1.0, 0.0)

    loop.train = timed
    for seed in range(3):
        for evals in (1, 4):
            w2s.fit(STRONG, task.student, labels, method="top", evals=evals, seed=seed)
    loop.train = train
    print(
        f"finetuning of {STRONG}, top, 600 examples, 2 epochs: {seconds[1]:.1f} s; with three looks at validation "
        f"and some test examples before the end {seconds[4]:.1f} s ({seconds[4] / seconds[1] - 1:+.0%})"
    )


def probes() -> None:
    """A student by probe, from stored features: what an interactive change costs."""
    task = w2s.load_task("movie_snippets", **SIZES)
    labels = w2s.fit("SmolLM2-135M@4", task.supervisor, method="probe").label(task.student)
    w2s.fit(STRONG, task.student, labels, method="probe", seed=100)
    started = time.perf_counter()
    for seed in range(5):
        w2s.fit(STRONG, task.student, labels, method="probe", seed=seed)
    print(
        f"a student by probe, 600 examples, 200 epochs: {(time.perf_counter() - started) / 5:.2f} s"
    )


def features(n: int = 3000) -> None:
    """All hidden states of n snippets in one pass, stored, against the bare forward pass of the same batches."""
    task = w2s.load_task("movie_snippets", n_train=n, n_test=100)
    texts, checkpoint = task.student, models.with_depth(models.resolve("SmolLM2-135M"))
    tokens = tokenize(texts, checkpoint, task.max_len)
    total, started = int(tokens.lengths.sum()), time.perf_counter()
    found = w2s.features("SmolLM2-135M", texts)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    started, lm = time.perf_counter(), models.load_lm(checkpoint)
    loading, bare = time.perf_counter() - started, 0.0
    order = sorted(
        {key: i for i, key in enumerate(tokens.keys)}.values(), key=lambda i: -len(tokens.ids[i])
    )
    with torch.inference_mode():
        for start in range(0, len(order), activations.SHARD):
            inputs = TokenInputs(tokens.take(order[start : start + activations.SHARD]))
            for rows in inputs.by_length(activations.MAX_TOKENS):
                batch, at = inputs.batch(rows), time.perf_counter()
                lm.base_model(**batch, use_cache=False)
                bare += time.perf_counter() - at
    started = time.perf_counter()
    layer = w2s.features("SmolLM2-135M", texts)[16]
    print(
        f"features of {len(texts)} snippets ({total} tokens), all {len(found.layers)} hidden states: {seconds:.0f} s "
        f"with loading ({loading:.1f} s) and storing, peak memory {peak:.1f} GB; bare forward pass {bare:.0f} s, "
        f"{(seconds - loading) / bare - 1:+.1%}; one layer {layer.shape} read again in "
        f"{time.perf_counter() - started:.2f} s"
    )


def pairs(n: int = 60) -> None:
    """Features of two responses to a prompt run in one sequence, against each by itself."""
    snippets = [
        text for (text,) in w2s.load_task("movie_snippets", n_train=8 * n, n_test=100).student.texts
    ]
    shown = [" ".join(snippets[8 * i : 8 * i + 6]) for i in range(n)]  # six snippets for a prompt
    texts = [
        f"{shown[i]}\n\n{response}"
        for i in range(n)
        for response in snippets[8 * i + 6 : 8 * i + 8]
    ]
    seconds, found, before, least = {}, {}, os.environ["W2S_HOME"], activations.LEAST_SHARED
    for name, activations.LEAST_SHARED in (("alone", 2), ("together", least)) * 2:
        os.environ["W2S_HOME"], started = tempfile.mkdtemp(), time.perf_counter()
        found[name] = w2s.features(STRONG, texts, layers=[16], dtype="float32")[16]
        seconds[name] = min(seconds.get(name, 1e9), time.perf_counter() - started)
    os.environ["W2S_HOME"], activations.LEAST_SHARED = before, least
    print(
        f"features of {n} pairs of responses to prompts of six snippets: {seconds['together']:.1f} s with the prompt "
        f"run once, {seconds['alone']:.1f} s without; largest difference "
        f"{np.abs(found['together'] - found['alone']).max():.1e}"
    )


def prompts() -> None:
    """Few-shot prompts with the shots' keys and values kept, against running the shots with every question."""
    checkpoint = models.with_depth(models.resolve("SmolLM2-135M"))
    tok, task = (
        models.tokenizer(models.folder(checkpoint)),
        w2s.load_task("movie_snippets", n_train=100, n_test=60),
    )
    wording = w2s.TASKS["movie_snippets"].prompt
    for shots in (5, 20):
        solved = [
            (texts, int(y)) for texts, y in zip(task.student.texts[:shots], task.student.hard_label)
        ]
        asked, seconds, found = [wording.ask(t) for t in task.test.texts], {}, {}
        head, questions, answers = prompt.render(wording, solved).encode(tok, asked)
        for reuse in (True, False):
            started = time.perf_counter()
            found[reuse] = prompt.answer_log_probs(checkpoint, head, questions, answers, reuse=reuse)
            seconds[reuse] = time.perf_counter() - started
        print(
            f"{shots} shots ({len(head)} tokens), {len(questions)} questions: {seconds[True]:.1f} s with the shots' "
            f"keys and values kept, {seconds[False]:.1f} s without, with loading; largest difference "
            f"{np.abs(found[True] - found[False]).max():.1e} nats"
        )


def finetuned(model: str, method: str, tokens: int, micro_batch: int, steps: int = 2) -> None:
    """Prints the GB that this process grows by, at the most, in some steps of 32 texts, and those that were planned."""
    options = dict(tokens=tokens, micro_batch=micro_batch, device="cpu")
    memory_plan.estimate(model, method, **options)  # imports all there is to import
    kilobytes = int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])
    rng, net = (
        np.random.default_rng(0),
        models.build(
            models.with_depth(models.resolve(model)),
            method,
            1,
            head_init="unembedding",
            device=device(),
        ),
    )
    ids = tuple(
        rng.integers(0, 5000, size=tokens - i % 3, dtype=np.int32) for i in range(32 * steps)
    )
    used = np.unique(np.concatenate(ids)) if method == "full" else None
    if method == "full":
        models.compact_embedding(net, torch.from_numpy(used).long())
    inputs = TokenInputs(
        Tokens(ids, np.zeros(len(ids), bool), tuple(map(str, range(len(ids)))), 1), used
    )
    loss, targets = functools.partial(LOSSES["xent"]), np.eye(2)[np.arange(len(ids)) % 2]
    loop.train(
        net,
        inputs,
        targets,
        loss,
        Hyperparameters(epochs=1, lr=1e-5, evals=1),
        seed=0,
        evaluate=lambda *a: None,
        micro_batch=micro_batch,
    )
    planned = memory_plan.estimate(
        model, method, vocabulary=None if used is None else len(used), **options
    )
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - kilobytes
    print(
        f"measured {grown * 1024 / 1e9:.2f} GB, planned {planned.total / 1e9:.2f} GB "
        f"({planned.total / grown / 1024 - 1:+.0%})"
    )


def memory() -> None:
    """Peak memory of finetuning random models in the shapes of known ones, against `device_memory.estimate`.

    With glibc as it is, and told to give freed tensors back from 128 kB: where nothing is said, that threshold grows to
    32 MB with the tensors that are freed, and smaller ones leave holes.
    """
    for model, tokens, micro_batch in (
        ("SmolLM2-135M", 64, 32),
        ("gpt2", 64, 32),
        ("gpt2-medium", 32, 8),
        ("gpt2-large", 16, 8),
    ):
        with tempfile.TemporaryDirectory() as folder:
            if model in memory_plan.ARCHITECTURES:
                config = transformers.AutoConfig.for_model(**memory_plan.ARCHITECTURES[model])
                transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
                models.tokenizer(models.folder(models.resolve("SmolLM2-135M"))).save_pretrained(
                    folder
                )
            for method in ("full", "lora"):
                for glibc in ({}, {"MALLOC_MMAP_THRESHOLD_": str(2**17)}):
                    given = (folder if os.listdir(folder) else model, method, tokens, micro_batch)
                    said = subprocess.run(
                        [
                            sys.executable,
                            "-c",
                            f"from tests import bench; bench.finetuned(*{given})",
                        ],
                        env=os.environ | {"W2S_DEVICE": "cpu"} | glibc,
                        capture_output=True,
                        text=True,
                        check=True,
                    ).stdout
                    print(
                        f"{method} finetuning of {model}, 32 texts of {tokens} tokens, {micro_batch} a pass, "
                        f"{'holes given back' if glibc else 'glibc as it is'}: {said.strip()}"
                    )


def slider(n: int = 3000, moves: int = 15) -> None:
    """The explorer at n weak labels: from a slider's new value to the redrawn bars, in the kernel and in a browser."""
    sizes, rng = dict(n_train=n, n_val=200, n_test=800), np.random.default_rng(0)
    seen = widgets.explorer(n_labels=n, alpha=0.5, **sizes)
    seen.worker.wait(600)
    alphas, seconds = rng.permutation(np.delete(np.arange(0, 1.01, 0.05), 10))[:moves].round(2), []
    for alpha in alphas:
        before, started = seen.accuracy.outputs, time.perf_counter()
        seen.alpha.value = alpha
        while seen.accuracy.outputs is before:
            time.sleep(0.002)
        seconds.append(time.perf_counter() - started)
        seen.worker.wait()
    print(
        f"explorer, {n} weak labels, confidence loss: alpha's new value to new bars {_spread(seconds)} in the kernel"
    )
    try:
        from playwright.sync_api import Error, sync_playwright

        with (
            sync_playwright() as playwright,
            tempfile.TemporaryDirectory() as folder,
            playwright.chromium.launch(
                executable_path=jupyter.CHROMIUM, args=["--no-sandbox"]
            ) as browser,
            jupyter.served(
                Path(folder), {"11_explorer": sizes | {"n_labels": n, "seeds": 1, "seed": 1}}
            ) as address,
        ):
            page = jupyter.Notebook(browser, address, "11_explorer")
            page.to_cell("widgets.explorer(")
            page.page.locator(".js-plotly-plot .bars path").first.wait_for()
            page.page.wait_for_timeout(3000)
            seconds = [
                page.page.evaluate(_MOVE, key) / 1000
                for key in ["ArrowRight"] * 9 + ["ArrowLeft"] * 17
            ]
            seconds = (
                seconds[:9] + seconds[18:]
            )  # the others are settings seen before, out of the store
        print(f"the same in JupyterLab, from the key to the bars drawn: {_spread(seconds)}")
    except (ImportError, Error) as error:
        print(f"not measured in a browser ({str(error).splitlines()[0]}): make browser")


def _spread(seconds: list[float]) -> str:
    low, middle, high = np.quantile(seconds, [0.1, 0.5, 0.9])
    return f"{middle:.2f} s, median of {len(seconds)} (10 to 90 %: {low:.2f} to {high:.2f})"


# presses a key on the slider of alpha, and resolves with the milliseconds until plotly has drawn other bars
_MOVE = """key => new Promise(done => {
  const widget = document.querySelector('.widget-slider').closest('.jp-OutputArea-output');
  const slider = [...widget.querySelectorAll('.widget-slider')].find(s => s.innerText.includes('alpha'));
  const plot = () => widget.querySelector('.js-plotly-plot');
  const drawn = () => plot()?.querySelectorAll('.bars path').length;
  const started = performance.now(), old = plot(), data = old.data;
  const look = () => drawn() && (plot() !== old || plot().data !== data) ? done(performance.now() - started)
    : requestAnimationFrame(look);
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
    looks()
    memory()
