"""What a task is made of: checked runs, gradients, reference inputs, layers."""
