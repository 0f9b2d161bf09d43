"""The networks outside this package.

Private, but for `torch_file.load`; docs/api.md describes the modules for torch too.
"""
