"""Notebooks run with provenance: profiles, sources, output folders."""
