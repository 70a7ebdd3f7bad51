"""From a notebook to its tables and figures: execution, artifacts, provenance, one look for all."""
