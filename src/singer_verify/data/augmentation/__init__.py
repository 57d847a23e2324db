"""Random changes to training crops, one per file.

An augmentation is called with a batch of crops and a row of uniform random numbers in [0, 1) per crop, which alone
determine the result, on any device. Augmentations of samples are also given the sample rate in Hz.
"""
