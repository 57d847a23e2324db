"""Centring of embeddings by the known domain of each recording: speech or song, corpus, microphone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from singer_verify.errors import SingerVerifyError

MIN_DOMAIN_UTTERANCES, MIN_DOMAIN_SINGERS = 10, 2  # the mean of a single singer is the singer's own voice
MIN_NORM = 1e-12


@dataclass(frozen=True)
class DomainCentring:
    """The mean embedding of each domain, which is subtracted; the result is scaled to unit length.

    A domain moves all of its embeddings together; what is left tells singers apart, also between two domains. It needs
    no label of a singer.

    Attributes:
        label: name of the label that tells the domain.
        means: (embedding,), by domain.
        domain: domain of all recordings that are scored; None where it is told for each.
    """

    label: str
    means: Mapping[str, Float[np.ndarray, " embedding"]]
    domain: str | None = None

    def choose(self, domain: str) -> "DomainCentring":
        """Return the centring for recordings that are all of one domain.

        Raises:
            SingerVerifyError: its mean is not known.
        """
        if domain not in self.means:
            raise SingerVerifyError(
                f"domain={domain}: the scoring centres by {self.label}; expected one of {', '.join(self.means)}."
            )
        return replace(self, domain=domain)

    def require_known(self, domains: Sequence[str] | np.ndarray | None) -> None:
        """Refuse recordings of a domain whose mean is not known.

        Args:
            domains: domain of each recording; None where nothing tells it.

        Raises:
            SingerVerifyError: naming the domains that are known, and what to do.
        """
        if self.domain is not None:
            return
        known = ", ".join(self.means)
        if domains is None:
            raise SingerVerifyError(
                f"the scoring centres embeddings by {self.label} ({known}), which nothing tells of these recordings; "
                f"name one of them with --domain."
            )
        if unknown := Counter(str(domain) for domain in domains if domain not in self.means):
            counts = ", ".join(f"{domain or 'no value'} ({number})" for domain, number in sorted(unknown.items()))
            raise SingerVerifyError(
                f"{self.label}: {counts} among the recordings; the scoring centres embeddings of {known} only: name "
                f"one of them with --domain, or calibrate with recordings of all."
            )

    def centre(
        self, embeddings: Float[np.ndarray, "sides embedding"], domains: Sequence[str] | np.ndarray | None = None
    ) -> Float[np.ndarray, "sides embedding"]:
        """Subtract from each embedding the mean of its domain, and scale it to unit length.

        Args:
            embeddings: rows of unit length.
            domains: (sides,), domain of each; not needed where one was chosen for all.

        Raises:
            SingerVerifyError: a domain whose mean is not known.
        """
        self.require_known(domains)
        if self.domain is None:
            assert domains is not None
            means = np.stack([self.means[str(domain)] for domain in domains])
        else:
            means = self.means[self.domain][None]
        centred = embeddings - means
        rows: np.ndarray = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), MIN_NORM)
        return rows


def fit_domain_centring(
    embeddings: Float[np.ndarray, "utterances embedding"], singers: np.ndarray, domains: np.ndarray, label: str
) -> DomainCentring:
    """Compute the mean embedding of each domain.

    Args:
        embeddings: rows of unit length.
        singers: (utterances,), of whom only the number in a domain matters.
        domains: (utterances,), `""` where unknown.
        label: name of the label that tells the domain.

    Raises:
        SingerVerifyError: a domain with too few utterances or singers for a mean that is not a singer's own, or
            utterances of unknown domain.
    """
    if num_unknown := int((domains == "").sum()):
        raise SingerVerifyError(
            f"{label}: {num_unknown} of {len(domains)} utterances have no value, so nothing tells their domain; "
            f"complete the table, or choose another label."
        )
    means, scarce = {}, []
    for domain in sorted(set(domains.tolist())):
        chosen = domains == domain
        num_utterances, num_singers = int(chosen.sum()), len(set(singers[chosen].tolist()))
        if num_utterances < MIN_DOMAIN_UTTERANCES or num_singers < MIN_DOMAIN_SINGERS:
            scarce.append(f"{domain} has {num_utterances} utterances by {num_singers} singers")
        means[domain] = embeddings[chosen].mean(axis=0, dtype=np.float64).astype(np.float32)
    if scarce:
        raise SingerVerifyError(
            f"{label}: {'; '.join(scarce)}; expected at least {MIN_DOMAIN_UTTERANCES} utterances by "
            f"{MIN_DOMAIN_SINGERS} singers in each domain."
        )
    return DomainCentring(label, means)
