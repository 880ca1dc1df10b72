"""w2s_nb: a research kit for weak-to-strong generalization (Burns et al. 2023, arXiv 2312.09390)."""
from .data import Split, Task, load_task
from .fitting import METHODS, Fit, Recipe, fit
from .labels import SoftLabels
from .losses import register_loss
from .registry import LOSSES, MODELS, TASKS
from .store import results
from .tasks import Example, Hub, register_task
