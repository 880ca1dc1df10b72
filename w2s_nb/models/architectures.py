"""Lists the architectures that the kit reads, and refuses every other by name.

`tests/models/test_architectures.py` builds a random model of each: what the kit computes with it,
by every method and when it is prompted, is what transformers computes with the whole model.
"""

from __future__ import annotations

# {`model_type` of the configuration: name for people}
SUPPORTED = {
    "apertus": "Apertus",
    "arcee": "Arcee",
    "cohere": "Cohere (Command R)",
    "cohere2": "Cohere 2",
    "ernie4_5": "Ernie 4.5",
    "exaone4": "EXAONE 4",
    "falcon": "Falcon",
    "gemma": "Gemma",
    "gemma2": "Gemma 2",
    "gemma3_text": "Gemma 3 (text)",
    "glm": "GLM",
    "glm4": "GLM 4",
    "gpt2": "GPT-2",
    "gpt_bigcode": "GPT-BigCode",
    "gpt_neox": "GPT-NeoX (Pythia)",
    "gptj": "GPT-J",
    "granite": "Granite",
    "helium": "Helium",
    "llama": "Llama",
    "ministral": "Ministral",
    "mistral": "Mistral",
    "nanochat": "nanochat",
    "nemotron": "Nemotron",
    "olmo": "OLMo",
    "olmo2": "OLMo 2",
    "olmo3": "OLMo 3",
    "persimmon": "Persimmon",
    "phi": "Phi",
    "phi3": "Phi 3",
    "qwen": "Qwen (the original)",
    "qwen2": "Qwen 1.5 to 2.5",
    "qwen3": "Qwen 3",
    "seed_oss": "Seed-OSS",
    "smollm3": "SmolLM 3",
    "stablelm": "StableLM",
    "starcoder2": "StarCoder 2",
    "vaultgemma": "VaultGemma",
}
# fields of a configuration that change what is computed, and are not covered: {name: what it is}
_NOT_COVERED = {
    "alibi": "positions by ALiBi",
    "quantization_config": "quantised weights",
    "use_bidirectional_attention": "attention to later tokens",
}


def require_supported(config: dict, model: str) -> None:
    """Checks that the kit reads a model's architecture rightly.

    Args:
        config: content of its `config.json`.
        model: its name.
    Raises:
        ValueError: it does not; lists the architectures that it reads.
    """
    model_type = config.get("model_type")
    if model_type not in SUPPORTED:
        raise ValueError(
            f"model {model}: its architecture {model_type!r} is not one that is read; expected one "
            f"of {', '.join(SUPPORTED)}"
        )
    for field, meaning in _NOT_COVERED.items():
        if config.get(field):
            raise ValueError(
                f"model {model}: its config.json has {field} {config[field]!r} ({meaning}), which "
                f"is not read"
            )
