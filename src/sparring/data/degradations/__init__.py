"""How clean images are damaged: what restoration mends and super-resolution enlarges."""
