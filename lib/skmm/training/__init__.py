"""From subsets to scores: a grid of durable cells, finetuning, differences between methods."""
