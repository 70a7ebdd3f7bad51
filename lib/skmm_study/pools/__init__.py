"""Pools whose truth is known."""
