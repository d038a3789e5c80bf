"""Methods that read what a model attends to."""
