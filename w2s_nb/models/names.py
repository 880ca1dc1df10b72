"""Names of models: the table of known ones, and the checkpoint that a name means.

A name is an alias of the table, a hub id, a local folder, a GGUF file or a finetuned model, each
optionally cut in depth.
"""

from __future__ import annotations

import difflib
import functools
import re
from dataclasses import dataclass, replace
from pathlib import Path

from ..common import store
from ..common.progress import warn
from ..common.registry import ENCODERS, MODELS, UnknownName
from .files import ModelUnavailable, fault, models_beside, read_json, without_config


@dataclass(frozen=True)
class ModelSpec:
    """A known model.

    Attributes:
        hub_id: repository on the Hugging Face hub; None for models that come from the package index
            or with the kit.
        revision: commit that is downloaded; None takes the commit of `main` at the first download.
        n_params: parameters as published, without the unembedding if that is tied.
        n_layers: transformer blocks at full depth.
        lr: default learning rate of full finetuning with AdamW. The paper states none; the values
            for GPT-2 and for 7B and above are those of openai/weak-to-strong, the others
            interpolate.
        bytes_each: bytes per parameter as published.
        folder: for a model whose weights come with the kit, where they are; else None.
        family: `model_type` of its configuration.
        asset: for a model from the package index, its GGUF file, a name in `assets.ASSETS`.
    """

    name: str
    hub_id: str | None
    revision: str | None
    n_params: int
    n_layers: int
    lr: float
    bytes_each: int = 2
    folder: Path | None = None
    family: str = ""
    asset: str = ""


@dataclass(frozen=True)
class EncoderSpec(ModelSpec):
    """A known model that gives features of images, on which probes are trained.

    Attributes:
        family: the kind of encoder in `ENCODERS` that reads its weights.
        asset: the file of its weights: a name in `assets.ASSETS` of one from the package index, a
            file of its repository of one on the hub.
    """


EMBEDDED = "SmolLM2-135M"
HEADS = ("unembedding", "zero")  # how the head of a finetuned model begins
_REVISIONS = {  # the commit of each hub model that is downloaded
    "openai-community/gpt2": "607a30d783dfa663caf39e06633721c8d4cfcd7e",
    "openai-community/gpt2-medium": "6dcaa7a952f72f9298047fd5137cd6e4f05f41da",
    "openai-community/gpt2-large": "32b71b12589c2f8d625668d2335a01cac3249519",
    "openai-community/gpt2-xl": "15ea56dee5df4983c59b2538573817e1667135e2",
    "Qwen/Qwen1.5-0.5B": "8f445e3628f3500ee69f24e1303c9f10f5342a39",
    "Qwen/Qwen1.5-1.8B": "7846de7ed421727b318d6605a0bfab659da2c067",
    "Qwen/Qwen1.5-4B": "a66363a0c24e2155c561e4b53c658b1d3965474e",
    "Qwen/Qwen1.5-7B": "831096e3a59a0789a541415da25ef195ceb802fe",
    "Qwen/Qwen1.5-14B": "dce4b190d34470818e5bec2a92cb8233aaa02ca2",
    "Qwen/Qwen2.5-0.5B": "060db6499f32faf8b98477b0a26969ef7d8b9987",
    "Qwen/Qwen2.5-1.5B": "8faed761d45a263340a0528343f099c05c9a4323",
    "Qwen/Qwen2.5-3B": "3aab1f1954e9cc14eb9509a215f9e5ca08227a9b",
    "Qwen/Qwen2.5-7B": "d149729398750b98c0af14eb82c78cfe92750796",
    "Qwen/Qwen2.5-14B": "97e1e76335b7017d8f67c08a19d103c0504298c9",
    "Qwen/Qwen3-0.6B-Base": "da87bfb608c14b7cf20ba1ce41287e8de496c0cd",
    "Qwen/Qwen3-1.7B-Base": "ea980cb0a6c2ae4b936e82123acc929f1cec04c1",
    "Qwen/Qwen3-4B-Base": "906bfd4b4dc7f14ee4320094d8b41684abff8539",
    "Qwen/Qwen3-8B-Base": "49e3418fbbbca6ecbdf9608b4d22e5a407081db4",
    "EleutherAI/pythia-70m": "a39f36b100fe8a5377810d56c3f4789b9c53ac42",
    "EleutherAI/pythia-160m": "50f5173d932e8e61f858120bcb800b97af589f46",
    "EleutherAI/pythia-410m": "9879c9b5f8bea9051dcb0e68dff21493d67e9d4f",
    "EleutherAI/pythia-1b": "f73d7dcc545c8bd326d8559c8ef84ffe92fea6b2",
    "EleutherAI/pythia-1.4b": "fedc38a16eea3bd36a96b906d78d11d2ce18ed79",
    "EleutherAI/pythia-2.8b": "2a259cdd96a4beb1cdf467512e3904197345f6a9",
    "EleutherAI/pythia-6.9b": "c0e3eee36dc47af0c49f361c74cfe459c09f7f23",
    "HuggingFaceTB/SmolLM2-135M": "93efa2f097d58c2a74874c7e644dbc9b0cee75a2",
    "HuggingFaceTB/SmolLM2-360M": "f8027fd0eaeea54caa13c31d31b9fdc459c38b49",
    "HuggingFaceTB/SmolLM2-1.7B": "effd688a12921b4cc83e3312b6feb579f70f9c71",
    "meta-llama/Llama-3.2-1B": "4e20de362430cd3b72f300e6b0f18e50e7166e08",
    "meta-llama/Llama-3.2-3B": "13afe5124825b4f3751f836b40dafda64c1ed062",
    "meta-llama/Meta-Llama-3-8B": "8cde5ca8380496c9a6cc7ef3a8b46a0372a1d920",
    "meta-llama/Llama-3.1-8B": "d04e592bb4f6aa9cfee91e2e20afa771667e1d4b",
    "allenai/OLMo-2-0425-1B": "a1847dff35000b4271fa70afc5db10fd29fedbdf",
    "allenai/OLMo-2-1124-7B": "7df9a82518afdecae4e8c026b27adccc8c1f0032",
    "Qwen/Qwen-1_8B": "fa6e214ccbbc6a55235c26ef406355b6bfdf5eed",
    "Qwen/Qwen-7B": "ef3c5c9c57b252f3149c1408daf4d649ec8b6c85",
    "Qwen/Qwen-72B": "b8e18ac61df64d35308695769ff46b976b6a00f4",
}
_M = 10**6
# name, hub_id, n_params, n_layers, lr, and bytes_each where it is not 2
_TABLE: list[tuple] = [
    (EMBEDDED, None, 135 * _M, 30, 3e-4),
    ("gpt2", "openai-community/gpt2", 124 * _M, 12, 5e-5, 4),
    ("gpt2-medium", "openai-community/gpt2-medium", 355 * _M, 24, 5e-5, 4),
    ("gpt2-large", "openai-community/gpt2-large", 774 * _M, 36, 1e-5, 4),
    ("gpt2-xl", "openai-community/gpt2-xl", 1558 * _M, 48, 1e-5, 4),
    ("Qwen1.5-0.5B", "Qwen/Qwen1.5-0.5B", 464 * _M, 24, 3e-5),
    ("Qwen1.5-1.8B", "Qwen/Qwen1.5-1.8B", 1837 * _M, 24, 1e-5),
    ("Qwen1.5-4B", "Qwen/Qwen1.5-4B", 3950 * _M, 40, 1e-5),
    ("Qwen1.5-7B", "Qwen/Qwen1.5-7B", 7721 * _M, 32, 1e-5),
    ("Qwen1.5-14B", "Qwen/Qwen1.5-14B", 14167 * _M, 40, 1e-5),
    ("Qwen1.5-72B", "Qwen/Qwen1.5-72B", 72288 * _M, 80, 1e-5),
    ("Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B", 494 * _M, 24, 3e-5),
    ("Qwen2.5-1.5B", "Qwen/Qwen2.5-1.5B", 1544 * _M, 28, 1e-5),
    ("Qwen2.5-3B", "Qwen/Qwen2.5-3B", 3086 * _M, 36, 1e-5),
    ("Qwen2.5-7B", "Qwen/Qwen2.5-7B", 7616 * _M, 28, 1e-5),
    ("Qwen2.5-14B", "Qwen/Qwen2.5-14B", 14770 * _M, 48, 1e-5),
    ("Qwen3-0.6B", "Qwen/Qwen3-0.6B-Base", 596 * _M, 28, 3e-5),
    ("Qwen3-1.7B", "Qwen/Qwen3-1.7B-Base", 1721 * _M, 28, 1e-5),
    ("Qwen3-4B", "Qwen/Qwen3-4B-Base", 4022 * _M, 36, 1e-5),
    ("Qwen3-8B", "Qwen/Qwen3-8B-Base", 8191 * _M, 36, 1e-5),
    ("pythia-70m", "EleutherAI/pythia-70m", 70 * _M, 6, 1e-4),
    ("pythia-160m", "EleutherAI/pythia-160m", 162 * _M, 12, 5e-5),
    ("pythia-410m", "EleutherAI/pythia-410m", 405 * _M, 24, 3e-5),
    ("pythia-1b", "EleutherAI/pythia-1b", 1012 * _M, 16, 1e-5),
    ("pythia-1.4b", "EleutherAI/pythia-1.4b", 1415 * _M, 24, 1e-5),
    ("pythia-2.8b", "EleutherAI/pythia-2.8b", 2775 * _M, 32, 1e-5),
    ("pythia-6.9b", "EleutherAI/pythia-6.9b", 6857 * _M, 32, 1e-5),
    ("SmolLM2-135M-base", "HuggingFaceTB/SmolLM2-135M", 135 * _M, 30, 3e-4),
    ("SmolLM2-360M", "HuggingFaceTB/SmolLM2-360M", 362 * _M, 32, 1e-4),
    ("SmolLM2-1.7B", "HuggingFaceTB/SmolLM2-1.7B", 1711 * _M, 24, 2e-5),
    ("Llama-3.2-1B", "meta-llama/Llama-3.2-1B", 1236 * _M, 16, 1e-5),
    ("Llama-3.2-3B", "meta-llama/Llama-3.2-3B", 3213 * _M, 28, 1e-5),
    ("Llama-3-8B", "meta-llama/Meta-Llama-3-8B", 8030 * _M, 32, 1e-5),
    ("Llama-3.1-8B", "meta-llama/Llama-3.1-8B", 8030 * _M, 32, 1e-5),
    ("OLMo-2-1B", "allenai/OLMo-2-0425-1B", 1485 * _M, 16, 1e-5, 4),
    ("OLMo-2-7B", "allenai/OLMo-2-1124-7B", 7299 * _M, 32, 1e-5, 4),
    ("gemma-3-270m", None, 268 * _M, 18, 5e-5),
    ("Qwen-1_8B", "Qwen/Qwen-1_8B", 1837 * _M, 24, 1e-5),
    ("Qwen-7B", "Qwen/Qwen-7B", 7721 * _M, 32, 1e-5),
    ("Qwen-14B", "Qwen/Qwen-14B", 14167 * _M, 40, 1e-5),
    ("Qwen-72B", "Qwen/Qwen-72B", 72288 * _M, 80, 1e-5),
]
_FAMILIES = {  # how names begin: `model_type`
    "gpt2": "gpt2",
    "Qwen1.5": "qwen2",
    "Qwen2.5": "qwen2",
    "Qwen3": "qwen3",
    "Qwen-": "qwen",
    "pythia": "gpt_neox",
    "SmolLM2": "llama",
    "Llama-3": "llama",
    "OLMo-2": "olmo2",
    "gemma-3": "gemma3_text",
}
# names in `assets.ASSETS` of the models that come from the package index
_ASSETS = {
    EMBEDDED: "SmolLM2-135M-Instruct.Q4_1.gguf",
    "gemma-3-270m": "gemma-3-270m-q4_k_m.gguf",
}
for _name, _hub_id, *_numbers in _TABLE:
    _spec = ModelSpec(_name, _hub_id, _REVISIONS.get(_hub_id), *_numbers)
    (_family,) = (family for start, family in _FAMILIES.items() if _name.startswith(start))
    MODELS.register(_name, replace(_spec, family=_family, asset=_ASSETS.get(_name, "")))
# learning rates of models that are not in the table: (parameters below which it holds, rate), by
# the sizes in the table
_RATES = ((10 * _M, 5e-4), (100 * _M, 1e-4), (400 * _M, 5e-5), (700 * _M, 3e-5))
_LARGE_RATE = 1e-5


def learning_rate(family: str, n_layers: int, n_params: int) -> tuple[float, str]:
    """Returns the default learning rate of full finetuning of a model, by what the model is.

    Args:
        family: `model_type` of its configuration.
        n_layers: transformer blocks at full depth.
        n_params: parameters, without the unembedding if that is tied.
    Returns:
        The rate; and "", or for a model that is none of the table's, whose rate is that of its
        size, one phrase that says so.
    """
    for spec in MODELS.values():
        is_same = spec.family == family and spec.n_layers == n_layers
        if is_same and abs(n_params - spec.n_params) <= 0.01 * spec.n_params:
            return spec.lr, ""
    rate = next((rate for limit, rate in _RATES if n_params < limit), _LARGE_RATE)
    size = f"{n_params / _M:.3g} million parameters"
    return rate, f"no learning rate is known for {family} of {n_layers} layers and {size}"


@dataclass(frozen=True)
class Checkpoint:
    """A model as named by the user, before anything is loaded.

    Attributes:
        name: as given, for tables and figures; ends in `@layers` if cut in depth.
        base: the name without the cut.
        layers: number of blocks kept, counted from the embedding; `full_layers` without a cut.
        lr: default learning rate of full finetuning; None until the model's configuration is read
            (`with_depth`).
        lr_note: where that rate is a fallback, why; else "".
        asset: for a model from the package index, its GGUF file in `assets.ASSETS`; else "".
        gguf: for a model in a local GGUF file, that file; else None.
        encoder: for a model that gives features of images, its kind in `ENCODERS`; "" for language
            models.
        fit: for a finetuned model, the address of the fit whose weights it has; else "".
        parent: the model that this fit started from.
        trunk: number of lowest layers that are the same in `parent`; all above may differ.
    """

    name: str
    base: str
    hub_id: str | None
    revision: str | None
    folder: Path | None
    layers: int | None
    full_layers: int | None
    lr: float | None
    fit: str = ""
    parent: Checkpoint | None = None
    trunk: int = 0
    lr_note: str = ""
    asset: str = ""
    gguf: Path | None = None
    encoder: str = ""

    @property
    def root(self) -> Checkpoint:
        """The pretrained model that all finetuning started from, or this model if it is that."""
        return self.parent.root if self.parent else self

    def cut(self, layers: int) -> Checkpoint:
        """Returns the same model cut to its first `layers` blocks.

        If finetuning left these blocks as they were, returns the parent cut to them.
        """
        if self.parent and layers <= self.trunk:
            return self.parent.cut(layers)
        return replace(self, layers=layers, name=f"{self.base}@{layers}")


def resolve(name: str) -> Checkpoint:
    """Returns the checkpoint that a name means. Touches neither network nor weights.

    Args:
        name: an alias (`gpt2-xl`), a hub id (`Qwen/Qwen2.5-7B`, optionally `:revision`), a local
            folder with a `config.json` (it wins over a hub id, but not over an alias), a file that
            ends in `.gguf` and holds a model with its tokenizer, a finetuned model of the store
            (`fit:` and its address, `Fit.name`), or any of these with `@k` for its first k layers.
    Raises:
        UnknownName: no such alias, folder, hub id or fit; lists near and known names.
        ValueError: `@k` outside 1..full depth; a fit that kept no weights, or that trained only a
            probe.
    """
    text = str(name).strip() or "?"
    cut = re.search(r"(?<=.)@(\d+)$", text, re.S)
    if cut and _is_model_folder(text) and text[: cut.start()] not in MODELS:
        cut = None  # a folder whose own name ends like that
    base = text[: cut.start()] if cut else text
    checkpoint = _at_full_depth(name, base)
    if not cut:
        return checkpoint
    layers = int(cut[1])
    depth = checkpoint.layers if checkpoint.fit else checkpoint.full_layers
    if not 1 <= layers <= (depth or layers):
        has = f"1 to {depth}" if depth else "at least 1"
        raise ValueError(f"{name!r} asks for {layers} layers; {base} has {has}")
    return checkpoint.cut(layers)


def _at_full_depth(name: str, base: str) -> Checkpoint:
    """Returns the checkpoint that `base`, a name without `@k`, means; `name` is for tables."""
    if base.startswith("fit:"):
        return _finetuned(name, base)
    is_alias = base in MODELS
    if _is_model_folder(base) and not is_alias:
        return _local(name, base, Path(base).expanduser())
    hub_id, _, revision = base.partition(":")
    spec = MODELS[base] if is_alias else _spec_of_hub_id(hub_id)
    if spec and not revision:
        _tell_passed_over(base)
        depth = spec.n_layers
        return Checkpoint(
            name,
            base,
            spec.hub_id,
            spec.revision,
            spec.folder,
            depth,
            depth,
            spec.lr,
            asset=spec.asset,
            encoder=spec.family if isinstance(spec, EncoderSpec) else "",
        )
    if base.lower().endswith(".gguf"):
        return _in_gguf(name, base)
    _refuse_path(base)
    if not re.fullmatch(r"\w[\w.-]*/[\w.-]+(:[\w./-]+)?", base):
        _refuse_web_address(base)
        raise UnknownName("model", base, [*MODELS, *models_beside(Path(base))])
    _refuse_other_capitals(hub_id)
    lr = spec.lr if spec else None
    return Checkpoint(name, base, hub_id, revision or None, None, None, None, lr)


def _is_model_folder(path: str) -> bool:
    try:
        return (Path(path).expanduser() / "config.json").is_file()
    except (OSError, RuntimeError):  # a name that no path can have, or an unknown user's home
        return False


def _refuse_path(base: str) -> None:
    """Refuses a name that is a path and leads to no model, with what is there.

    Raises:
        UnknownName, ModelUnavailable: it is a file, a folder without config, or begins as paths do
            and leads nowhere.
    """
    try:
        path = Path(base).expanduser()
        is_folder, is_file = path.is_dir(), path.exists()
    except (OSError, RuntimeError):
        raise UnknownName("model", base[:100], MODELS) from None
    if is_folder:
        if meant := without_config(path):
            raise ModelUnavailable(f"model {base}: {path} {meant}")
        empty = "" if any(path.iterdir()) else ", empty"
        raise UnknownName(f"model (a folder without config.json{empty})", base, MODELS)
    if is_file:
        folder = path.parent
        hint = f"; its folder is {folder}" if _is_model_folder(str(folder)) else ""
        raise UnknownName(f"model (a file that is no .gguf{hint})", base, MODELS)
    if base.startswith((".", "/", "~")):
        raise UnknownName("model (no such folder)", base, models_beside(path) or MODELS)


def _refuse_web_address(base: str) -> None:
    """Refuses the web address of a hub model.

    Raises:
        UnknownName: names its id.
    """
    if address := re.match(r"https?://huggingface\.co/([\w.-]+/[\w.-]+)", base):
        raise UnknownName("model (a web address; name its id alone)", base, [address[1]])


def _refuse_other_capitals(hub_id: str) -> None:
    """Refuses the hub id of a known model in other capitals, which would be downloaded again.

    Raises:
        UnknownName: names the id.
    """
    for spec in MODELS.values():
        if spec.hub_id and hub_id != spec.hub_id and hub_id.lower() == spec.hub_id.lower():
            raise UnknownName("model (other capitals)", hub_id, [spec.hub_id])


def _tell_passed_over(name: str) -> None:
    """Warns if a folder of this name is here, but the name means a model of the table."""
    if Path(name).is_dir():
        holds_model = _is_model_folder(name)
        way_out = f"./{name} names the folder" if holds_model else "it holds no config.json"
        warn(
            f"{name} is a model of w2s.MODELS; the folder of that name in {Path.cwd()} is passed "
            f"over: {way_out}"
        )


def _spec_of_hub_id(hub_id: str | None) -> ModelSpec | None:
    """Returns the known model that is this repository on the hub, or None."""
    if hub_id:
        for spec in MODELS.values():
            if spec.hub_id == hub_id:
                return spec
    return None


def _local(name: str, base: str, folder: Path) -> Checkpoint:
    """Returns the checkpoint in a local folder, with its depth.

    It has its learning rate too if this kit pretrained the model.
    """
    config = read_json(folder / "config.json", base)
    if config.get("model_type") in ENCODERS:
        kind = config["model_type"]
        return Checkpoint(name, base, None, None, folder.resolve(), None, None, None, encoder=kind)
    depth = config.get("num_hidden_layers") or config.get("n_layer")
    record = folder / "pretraining.json"  # written if this kit pretrained the model
    lr = read_json(record, base).get("finetuning_lr") if record.is_file() else None
    return Checkpoint(name, base, None, None, folder.resolve(), depth, depth, lr)


def _in_gguf(name: str, base: str) -> Checkpoint:
    """Returns the checkpoint in a GGUF file, whose depth is read when it is converted."""
    file = Path(base).expanduser()
    if not file.is_file():
        raise UnknownName("model (no such .gguf file)", base, models_beside(file) or MODELS)
    if wrong := fault(file):
        raise ModelUnavailable(f"model {base}: {file} {wrong}")
    return Checkpoint(name, base, None, None, None, None, None, None, gguf=file.resolve())


def _finetuned(name: str, base: str) -> Checkpoint:
    """Returns the checkpoint of a stored fit: the model it started from, with its own weights."""
    record = store.record(base.removeprefix("fit:"))
    if record is None:
        fits = [f"fit:{address}" for address in store.addresses()]
        # only near names: there may be thousands
        near = difflib.get_close_matches(base, fits)
        raise UnknownName("finetuned model", base, near or ["those of w2s.results()"])
    try:
        config = record["config"]
        model = record["summary"]["model"]
        method = config["method"]
        layers = config["layers"]
    except (KeyError, TypeError):
        raise ValueError(f"{base} was stored by another version of the kit; fit it again") from None
    if not config.get("keep_weights") or method not in ("full", "lora", "top"):
        raise ValueError(
            f"{base} ({model}, method {method}) has no finetuned weights of a language "
            f"model; fit(..., method='full', 'lora' or 'top', keep_weights=True) keeps them"
        )
    if "hyperparameters" not in config:
        raise ValueError(
            f"{base} ({model}) was stored by an earlier version of the kit; fit it again"
        )
    parent = replace(resolve(model), layers=layers)
    trunk = 0
    if method == "top":
        trunk = max(0, layers - config["hyperparameters"]["top_layers"])
    return replace(parent, name=name, base=base, fit=record["address"], parent=parent, trunk=trunk)


def ways_out(hub_id: str) -> str:
    """Returns advice for a hub model that cannot be downloaded, with its size if it is known."""
    spec = _spec_of_hub_id(hub_id)
    size = ""
    if spec:
        size = f" (weights of about {spec.n_params * spec.bytes_each / 1e9:.1f} GB)"
    return (
        f"Ways out: run `hf download {hub_id}`{size} on a machine with network and set HF_HOME to "
        f"that cache; name a local folder that holds the checkpoint instead of the hub id; for a "
        f"gated model log in with `hf auth login`; or use the embedded default, {EMBEDDED}, at any "
        f"depth, such as {EMBEDDED}@16."
    )


def models_between(weak: str, strong: str, most: int = 2) -> list[str]:
    """Returns names of models between two others, evenly spaced, from small to large.

    These are depths of one model, or sizes of the series that comes with the kit (chess models).

    Args:
        most: how many names at most; the paper bootstraps through two models.
    Returns:
        at most so many names; none if the two are neither depths of one model nor of that series,
        or if nothing lies between them.
    """
    low = resolve(weak)
    high = resolve(strong)
    series = sorted((spec.n_params, name) for name, spec in MODELS.items() if spec.folder)
    sizes = [name for _, name in series]
    between: list[str] = []
    if low.base in sizes and high.base in sizes and low.base != high.base:
        # of a weak model that is cut in depth, the whole model is between the two as well
        above_weak = sizes.index(low.base) + (low.name == low.base)
        between = sizes[above_weak : sizes.index(high.base)]
    elif low.base == high.base and low.layers and high.layers:
        between = [f"{low.base}@{depth}" for depth in range(low.layers + 1, high.layers)]
    n = min(most, len(between))
    return [between[round((i + 1) * (len(between) + 1) / (n + 1)) - 1] for i in range(n)]


@functools.cache
def size_order(name: str) -> tuple[int, int]:
    """Returns a key that sorts names from small to large: (published parameters, layers kept)."""
    checkpoint = resolve(name)
    root = checkpoint.root
    spec = MODELS[root.base] if root.base in MODELS else _spec_of_hub_id(root.hub_id)
    return (spec.n_params if spec else 0, checkpoint.layers or 0)
