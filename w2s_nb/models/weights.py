"""Compares a folder's weights with its configuration, before any weight is read.

transformers fills what a checkpoint lacks with random numbers, and passes over what the model has
no place for. Here both are refused.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open

from ..common.progress import warn

_INDEX = "model.safetensors.index.json"
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


class WeightsIncomplete(OSError):
    """A model folder's weights are not those that its configuration asks for."""


@dataclass(frozen=True)
class Comparison:
    """The result of comparing a folder's weights with its configuration.

    Attributes:
        key_mapping: {pattern: replacement} of tensors' names, as `from_pretrained` takes it.
        lacks_unembedding: names of the tensors of the unembedding, if the folder lacks them.
    """

    key_mapping: dict[str, str]
    lacks_unembedding: tuple[str, ...]


def files_of(folder: Path) -> list[Path]:
    """Returns the files that transformers reads the weights of a folder from."""
    if (folder / "model.safetensors").is_file() or not (folder / _INDEX).is_file():
        return [folder / "model.safetensors"]
    names = sorted(set(json.loads((folder / _INDEX).read_text())["weight_map"].values()))
    return [folder / name for name in names]


def compare(folder: Path, config, model: str) -> Comparison:
    """Compares the names and shapes of a folder's tensors with those of a configuration's model.

    Reads the headers of files only; once per process for files that are as they were.

    Args:
        config: of the whole model, not cut in depth.
        model: its name, for errors.
    Raises:
        WeightsIncomplete: a file is missing or adapters are beside it; tensors are missing, too
            many or of another shape. An unembedding may be missing.
    """
    if (folder / "adapter_config.json").is_file():
        raise WeightsIncomplete(
            f"model {model}: {folder} has adapters (adapter_config.json), which are not read; "
            f"merge them into the weights (peft's merge_and_unload) and save that"
        )
    files = files_of(folder)
    for file in files:
        if file.parent != folder:
            raise WeightsIncomplete(
                f"model {model}: {_INDEX} names {str(file)!r}, outside of its folder"
            )
        if not file.is_file():
            raise WeightsIncomplete(f"model {model}: {folder} lacks {file.name}")
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
    mapping = _mapping(files, model)
    # on the meta device nothing is read; an initialisation must not move torch's generator
    with torch.random.fork_rng(devices=[]):
        loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
            config_file.parent,
            config=config.config,
            device_map={"": "meta"},
            key_mapping=mapping or None,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
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
        raise WeightsIncomplete(
            f"model {model}: the weights in {config_file.parent} are not those of its config.json "
            f"({config.config.num_hidden_layers} layers): {'; '.join(wrong)}"
        )
    return Comparison(mapping, tuple(sorted(lacking)))


def _mapping(files: list[Path], model: str) -> dict[str, str]:
    """Returns what takes wrappers' prefixes off the names of tensors, and says so; {} for none."""
    names: list[str] = []
    for file in files:
        try:
            with safe_open(file, framework="pt") as tensors:
                names.extend(tensors.keys())
        except SafetensorError as error:
            raise WeightsIncomplete(
                f"model {model}: {file} is damaged or cut short ({error})"
            ) from error
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
