"""Times this package beside its peers, in turns within one run, each in a process of its own.

Private.
"""
