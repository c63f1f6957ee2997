"""The ranks of one run: how they start, stop, average gradients and agree."""
