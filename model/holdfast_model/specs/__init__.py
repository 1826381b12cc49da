"""The specs that ship with Holdfast, and the registry that finds them by name."""
