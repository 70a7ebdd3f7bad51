"""The ledger: every statement of the paper and of the library, judged by the committed tables."""
