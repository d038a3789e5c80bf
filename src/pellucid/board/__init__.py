"""A model's behaviour over a data set: how well it does, where it errs, and why."""
