NAME = "own schemas"
