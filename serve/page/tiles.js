// The pictures of the question: chosen, dropped or pasted.

const KINDS = ["image/png", "image/jpeg", "image/webp"];

export class Tiles {
  #tiles = new Map();
  #files = {};

  /** `changed` hears that another picture was put in by hand, `refused` of a file that is no picture. */
  constructor(root, changed, refused) {
    this.changed = changed;
    this.refused = refused;
    for (const tile of root.querySelectorAll(".tile")) this.#listen(tile);
    document.addEventListener("paste", (event) => this.#take(event.clipboardData.files));
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      this.#take(event.dataTransfer.files, event.target.closest?.(".tile")?.dataset.part);
    });
  }

  #listen(tile) {
    const part = tile.dataset.part;
    const input = tile.querySelector("input");
    this.#tiles.set(part, tile);
    input.addEventListener("change", () => {
      this.#take(input.files, part);
      input.value = ""; // the same file may be chosen again
    });
    for (const kind of ["dragenter", "dragleave", "drop"])
      tile.addEventListener(kind, () => tile.classList.toggle("over", kind === "dragenter"));
    tile.querySelector("img").addEventListener("error", () => {
      const name = this.#files[part].name;
      this.#clear(part);
      this.refused(`${name} cannot be read as a picture.`);
    });
  }

  /** Put files in: the first into `part` or the first empty tile, further ones into those after it. */
  #take(files, part) {
    if (!files.length) return;
    const parts = [...this.#tiles.keys()];
    const empty = parts.findIndex((name) => !this.#files[name]);
    const start = part ? parts.indexOf(part) : empty < 0 ? parts.length - 1 : empty;
    for (const [i, file] of [...files].slice(0, parts.length - start).entries()) {
      if (!KINDS.includes(file.type)) return this.refused(`${file.name} is not a PNG, JPEG or WebP picture.`);
      this.put(parts[start + i], file);
    }
    this.changed();
  }

  put(part, file) {
    const tile = this.#tiles.get(part);
    const image = tile.querySelector("img");
    URL.revokeObjectURL(image.src);
    this.#files[part] = file;
    image.src = URL.createObjectURL(file);
    image.hidden = false;
    tile.classList.add("filled");
    tile.classList.remove("wrong");
    tile.querySelector(".what").textContent = file.name;
  }

  #clear(part) {
    const tile = this.#tiles.get(part);
    delete this.#files[part];
    tile.querySelector("img").hidden = true;
    tile.classList.remove("filled");
  }

  /** The files by part, in the order of the parts. */
  get files() {
    const parts = [...this.#tiles.keys()].filter((part) => this.#files[part]);
    return Object.fromEntries(parts.map((part) => [part, this.#files[part]]));
  }

  /** Names of the parts that have no picture yet, for people. */
  get missing() {
    const empty = [...this.#tiles].filter(([part]) => !this.#files[part]);
    return empty.map(([, tile]) => tile.querySelector(".name").textContent);
  }

  /** Point at a part that is at fault; false where no tile has this name. */
  blame(part) {
    this.#tiles.get(part)?.classList.add("wrong");
    return this.#tiles.has(part);
  }

  focus(part) {
    this.#tiles.get(part).querySelector("input").focus();
  }
}
