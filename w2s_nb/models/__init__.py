"""From a name to a module: names, loading, and the classifier that every method trains."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["anatomy", "classifier", "decoding", "language", "loading", "names", "qwen"],
    submod_attrs={
        "anatomy": ["attention_of", "blocks_name", "blocks_of", "final_norm", "keep_top"],
        "classifier": ["Classifier", "build", "compact_embedding", "probe", "trainable"],
        "language": ["LanguageModel"],
        "loading": [
            "ModelUnavailable",
            "digest",
            "ensure",
            "folder",
            "load_lm",
            "n_params",
            "with_depth",
            "tokenizer",
        ],
        "names": [
            "Checkpoint",
            "EMBEDDED",
            "HEADS",
            "ModelSpec",
            "models_between",
            "resolve",
            "size_order",
        ],
    },
)
