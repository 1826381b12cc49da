"""The `holdfast` command and what it runs."""
