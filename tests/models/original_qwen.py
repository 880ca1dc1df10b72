"""Writes a tiny random checkpoint in the form in which the original Qwen series is published."""

import base64
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import regex
import torch
from safetensors.torch import save_file

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SAMPLE = """The quick brown fox jumps over the lazy dog; the other dogs don't care, \
they've seen it all before.
def attend(query, key):\n    return softmax(query @ key.T)  # the weights\n
今天天气很好，我们去公园散步吧。今天我们学习语言模型。 \
Сегодня хорошая погода, мы идём гулять в парк. Сегодня мы учимся.
اليوم الطقس جميل ونحن نذهب إلى الحديقة. امروز هوا خوب است و ما به پارک می‌رویم. \
café naïve déjà vu 😀😀🎉"""
CONFIG = {
    "architectures": ["QWenLMHeadModel"],
    "attn_dropout_prob": 0.0,
    "auto_map": {
        "AutoConfig": "configuration_qwen.QWenConfig",
        "AutoModelForCausalLM": "modeling_qwen.QWenLMHeadModel",
    },
    "bf16": False,
    "emb_dropout_prob": 0.0,
    "fp16": False,
    "fp32": False,
    "hidden_size": 16,
    "intermediate_size": 48,
    "initializer_range": 0.02,
    "kv_channels": 4,
    "layer_norm_epsilon": 1e-6,
    "max_position_embeddings": 32768,
    "model_type": "qwen",
    "no_bias": True,
    "num_attention_heads": 4,
    "onnx_safe": None,
    "rotary_emb_base": 10000,
    "rotary_pct": 1.0,
    "scale_attn_weights": True,
    "seq_length": 256,
    "tie_word_embeddings": False,
    "tokenizer_class": "QWenTokenizer",
    "transformers_version": "4.32.0",
    "use_cache": True,
    "use_dynamic_ntk": True,
    "use_flash_attn": "auto",
    "use_logn_attn": True,
    "vocab_size": 832,
}


def train_ranks(text: str, merges: int) -> dict[bytes, int]:
    """Returns the ranks of a byte-level vocabulary: 256 bytes, printable ones first, and merges.

    Three merges are of digits, which never meet in a text that is split as published; the others
    are the most frequent pairs of a text.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    ranks = {
        bytes([b]): i for i, b in enumerate([*printable, *sorted(set(range(256)) - set(printable))])
    }
    ranks |= {pair: 256 + i for i, pair in enumerate((b"12", b"20", b"24"))}
    words = [[bytes([b]) for b in piece.encode()] for piece in regex.findall(SPLIT, text)]
    while len(ranks) < 256 + merges:
        pairs = Counter(pair for word in words for pair in pairwise(word))
        left, right = max(pairs, key=lambda pair: (pairs[pair], pair))
        ranks[left + right] = len(ranks)
        for word in words:
            for i in range(len(word) - 2, -1, -1):
                if word[i : i + 2] == [left, right]:
                    word[i : i + 2] = [left + right]
    return ranks


def save_original_qwen(path, seed=0, layers=4, **changed) -> str:
    """Writes a random model, and a vocabulary of 256 bytes, 300 merges and 208 special tokens.

    Args:
        changed: keys of `config.json` that differ.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    config = CONFIG | {"num_hidden_layers": layers} | changed
    (path / "config.json").write_text(json.dumps(config, indent=2))
    (path / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "model_max_length": 8192,
                "tokenizer_class": "QWenTokenizer",
                "auto_map": {"AutoTokenizer": ["tokenization_qwen.QWenTokenizer", None]},
            }
        )
    )
    ranks = train_ranks(SAMPLE, 300)
    (path / "qwen.tiktoken").write_bytes(
        b"".join(base64.b64encode(token) + f" {rank}\n".encode() for token, rank in ranks.items())
    )
    _save_weights(path, _random_weights(config, seed))
    return str(path)


def _random_weights(config: dict, seed: int) -> dict[str, torch.Tensor]:
    """Returns random weights under the names of the original, in its order."""
    width = config["hidden_size"]
    inner = config["intermediate_size"] // 2
    vocabulary = config["vocab_size"]
    shapes = {"transformer.wte.weight": (vocabulary, width)}
    for i in range(config["num_hidden_layers"]):
        block = {
            "ln_1.weight": (width,),
            "attn.c_attn.weight": (3 * width, width),
            "attn.c_attn.bias": (3 * width,),
            "attn.c_proj.weight": (width, width),
            "ln_2.weight": (width,),
            "mlp.w1.weight": (inner, width),
            "mlp.w2.weight": (inner, width),
            "mlp.c_proj.weight": (width, inner),
        }
        shapes |= {f"transformer.h.{i}.{name}": shape for name, shape in block.items()}
    shapes |= {"transformer.ln_f.weight": (width,), "lm_head.weight": (vocabulary, width)}
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        scale = 0.3 if len(shape) > 1 else 0.2
        center = 1 if "ln_" in name else 0
        weights[name] = torch.randn(shape, generator=generator) * scale + center
    return weights


def _save_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Saves weights as two shards and their index."""
    names = list(weights)
    half = len(names) // 2
    shard_of = {}
    for k, of_shard in enumerate((names[:half], names[half:]), start=1):
        shard = f"model-{k:05}-of-00002.safetensors"
        tensors = {name: weights[name] for name in of_shard}
        save_file(tensors, path / shard, metadata={"format": "pt"})
        shard_of |= dict.fromkeys(of_shard, shard)
    size = sum(tensor.nbytes for tensor in weights.values())
    index = {"metadata": {"total_size": size}, "weight_map": shard_of}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
