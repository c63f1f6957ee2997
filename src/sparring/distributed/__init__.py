"""Ranks: starting them, averaging over them, stopping them together."""
