"""Score the trained adapter on the photographs kept apart, or run a protocol: a table of the papers as a command.

    ray job submit --working-dir . -- python jobs/evaluate_adapter.py jobs/configs/tiny.yaml
    python jobs/evaluate_adapter.py jobs/configs/tiny.yaml --protocol viral_table1 [key=value]
    python jobs/evaluate_adapter.py --list

--protocol NAME  answer and score the cases of a protocol; --list names all there are
"""

import argparse

from viral.config import RunConfig, load, stop


def main() -> None:
    """Evaluate what the configuration's storage holds and print where the scores are."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--protocol")
    parser.add_argument("--list", action="store_true")
    asked, rest = parser.parse_known_args()
    if asked.list:
        _list()
        return
    config = load(__doc__ or "", rest)
    try:
        _score(config) if asked.protocol is None else _run(config, asked.protocol)
    except ValueError as error:
        stop(str(error))


def _score(config: RunConfig) -> None:
    from viral.cluster import connect
    from viral.evaluation.evaluate import evaluate_adapter

    with connect(config):
        summary = evaluate_adapter(config)
    beaten = ", ".join(summary.beaten) or "none"
    print(
        f"scored {len(summary.tasks)} tasks; every free answer is beaten on: {beaten}; see {config.storage}/evaluation"
    )


def _run(config: RunConfig, name: str) -> None:
    from viral.cluster import connect
    from viral.evaluation.protocols.registry import find_protocol
    from viral.evaluation.protocols.run import place_of, run_protocol

    protocol = find_protocol(name)
    with connect(config):
        table = run_protocol(config, protocol)
    run = sum(not row.missing for row in table.rows)
    print(f"{table.table}: {run} of {len(table.rows)} methods; see {place_of(config, name)}/report.html")


def _list() -> None:
    from viral.evaluation.protocols.registry import PROTOCOLS

    for protocol in PROTOCOLS.values():
        print(f"{protocol.name:20} {protocol.table:36} {protocol.title}")


if __name__ == "__main__":
    main()
