"""Figures: tables or arrays in, plotly Figure out. One colour an arm everywhere, dots for seeds, bars for intervals."""
from .base import COLOURS, colour, use_renderer
from .baselines import by_depth, by_shots, by_task
from .examples import card, differences
from .imitation import agreement, by_size, flow, gain, training_curves
from .labels import quality_by_confidence, reliability
from .preferences import length_bias, perplexity
from .puzzles import boards, parts
from .results import accuracy, ladder, lines, pgr, pgr_by_size
from .sweeps import spread

__all__ = ["COLOURS", "accuracy", "agreement", "boards", "by_depth", "by_shots", "by_size", "by_task", "card",
           "colour", "differences", "flow", "gain", "ladder", "length_bias", "lines", "parts", "perplexity", "pgr",
           "pgr_by_size", "quality_by_confidence", "reliability", "spread", "training_curves", "use_renderer"]
