"""Centring by domain: means, unit length, and the refusal of unknown and of small domains."""

import re

import numpy as np
import pytest

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.metrics.error_rates import compute_eer
from singer_verify.evaluation.scoring.domains import DomainCentring, fit_domain_centring
from singer_verify.evaluation.scoring.scoring import COSINE, Scoring

NUM_DIMS = 8


def draw_singers(num_singers: int = 6, num_utterances: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singers who speak and sing, in domains that lie far apart."""
    generator = np.random.default_rng(0)
    offsets = {"song": 4.0 * np.eye(NUM_DIMS)[0], "speech": 4.0 * np.eye(NUM_DIMS)[1]}
    rows, singers, domains = [], [], []
    for singer in range(num_singers):
        voice = generator.normal(size=NUM_DIMS)
        for utterance in range(num_utterances):
            domain = ("song", "speech")[utterance % 2]
            rows.append(voice + offsets[domain] + 0.2 * generator.normal(size=NUM_DIMS))
            singers.append(f"singer{singer}")
            domains.append(domain)
    embeddings = np.array(rows, np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings, np.array(singers, object), np.array(domains, object)


def compute_cross_domain_eer(
    scoring: Scoring, embeddings: np.ndarray, singers: np.ndarray, domains: np.ndarray
) -> float:
    sides = scoring.prepare_embeddings(embeddings, domains)
    is_song = domains == "song"
    scores = scoring.compute_score_matrix(sides[is_song], sides[~is_song])
    return compute_eer(scores.ravel(), (singers[is_song][:, None] == singers[~is_song]).ravel())[0]


def test_the_mean_of_each_domain_is_subtracted() -> None:
    embeddings, singers, domains = draw_singers()
    centring = fit_domain_centring(embeddings, singers, domains, "style")
    assert list(centring.means) == ["song", "speech"]
    rows = centring.centre(embeddings, domains)
    for domain in ("song", "speech"):
        expected = embeddings[domains == domain] - embeddings[domains == domain].mean(axis=0)
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(rows[domains == domain], expected, atol=1e-6)
        chosen = centring.choose(domain).centre(embeddings[domains == domain])
        np.testing.assert_array_equal(chosen, rows[domains == domain])


def test_singers_are_found_across_domains() -> None:
    embeddings, singers, domains = draw_singers()
    scoring = Scoring(centring=fit_domain_centring(embeddings, singers, domains, "style"))
    before = compute_cross_domain_eer(COSINE, embeddings, singers, domains)
    assert compute_cross_domain_eer(scoring, embeddings, singers, domains) < 0.5 * before
    assert COSINE.is_plain_cosine
    assert not scoring.is_plain_cosine


def test_a_scoring_needs_to_know_the_domain() -> None:
    scoring = Scoring(
        centring=DomainCentring("style", {"song": np.zeros(2, np.float32), "speech": np.ones(2, np.float32)})
    )
    rows = np.array([[0.6, 0.8]], np.float32)
    said = "centres embeddings by style (song, speech), which nothing tells of these recordings; name one of them with"
    with pytest.raises(SingerVerifyError, match=re.escape(said)):
        scoring.prepare_embeddings(rows)
    with pytest.raises(SingerVerifyError, match=re.escape("style: no value (1), rap (2) among the recordings")):
        scoring.prepare_embeddings(rows.repeat(4, axis=0), ["rap", "song", "", "rap"])
    np.testing.assert_allclose(scoring.prepare_embeddings(rows, ["song"]).embeddings, rows)


@pytest.mark.parametrize(
    ("domains", "singers", "said"),
    [
        (["song"] * 20 + ["speech"] * 9, "ab", "style: speech has 9 utterances by 2 singers; expected at least 10"),
        (
            ["song"] * 20 + ["speech"] * 10,
            "a",
            "style: song has 20 utterances by 1 singers; speech has 10 utterances by 1",
        ),
        (["song"] * 20 + [""] * 3, "ab", "style: 3 of 23 utterances have no value"),
    ],
)
def test_domains_without_enough_to_centre_by_are_refused(domains: list[str], singers: str, said: str) -> None:
    rows = np.ones((len(domains), 3), np.float32)
    names = np.array([singers[number % len(singers)] for number in range(len(domains))], object)
    with pytest.raises(SingerVerifyError, match=re.escape(said)):
        fit_domain_centring(rows, names, np.array(domains, object), "style")
