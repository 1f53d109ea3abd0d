NAME = "own gateway"
