"""The package that older predictors import `CancelationException` from."""
