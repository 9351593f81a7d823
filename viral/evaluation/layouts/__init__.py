"""Benchmarks in the layouts that they are published in: read into cases, and drawn by the scene world."""
