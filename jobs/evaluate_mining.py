"""Score mining where the edits are known: against random pairing, pixel differences and random weights.

python jobs/evaluate_mining.py jobs/configs/mine_scenes.yaml
"""

from viral.config import load, stop


def main() -> None:
    """Read the command line, score the mined pairs, say how they fared."""
    config = load("Write storage/mining/report.md on pairs of scenes that jobs/mine_quadruplets.py has embedded.")

    from viral.evaluation.mining_report import write_mining_report

    try:
        report = write_mining_report(config)
    except ValueError as error:
        stop(str(error))
    print(f"{report.summary}\nreport: {report.address}")


if __name__ == "__main__":
    main()
