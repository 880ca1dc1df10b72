"""Measures of the register: functions that compute a claim's quantity in a setting of ours."""

from .setting import Setting, experiments_of
from .table import MEASURES, measure

__all__ = ["MEASURES", "Setting", "experiments_of", "measure"]
