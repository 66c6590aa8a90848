"""Documents -> chunks -> embeddings -> index -> search -> rerank -> answer -> evaluation."""
