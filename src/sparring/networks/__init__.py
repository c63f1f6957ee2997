"""Plain modules, a file a published family; tests compare their parameter counts with the published code's."""
