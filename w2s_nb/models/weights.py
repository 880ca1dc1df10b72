"""Compares a folder's weights with its configuration, before any weight is read.

transformers fills what a checkpoint lacks with random numbers, and passes over what the model has
no place for. Here both are refused.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open

from ..common.progress import warn
from . import files as model_files
from .files import INDEX, ModelUnavailable

# put before names of tensors by torch.compile, DDP, FSDP and torch's checkpointing
_WRAPPERS = "module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module"
_WITHOUT_WRAPPERS = {
    rf"^(?:(?:{_WRAPPERS})\.)+": "",
    rf"\.(?:(?:{_WRAPPERS.removeprefix('module|')})\.)+": ".",
}
# masks and rotary frequencies that old checkpoints have, and that every model computes by itself
_COMPUTED = re.compile(r"\.(attn|attention)\.(bias|masked_bias)$|\brotary_emb\.")
# heads of classifiers and reward models, which the kit makes anew
_OTHER_HEAD = re.compile(r"^(score|classifier|v_head|value_head|reward_head)\.")


# how weights are stored; what transformers would round or cast is refused
_FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class Comparison:
    """The result of comparing a folder's weights with its configuration.

    Attributes:
        key_mapping: {pattern: replacement} of tensors' names, as `from_pretrained` takes it.
        lacks_unembedding: names of the tensors of the unembedding, if the folder lacks them.
    """

    key_mapping: dict[str, str]
    lacks_unembedding: tuple[str, ...]


def compare(folder: Path, config, model: str) -> Comparison:
    """Compares the names and shapes of a folder's tensors with those of a configuration's model.

    Reads the headers of files only; once per process for files that are as they were.

    Args:
        config: of the whole model, not cut in depth.
        model: its name, for errors.
    Raises:
        ModelUnavailable: a file is missing or adapters are beside it; tensors are missing, too
            many, of another shape or no floating-point numbers. An unembedding may be missing.
    """
    model_files.require_weights([file.name for file in folder.iterdir()], str(folder), model)
    files = model_files.files_of_weights(folder, model)
    for file in files:
        if file.parent != folder:
            raise ModelUnavailable(
                f"model {model}: {INDEX} names {str(file)!r}, outside of its folder"
            )
        if not file.is_file():
            raise ModelUnavailable(f"model {model}: {folder} lacks {file.name}")
    seen = [folder / "config.json", *files]
    state = tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in seen)
    return _compare(state, _Config(config), model)


class _Config:
    """A configuration that plays no part in the cache's key: the state of its file does."""

    def __init__(self, config):
        self.config = config

    def __eq__(self, other) -> bool:
        return isinstance(other, _Config)

    def __hash__(self) -> int:
        return 0


@functools.lru_cache(maxsize=64)
def _compare(state: tuple[tuple[Path, int, int], ...], config: _Config, model: str) -> Comparison:
    config_file, *files = (file for file, _, _ in state)
    mapping = _mapping(_names(files, model), model)
    # on the meta device nothing is read; an initialisation must not move torch's generator
    with torch.random.fork_rng(devices=[]):
        loaded = _load_without_weights(config_file.parent, config.config, mapping, model)
    lm, info = loaded
    missing = set(info["missing_keys"])
    own_head = _names_of_unembedding(lm)
    lacking = missing & own_head
    unexpected = {name for name in info["unexpected_keys"] if not _COMPUTED.search(name)}
    other_head = {name for name in unexpected if lacking and _OTHER_HEAD.search(name)}
    wrong = [
        _listed("lacks", missing - own_head),
        _listed("has no place for", unexpected - other_head),
        _listed("has another shape than", {name for name, *_ in info["mismatched_keys"]}),
    ]
    wrong = [part for part in wrong if part]
    if wrong:
        raise ModelUnavailable(
            f"model {model}: the weights in {config_file.parent} are not those of its config.json "
            f"({config.config.num_hidden_layers} layers): {'; '.join(wrong)}"
        )
    return Comparison(mapping, tuple(sorted(lacking)))


def _load_without_weights(folder: Path, config, mapping: dict[str, str], model: str) -> Any:
    """Returns a folder's language model on the meta device, and transformers' loading report.

    Raises:
        ModelUnavailable: transformers cannot build the model of the configuration.
    """
    try:
        return transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            device_map={"": "meta"},
            key_mapping=mapping or None,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:  # a field of a wrong value is found anywhere
        raise ModelUnavailable(
            f"model {model}: transformers cannot build the model of {folder / 'config.json'} "
            f"({model_files.reason(error)})"
        ) from error


def _names(files: list[Path], model: str) -> list[str]:
    """Returns the names of the tensors in files, of which it reads the headers.

    Raises:
        ModelUnavailable: a file is damaged, or has tensors that are no floating-point numbers.
    """
    names: list[str] = []
    for file in files:
        try:
            with safe_open(file, framework="pt") as tensors:
                kinds = {name: tensors.get_slice(name).get_dtype() for name in tensors.keys()}
        except (SafetensorError, OSError) as error:
            wrong = model_files.fault(file) or f"is damaged or cut short ({error})"
            raise ModelUnavailable(f"model {model}: {file} {wrong}") from error
        for name, kind in kinds.items():
            if kind not in _FLOATS and not _COMPUTED.search(name):
                raise ModelUnavailable(
                    f"model {model}: {file} has {name} as {kind} (quantised weights), which is not "
                    f"read; expected {', '.join(_FLOATS)}"
                )
        names.extend(kinds)
    return names


def _mapping(names: list[str], model: str) -> dict[str, str]:
    """Returns what takes wrappers' prefixes off the names of tensors, and says so; {} for none."""
    pattern = "|".join(_WITHOUT_WRAPPERS)
    wrapped = [match[0].strip(".") for name in names if (match := re.search(pattern, name))]
    if not wrapped:
        return {}
    warn(
        f"model {model}: names of tensors have the prefix {', '.join(sorted(set(wrapped)))}, as "
        f"torch.compile, DDP or FSDP saves them; they are read without it"
    )
    return dict(_WITHOUT_WRAPPERS)


def _names_of_unembedding(lm) -> set[str]:
    unembedding = lm.get_output_embeddings()
    return {
        f"{name}.{parameter}"
        for name, module in lm.named_modules()
        if module is unembedding
        for parameter, _ in module.named_parameters()
    }


def _listed(what: str, names: set[str], most: int = 8) -> str:
    """Returns what is wrong with tensors, with the first of their names; "" without any."""
    if not names:
        return ""
    shown = ", ".join(sorted(names)[:most])
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{what} {len(names)} tensors, {shown}{more}" if len(names) > 1 else f"{what} {shown}"
