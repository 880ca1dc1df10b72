"""Registers the encoders of images that are known by name; reads none of their weights."""

from ..common.registry import MODELS
from ..models.names import EncoderSpec

_M = 10**6

for _size, _n_params, _n_layers in [(0, 4.65, 16), (1, 5.42, 21), (2, 6.09, 21)]:
    _name = f"efficientnet-lite{_size}"
    MODELS.register(
        _name,
        EncoderSpec(
            _name,
            None,
            None,
            round(_n_params * _M),
            _n_layers,
            lr=0.0,  # an encoder is never finetuned
            bytes_each=4,
            family="efficientnet-lite",
            asset=f"{_name}.pth",
        ),
    )

# trained on ImageNet; the paper's supervisor (appendix D.1), whose file must be here already
MODELS.register(
    "alexnet",
    EncoderSpec(
        "alexnet",
        None,
        None,
        round(61.1 * _M),
        7,
        lr=0.0,
        bytes_each=4,
        family="alexnet",
        asset="alexnet-owt-7be5be79.pth",
    ),
)

# trained by DINO: Caron et al. 2021; the paper's students (appendix D.1)
for _name, _hub_id, _revision, _n_params, _n_layers, _family, _weights in [
    (
        "dino-resnet50",
        "Ramos-Ramos/dino-resnet-50",
        "11c16d6bde7fc2c649c60f5b95eebb8ced3e2d1b",
        23.5,
        16,
        "resnet",
        "pytorch_model.bin",
    ),
    (
        "dino-vitb8",
        "facebook/dino-vitb8",
        "6bd5b7757e4224b035fe579f31fb816985e18e35",
        85.8,
        12,
        "vit",
        "model.safetensors",
    ),
]:
    MODELS.register(
        _name,
        EncoderSpec(
            _name,
            _hub_id,
            _revision,
            round(_n_params * _M),
            _n_layers,
            lr=0.0,
            bytes_each=4,
            family=_family,
            asset=_weights,
        ),
    )
