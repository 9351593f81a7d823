"""Every failure as an OpenAI error object."""

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from serve.api import ErrorAnswer, ErrorBody

CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "invalid_parameter",
    429: "overloaded",
    500: "internal_error",
    503: "unavailable",
    504: "timeout",
}
"""Status codes the interface answers with, and the error code of each unless a `Refusal` names a better one."""

DOCUMENTED = {status: {"model": ErrorAnswer} for status in CODES}
"""For `responses=` of every route."""


class Refusal(HTTPException):
    """A request that is not answered; `param` names the part at fault, `retry_after` the seconds to wait."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(status, message, {"Retry-After": str(retry_after)} if retry_after else None)
        self.code = code or CODES[status]
        self.param = param


def answer_errors(api: FastAPI) -> None:
    """Make every error of `api` an OpenAI error object."""
    api.add_exception_handler(HTTPException, _http)
    api.add_exception_handler(RequestValidationError, _invalid)
    api.add_exception_handler(Exception, _unexpected)


def _http(request: Request, error: HTTPException) -> JSONResponse:
    if isinstance(error, Refusal):
        return _answer(error.status_code, error.detail, error.code, error.param, error.headers)
    message = {
        404: f"there is nothing at {request.url.path}; /openapi.json lists what there is",
        405: f"{request.url.path} does not take {request.method}; /openapi.json lists what it takes",
    }.get(error.status_code, error.detail)
    return _answer(error.status_code, message, CODES.get(error.status_code), None, error.headers)


def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"][1:]) or None
    return _answer(422, f"{param or 'request'}: {first['msg']}", CODES[422], param)


def _unexpected(_: Request, error: Exception) -> JSONResponse:
    # Starlette raises `error` again after this answer, so that Serve logs it with its traceback.
    return _answer(500, f"the server failed ({type(error).__name__}); its log has the details", CODES[500], None)


def _answer(
    status: int, message: str, code: str | None, param: str | None, headers: dict[str, str] | None = None
) -> JSONResponse:
    kind = "rate_limit_error" if status == HTTPStatus.TOO_MANY_REQUESTS else "invalid_request_error"
    body = ErrorBody(message=message, type=kind if status < 500 else "server_error", param=param, code=code)
    return JSONResponse(ErrorAnswer(error=body).model_dump(), status, headers)
