"""The reference exchange."""
