"""Shims that put other people's engines on the wire protocol; `holdfast_adapters.registry` knows them by name."""
