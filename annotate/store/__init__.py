"""The store: what people said of images, kept for ever. Events are added, never changed and never taken away."""
