"""Plain modules, a file a published family; they know neither Lightning nor Hydra."""
