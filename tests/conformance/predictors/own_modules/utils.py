NAME = "own utils"
