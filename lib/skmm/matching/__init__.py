"""The relaxed programs over weights: moment matching, V-optimal design, the capped simplex."""
