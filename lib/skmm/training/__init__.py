"""What a selection is judged by: ridge regression, its closed-form risk, linear probes."""
