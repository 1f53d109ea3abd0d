"""The parts of a predictor's document that are the same for all of them."""

from typing import Any, Final

Schema = dict[str, Any]

VERSION: Final = "0.23.1"
"""Of Cog, whose contract we keep."""


def prediction(*, streaming: bool) -> Schema:
    routes = {
        "/": {"get": _get("Root", "root__get")},
        "/health-check": {"get": _get("Healthcheck", "healthcheck_health_check_get")},
        **_work("Predict", "Prediction", "prediction", "predict_predictions_post"),
    }
    if streaming:
        routes["/predictions"]["post"]["x-cog-streaming"] = True
    return routes


def training() -> Schema:
    return _work("Train", "Training", "training", "train_trainings_post")


def _work(summary: str, name: str, noun: str, operation: str) -> Schema:
    post = {
        "summary": summary,
        "description": f"Run a single {noun} on the model",
        "operationId": operation,
        "requestBody": {"content": {"application/json": {"schema": _ref(f"{name}Request")}}},
        "responses": {"200": _answer(_ref(f"{name}Response")), "422": _invalid()},
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
        "responses": {"200": _answer({}), "422": _invalid()},
    }
    return {f"/{noun}s": {"post": post}, f"/{noun}s/{{{noun}_id}}/cancel": {"post": cancel}}


def _get(summary: str, operation: str) -> Schema:
    return {"summary": summary, "operationId": operation, "responses": {"200": _answer({})}}


def _answer(schema: Schema) -> Schema:
    return {"description": "Successful Response", "content": {"application/json": {"schema": schema}}}


def _invalid() -> Schema:
    return {
        "description": "Validation Error",
        "content": {"application/json": {"schema": _ref("HTTPValidationError")}},
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _bodies(name: str, input: str, output: str) -> dict[str, Schema]:
    moment = {"type": "string", "format": "date-time"}
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
                "created_at": {"title": "Created At", **moment},
                "started_at": {"title": "Started At", **moment},
                "completed_at": {"title": "Completed At", **moment},
                "status": {"title": "Status", "type": "string"},
                "error": {"title": "Error", "type": "string"},
                "logs": {"title": "Logs", "type": "string"},
                "metrics": {"title": "Metrics", "type": "object"},
            },
        },
    }


PREDICTION: Final = _bodies("Prediction", "Input", "Output")
TRAINING: Final = _bodies("Training", "TrainingInput", "TrainingOutput")
COMMON: Final[dict[str, Schema]] = {
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
