"""Suites: named lists of tasks, run as one experiment whose results are medians over the tasks."""
