"""The paths and schemas of a predictor's document that are the same for all predictors."""

from typing import Any, Final

Schema = dict[str, Any]

VERSION: Final = "0.23.1"
"""The version of Cog whose contract we keep."""


def prediction_paths(*, streaming: bool) -> Schema:
    """Return the paths of a predictor."""
    routes = {
        "/": {"get": _get("Root", "root__get")},
        "/health-check": {"get": _get("Healthcheck", "healthcheck_health_check_get")},
        **_run_paths("Predict", "Prediction", "prediction", "predict_predictions_post"),
    }
    if streaming:
        routes["/predictions"]["post"]["x-cog-streaming"] = True
    return routes


def training_paths() -> Schema:
    """Return the additional paths of a predictor that can be trained."""
    return _run_paths("Train", "Training", "training", "train_trainings_post")


def _run_paths(summary: str, name: str, noun: str, operation: str) -> Schema:
    post = {
        "summary": summary,
        "description": f"Run a single {noun} on the model",
        "operationId": operation,
        "requestBody": {"content": {"application/json": {"schema": _ref(f"{name}Request")}}},
        "responses": {"200": _response(_ref(f"{name}Response")), "422": _invalid_response()},
    }
    cancel = {
        "summary": "Cancel",
        "operationId": f"cancel_{noun}s__{noun}_id__cancel_post",
        "parameters": [
            {
                "required": True,
                "schema": {"title": f"{name} Id", "type": "string"},
                "name": f"{noun}_id",
                "in": "path",
            }
        ],
        "responses": {"200": _response({}), "422": _invalid_response()},
    }
    return {f"/{noun}s": {"post": post}, f"/{noun}s/{{{noun}_id}}/cancel": {"post": cancel}}


def _get(summary: str, operation: str) -> Schema:
    return {"summary": summary, "operationId": operation, "responses": {"200": _response({})}}


def _response(schema: Schema) -> Schema:
    return {"description": "Successful Response", "content": {"application/json": {"schema": schema}}}


def _invalid_response() -> Schema:
    return {
        "description": "Validation Error",
        "content": {"application/json": {"schema": _ref("HTTPValidationError")}},
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _body_schemas(name: str, input: str, output: str) -> dict[str, Schema]:
    timestamp = {"type": "string", "format": "date-time"}
    return {
        f"{name}Request": {
            "title": f"{name}Request",
            "type": "object",
            "properties": {"id": {"title": "Id", "type": "string"}, "input": _ref(input)},
        },
        f"{name}Response": {
            "title": f"{name}Response",
            "type": "object",
            "properties": {
                "input": _ref(input),
                "output": _ref(output),
                "id": {"title": "Id", "type": "string"},
                "version": {"title": "Version", "type": "string"},
                "created_at": {"title": "Created At", **timestamp},
                "started_at": {"title": "Started At", **timestamp},
                "completed_at": {"title": "Completed At", **timestamp},
                "status": {"title": "Status", "type": "string"},
                "error": {"title": "Error", "type": "string"},
                "logs": {"title": "Logs", "type": "string"},
                "metrics": {"title": "Metrics", "type": "object"},
            },
        },
    }


PREDICTION_SCHEMAS: Final = _body_schemas("Prediction", "Input", "Output")
TRAINING_SCHEMAS: Final = _body_schemas("Training", "TrainingInput", "TrainingOutput")
COMMON_SCHEMAS: Final[dict[str, Schema]] = {
    "Status": {
        "title": "Status",
        "description": "An enumeration.",
        "type": "string",
        "enum": ["starting", "processing", "succeeded", "canceled", "failed"],
    },
    "HTTPValidationError": {
        "title": "HTTPValidationError",
        "type": "object",
        "properties": {"detail": {"title": "Detail", "type": "array", "items": _ref("ValidationError")}},
    },
    "ValidationError": {
        "title": "ValidationError",
        "type": "object",
        "required": ["loc", "msg", "type"],
        "properties": {
            "loc": {
                "title": "Location",
                "type": "array",
                "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            },
            "msg": {"title": "Message", "type": "string"},
            "type": {"title": "Error Type", "type": "string"},
        },
    },
}
