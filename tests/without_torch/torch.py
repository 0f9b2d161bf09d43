"""Takes the place of torch for commands that tests start, as where it is not installed.

tensorboardX imports it where it can, which takes seconds of every run.
"""

raise ModuleNotFoundError("No module named 'torch'", name="torch")
