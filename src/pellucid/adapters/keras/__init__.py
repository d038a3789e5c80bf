"""What is the same for Keras on every backend: layers and their paths, inputs, settings.

Nothing here computes with arrays; the adapters of the backends do.
"""
