"""The archives that datasets were published as, imported without TensorFlow.

Private.
"""
