"""What a training or a validation step is fed with."""
