"""The networks outside this package.

Private.
"""
