"""Where examples come from (sources), how they are kept (cache) and how they reach a turn (batches)."""
