"""Asks a language model about an example, zero-shot or with solved examples."""
