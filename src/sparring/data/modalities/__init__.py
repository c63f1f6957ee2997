"""Kinds of examples: how each is stored, shown to networks and written to files."""
