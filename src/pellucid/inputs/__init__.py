"""What goes into a model: layouts, reference inputs, pictures from files."""
