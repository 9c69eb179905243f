"""Runs, read back: models, configurations, comparisons, evaluations, lists and reports.

Nothing here changes a run, and nothing here trains.
"""
