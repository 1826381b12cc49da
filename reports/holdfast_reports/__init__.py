"""Renders evidence."""
