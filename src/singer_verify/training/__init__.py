"""Training with Lightning: module, callbacks, loggers, fine-tuning, import of weights."""
