"""Methods x budgets x seeds, measured and kept."""
