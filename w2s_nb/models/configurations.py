"""Ships the configurations of the models that are known by name.

They hold what decides a model's shape, and so its memory and speed, which can then be told without
network. What is trained or run is built by the configuration that lies beside the weights. A test
compares the numbers of parameters with those published.
"""

from __future__ import annotations

from ..common.registry import MODELS
from .names import Checkpoint


def _gpt2(layers: int, width: int, heads: int) -> dict:
    return {"model_type": "gpt2", "n_layer": layers, "n_embd": width, "n_head": heads}


def _blocks(layers: int, width: int, heads: int, keys: int, ff: int, vocabulary: int) -> dict:
    """Returns the fields that most architectures have.

    Args:
        keys: heads of keys and values.
        ff: width of a block's two-layer network.
    """
    return {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "intermediate_size": ff,
        "vocab_size": vocabulary,
    }


def _qwen2(*sizes: int, context: int = 32768, tied: bool = False) -> dict:
    return _blocks(*sizes) | {
        "model_type": "qwen2",
        "max_position_embeddings": context,
        "tie_word_embeddings": tied,
    }


def _qwen3(*sizes: int, tied: bool = True) -> dict:
    return _qwen2(*sizes, tied=tied) | {"model_type": "qwen3", "head_dim": 128}


def _pythia(layers: int, width: int, heads: int, ff: int, vocabulary: int = 50304) -> dict:
    return _blocks(layers, width, heads, heads, ff, vocabulary) | {
        "model_type": "gpt_neox",
        "max_position_embeddings": 2048,
    }


def _llama(*sizes: int, context: int, tied: bool = True) -> dict:
    return _qwen2(*sizes, context=context, tied=tied) | {"model_type": "llama"}


def _olmo2(*sizes: int) -> dict:
    return _qwen2(*sizes, context=4096) | {"model_type": "olmo2"}


_GEMMA_3 = _qwen2(18, 640, 4, 1, 2048, 262144, tied=True) | {
    "model_type": "gemma3_text",
    "head_dim": 256,
    "query_pre_attn_scalar": 256,
    "sliding_window": 512,
}
_SMOLLM2 = _llama(30, 576, 9, 3, 1536, 49152, context=8192)
_LLAMA_3 = (32, 4096, 32, 8, 14336, 128256)
# {alias: fields of transformers' configuration}; the original Qwen is read as Qwen 2
CONFIGURATIONS: dict[str, dict] = {
    "gpt2": _gpt2(12, 768, 12),
    "gpt2-medium": _gpt2(24, 1024, 16),
    "gpt2-large": _gpt2(36, 1280, 20),
    "gpt2-xl": _gpt2(48, 1600, 25),
    "Qwen-1_8B": _qwen2(24, 2048, 16, 16, 5504, 151936, context=8192),
    "Qwen-7B": _qwen2(32, 4096, 32, 32, 11008, 151936, context=8192),
    "Qwen-14B": _qwen2(40, 5120, 40, 40, 13696, 152064, context=2048),
    "Qwen-72B": _qwen2(80, 8192, 64, 64, 24576, 152064),
    "Qwen1.5-0.5B": _qwen2(24, 1024, 16, 16, 2816, 151936, tied=True),
    "Qwen1.5-1.8B": _qwen2(24, 2048, 16, 16, 5504, 151936),
    "Qwen1.5-4B": _qwen2(40, 2560, 20, 20, 6912, 151936),
    "Qwen1.5-7B": _qwen2(32, 4096, 32, 32, 11008, 151936),
    "Qwen1.5-14B": _qwen2(40, 5120, 40, 40, 13696, 152064),
    "Qwen1.5-72B": _qwen2(80, 8192, 64, 64, 24576, 152064),
    "Qwen2.5-0.5B": _qwen2(24, 896, 14, 2, 4864, 151936, tied=True),
    "Qwen2.5-1.5B": _qwen2(28, 1536, 12, 2, 8960, 151936, context=131072, tied=True),
    "Qwen2.5-3B": _qwen2(36, 2048, 16, 2, 11008, 151936, tied=True),
    "Qwen2.5-7B": _qwen2(28, 3584, 28, 4, 18944, 152064, context=131072),
    "Qwen2.5-14B": _qwen2(48, 5120, 40, 8, 13824, 152064, context=131072),
    "Qwen3-0.6B": _qwen3(28, 1024, 16, 8, 3072, 151936),
    "Qwen3-1.7B": _qwen3(28, 2048, 16, 8, 6144, 151936),
    "Qwen3-4B": _qwen3(36, 2560, 32, 8, 9728, 151936),
    "Qwen3-8B": _qwen3(36, 4096, 32, 8, 12288, 151936, tied=False),
    "pythia-70m": _pythia(6, 512, 8, 2048),
    "pythia-160m": _pythia(12, 768, 12, 3072),
    "pythia-410m": _pythia(24, 1024, 16, 4096),
    "pythia-1b": _pythia(16, 2048, 8, 8192),
    "pythia-1.4b": _pythia(24, 2048, 16, 8192),
    "pythia-2.8b": _pythia(32, 2560, 32, 10240),
    "pythia-6.9b": _pythia(32, 4096, 32, 16384, 50432),
    "SmolLM2-135M": _SMOLLM2,
    "SmolLM2-135M-base": _SMOLLM2,
    "SmolLM2-360M": _llama(32, 960, 15, 5, 2560, 49152, context=8192),
    "SmolLM2-1.7B": _llama(24, 2048, 32, 32, 8192, 49152, context=8192),
    "Llama-3.2-1B": _llama(16, 2048, 32, 8, 8192, 128256, context=131072),
    "Llama-3.2-3B": _llama(28, 3072, 24, 8, 8192, 128256, context=131072),
    "Llama-3-8B": _llama(*_LLAMA_3, context=8192, tied=False),
    "Llama-3.1-8B": _llama(*_LLAMA_3, context=131072, tied=False),
    "OLMo-2-1B": _olmo2(16, 2048, 16, 16, 8192, 100352),
    "OLMo-2-7B": _olmo2(32, 4096, 32, 32, 11008, 100352),
    "gemma-3-270m": _GEMMA_3,
}


def shipped(root: Checkpoint) -> dict | None:
    """Returns the configuration's fields of a pretrained model that is known; None of another."""
    for alias, fields in CONFIGURATIONS.items():
        hub_id = MODELS[alias].hub_id
        if root.base == alias or (hub_id is not None and root.hub_id == hub_id):
            return dict(fields)
    return None
