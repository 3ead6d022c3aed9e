"""Classes: their names, the prompts that describe them to a model, and folder names that every disk accepts."""
