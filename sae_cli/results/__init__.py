"""Finished runs, read back: models, configurations, comparisons and reports.

Nothing here changes a run, and nothing here trains.
"""
