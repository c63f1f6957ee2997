"""Files that are whole or absent: locks, cached folders, tensor files, pretrained weights."""
