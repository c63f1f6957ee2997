"""Files that are whole or absent: atomic writes, checksums, locks, cached folders, tensors, pretrained weights."""
