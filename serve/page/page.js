import { Answer } from "./answer.js";
import { History } from "./history.js";
import { Tiles } from "./tiles.js";
import { curl, models, paint } from "./wire.js";

const $ = (id) => document.getElementById(id);
const form = $("question");
const answer = new Answer();
const tiles = new Tiles($("tiles"), () => press(null), (message) => answer.tell(message));
const history = new History($("history"), recall);
const shipped = new Set();
let running = null;
let shown = { urls: [] };

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!running) ask();
});
$("stop").addEventListener("click", () => running?.abort());
$("again").addEventListener("click", ask);
$("another-seed").addEventListener("click", rollSeed);
$("reroll").addEventListener("click", () => {
  rollSeed();
  ask();
});
$("continue").addEventListener("click", () => {
  tiles.put("query", new File([shown.png], "painted.png", { type: "image/png" }));
  tiles.focus("query");
  answer.tell("The answer is the new B.");
});
$("show-curl").addEventListener("click", toggleCurl);
$("copy-curl").addEventListener("click", copyCurl);
$("forget").addEventListener("click", () => history.forget());
$("key").value = sessionStorage.getItem("key") ?? "";
$("key").addEventListener("change", () => {
  sessionStorage.setItem("key", $("key").value);
  listModels();
});
form.candidates.forEach((choice) => choice.addEventListener("change", explainCandidates));

explainCandidates();
listModels();
listExamples();
history.open();

/** The choices that differ from the server's own, as the form's fields name them. */
function fields() {
  const filled = [...new FormData(form)].filter(([, value]) => value !== "");
  const chosen = Object.fromEntries(filled);
  if (chosen.candidates === "1") for (const name of ["candidates", "judge", "preview_steps"]) delete chosen[name];
  return chosen;
}

async function ask() {
  if (tiles.missing.length) return answer.tell(`Still missing: ${tiles.missing.join(" and ")}.`);
  if (!form.reportValidity()) return;
  const [parts, chosen, start] = [tiles.files, fields(), performance.now()];
  running = new AbortController();
  busy(true);
  answer.begin(Number(chosen.candidates ?? 1), Number(chosen.seed));
  $("answer").scrollIntoView({ block: "nearest" });
  try {
    for await (const event of paint(parts, chosen, $("key").value, running.signal)) {
      if (event.type === "image") finish(event, parts, chosen, (performance.now() - start) / 1000);
      else answer.hear(event);
    }
  } catch (error) {
    refuse(error);
  }
  running = null;
  busy(false);
}

function busy(is) {
  const [come, go] = is ? [$("stop"), $("paint")] : [$("paint"), $("stop")];
  come.hidden = false;
  if (document.activeElement === go) come.focus({ preventScroll: true });
  go.hidden = true;
}

function finish(event, parts, chosen, seconds) {
  const bytes = Uint8Array.from(atob(event.data[0].b64_json), (letter) => letter.charCodeAt(0));
  const png = new Blob([bytes], { type: "image/png" });
  const entry = { parts, fields: chosen, png, trace: event.viral, seconds };
  answer.show(opened(entry));
  history.add(entry).catch((error) => answer.tell(`Done, but not kept in the history: ${error.message}`));
}

/** What the answer shows of an entry; the one shown before lets go of its pictures. */
function opened(entry) {
  shown.urls.forEach((url) => URL.revokeObjectURL(url));
  const [before, after] = [entry.parts.query, entry.png].map((blob) => URL.createObjectURL(blob));
  shown = { ...entry, urls: [before, after] };
  $("curl").querySelector("code").textContent = curl(entry.parts, entry.fields, shipped, $("key").value !== "");
  return { before, after, trace: entry.trace, seconds: entry.seconds };
}

function refuse(error) {
  if (error.name === "AbortError") {
    answer.clear();
    return answer.tell("Stopped.");
  }
  answer.fail(error instanceof TypeError ? "The server cannot be reached." : error.message);
  const field = error.status === 401 ? $("key") : form.querySelector(`[name="${error.param}"]`);
  if (!tiles.blame(error.param) && field) {
    $("settings").open = true;
    field.focus();
  }
}

function recall(entry) {
  if (running) return answer.tell("Stop the painting first.");
  for (const [part, file] of Object.entries(entry.parts)) tiles.put(part, file);
  const key = $("key").value;
  form.reset();
  $("key").value = key;
  for (const [name, value] of Object.entries({ candidates: "1", ...entry.fields })) form.elements.namedItem(name).value = value;
  explainCandidates();
  press(null);
  answer.recall(opened(entry));
  $("answer").scrollIntoView({ block: "nearest" });
}

function rollSeed() {
  form.seed.value = crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000;
}

function explainCandidates() {
  const count = form.candidates.value;
  $("candidates-meaning").textContent =
    count === "1" ? "One seed, painted to the end." : `${count} seeds are begun; a judge picks the one to finish.`;
}

function toggleCurl() {
  $("curl").hidden = !$("curl").hidden;
  $("show-curl").setAttribute("aria-expanded", !$("curl").hidden);
}

async function copyCurl() {
  const code = $("curl").querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    answer.tell("Copied.");
  } catch {
    // Browsers keep the clipboard from pages that are neither local nor on https.
    getSelection().selectAllChildren(code);
    answer.tell("Selected: press Ctrl+C, or ⌘C, to copy.");
  }
}

async function listModels() {
  const [first] = form.model.options;
  try {
    const options = (await models($("key").value)).map((model) => {
      const version = model.version ? `, version ${model.version}` : "";
      return new Option(model.kind === "base" ? `${model.id}, no adapter` : model.id + version, model.id);
    });
    form.model.replaceChildren(first, ...options);
  } catch (error) {
    answer.tell(error.status === 401 ? "This server asks for an API key: give it under Settings." : `${error.message}`);
  }
}

async function listExamples() {
  const examples = await (await fetch("page/examples/examples.json")).json();
  $("examples").replaceChildren(...examples.map(exampleItem));
}

function exampleItem({ title, files }) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-pressed", false);
  for (const name of [files.example_source, files.example_target]) {
    const image = document.createElement("img");
    image.alt = "";
    image.src = `page/examples/${name}`;
    button.append(image);
  }
  Object.values(files).forEach((name) => shipped.add(name));
  button.append(Object.assign(document.createElement("span"), { textContent: title }));
  button.addEventListener("click", () => startFrom(files, button));
  item.append(button);
  return item;
}

async function startFrom(files, button) {
  for (const [part, name] of Object.entries(files)) {
    const blob = await (await fetch(`page/examples/${name}`)).blob();
    tiles.put(part, new File([blob], name, { type: blob.type }));
  }
  press(button);
  answer.tell("");
}

/** Mark the example that the tiles hold. */
function press(chosen) {
  for (const button of $("examples").querySelectorAll("button")) button.setAttribute("aria-pressed", button === chosen);
}
