"""Design problems, one file each: statement, required complexity, reference, brute-force oracle, operations."""
