"""Widgets: controls around figures and tables that the kit also makes without them.

Each shows what a static function returns, so a batch run loses nothing by leaving it out.
"""

from .example_browser import Disagreements, disagreements
from .run_table import Runs, runs
from .setting_explorer import Explorer, explorer

__all__ = ["Disagreements", "Explorer", "Runs", "disagreements", "explorer", "runs"]
