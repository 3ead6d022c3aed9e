"""What leaves annotate: a dataset as a folder, and what is said of it."""
