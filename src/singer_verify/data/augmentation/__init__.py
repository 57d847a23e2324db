"""What is done to training crops so that a model hears more than was recorded: one idea a file.

An augmentation is called on a batch of crops and on uniform random numbers in [0, 1), a row per crop; these alone
decide what it does, on any device. Augmentations of samples are also told the sample rate in Hz.
"""
