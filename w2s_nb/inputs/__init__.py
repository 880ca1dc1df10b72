"""Makes what models read: tokens, batches, activations stored once, features."""
