"""Models: names, loading, and the classifier that every method trains."""
from .anatomy import attention_of, blocks_name, blocks_of, final_norm, keep_top
from .classifier import HEADS, Classifier, build, compact_embedding, probe, trainable
from .language import LanguageModel
from .loading import ModelUnavailable, digest, ensure, folder, load_lm, n_params, settle, tokenizer
from .names import EMBEDDED, Checkpoint, ModelSpec, resolve, rungs, size_order

__all__ = ["Checkpoint", "Classifier", "EMBEDDED", "HEADS", "LanguageModel", "ModelSpec", "ModelUnavailable",
           "attention_of", "blocks_name", "blocks_of", "build", "compact_embedding", "digest", "ensure",
           "final_norm", "folder", "keep_top", "load_lm", "n_params", "probe", "resolve", "rungs", "settle",
           "size_order", "tokenizer", "trainable"]
