"""From weights to a subset: sampling, exchange descent, regret minimisation."""
