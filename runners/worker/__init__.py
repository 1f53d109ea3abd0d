"""The model worker: a process that loads one Cog predictor and runs what the agent sends."""
