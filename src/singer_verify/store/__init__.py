"""Features extracted once per corpus split and recipe, packed into memory-mapped files with checksums."""
