"""The comparisons that the README and the docs quote, each one command: `python -m benchmarks.NAME`."""
