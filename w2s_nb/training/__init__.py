"""Everything that ends in stored predictions."""
