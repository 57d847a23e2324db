"""Training batches and evaluation windows: a corpus' stores, sampler, augmentation and Lightning data module."""
