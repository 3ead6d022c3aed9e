"""Classes: their names, how a model is asked about them, and folders for them that every disk takes."""
