"""How good the images are: what shows them, what features are taken, which scores are made of those."""
