"""Loads checkpoints: files, digests, tokenizers and language models.

Runs no remote code and reads no pickled weights.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import safe_open

from ..common import store
from ..common.assets import ASSETS, fetch, make_once
from ..common.device import public_versions
from ..common.files import sha256_of
from . import anatomy, encoders, files, hub, weights
from .anatomy import keep_blocks, put_trained, round_linear_layers
from .architectures import require_supported
from .files import READ, ModelUnavailable
from .names import Checkpoint, learning_rate

# names of GELU's approximation by tanh where transformers computes it in eight kernels, in float32
# under autocast: half of GPT-2's step and memory. PyTorch's own kernel differs by 2.4e-7 at most
_GELU_IN_STEPS = ("gelu_new", "gelu_fast", "gelu_python_tanh")
_MOST_LAYERS = 1000  # the deepest language models have some 130; 10^6 would take minutes to refuse


@contextlib.contextmanager
def quiet():
    """Silences transformers' load reports: cutting in depth leaves weights unused on purpose."""
    level = transformers.logging.get_verbosity()
    bar = transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        if bar:
            transformers.logging.enable_progress_bar()


def ensure(checkpoint: Checkpoint) -> None:
    """Checks within seconds that a checkpoint's weights and tokenizer are within reach, and whole
    if they are here.

    Downloads only the config of a hub model, and reads no weights. A GGUF file is converted once.

    Raises:
        ModelUnavailable: they are not; names the hub id and says what to do, or the tensors.
        ValueError: an architecture that is not read.
    """
    with_depth(checkpoint)
    if checkpoint.encoder:
        encoders.family_of(checkpoint).ensure(checkpoint)
        return
    root = checkpoint.root
    path = _config_folder(root)
    if root.hub_id and not files.is_downloaded(path, root.base):
        hub.require_files(root.hub_id, root.revision)
    else:
        tokenizer(path)


def _config_folder(root: Checkpoint) -> Path:
    """Returns a folder with the config of a pretrained model, and perhaps with its weights."""
    if root.hub_id:
        path = hub.folder_of(root.hub_id, root.revision, only_config=True)
        hub.check_files(path, root.hub_id, for_weights=False)
        return path
    return folder(root)


def _compare_weights(root: Checkpoint, path: Path) -> weights.Comparison:
    """Compares the weights of a pretrained model, in a folder, with its config.

    Raises:
        ModelUnavailable: they are not whole.
    """
    with quiet():
        return weights.compare(path, _whole_config(root), root.base)


def lacks_unembedding(checkpoint: Checkpoint) -> bool:
    """Returns whether the weights are here and without unembedding, as of a reward model's folder.

    Raises:
        ModelUnavailable: as `ensure`.
    """
    root = checkpoint.root
    path = _config_folder(root)
    if root.hub_id and not files.is_downloaded(path, root.base):
        return False  # not downloaded yet; `load_lm` looks again
    return bool(_compare_weights(root, path).lacks_unembedding)


def require_unembedding(checkpoint: Checkpoint, purpose: str) -> None:
    """Checks that a language model can predict tokens.

    Args:
        purpose: beginning of the error, such as "a prompt".
    Raises:
        ModelUnavailable: the weights are without unembedding.
    """
    if lacks_unembedding(checkpoint):
        raise ModelUnavailable(
            f"{purpose} needs a model's unembedding, which the weights of {checkpoint.base} lack "
            f"(a folder saved from a classifier or reward model); `fit` takes the model"
        )


def label_tokens(path: Path, n_classes: int) -> list[int]:
    """Returns the ids of the tokens "0" to "K-1" in a model folder's tokenizer.

    Returns:
        K ids; none of more than ten classes, or where the tokenizer lacks one of these tokens.
    """
    coder = tokenizer(path)
    ids = coder.convert_tokens_to_ids([str(number) for number in range(n_classes)])
    lacks_one = bool({None, coder.unk_token_id} & set(ids))
    return [] if lacks_one or n_classes > 10 else ids


def why_without_label_tokens(checkpoint: Checkpoint, n_classes: int) -> str:
    """Says why a head cannot begin with the unembedding rows of "0" to "K-1"; "" where it can.

    Raises:
        ModelUnavailable: as `ensure`.
    """
    if n_classes > 10:
        return f"the digits 0 to 9 are no {n_classes} classes"
    root = checkpoint.root
    path = _config_folder(root)
    if root.hub_id and not files.is_downloaded(path, root.base):
        return ""  # not downloaded yet; `head_for` looks again
    if label_tokens(path, n_classes):
        return ""
    return f"the tokenizer of {checkpoint.base} has not each of the digits 0 to {n_classes - 1}"


def folder(checkpoint: Checkpoint, *, for_weights: bool = False) -> Path:
    """Returns the local folder of a checkpoint at full depth; downloads a hub model if need be.

    It holds config, tokenizer and safetensors.

    Args:
        for_weights: the weights are needed; those of the hub and those that the kit converted are
            checked. Their other files always are.
    Raises:
        ModelUnavailable: it cannot be had, or a file of the hub's cache is damaged.
    """
    encoders.require_language_model(checkpoint)
    if checkpoint.parent:
        return folder(checkpoint.parent, for_weights=for_weights)
    if checkpoint.asset or checkpoint.gguf:
        return _converted(checkpoint, for_weights)
    if checkpoint.folder:
        path = checkpoint.folder
    else:
        hub_id = str(checkpoint.hub_id)  # a checkpoint has one of them
        path = hub.folder_of(hub_id, checkpoint.revision)
        hub.check_files(path, hub_id, for_weights)
    files.require_weights([file.name for file in path.iterdir()], str(path), checkpoint.base)
    return path


def with_depth(checkpoint: Checkpoint) -> Checkpoint:
    """Returns the checkpoint with its depth and learning rate.

    They are read from the model's config where its name does not say them.

    Raises:
        ValueError: the name asks for more layers than the model has; an architecture that is not
            read.
        ModelUnavailable: as `ensure`.
    """
    if checkpoint.encoder:
        return encoders.with_depth(checkpoint)
    if checkpoint.parent:
        parent = with_depth(checkpoint.parent)
        return replace(
            checkpoint,
            parent=parent,
            full_layers=parent.full_layers,
            lr=parent.lr,
            lr_note=parent.lr_note,
        )
    depth = _whole_config(checkpoint).num_hidden_layers
    if (checkpoint.layers or 1) > depth:
        raise ValueError(
            f"{checkpoint.name!r} asks for {checkpoint.layers} layers; "
            f"{checkpoint.base} has {depth}"
        )
    lacks_unembedding(checkpoint)  # refuses weights that are not whole
    checkpoint = with_learning_rate(checkpoint)
    return replace(checkpoint, layers=checkpoint.layers or depth, full_layers=depth)


def with_learning_rate(checkpoint: Checkpoint) -> Checkpoint:
    """Returns the checkpoint with the default learning rate of full finetuning.

    It is read from the model's config alone; of a hub model no weights are downloaded.
    """
    root = checkpoint.root
    if checkpoint.lr is not None:
        return checkpoint
    path = root.folder or _config_folder(root)
    lr, note = _learning_rate(path, root.base, (path / "config.json").stat().st_mtime_ns)
    return replace(checkpoint, lr=lr, lr_note=note)


@functools.cache
def _learning_rate(path: Path, model: str, mtime_ns: int) -> tuple[float, str]:
    """Returns what `names.learning_rate` says of the model whose config is in a folder.

    Args:
        model: its name, for errors.
        mtime_ns: when the config was changed last, so that a changed one is read again.
    """
    config = _read_config(path, model)
    with torch.device("meta"):
        try:
            lm = transformers.AutoModelForCausalLM.from_config(config)
        except Exception as error:  # a field of a wrong value is found anywhere
            raise ModelUnavailable(
                f"model {model}: transformers cannot build the model of {path / 'config.json'} "
                f"({files.reason(error)})"
            ) from error
    n_params = sum(parameter.numel() for parameter in lm.parameters())
    return learning_rate(config.model_type, config.num_hidden_layers, n_params)


def _sha256_of_gguf(checkpoint: Checkpoint) -> str:
    """Returns the sha256 of a model's GGUF file, which is not fetched for that."""
    return sha256_of(checkpoint.gguf) if checkpoint.gguf else ASSETS[checkpoint.asset].sha256


@functools.cache
def _code_of_dequantising() -> str:
    return store.code_version(_dequantise)


def _converted(checkpoint: Checkpoint, for_weights: bool) -> Path:
    """Returns the folder of a model in a GGUF file, dequantised once into safetensors.

    Its weights are checked where they are needed, its other files always.

    Raises:
        ModelUnavailable: the file cannot be converted.
    """

    def convert(target: Path) -> None:
        gguf = checkpoint.gguf or fetch(checkpoint.asset)
        try:
            _dequantise(gguf, target)
        except Exception as error:  # the readers' errors share no base class
            reason = " ".join(str(error).split())[:300]
            raise ModelUnavailable(
                f"{gguf} cannot be converted ({type(error).__name__}: {reason}). transformers "
                f"reads GGUF files of {', '.join(_gguf_architectures())}"
            ) from error

    file = checkpoint.gguf.name if checkpoint.gguf else checkpoint.asset
    sha256 = _sha256_of_gguf(checkpoint)
    record = {
        "source": file,
        "sha256": sha256,
        "versions": public_versions("gguf", "transformers", "tokenizers"),
        "code": _code_of_dequantising(),
    }
    name = f"models/{file.split('.')[0]}-{sha256[:12]}"
    unchecked = () if for_weights else ("*.safetensors",)
    return make_once(name, convert, record, unchecked=unchecked)


def _dequantise(gguf: Path, target: Path) -> None:
    """Writes the language model and the tokenizer in a GGUF file into a folder."""
    with tempfile.TemporaryDirectory() as alone, quiet():
        # transformers would read configurations that lie beside the file
        os.symlink(gguf, Path(alone) / gguf.name)
        loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
            alone,
            gguf_file=gguf.name,
            dtype=torch.float32,
            quantization_config=transformers.GgufConfig(dequantize=True),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are named below
        )
        lm, report = loaded
        _refuse_gaps(report)
        lm.save_pretrained(target)
        tokenizer = transformers.AutoTokenizer.from_pretrained(alone, gguf_file=gguf.name)
        tokenizer.save_pretrained(target)


def _refuse_gaps(report: dict) -> None:
    """Refuses a model of which transformers found no tensor, or none of its shape.

    Args:
        report: transformers' loading report.
    Raises:
        ValueError: names up to five of them.
    """
    gaps = sorted({*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])})
    if gaps:
        more = f" and {len(gaps) - 5} more" if len(gaps) > 5 else ""
        raise ValueError(f"it lacks {', '.join(gaps[:5])}{more}, or has them in another shape")


def _gguf_architectures() -> list[str]:
    """Returns the architectures whose GGUF files transformers reads."""
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    return sorted(set(GGUF_SUPPORTED_ARCHITECTURES) - {"general", "tokenizer"})


def digest(checkpoint: Checkpoint) -> str:
    """Identifies the weights of a checkpoint, for addresses of fits.

    Returns a hub model's commit, a local model's content hash, or a finetuned model's fit. For the
    original Qwen series the code that reads the weights counts as well.
    """
    if checkpoint.fit:
        return checkpoint.fit
    if checkpoint.encoder:
        return encoders.family_of(checkpoint).digest(checkpoint)
    if checkpoint.asset or checkpoint.gguf:
        return _sha256_of_gguf(checkpoint)[:16]
    path = folder(checkpoint)
    content = path.name[:16] if checkpoint.hub_id else _hash_folder(path)
    if _original_qwen(path):
        from . import qwen

        return store.address({"weights": content, "read": store.code_version(qwen)})[:16]
    return content


def _hash_folder(path: Path) -> str:
    """Returns a hash of the files in a model folder that decide what the model computes."""
    whole = hashlib.sha256()
    for file in sorted(path.iterdir()):
        if file.name != "pretraining.json" and file.suffix in READ:
            whole.update(file.name.encode() + bytes.fromhex(sha256_of(file)))
    return whole.hexdigest()[:16]


def _original_qwen(path: Path) -> bool:
    """Returns True for a folder of the original Qwen series, which transformers does not know."""
    return files.read_json(path / "config.json", str(path)).get("model_type") == "qwen"


def tokenizer(path: Path):
    """Returns the fast tokenizer in a model folder; loads it once per process and state of files.

    Raises:
        ModelUnavailable: there is none, or it is damaged or that of another model.
    """
    return _tokenizer(path, files.state_of(path))


@functools.cache
def _tokenizer(path: Path, state: tuple):
    """Returns what `tokenizer` says; the state of the files is there for the cache."""
    try:
        with quiet():
            loaded = load_tokenizer(path)
    except Exception as error:  # the readers' errors share no base class
        raise ModelUnavailable(_tokenizer_fault(path, error)) from error
    _require_embedded(loaded, path)
    return loaded


def load_tokenizer(path: Path):
    """Returns the tokenizer in a model folder, unchecked."""
    if _original_qwen(path):
        from . import qwen

        return qwen.load_tokenizer(path)
    return transformers.AutoTokenizer.from_pretrained(path, trust_remote_code=False)


def _tokenizer_fault(path: Path, error: Exception) -> str:
    """Returns why a folder's tokenizer cannot be loaded, with the file that is at fault."""
    said = f"model {path}: its tokenizer cannot be loaded"
    names = [file.name for file in path.iterdir()]
    if not files.has_tokenizer(names):
        return (
            f"{said}, since the folder has none (tokenizer.json, or qwen.tiktoken of an original "
            f"Qwen); save that of the model which its weights come from there: "
            f"transformers.AutoTokenizer.from_pretrained(...).save_pretrained({str(path)!r})"
        )
    if "trust_remote_code" in str(error):
        return f"{said}, since it is code of its own, which is not run"
    for name in sorted(names):
        if name.endswith(".json") and name not in (files.INDEX, "pretraining.json"):
            try:
                files.read_json(path / name, str(path))
            except ModelUnavailable as damaged:
                return str(damaged)
    return f"{said} ({files.reason(error)})"


def require_rows(checkpoint: Checkpoint, ids_of_texts: Iterable[np.ndarray]) -> None:
    """Checks that a model's embedding has a row for each token id of texts.

    A GPU would end the process over one that has none.

    Args:
        ids_of_texts: one array of token ids per text.
    Raises:
        ValueError: names a token without.
    """
    rows = _whole_config(checkpoint.root).vocab_size
    highest = max((int(ids.max(initial=0)) for ids in ids_of_texts), default=0)
    if highest >= rows:
        token = tokenizer(folder(checkpoint)).convert_ids_to_tokens(highest)
        raise ValueError(
            f"a text has the token {token!r} ({highest}), for which the embedding of "
            f"{checkpoint.base} has no row; it has {rows}"
        )


def _require_embedded(loaded, path: Path) -> None:
    """Checks that the embedding has a row for each token that a text may hold.

    Special tokens, such as those of images, may be without one: texts hardly name them.

    Raises:
        ModelUnavailable: tokens have none, as after adding some or with another model's tokenizer.
    """
    rows = _read_config(path, str(path)).vocab_size
    ends = {loaded.bos_token_id, loaded.eos_token_id, loaded.unk_token_id}
    special = {number for number, token in loaded.added_tokens_decoder.items() if token.special}
    beyond = sorted(
        (number, token)
        for token, number in loaded.get_vocab().items()
        if number >= rows and (number in ends or number not in special)
    )
    if beyond:
        shown = ", ".join(f"{token!r} ({number})" for number, token in beyond[:3])
        raise ModelUnavailable(
            f"model {path}: its tokenizer has {len(beyond)} tokens beyond the {rows} rows of the "
            f"embedding, the first {shown}; after adding tokens, resize_token_embeddings and save "
            f"the model as well; or the tokenizer is another model's"
        )


def config_of(checkpoint: Checkpoint):
    """Returns transformers' configuration of a checkpoint, with the depth that its name says."""
    encoders.require_language_model(checkpoint)
    config = _read_config(_config_folder(checkpoint.root), checkpoint.base)
    return cut_config(config, checkpoint.layers)


def _whole_config(root: Checkpoint):
    """Returns `config_of` a pretrained model at full depth, shared: it must not be changed."""
    encoders.require_language_model(root)
    path = _config_folder(root)
    return _config_in_state(path, root.base, files.state_of(path))


@functools.lru_cache(maxsize=256)
def _config_in_state(path: Path, model: str, state: tuple):
    """Returns what `_read_config` does; the state of the files is there for the cache."""
    return _read_config(path, model)


def cut_config(config: transformers.PreTrainedConfig, layers: int | None):
    """Cuts a configuration, in place, to its first layers, and returns it; None keeps all."""
    config.num_hidden_layers = layers or config.num_hidden_layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[: config.num_hidden_layers]
    return config


def _read_config(path: Path, model: str):
    """Returns transformers' configuration in a model folder.

    Raises:
        ValueError: of an architecture that is not read; names the model.
        ModelUnavailable: the file is damaged, or a field has a value that cannot be.
    """
    file = path / "config.json"
    require_supported(files.read_json(file, model), model)
    if _original_qwen(path):
        from . import qwen  # takes over a second, and is needed only here

        qwen.register()
    try:
        config = transformers.AutoConfig.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # each field has checks of its own
        raise ModelUnavailable(
            f"model {model}: {file} cannot be read ({files.reason(error)})"
        ) from error
    depth = config.num_hidden_layers
    if not isinstance(depth, int) or not 1 <= depth <= _MOST_LAYERS:
        raise ModelUnavailable(
            f"model {model}: {file} says {depth!r} layers; expected 1 to {_MOST_LAYERS}"
        )
    return config


def n_features(checkpoint: Checkpoint) -> int:
    """Returns how many features a probe of a model reads, at the depth of `with_depth`."""
    if checkpoint.encoder:
        return encoders.family_of(checkpoint).widths(checkpoint)[checkpoint.layers or 0]
    return _whole_config(checkpoint.root).hidden_size


def context_of(checkpoint: Checkpoint) -> int | None:
    """Returns how many tokens a model takes; None where its config does not say it.

    An encoder of images has no such limit: None.
    """
    if checkpoint.encoder:
        return None
    config = _whole_config(checkpoint.root)
    limit = getattr(config, "max_position_embeddings", None)
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "longrope":
        # beyond it a text would change the others of its batch
        limit = rope.get("original_max_position_embeddings", limit)
    return limit


def require_context(checkpoint: Checkpoint, tokens: int, advice: str) -> None:
    """Checks that sequences fit in a model's context, which some architectures exceed silently.

    Args:
        tokens: length of the longest sequence.
        advice: last sentence of the error, on what to do.
    Raises:
        ValueError: they do not fit.
    """
    limit = context_of(checkpoint)
    if limit and tokens > limit:
        raise ValueError(
            f"a sequence of {tokens} tokens; {checkpoint.name} takes {limit}. {advice}"
        )


def load_lm(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32, *, top: int | None = None):
    """Returns the causal language model of a checkpoint, cut to its depth, on the CPU.

    Dropout is 0, and the model is in evaluation mode. An unembedding that the weights lack is NaN.

    Args:
        dtype: of the weights. With float16 it is that of the linear layers alone: what adds up from
            block to block, in models that were trained in bf16, may exceed float16.
        top: number of the last blocks that are needed. The blocks below them, and an embedding that
            is not the unembedding as well, are not read and stay on the meta device. None reads
            all.
    Raises:
        ModelUnavailable: a finetuned model whose parent has other weights now; weights that are
            not those of the config.
    """
    if checkpoint.parent:
        return _load_finetuned(checkpoint, checkpoint.parent, dtype, top)
    path = folder(checkpoint, for_weights=True)
    compared = _compare_weights(checkpoint, path)
    config = as_run(config_of(checkpoint))
    n_unread = 0 if top is None else max(0, config.num_hidden_layers - top)
    tensors = _tensors_above(n_unread, path, config, _type_to_load(dtype)) if n_unread else None
    model_class: Any = transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    with quiet():
        lm = model_class.from_pretrained(
            path if tensors is None else None,
            config=config,
            state_dict=tensors,
            key_mapping=compared.key_mapping or None,
            dtype=_type_to_load(dtype),
            use_safetensors=True,
            trust_remote_code=False,
        ).eval()
    if n_unread:
        _forget_unread(lm, n_unread)
    _require_finite(lm, checkpoint.base)
    for name in compared.lacks_unembedding:
        # no number may come out of what transformers put there
        torch.nn.init.constant_(lm.get_parameter(name), torch.nan)
    # padding is masked; the same id inside a text is a word and trains
    lm.get_input_embeddings().padding_idx = None
    if dtype == torch.float16:
        round_linear_layers(lm, dtype)
    return lm


def _type_to_load(dtype: torch.dtype) -> torch.dtype:
    """Returns the type in which `load_lm` reads the weights, before it rounds some of them."""
    return torch.float32 if dtype == torch.float16 else dtype


def _tensors_above(n_unread: int, path: Path, config, dtype: torch.dtype) -> dict[str, Any]:
    """Returns the tensors of a model folder, of which those that nobody needs take no memory.

    Args:
        n_unread: number of the lowest blocks whose tensors are zeros, as is an embedding that is
            not the unembedding as well.
    Returns:
        {name: slice of a file, which is read when it is taken, or one zero in the tensor's shape}.
    """
    block = re.compile(rf"(?:^|\.)(?:{'|'.join(anatomy.BLOCKS)})\.(\d+)\.")
    embedding = re.compile(rf"(?:^|\.)(?:{'|'.join(anatomy.EMBEDDINGS)})\.weight$")
    tensors: dict[str, Any] = {}
    for file in files.files_of_weights(path, str(path)):
        with safe_open(file, framework="pt") as stored:
            for name in stored.keys():
                number = block.search(name)
                unread = number is not None and int(number[1]) < n_unread
                if not config.tie_word_embeddings and embedding.search(name):
                    unread = True
                tensors[name] = stored.get_slice(name)
                if unread:
                    shape = tensors[name].get_shape()
                    tensors[name] = torch.zeros((), dtype=dtype).expand(shape)
    return tensors


def _forget_unread(lm, n_unread: int) -> None:
    """Moves what `_tensors_above` did not read to the meta device, where nothing is computed."""
    for block in anatomy.blocks_of(lm.base_model)[:n_unread]:
        block.to("meta")
    if not lm.config.tie_word_embeddings:
        lm.get_input_embeddings().to("meta")


def _require_finite(lm, model: str) -> None:
    """Checks that every weight is a number.

    Raises:
        ModelUnavailable: names the first tensor with others.
    """
    for name, parameter in lm.named_parameters():
        if parameter.is_meta:
            continue
        # without a copy of the tensor; NaN is the smallest and the largest of its tensor
        if not all(torch.isfinite(end) for end in parameter.aminmax()):
            raise ModelUnavailable(f"model {model}: its weights {name} hold NaN or infinity")


def _load_finetuned(
    checkpoint: Checkpoint, parent: Checkpoint, dtype: torch.dtype, top: int | None
):
    """Returns the language model of a stored fit: that of its parent, with the trained weights."""
    config = _config_of_fit(checkpoint)
    if digest(parent) != config["model"]:
        raise ModelUnavailable(
            f"{checkpoint.name} was finetuned from {parent.name}, whose weights are not the same "
            f"any more; its own cannot be put into them. Fit it again"
        )
    if top is not None:
        # what is cut off the parent is loaded first
        top += (parent.layers or 0) - (checkpoint.layers or 0)
    load = functools.partial(load_lm, top=top)
    return _add_finetuning(load, checkpoint, parent, dtype, store.weights(checkpoint.fit))


def _config_of_fit(checkpoint: Checkpoint) -> dict:
    """Returns everything that decided the fit of a finetuned model, from its record."""
    record = store.record(checkpoint.fit)
    if record is None:
        raise ModelUnavailable(
            f"{checkpoint.name}: its fit is no longer in the store. Fit it again"
        )
    return record["config"]


def _add_finetuning(
    load: Callable,
    checkpoint: Checkpoint,
    parent: Checkpoint,
    dtype: torch.dtype,
    tensors: dict[str, torch.Tensor],
):
    """Returns the language model of a parent with what a fit trained, cut to a depth.

    Args:
        load, dtype, tensors: as of `load_with_trained`.
    """
    config = _config_of_fit(checkpoint)
    lm = load_with_trained(
        load, parent, dtype, tensors, config["method"], config["hyperparameters"]
    )
    keep_blocks(lm.base_model, slice(checkpoint.layers))
    return lm


def load_with_trained(
    load: Callable,
    checkpoint: Checkpoint,
    dtype: torch.dtype,
    tensors: dict[str, torch.Tensor],
    method: str,
    hyperparameters: dict,
):
    """Returns a checkpoint's language model with what was trained in it, as it was in training.

    Adapters were trained in float32 beside weights in `dtype`, and stay beside them. Other methods
    trained weights in float32, of which autocast rounded those of linear layers in every pass.

    Args:
        load: (checkpoint, dtype) -> its language model.
        tensors: what was trained; {} for a model without weights.
        method, hyperparameters: of the training.
    """
    is_lora = method == "lora"
    lm = load(checkpoint, dtype if is_lora else torch.float32)
    put_trained(lm, tensors, method, hyperparameters)
    if not is_lora:
        round_linear_layers(lm, dtype)
    return lm


def code_parts() -> tuple[Callable | ModuleType, ...]:
    """Returns all that decides which language model `load_lm` gives, for `store.code_version`."""
    return (
        load_lm,
        _type_to_load,
        _tensors_above,
        _load_finetuned,
        _add_finetuning,
        load_with_trained,
        as_run,
        config_of,
        cut_config,
        _read_config,
        weights,
        anatomy,
    )


def hollow_lm(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32):
    """Returns the language model of `load_lm` without weights, on the meta device."""
    with torch.device("meta"):
        if checkpoint.parent:
            return _add_finetuning(hollow_lm, checkpoint, checkpoint.parent, dtype, {})
        lm = transformers.AutoModelForCausalLM.from_config(
            as_run(config_of(checkpoint)), dtype=_type_to_load(dtype)
        ).eval()
    lm.get_input_embeddings().padding_idx = None
    if dtype == torch.float16:
        round_linear_layers(lm, dtype)
    return lm


def as_run(config: transformers.PreTrainedConfig) -> transformers.PreTrainedConfig:
    """Changes a configuration in place to the one that the kit runs, and returns it.

    It has every dropout at 0, no KV cache, and GELU's approximation by tanh as one kernel.
    """
    for name, value in config.to_dict().items():
        if name.endswith(("dropout", "pdrop")) and value:
            setattr(config, name, 0.0)
        if value in _GELU_IN_STEPS:
            setattr(config, name, "gelu_pytorch_tanh")
    config.use_cache = False
    return config


def n_params(checkpoint: Checkpoint) -> int:
    """Counts the parameters of the body at the checkpoint's depth.

    The embedding is included; unembedding, head and adapters are not.
    """
    if checkpoint.encoder:
        return encoders.n_params(checkpoint)
    pretrained = replace(checkpoint.root, layers=checkpoint.layers)
    return sum(p.numel() for p in hollow_lm(pretrained).base_model.parameters())
