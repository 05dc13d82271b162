"""The rules of a chat that is kept as events. Knows the standard library and msgspec, nothing else."""
