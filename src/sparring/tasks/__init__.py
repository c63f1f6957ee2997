"""What task= names: a page each."""
