"""Base models on the hub: one snapshot per revision, from the hub, from a mirror of it or from its cache.

The environment is the standard one: HF_TOKEN, HF_ENDPOINT (a mirror), HF_HOME (the cache), HF_HUB_OFFLINE.
"""

from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

CARD = "README.md"
PARTS = ("*/*", "model_index.json", CARD)
"""What diffusers reads; FLUX.1's repositories hold the same weights a second time in single files at the top."""
CONFIGURATIONS = ("*/config.json", "model_index.json", CARD)


def local_folder(base: str) -> Path | None:
    """The folder that a base is, None for a hub id; `ValueError` for what is neither."""
    if Path(base).is_dir():
        return Path(base)
    if base.count("/") != 1:
        raise ValueError(f"base {base!r} is neither a folder nor a hub id like 'Qwen/Qwen-Image-Edit-2511'")
    return None


def snapshot(repository: str, revision: str | None = None, files: tuple[str, ...] = PARTS) -> Path:
    """The local folder of a repository's `files` (patterns); `ValueError` says how to get what is not there."""
    what = repository if revision is None else f"{repository} at revision {revision}"
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(files)))
    except GatedRepoError:
        raise ValueError(
            f"{what} is gated: accept its licence on {constants.ENDPOINT}/{repository}, then set HF_TOKEN to a token "
            "of the account that did"
        ) from None
    except RevisionNotFoundError:
        raise ValueError(f"{repository} has no revision {revision}; correct model.revision") from None
    except RepositoryNotFoundError:
        raise ValueError(
            f"{constants.ENDPOINT} has no model {repository}, or it is private; correct the name, or set HF_TOKEN"
        ) from None
    except (LocalEntryNotFoundError, IncompleteSnapshotError):
        raise ValueError(_out_of_reach(what, repository)) from None
    except HfHubHTTPError as error:
        raise ValueError(
            f"{constants.ENDPOINT} failed on {what}: {error}; try again, or set HF_ENDPOINT to a mirror"
        ) from None


def _out_of_reach(what: str, repository: str) -> str:
    cache = f"{what} is not whole in the cache {constants.HF_HUB_CACHE}"
    if constants.HF_HUB_OFFLINE:
        return f"{cache} and HF_HUB_OFFLINE forbids to fetch it; run `hf download {repository}` once without it"
    return (
        f"{cache} and {constants.ENDPOINT} cannot be reached; set HF_ENDPOINT to a mirror, copy a filled cache to "
        "HF_HOME, or give the base as a folder"
    )
