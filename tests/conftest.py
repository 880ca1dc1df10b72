"""Shared by all tests: a store per test, tiny random models, a tiny task that can be learned."""

import faulthandler
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import weakref
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"
# Tests of hub models expect the hub out of reach, on every machine.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

import w2s_nb as w2s
from w2s_nb.common import device, paths
from w2s_nb.common.registry import ENCODERS, LOSSES, METHODS, MODELS, TASKS
from w2s_nb.data.tasks.spec import Example

WORDS = ["<eos>", "0", "1", "<bos>", *[f"w{i}" for i in range(60)]]
_LLAMA = dict(
    vocab_size=len(WORDS),
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    pad_token_id=0,
    eos_token_id=0,
    bos_token_id=3,
)
_QWEN3 = _LLAMA | dict(head_dim=4)
ARCHITECTURES = {
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=len(WORDS),
        n_embd=16,
        n_layer=4,
        n_head=4,
        n_positions=64,
        bos_token_id=3,
        eos_token_id=0,
    ),
    "llama": lambda: transformers.LlamaConfig(**_LLAMA),
    "qwen2": lambda: transformers.Qwen2Config(**_LLAMA),
    "qwen3": lambda: transformers.Qwen3Config(**_QWEN3),
    "gpt_neox": lambda: transformers.GPTNeoXConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=64,
        bos_token_id=3,
        eos_token_id=0,
    ),
    "olmo2": lambda: transformers.Olmo2Config(**_LLAMA),
}


MODEL_FIXTURES = {"tiny", "any_tiny", "real_data", "quick"}  # "quick" runs papermill
MODEL_ROOMS = ("models", "inputs", "training", "prompting", "experiments", "chess", "notebook")
MODEL_FILES = ("test_distributed", "test_cluster")
LONGEST = [
    "test_cluster",
    "test_sweeps",
    "test_task_variants",
    "test_notebooks",
    "test_distributed",
    "test_chess",
    "test_qwen",
]


def pytest_configure(config):
    """Keeps three warnings what they are: tiny models are often at chance, and in no table."""
    config.addinivalue_line("filterwarnings", "default:PGR is marked")
    config.addinivalue_line("filterwarnings", "default:.*; to change it: ")
    config.addinivalue_line("filterwarnings", "ignore:.*no learning rate is known")


def pytest_collection_modifyitems(items):
    """Marks the tests that load a model or start a kernel; puts the longest files first, so that no
    process is left alone with one at the end.
    """
    for item in items:
        by_place = item.path.parent.name in MODEL_ROOMS or item.path.stem in MODEL_FILES
        if by_place or MODEL_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("model")
    items.sort(key=lambda item: [*LONGEST, item.path.stem].index(item.path.stem))


_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["w2s_nb", "pytest"])


class Script:
    """Code that runs in a process of its own, as with `python -c`.

    The process is forked from one that has imported torch and the kit and done nothing else, which
    saves the seconds of importing them.
    """

    def __init__(self, code, *arguments, **environment):
        self._folder = Path(tempfile.mkdtemp())
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        environment = {**os.environ, **environment}
        self._process = _SERVER.Process(
            target=_run_script,
            args=(code, arguments, environment, str(self._folder)),
            daemon=True,  # it ends with the tests
        )
        self._process.start()

    def poll(self):
        """Returns the exit code, negative after a signal; None as long as it runs."""
        return self._process.exitcode

    def wait(self, timeout=120):
        """Waits for the end and returns the exit code."""
        self._process.join(timeout)
        assert self.poll() is not None, f"runs for more than {timeout} s: {self.printed()}"
        return self.poll()

    def send_signal(self, number):
        os.kill(self._process.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)
        self.wait()

    def printed(self):
        """Returns the text written so far to standard output and to standard error."""
        files = [self._folder / "out", self._folder / "err"]
        return tuple(file.read_text() if file.exists() else "" for file in files)


def _run_script(code, arguments, environment, folder):
    os.environ.clear()
    os.environ.update(environment)
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{folder}/{name}", os.O_CREAT | os.O_WRONLY | os.O_APPEND), stream)
    faulthandler.enable()  # a crash of a library says where it was
    torch.set_num_threads(1)
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<script>", "exec"), {"__name__": "__main__"})


@pytest.fixture(autouse=True)
def every_precision(monkeypatch):
    """Lets tests compute in bf16 and fp16 on any CPU: slowly on one that has no instructions."""
    monkeypatch.setattr(device, "_cpu_computes_in", lambda precision: True)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Gives every test a store of its own."""
    monkeypatch.setenv("W2S_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def save_tiny(path, architecture="llama", seed=0, config=None, words=WORDS):
    """Saves a random model of four layers, with one token per word, as a local folder."""
    torch.manual_seed(seed)
    lm = transformers.AutoModelForCausalLM.from_config(config or ARCHITECTURES[architecture]())
    with torch.no_grad():  # larger than at initialisation, so that a wrong mask or position shows
        for name, parameter in lm.named_parameters():
            if parameter.ndim > 1 and "norm" not in name:
                parameter.mul_(8)
    lm.save_pretrained(path)
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<bos>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if lm.config.model_type == "qwen2":
        # transformers reads every tokenizer of this architecture as byte-pair encoding; of ours it
        # keeps the added tokens alone
        words = [AddedToken(word, single_word=True, normalized=False) for word in words]
        tokenizer.add_tokens(words)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<eos>", unk_token="<bos>"
    ).save_pretrained(path)
    return str(path)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Returns the path of a tiny Llama."""
    return save_tiny(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="session", params=ARCHITECTURES)
def any_tiny(request, tmp_path_factory):
    """Returns the path of a tiny model, once per architecture."""
    return save_tiny(tmp_path_factory.mktemp("models") / request.param, request.param)


def word_rows(n=600, seed=0):
    """Yields rows whose label says which of two words stands last; the other words are noise."""
    rng = random.Random(seed)
    for i in range(n):
        label = rng.randrange(2)
        noise = [f"w{rng.randrange(2, 60)}" for _ in range(rng.randrange(1, 12))]
        yield {"text": " ".join([*noise, f"w{label}"]), "label": label, "passage": f"p{i // 2}"}


def register_words():
    """Registers two tasks that a tiny random model can learn by probe and by finetuning."""

    def source():
        return {"all": list(word_rows())}

    @w2s.register_task("words", source, max_len=16)
    def words(row):
        """Which word stands last?"""
        yield Example((row["text"],), row["label"], (row["passage"],))

    @w2s.register_task("word_pairs", source, max_len=16, arity=2)
    def word_pairs(row):
        """Which of two texts ends in w1?"""
        worse, better = (row["text"][:-1] + last for last in "01")
        yield Example((worse, better) if row["label"] else (better, worse), row["label"])


@pytest.fixture
def words():
    """Loads the task `words` with small splits; registers `word_pairs` too."""
    register_words()
    return w2s.load_task("words", n_train=96, n_val=32, n_test=64)


THREE = ("red", "green", "blue")


def three_rows(n=600, seed=0):
    """Yields rows whose label says which of three words stands last; the others are noise."""
    rng = random.Random(seed)
    for _ in range(n):
        label = rng.randrange(3)
        noise = [f"w{rng.randrange(3, 60)}" for _ in range(rng.randrange(1, 12))]
        yield {"text": " ".join([*noise, f"w{label}"]), "label": label}


def register_three():
    """Registers a task of three classes that a tiny random model can learn."""

    @w2s.register_task("three", lambda: {"all": list(three_rows())}, max_len=16, classes=THREE)
    def three(row):
        """Which of three words stands last?"""
        yield Example((row["text"],), row["label"])


@pytest.fixture
def three(registries):
    """Loads the task `three`, of three classes, with small splits."""
    register_three()
    return w2s.load_task("three", n_train=96, n_val=33, n_test=63)


@pytest.fixture
def registries():
    """Forgets the tasks, models, losses, methods and encoders that a test registers."""
    before = [(registry, dict(registry)) for registry in (TASKS, MODELS, LOSSES, METHODS, ENCODERS)]
    yield
    for registry, entries in before:
        registry._entries.clear()
        registry._entries.update(entries)


@pytest.fixture(scope="session")
def real_data():
    """Returns the folder of real dataset files, `W2S_DATA`; skips the test if there is none."""
    if not paths.data_dir():
        pytest.skip("W2S_DATA is not set: no real dataset files to test on")
    return paths.data_dir()
