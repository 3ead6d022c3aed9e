"""Turn images into embeddings, each image once: what earlier runs have done, what is left to do, and doing it."""
