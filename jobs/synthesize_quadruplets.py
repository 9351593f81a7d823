"""Synthesise quadruplets A : A' :: B : B': for each pair another scene that its instruction fits, painted and edited.

ray job submit --working-dir . -- python jobs/synthesize_quadruplets.py jobs/configs/synthesize_scenes.yaml
"""

import json

from viral.config import load, stop


def main() -> None:
    """Read the command line, write, paint and edit, say what came out."""
    config = load("Make storage/quadruplets/synthesised (Parquet) from the pairs of synthesis.source.")

    from viral.cluster import connect
    from viral.data.quadruplets import open_quadruplets, quadruplets_place
    from viral.data.synthesis import agreement, find_synthesis, synthesize_quadruplets

    try:
        find_synthesis(config)  # before the half minute that Ray takes to start
        with connect(config):
            manifest = synthesize_quadruplets(config)
    except ValueError as error:
        stop(str(error))
    rows = open_quadruplets(quadruplets_place(config, "synthesised")).rows()
    share = agreement([json.loads(row["scores"]) for row in rows if row["error"] is None])
    print(f"{manifest.counts_out['good']} quadruplets of {manifest.counts_in['pairs']} pairs", end="; ")
    print(f"rejected: {manifest.rejected or 'nothing'}", end="; ")
    print("their edits are not known" if share is None else f"{share:.1%} of them truly share the edit")


if __name__ == "__main__":
    main()
