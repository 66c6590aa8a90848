"""The stages of the funnel, each with its training: sources of candidates (two towers among them), blend, ranker."""
