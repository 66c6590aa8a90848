"""The runner of `python -m benchmarks`: pairs, peers, the machine, tables and pages."""
