"""Lightning callbacks; conf/callbacks lists those of a training."""
