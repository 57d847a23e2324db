"""Checksums of files in records of runs and galleries."""

from pathlib import Path

from singer_verify.inference.enrolment import compute_recording_sha256
from singer_verify.runs.provenance import compute_file_sha256


def test_worked_example_of_a_checksum(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert compute_file_sha256(tmp_path / "abc") == compute_recording_sha256(tmp_path / "abc") == expected
