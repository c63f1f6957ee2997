"""Scores: a file a metric."""
