"""Algorithms: a judge, design problems with proof of their complexity, a contestant's toolkit."""
