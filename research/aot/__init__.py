"""Training steps compiled for TPUs that are not here: what they need, what they send, and how fast they can be."""
