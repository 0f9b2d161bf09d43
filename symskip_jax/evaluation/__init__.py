"""Protocols that measure a trained network, every image counted exactly once.

Private.
"""
