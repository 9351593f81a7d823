"""Every failure as an OpenAI error object."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from serve.admission import FULL
from serve.api import ErrorAnswer, ErrorBody
from serve.catalog import NoSuchModel
from serve.dispatch import Busy, Unavailable
from serve.ledger import Full, KeyReused, NoSuchJob
from serve.moderation import Moderated

CODES = {
    400: "bad_request",
    401: "invalid_api_key",
    404: "not_found",
    405: "method_not_allowed",
    408: "upload_timeout",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "invalid_parameter",
    429: "overloaded",
    500: "internal_error",
    503: "unavailable",
    504: "timeout",
}
"""Status codes the interface answers with, and the error code of each unless a `Refusal` names a better one."""

OVERLOADED = "X-Overloaded"
"""Header of an answer that says that no editor had a place; proxies need not ask again at once."""
_RETRY = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}
DOCUMENTED = {
    status: {"model": ErrorAnswer, "description": HTTPStatus(status).phrase}
    | ({"headers": _RETRY} if status in (429, 503) else {})
    for status in CODES
}
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
        headers: dict[str, str] | None = None,
    ) -> None:
        headers = {**(headers or {}), **({"Retry-After": str(retry_after)} if retry_after else {})}
        if status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__(status, message, headers or None)
        self.code = code or CODES[status]
        self.param = param

    def body(self) -> ErrorBody:
        """The error object."""
        return _body(self.status_code, self.detail, self.code, self.param)

    def response(self) -> JSONResponse:
        """The answer."""
        return _respond(self.status_code, self.body(), self.headers)


def overloaded() -> Refusal:
    """Of an edit that no editor has a place for."""
    return Refusal(429, FULL, retry_after=5, headers={OVERLOADED: "1"})


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what keeps editors and journal from answering into a `Refusal`."""
    try:
        yield
    except Busy:
        raise overloaded() from None
    except Full as error:
        raise Refusal(429, str(error), retry_after=5) from None
    except NoSuchModel as error:
        raise Refusal(404, str(error), code="model_not_found", param="model") from None
    except NoSuchJob as error:
        raise Refusal(404, str(error), param="job") from None
    except KeyReused as error:
        raise Refusal(422, str(error), code="idempotency_key_reused", param="Idempotency-Key") from None
    except Unavailable as error:
        raise Refusal(503, str(error), retry_after=5) from None
    except TimeoutError as error:
        raise Refusal(504, str(error)) from None
    except Moderated as error:
        raise Refusal(400, str(error), code="moderation_blocked") from None
    except ValueError as error:
        raise Refusal(400, str(error)) from None


def answer_errors(api: FastAPI) -> None:
    """Make every error of `api` an OpenAI error object."""
    api.add_exception_handler(HTTPException, _http)
    api.add_exception_handler(RequestValidationError, _invalid)
    api.add_exception_handler(Exception, _unexpected)


def failed(status: int, message: str) -> ErrorBody:
    """The error object of work that ended with `status`."""
    return _body(status, message, CODES.get(status), None)


def _http(request: Request, error: HTTPException) -> JSONResponse:
    if isinstance(error, Refusal):
        return error.response()
    message = {
        404: f"there is nothing at {request.url.path}; /openapi.json lists what there is",
        405: f"{request.url.path} does not take {request.method}; /openapi.json lists what it takes",
    }.get(error.status_code, error.detail)
    headers = {"Allow": _allowed(request)} if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED else error.headers
    return _respond(error.status_code, failed(error.status_code, message), headers)


def _allowed(request: Request) -> str:
    """The methods of all routes of a path; Starlette names those of the first."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    fitting = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for route in fitting for method in route.methods or ()}))


def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"][1:]) or None
    message = "is text; send it as a file, with a filename" if "UploadFile" in first["msg"] else first["msg"]
    return _respond(422, _body(422, f"{param or 'request'}: {message}", CODES[422], param))


def _unexpected(_: Request, error: Exception) -> JSONResponse:
    # Starlette raises `error` again after this answer, so that Serve logs it with its traceback.
    return _respond(500, failed(500, f"the server failed ({type(error).__name__}); its log has the details"))


def _body(status: int, message: str, code: str | None, param: str | None) -> ErrorBody:
    kind = "rate_limit_error" if status == HTTPStatus.TOO_MANY_REQUESTS else "invalid_request_error"
    return ErrorBody(message=message, type=kind if status < 500 else "server_error", param=param, code=code)


def _respond(status: int, body: ErrorBody, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(ErrorAnswer(error=body).model_dump(), status, headers)
