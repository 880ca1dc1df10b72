"""w2s_nb: a research kit for weak-to-strong generalization (Burns et al. 2023, arXiv 2312.09390).

`import w2s_nb as w2s` loads nothing heavy: a name of `__init__.pyi` is imported when it
is first used.
"""

import lazy_loader

from .common.registry import ENCODERS, MODELS, TASKS

__version__ = "0.1.0"

# A wing registers what it adds when one of its names is first used.
TASKS.provide(
    "w2s_nb.chess.puzzles",
    ("chess_puzzles", "lichess_puzzles", "mate_in_one"),
    package="chess",
    extra="chess",
)
TASKS.provide(
    "w2s_nb.vision.tasks",
    ("cifar10", "fashion_mnist", "imagenet", "mnist", "mnist_5k"),
    package="PIL",
    extra="vision",
)
TASKS.provide(
    "w2s_nb.code_safety.real_code", ("sven", "ctrl_z", "apps_backdoors", "primevul", "devign")
)
TASKS.provide(
    "w2s_nb.code_safety.shell_safety",
    ("shell_safety", "shell_pairs"),
    package="bashlex",
    extra="code",
)
MODELS.provide(
    "w2s_nb.vision.models",
    (
        "efficientnet-lite0",
        "efficientnet-lite1",
        "efficientnet-lite2",
        "alexnet",
        "dino-resnet50",
        "dino-vitb8",
    ),
)
ENCODERS.provide("w2s_nb.vision.alexnet", ("alexnet",))
ENCODERS.provide("w2s_nb.vision.efficientnet", ("efficientnet-lite",))
ENCODERS.provide("w2s_nb.vision.transformers_encoders", ("vit", "resnet"))
MODELS.provide("w2s_nb.chess.models", ("chess-0.1M", "chess-0.4M", "chess-1M", "chess-3M"))

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
