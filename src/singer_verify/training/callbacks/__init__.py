"""Lightning callbacks, one file each; conf/callbacks lists those of a training."""
