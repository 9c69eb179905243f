"""What is read from finished runs: models, configurations, comparisons and reports.

Nothing here changes a run, and nothing here trains.
"""
