"""Images become rows, each once: what is known, what is to be done, and what is done."""
