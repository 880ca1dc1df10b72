"""Published results as checks that run: numbers and claims of papers, with verdicts."""
