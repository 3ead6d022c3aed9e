"""Soft labels under a budget: which share of people would say which class, found with few votes.

The files are those of the data-centric labelling challenge (DCIC), read and written exactly. A simulated oracle gives
votes and counts them; it alone sees what people said.
"""
