"""The version of Holdfast, in one place: the wheel, `holdfast --version` and every report read it here."""

__version__ = "0.1.0"
