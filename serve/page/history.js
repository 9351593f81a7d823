// What was painted before, kept in this browser.

const KEEP = 24;

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

export class History {
  #database;
  #urls = [];

  /** `recall` is handed the entry that somebody presses. */
  constructor(section, recall) {
    this.section = section;
    this.recall = recall;
  }

  /** Open the store and show it. */
  async open() {
    const opening = indexedDB.open("viral", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("painted", { autoIncrement: true });
    this.#database = await settled(opening);
    await this.#show();
  }

  #store(mode) {
    return this.#database.transaction("painted", mode).objectStore("painted");
  }

  /** Keep an entry: parts, fields, png, trace, and the seconds it took. */
  async add(entry) {
    await settled(this.#store("readwrite").add(entry));
    const keys = await settled(this.#store("readonly").getAllKeys());
    for (const key of keys.slice(0, -KEEP)) await settled(this.#store("readwrite").delete(key));
    await this.#show();
  }

  async forget() {
    await settled(this.#store("readwrite").clear());
    await this.#show();
  }

  async #show() {
    const entries = await settled(this.#store("readonly").getAll());
    this.#urls.forEach((url) => URL.revokeObjectURL(url));
    this.#urls = [];
    this.section.hidden = !entries.length;
    this.section.querySelector("ul").replaceChildren(...entries.reverse().map((entry) => this.#item(entry)));
  }

  #item(entry) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `Back to ${entry.parts.query.name} painted with seed ${entry.trace.seed}`);
    button.append(this.#image(entry.parts.query), this.#image(entry.png));
    button.addEventListener("click", () => this.recall(entry));
    item.append(button);
    return item;
  }

  #image(blob) {
    const image = document.createElement("img");
    image.alt = "";
    image.src = URL.createObjectURL(blob);
    this.#urls.push(image.src);
    return image;
  }
}
