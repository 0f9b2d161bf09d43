"""What `symskip` takes, verb by verb, and where it goes; light until it goes there.

Private.
"""
