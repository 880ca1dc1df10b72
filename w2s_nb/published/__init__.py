"""Published results as checks that run: numbers and claims of papers, with verdicts."""

from .register import claim, claims_of, number, numbers, numbers_of, source, sources

__all__ = ["claim", "claims_of", "number", "numbers", "numbers_of", "source", "sources"]
