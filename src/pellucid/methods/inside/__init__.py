"""Methods that show what is inside a model rather than which inputs decided."""
