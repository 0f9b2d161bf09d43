"""The networks outside this package."""
