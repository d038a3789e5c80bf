"""Methods that change what the backward pass does at some operations."""
