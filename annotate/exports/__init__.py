"""Datasets for other programs: the folder of sorted images, and the files that describe it."""
