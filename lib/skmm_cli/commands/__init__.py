"""The commands: each reads, calls the library, and prints; no mathematics lives here."""
