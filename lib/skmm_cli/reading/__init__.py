"""Files in: a pool's features with its ids and columns, lists of samples, one value a sample."""
