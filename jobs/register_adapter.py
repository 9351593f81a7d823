"""Register the trained adapter and move the alias `champion` to it, if its scores allow.

ray job submit --working-dir . -- python jobs/register_adapter.py jobs/configs/tiny.yaml
"""

from viral.config import load, stop


def main() -> None:
    """Read the command line, register, say which version is the champion."""
    config = load(__doc__ or "")

    from viral.registration import register_adapter
    from viral.tracking import tracking_server

    try:
        with tracking_server(config) as uri:
            result = register_adapter(config, uri)
    except ValueError as error:
        stop(str(error))
    print(result)


if __name__ == "__main__":
    main()
