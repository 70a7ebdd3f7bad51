"""Pools to select from: drawn ones whose truth is known, and compact features of real data."""
