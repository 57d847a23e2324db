"""Trials on unseen singers, their scores, and figures of merit: numpy in, numbers out."""
