"""One short module for each verb of the command: config in, files and figures out.

Private.
"""
