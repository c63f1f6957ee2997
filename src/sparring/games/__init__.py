"""Who plays and for what: a file a game."""
