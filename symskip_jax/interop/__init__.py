"""The networks outside this package.

Private but for `torch_file` and `torch_modules`, which say what of them is public.
"""
