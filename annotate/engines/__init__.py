"""Where work on the images runs: this process, or Ray."""
