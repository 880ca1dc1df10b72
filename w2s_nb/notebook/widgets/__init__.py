"""Widgets: shells over the figures and tables that the kit makes without them.

Each shows what a static function returns, so a batch run loses nothing by leaving it out.
"""

from .examples import Disagreements, disagreements
from .settings import Explorer, explorer
from .students import Runs, runs

__all__ = ["Disagreements", "Explorer", "Runs", "disagreements", "explorer", "runs"]
