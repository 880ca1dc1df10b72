"""Reads the original Qwen series (Qwen-1_8B, 7B, 14B, 72B) as transformers' own Qwen2.

It is published with remote code. On texts within the length that it was trained on, this code
computes Qwen2 without grouped queries, under other names. So its configuration is translated, its
weights are renamed as their shards are read, and its vocabulary is put into a fast tokenizer.
Importing this module takes as long as importing Qwen2, over a second.
"""

from __future__ import annotations

import base64
import functools
import sys
from pathlib import Path

import transformers
from tokenizers import normalizers
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.convert_slow_tokenizer import TikTokenConverter
from transformers.core_model_loading import Chunk, WeightConverter, WeightRenaming

from ..common.assets import make_once
from ..common.device import public_versions
from ..common.files import sha256_of
from ..common.store import code_version

_FIELDS = {  # a field of Qwen2's configuration: the same of the original
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "num_hidden_layers": "num_hidden_layers",
    "num_attention_heads": "num_attention_heads",
    "num_key_value_heads": "num_attention_heads",
    "rms_norm_eps": "layer_norm_epsilon",
    "max_position_embeddings": "seq_length",
    "initializer_range": "initializer_range",
}
_NAMES = [
    ("transformer.wte.", "model.embed_tokens."),
    ("transformer.h.", "model.layers."),
    ("transformer.ln_f.", "model.norm."),
    (".ln_1.", ".input_layernorm."),
    (".ln_2.", ".post_attention_layernorm."),
    (".attn.c_proj.", ".self_attn.o_proj."),
    (".mlp.w1.", ".mlp.up_proj."),
    (".mlp.w2.", ".mlp.gate_proj."),
    (".mlp.c_proj.", ".mlp.down_proj."),
]
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *[f"<|extra_{i}|>" for i in range(205)]]


def translate(original: dict) -> dict:
    """Returns the fields of `Qwen2Config` for the content of an original `config.json`.

    The context is `seq_length`: beyond it the original scales queries and stretches rotary
    positions (`use_logn_attn`, `use_dynamic_ntk`), which Qwen2 does not. Dropout is left at 0.

    Raises:
        ValueError: a field is missing, or has a value that Qwen2 cannot express.
    """
    missing = sorted({"intermediate_size", "rotary_emb_base", *_FIELDS.values()} - set(original))
    if missing:
        raise ValueError(f"config.json of an original Qwen without {', '.join(missing)}")
    needed = {
        "kv_channels": original["hidden_size"] / original["num_attention_heads"],
        "rotary_pct": 1.0,
        "no_bias": True,
        "tie_word_embeddings": False,
        "quantization_config": None,
    }
    strange = [
        f"{name} {original[name]!r}, not {value!r}"
        for name, value in needed.items()
        if original.get(name, value) != value
    ]
    if strange:
        raise ValueError(
            f"config.json of an original Qwen that cannot be loaded: {'; '.join(strange)}"
        )
    fields = {name: original[field] for name, field in _FIELDS.items()}
    # the original counts gate and up projection as one
    fields["intermediate_size"] = original["intermediate_size"] // 2
    fields["rope_parameters"] = {
        "rope_type": "default",
        "rope_theta": float(original["rotary_emb_base"]),
    }
    return fields


class OriginalQwenConfig(transformers.Qwen2Config):
    """Qwen2's configuration, read from an original `config.json` or one that transformers saved."""

    model_type = "qwen"

    @classmethod
    def from_dict(cls, config_dict, **kwargs):
        """Returns the configuration in a `config.json`; one of the original goes by `translate`."""
        if "rms_norm_eps" not in config_dict:
            config_dict = translate(config_dict)
        return super().from_dict(config_dict, **kwargs)


class OriginalQwenModel(transformers.Qwen2Model):
    """Qwen2's body under a name that the conversion of weights is registered for."""

    config_class = OriginalQwenConfig


class OriginalQwenForCausalLM(transformers.Qwen2ForCausalLM):
    """Qwen2's language model under a name that the conversion of weights is registered for."""

    config_class = OriginalQwenConfig


@functools.cache
def register() -> None:
    """Lets transformers' Auto classes read original Qwen checkpoints without their remote code.

    It registers `model_type` qwen, for the whole process.
    """
    transformers.AutoConfig.register("qwen", OriginalQwenConfig)
    transformers.AutoModel.register(OriginalQwenConfig, OriginalQwenModel)
    transformers.AutoModelForCausalLM.register(OriginalQwenConfig, OriginalQwenForCausalLM)
    # queries, keys and values are one matrix (3 d, d) in the original
    attention = [f".self_attn.{letter}_proj." for letter in "qkv"]
    register_checkpoint_conversion_mapping(
        "qwen",
        [
            *[WeightRenaming(theirs, ours) for theirs, ours in _NAMES],
            WeightConverter(".attn.c_attn.", attention, [Chunk(dim=0)]),
        ],
    )


class _Converter(TikTokenConverter):
    """transformers' converter, reading ranks without the tiktoken package."""

    @staticmethod
    def load_tiktoken_bpe(path: Path) -> dict[bytes, int]:  # type: ignore[override]
        """Returns the ranks of byte sequences from a file with one line `base64 rank` per token."""
        lines = [line.split() for line in path.read_bytes().splitlines() if line]
        ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
        # the special tokens' ids follow the last rank
        if sorted(ranks.values()) != list(range(len(lines))):
            raise ValueError(
                f"{path}: the ranks of its {len(lines)} tokens are not 0 to {len(lines) - 1}"
            )
        return ranks


def load_tokenizer(folder: Path) -> transformers.PreTrainedTokenizerFast:
    """Returns the tokenizer of a model folder.

    It is in `tokenizer.json`, or, if there is none, in `qwen.tiktoken`, which is converted once:
    byte-level BPE on NFC text, digits one by one; special tokens are recognised inside texts. End
    of text and padding are `<|endoftext|>`. Converting the published vocabulary, 151,643 tokens,
    takes seconds.

    Raises:
        FileNotFoundError: the folder has neither.
        ValueError: `qwen.tiktoken` is not a list of tokens and ranks.
    """

    def convert(target: Path) -> None:
        tokenizer = _Converter(vocabulary, _SPLIT, extra_special_tokens=_SPECIAL).converted()
        tokenizer.normalizer = normalizers.NFC()
        transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(target)

    vocabulary = folder / "qwen.tiktoken"
    if not (folder / "tokenizer.json").is_file():
        sha256 = sha256_of(vocabulary)
        record = {
            "source": vocabulary.name,
            "sha256": sha256,
            "versions": public_versions("transformers", "tokenizers"),
            "code": code_version(sys.modules[__name__]),
        }
        folder = make_once(f"tokenizers/{sha256[:16]}", convert, record)
    return transformers.PreTrainedTokenizerFast.from_pretrained(
        folder, eos_token=_SPECIAL[0], pad_token=_SPECIAL[0]
    )
