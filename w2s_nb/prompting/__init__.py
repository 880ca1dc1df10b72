"""Asks a language model about an example, zero-shot or with examples."""
