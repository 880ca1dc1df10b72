"""Reads ViTs and ResNets as transformers saves them, such as those that DINO trained.

A ViT's features are its class token after each block, through the final norm; a ResNet's are the
mean over the image. Those of the full depth are what DINO's authors give.
Source: Caron et al. 2021, "Emerging Properties in Self-Supervised Vision Transformers".
"""

from __future__ import annotations

import functools
import hashlib
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from torch import nn

from ..common.files import sha256_of
from ..common.registry import ENCODERS
from ..models.files import ModelUnavailable, read_json, reason
from ..models.loading import quiet
from ..models.names import Checkpoint
from . import preprocessing

_CONFIG = "config.json"
# of the known hub models, what their configurations say beside transformers' defaults
_SHIPPED: dict[str | None, dict] = {
    "Ramos-Ramos/dino-resnet-50": {},
    "facebook/dino-vitb8": {"patch_size": 8},
}
_PREPROCESSING = "preprocessor_config.json"
# as transformers prefers them; of the second, tensors alone are read
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_SIDE = 224  # pixels, of a model whose configuration says none
_SECONDS = 10  # that the hub may take to answer


class ViT(nn.Module):
    """A vision transformer's class token after 0, 1, ... blocks."""

    def __init__(self, body, layers: int | None, prepare):
        super().__init__()
        body.layers = body.layers[:layers]
        self.body = body
        self.prepare = prepare

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Returns features (n, d) of images, uint8 (n, H, W, 3), after 0, 1, ... blocks."""
        stream = self.body.embeddings(self.prepare(images))
        features = [self.body.layernorm(stream[:, 0])]
        for block in self.body.layers:
            stream = block(stream, None)
            features.append(self.body.layernorm(stream[:, 0]))
        return features


class ResNet(nn.Module):
    """A residual network's features after its stem and each of its blocks, of all stages."""

    def __init__(self, body, layers: int | None, prepare):
        super().__init__()
        self.stem = body.embedder
        blocks = [block for stage in body.encoder.stages for block in stage.layers]
        self.blocks = nn.ModuleList(blocks[:layers])
        self.prepare = prepare

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Returns features (n, d) of images, uint8 (n, H, W, 3), after 0, 1, ... blocks."""
        size = preprocessing.side_of(images, _SIDE)
        x = self.stem(self.prepare(images, size=size))
        features = [x.mean((2, 3))]
        for block in self.blocks:
            x = block(x)
            features.append(x.mean((2, 3)))
        return features


def _widths_of_vit(config) -> tuple[int, ...]:
    return (config.hidden_size,) * (config.num_hidden_layers + 1)


def _widths_of_resnet(config) -> tuple[int, ...]:
    stages = zip(config.hidden_sizes, config.depths, strict=True)
    return (config.embedding_size, *[width for width, depth in stages for _ in range(depth)])


class TransformersEncoders:
    """The kinds of encoder of `ENCODERS` that transformers reads; methods as of `Family`."""

    def __init__(self, config: type, body: type, encoder: type, widths):
        self._config = config
        self._body: Any = body
        self._encoder: Any = encoder
        self._widths = widths
        self._extra = {"add_pooling_layer": False} if encoder is ViT else {}

    def ensure(self, checkpoint: Checkpoint) -> None:
        """Looks for the weights here; of a hub model that is not downloaded, for its config."""
        self._read_config(_file(checkpoint, _CONFIG), checkpoint.base)
        if checkpoint.folder:
            _weights_in(checkpoint.folder, checkpoint.base)

    def digest(self, checkpoint: Checkpoint) -> str:
        """Returns a hash of weights and configuration; of a hub model its commit's beginning."""
        if not checkpoint.folder:
            return str(checkpoint.revision)[:16]
        whole = hashlib.sha256()
        files = [checkpoint.folder / name for name in (_CONFIG, _PREPROCESSING)]
        for file in [*files, _weights_in(checkpoint.folder, checkpoint.base)]:
            if file.is_file():
                whole.update(file.name.encode() + bytes.fromhex(sha256_of(file)))
        return whole.hexdigest()[:16]

    def widths(self, checkpoint: Checkpoint) -> tuple[int, ...]:
        """Returns the features after 0, 1, ... blocks, by the model's configuration."""
        return self._widths(self._config_of(checkpoint))

    def _config_of(self, checkpoint: Checkpoint):
        """Returns a model's configuration; of a known one without network."""
        if checkpoint.hub_id in _SHIPPED:
            return self._config(**_SHIPPED[checkpoint.hub_id])
        return self._read_config(_file(checkpoint, _CONFIG), checkpoint.base)

    def _read_config(self, file: Path, model: str):
        fields = read_json(file, model)
        try:
            return self._config.from_dict(fields)  # type: ignore[attr-defined]
        except Exception as error:  # each field has checks of its own
            raise ModelUnavailable(
                f"model {model}: {file} cannot be read ({reason(error)})"
            ) from error

    def load(self, checkpoint: Checkpoint) -> nn.Module:
        """Returns the model cut to the checkpoint's depth, in float32.

        Raises:
            ModelUnavailable: the weights cannot be had, or tensors are lacking in them.
        """
        model = checkpoint.base
        folder = _file(checkpoint, _CONFIG).parent
        config = self._read_config(folder / _CONFIG, model)
        weights = _weights_of(checkpoint, folder)
        try:
            with quiet():
                body, report = self._body.from_pretrained(
                    folder,
                    config=config,
                    dtype=torch.float32,
                    use_safetensors=weights.suffix == ".safetensors",
                    trust_remote_code=False,
                    output_loading_info=True,
                    **self._extra,
                )
        except Exception as error:  # the readers' errors share no base class
            raise ModelUnavailable(
                f"model {model}: {weights} cannot be read ({reason(error)})"
            ) from error
        lacking = sorted([*report["missing_keys"], *map(str, report["mismatched_keys"])])
        if lacking:
            raise ModelUnavailable(
                f"model {model}: {weights} lacks {', '.join(lacking[:5])}, or has them in another "
                f"shape"
            )
        prepare = _prepare_for(checkpoint, folder, config)
        return self._encoder(body, checkpoint.layers, prepare).eval()

    def hollow(self, checkpoint: Checkpoint) -> nn.Module:
        """Returns the model without weights, cut to the checkpoint's depth."""
        config = self._config_of(checkpoint)
        with torch.device("meta"):
            body = self._body(config, **self._extra)
        prepare = _prepare_for(checkpoint, None, config)
        return self._encoder(body, checkpoint.layers, prepare).eval()

    def code_parts(self) -> tuple:
        """Returns this module and what prepares images for it."""
        return sys.modules[__name__], preprocessing


def _prepare_for(checkpoint: Checkpoint, folder: Path | None, config):
    """Returns what brings images to the size and scale that a model was trained on.

    They are those of its `preprocessor_config.json`, or ImageNet's where it has none.

    Args:
        folder: with that file; None for a model without weights, whose numbers do not count.
    """
    file = folder / _PREPROCESSING if folder else None
    fields = read_json(file, checkpoint.base) if file and file.is_file() else {}
    return functools.partial(
        preprocessing.prepare,
        size=getattr(config, "image_size", None) or _SIDE,
        mean=tuple(fields.get("image_mean") or preprocessing.IMAGENET_MEAN),
        std=tuple(fields.get("image_std") or preprocessing.IMAGENET_STD),
    )


def _weights_in(folder: Path, model: str) -> Path:
    """Returns the file of weights in a folder.

    Raises:
        ModelUnavailable: there is none.
    """
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise ModelUnavailable(f"model {model}: {folder} has no weights; expected {WEIGHTS[0]}")


def _weights_of(checkpoint: Checkpoint, folder: Path) -> Path:
    """Returns the file of a model's weights, in the folder of its config; fetches a hub model's."""
    if checkpoint.folder:
        return _weights_in(folder, checkpoint.base)
    _file(checkpoint, _PREPROCESSING)
    return _file(checkpoint, checkpoint.asset)


def _file(checkpoint: Checkpoint, name: str) -> Path:
    """Returns a file of a model; fetches it from the hub if it is not in the hub's cache.

    Raises:
        ModelUnavailable: it cannot be had, or is not as it was fetched.
    """
    if checkpoint.folder:
        return checkpoint.folder / name
    hub_id, revision = str(checkpoint.hub_id), checkpoint.revision
    cached = try_to_load_from_cache(hub_id, name, revision=revision)
    if not isinstance(cached, str):
        try:
            cached = hf_hub_download(hub_id, name, revision=revision, etag_timeout=_SECONDS)
        except Exception as error:  # the hub's errors share no base class
            raise ModelUnavailable(
                f"model {checkpoint.base}: {name} of {hub_id} (revision {revision}) is not in the "
                f"local hub cache and could not be fetched ({type(error).__name__}). Ways out: run "
                f"`hf download {hub_id} --revision {revision}` on a machine with network and set "
                f"HF_HOME to that cache; name a local folder that holds the model; or use "
                f"efficientnet-lite2, which comes from the package index"
            ) from error
    blob = Path(cached).resolve()
    if len(blob.name) == 64 and sha256_of(blob) != blob.name:
        raise ModelUnavailable(
            f"model {checkpoint.base}: {cached} has not the checksum in the hub's cache; delete "
            f"{blob} and fetch it again"
        )
    return Path(cached)


ENCODERS.register(
    "vit",
    TransformersEncoders(transformers.ViTConfig, transformers.ViTModel, ViT, _widths_of_vit),
)
ENCODERS.register(
    "resnet",
    TransformersEncoders(
        transformers.ResNetConfig, transformers.ResNetModel, ResNet, _widths_of_resnet
    ),
)
