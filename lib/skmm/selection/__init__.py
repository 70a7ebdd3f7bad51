"""One entry for all selectors, and the certificate of a subset."""
