"""Mine quadruplets A : A' :: B : B' from pairs with instructions: those whose pictures take the same step.

ray job submit --working-dir . -- python jobs/mine_quadruplets.py jobs/configs/mine_scenes.yaml
"""

from viral.config import load, stop


def _estimate(config) -> None:
    from viral.data.mining_estimate import print_estimate

    print_estimate(config)


def main() -> None:
    """Read the command line, embed the pairs, mine them, say what came out."""
    config = load("Mine storage/quadruplets/mined (Parquet) from the pairs of an edit corpus.", estimate=_estimate)

    from viral.cluster import connect
    from viral.data.quadruplets import mine_quadruplets

    try:
        with connect(config):
            manifest = mine_quadruplets(config)
    except ValueError as error:
        stop(str(error))
    print(f"{manifest.counts_out['good']} quadruplets from {manifest.counts_in['pairs']} pairs by {manifest.notes}")


if __name__ == "__main__":
    main()
