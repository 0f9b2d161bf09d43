"""The paper's tables and figures as grids of commands: what to run, and what came out.

Private.
"""
