"""The experiments of the paper, one file per section."""
