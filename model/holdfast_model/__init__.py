"""Vocabulary, evidence, the formal spec and its checkers."""
