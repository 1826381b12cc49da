"""Shims that put other people's engines on the wire protocol."""
