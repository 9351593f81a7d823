"""Write the pairs, or a published version of them, as other tools take them.

python jobs/export_dataset.py jobs/configs/dataset_viral.yaml export.form=webdataset export.to=shared/viral
"""

from viral.config import load, stop


def main() -> None:
    """Read the command line, write the files, say where they are."""
    config = load("Write pairs in Hugging Face's layout, as WebDataset or as a folder of images.")

    from viral.data.export import export
    from viral.data.pairs import load_pairs
    from viral.data.versions import open_version
    from viral.storage import Storage

    asked, run = config.export, Storage(config.storage)
    try:
        table = open_version(run, asked.version) if asked.version else load_pairs(config)
        to = Storage(asked.to) if asked.to else run.join("export", asked.form)
        names = export(table, to, asked.form)
    except ValueError as error:
        stop(str(error))
    print(f"{len(names)} files in {to}")


if __name__ == "__main__":
    main()
