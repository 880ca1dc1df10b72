"""Draws figures: tables or arrays in, a plotly Figure out.

An arm has one colour everywhere; dots are seeds, bars are intervals.
"""

from .alternative import alt_text
from .base import COLOURS, colour
from .baselines import by_depth, by_shots, by_task
from .comparisons import gains_over_naive
from .elsewhere import in_and_out
from .examples import card, confusion, differences
from .foresight import predictors
from .imitation import agreement, by_size, flow, gain, training_curves
from .labels import quality_by_confidence, reliability
from .monitoring import recall_by_budget
from .preferences import length_bias, perplexity
from .printed import for_print, save_pdf
from .published import paper_mark, paper_marks
from .results import accuracy, accuracy_by_size, lines, pgr, pgr_by_size
from .stress import under_stress
from .suites import by_pair, by_supervisor
from .sweeps import accuracies, spread

__all__ = [
    "COLOURS",
    "accuracies",
    "accuracy",
    "accuracy_by_size",
    "agreement",
    "alt_text",
    "by_depth",
    "by_pair",
    "by_shots",
    "by_size",
    "by_supervisor",
    "by_task",
    "card",
    "colour",
    "confusion",
    "differences",
    "flow",
    "for_print",
    "gain",
    "gains_over_naive",
    "in_and_out",
    "length_bias",
    "lines",
    "paper_mark",
    "paper_marks",
    "perplexity",
    "pgr",
    "pgr_by_size",
    "predictors",
    "quality_by_confidence",
    "recall_by_budget",
    "reliability",
    "save_pdf",
    "spread",
    "training_curves",
    "under_stress",
]
