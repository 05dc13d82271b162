"""What may be done: one module per use case."""
