"""The catalogue of invariants."""
