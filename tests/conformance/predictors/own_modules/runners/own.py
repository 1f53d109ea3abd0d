NAME = "own runners"
