"""How work is packed into micro-batches."""
