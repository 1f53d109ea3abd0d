"""The exception that cancels a prediction, and errors of Cog's old command line."""


class CancelationException(BaseException):
    """Raised inside a sync `predict` that is canceled. Clean up and let it pass.

    It is no `Exception`, so that a predictor which catches everything does not swallow it.
    """


class CogError(Exception):
    """The base of errors that are never raised here; predictors may name them in an `except`."""


class ConfigDoesNotExist(CogError):
    """The error of Cog for a missing cog.yaml."""


class PredictorNotSet(CogError):
    """The error of Cog for a cog.yaml that names no predictor."""
