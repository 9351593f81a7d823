"""VIRAL teaches an image model by example: A is to A' as B is to B'."""

__version__ = "0.1.0"
