"""The checkers: each takes a model and returns evidence with the bounds within which it speaks."""
