"""Where images come from: named sources, what fits in memory, and draws of labels.

Private.
"""
