"""Compares methods of learning from weak labels: paired, corrected for how many are compared."""
