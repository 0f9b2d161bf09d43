"""Pictures and pages made from results: plain arrays and numbers in, files out.

Private.
"""
