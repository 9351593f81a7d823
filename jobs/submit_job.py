"""Submit a job to a cluster once: the same name again answers with what the first one came to.

python jobs/submit_job.py NAME [--no-wait] -- python jobs/train_adapter.py jobs/configs/tiny.yaml

Needs RAY_API_SERVER_ADDRESS, and RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH, as `ray job submit` does. Ends with 0 when the
job succeeded (with --no-wait: when it is there), else with 1.
"""

import argparse
import asyncio
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

from viral.config import stop

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

ROOT = Path(__file__).parents[1]
NOT_FOUND, NO_AGENT = "status code 404", "No available agent"
START_S = 60.0


def main() -> None:
    """Read the command line, submit or find the job, follow it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="submission id")
    parser.add_argument("--no-wait", action="store_true", help="do not follow the job's output")
    parser.add_argument("command", nargs="+", help="what the job runs, after --")
    args = parser.parse_args()

    from ray.job_submission import JobSubmissionClient

    try:
        client = JobSubmissionClient(create_cluster_if_needed=False)
        submit_once(client, args.name, shlex.join(args.command))
    except (ConnectionError, ValueError) as error:
        stop(str(error))
    raise SystemExit(0 if args.no_wait else _follow(client, args.name))


def submit_once(client: "JobSubmissionClient", name: str, command: str) -> None:
    """Submit `command` under `name` with the checkout as working directory, unless that was done before.

    `ValueError` where the name is another command's, or where its job was stopped or failed.
    """
    known = _find(client, name)
    if known is None:
        try:
            _submit(client, name, command)
            print(f"{name}: submitted", flush=True)
            return
        except RuntimeError as error:
            known = _find(client, name)  # somebody else was faster
            if known is None:
                raise ValueError(_first_line(error)) from None
    entrypoint, state = known
    if entrypoint != command:
        raise ValueError(f"{name} was submitted with another command, {entrypoint!r}; choose another name")
    if state in ("FAILED", "STOPPED"):
        again = f"`ray job delete {name}` forgets it; submitted again it goes on from what is finished"
        raise ValueError(f"{name} was submitted before and is {state}: `ray job logs {name}` says why, {again}")
    print(f"{name}: submitted before, {state}", flush=True)


def _submit(client: "JobSubmissionClient", name: str, command: str) -> None:
    """Submit, also to a head so new that its agent is not up yet."""
    end = time.monotonic() + START_S
    while True:
        try:
            client.submit_job(entrypoint=command, submission_id=name, runtime_env={"working_dir": str(ROOT)})
            return
        except RuntimeError as error:
            if NO_AGENT not in str(error) or time.monotonic() > end:
                raise
            time.sleep(1)


def _find(client: "JobSubmissionClient", name: str) -> tuple[str, str] | None:
    """Command and state of the job of this name, if there is one."""
    try:
        info = client.get_job_info(name)
    except RuntimeError as error:  # the client raises the bare class for every answer but 200
        if NOT_FOUND in str(error):
            return None
        raise ValueError(_first_line(error)) from None
    return str(info.entrypoint), info.status.value


def _first_line(error: RuntimeError) -> str:
    """What went wrong, without the server's traceback."""
    return str(error).splitlines()[0]


def _follow(client: "JobSubmissionClient", name: str) -> int:
    async def follow() -> None:
        async for lines in client.tail_job_logs(name):
            print(lines, end="", flush=True)

    asyncio.run(follow())
    state = client.get_job_status(name)
    print(f"{name}: {state.value}", flush=True)
    return 0 if state.value == "SUCCEEDED" else 1


if __name__ == "__main__":
    main()
