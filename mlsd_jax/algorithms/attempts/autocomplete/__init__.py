"""Search autocomplete, handed in six times."""
