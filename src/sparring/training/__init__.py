"""The engine, what it is built from, and what it records."""
