"""makemore: a ladder of models that make more words like those of a list (after Karpathy)."""
