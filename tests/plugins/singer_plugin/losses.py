"""Additive angular margin softmax."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize, one_hot


class AAMSoftmax(nn.Module):
    """Deng et al. 2019, "ArcFace: additive angular margin loss for deep face recognition", equation 3.

    Args:
        num_singers: number of training singers.
        embedding_size: size of an embedding.
        margin: added to the angle between an embedding and its singer's direction, in radians.
        scale: factor on the cosines.
    """

    min_utterances = 1
    lr_multiplier = 1.0
    singer_specific = True

    def __init__(self, num_singers, embedding_size, margin=0.2, scale=30.0):
        super().__init__()
        self.directions = nn.Parameter(torch.empty(num_singers, embedding_size))
        nn.init.xavier_normal_(self.directions)
        self.margin, self.scale = margin, scale

    def forward(self, embeddings, singers):
        cosines = normalize(embeddings.flatten(0, 1), dim=1) @ normalize(self.directions, dim=1).T
        labels = singers.repeat_interleave(embeddings.shape[1])
        own = one_hot(labels, len(self.directions)).bool()
        angles = torch.acos(cosines.clamp(-1 + 1e-6, 1 - 1e-6))
        logits = self.scale * torch.where(own, torch.cos(angles + self.margin), cosines)
        accuracy = (cosines.argmax(dim=1) == labels).float().mean()
        return {"aam": cross_entropy(logits, labels), "aam/accuracy": accuracy}
