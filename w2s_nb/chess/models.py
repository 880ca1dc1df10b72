"""Registers the small chess models whose weights come with the kit; see weights/README.md."""

from pathlib import Path

from ..common.registry import MODELS
from ..models.names import ModelSpec

WEIGHTS = Path(__file__).parent / "weights"

for _name, _n_params, _n_layers in [
    ("chess-0.1M", 111_552, 2),
    ("chess-0.4M", 459_552, 4),
    ("chess-1M", 1_026_688, 5),
    ("chess-3M", 2_689_344, 6),
]:
    MODELS.register(
        _name, ModelSpec(_name, None, None, _n_params, _n_layers, 5e-4, folder=WEIGHTS / _name)
    )
