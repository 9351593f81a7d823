"""Versions of the pairs: each frozen in a folder that is named by the hash of its manifest."""

import csv
import hashlib
import io

from viral.data.card import write_card
from viral.data.census import Census
from viral.data.dataset_sheet import SHEET, make_sheet
from viral.data.duplicates import DUPLICATES
from viral.data.pair_table import PairTable
from viral.storage import MANIFEST, Manifest, Storage, is_intact, manifest_file, read_manifest, write_manifest

VERSIONS = "versions"
REJECTED = "rejected.csv"
DIGITS = 12


def version_name(manifest: Manifest) -> str:
    """The sha256 of the manifest's file, cut short: it names every shard by its own, so nothing in it can change."""
    return hashlib.sha256(manifest_file(manifest)).hexdigest()[:DIGITS]


def publish(pairs: PairTable, run: Storage) -> PairTable:
    """Freeze the pairs under `run`/versions/<name>, with card, contact sheet and reports, once.

    What is published is a table of its own: `pairs=` takes its folder. `ValueError` where a folder of that name holds
    something else.
    """
    place = run.join(VERSIONS, version_name(pairs.manifest))
    frozen = PairTable(place, pairs.manifest)
    if (there := read_manifest(place)) is not None:
        _check(place, there)
        return frozen
    for shard in pairs.manifest.shards:
        if not is_intact(place, shard):
            place.write(shard.name, pairs.storage.local(shard.name, shard.sha256).read_bytes())
    census = Census(frozen)
    place.write(REJECTED, _rejected(census))
    if run.join("images").exists(DUPLICATES):
        place.write(DUPLICATES, run.join("images").read(DUPLICATES))
    place.write(SHEET, make_sheet(frozen, census))
    write_card(place, version_name(pairs.manifest), pairs.manifest, census, {"default": {"pairs": "shard-*.parquet"}})
    write_manifest(place, pairs.manifest)
    return frozen


def open_version(run: Storage, name: str) -> PairTable:
    """A published version by its name or the beginning of it; `ValueError` names those there are."""
    names = [found for found in list_versions(run) if found.startswith(name)]
    if len(names) != 1:
        there = ", ".join(list_versions(run)) or "none"
        raise ValueError(
            f"{run}/{VERSIONS}: {len(names)} versions begin with {name!r}, expected one; there are: {there}"
        )
    place = run.join(VERSIONS, names[0])
    manifest = read_manifest(place)
    assert manifest is not None, "listed by its manifest"
    _check(place, manifest)
    return PairTable(place, manifest)


def list_versions(run: Storage) -> list[str]:
    """Names of the versions that are whole, sorted."""
    place = run.join(VERSIONS)
    files = place.walk() if place.is_folder else []
    return sorted(name.partition("/")[0] for name in files if name.endswith(f"/{MANIFEST}") and name.count("/") == 1)


def _check(place: Storage, manifest: Manifest) -> None:
    """`ValueError` where a version is no longer what its name says."""
    name = version_name(manifest)
    if name != place.names[-1]:
        raise ValueError(f"{place} was changed: its manifest is that of version {name}; publish the pairs anew")


def _rejected(census: Census) -> bytes:
    """Every row without a pair, and why, as CSV."""
    sink = io.StringIO()
    table = csv.writer(sink, lineterminator="\n")
    names = ["task", "split", "source_id", "licence", "error", "provenance", "pair_id"]
    table.writerow(names)
    table.writerows([row[name] for name in names] for row in census if row["error"] is not None)
    return sink.getvalue().encode()
