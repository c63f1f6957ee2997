"""Evaluation: samples of a generator, their features, and the scores computed from those."""
