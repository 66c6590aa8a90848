"""Purchases from any source as one table of events, and the weeks they are split into."""
