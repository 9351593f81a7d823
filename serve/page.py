"""The web page at `/`: plain files beside this one, which fetch nothing from elsewhere."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

FOLDER = Path(__file__).parent / "page"
_HEADERS = {
    # Pictures that were dropped or painted are shown from memory: blob and data.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def mount_page(api: FastAPI) -> None:
    """Answer `/` with the page and `/page/...` with its parts, and no other path."""
    api.add_api_route("/", _index, methods=["GET", "HEAD"], include_in_schema=False)
    api.mount("/page", _Parts(directory=FOLDER))


async def _index() -> FileResponse:
    return FileResponse(FOLDER / "index.html", headers=_HEADERS)


class _Parts(StaticFiles):
    """Files that a browser asks for again when they changed."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response
