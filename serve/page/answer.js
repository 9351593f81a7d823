// The right half: candidates come in, verdicts fall, the winner sharpens, and is laid beside B.

const $ = (id) => document.getElementById(id);
const picture = (base64) => `data:image/png;base64,${base64}`;

function element(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
}

export class Answer {
  #field = [];
  #kept = 0;
  #verdicts = 0;

  constructor() {
    $("slider").addEventListener("input", () => this.#slide());
  }

  set #state(state) {
    $("answer").dataset.state = state;
    if (state !== "painting") $("painting").hidden = true;
    $("compare").hidden = state !== "done";
    $("failure").hidden = state !== "failed";
    $("progress").hidden = !["choosing", "painting"].includes(state);
    $("actions").hidden = $("trace").hidden = state !== "done";
    if (state !== "done") $("curl").hidden = true;
  }

  tell(text) {
    $("status").textContent = text;
  }

  clear() {
    this.#state = "empty";
    $("field").hidden = true;
  }

  /** A request with this many candidates from `seed` on was sent. */
  begin(candidates, seed) {
    this.#kept = this.#verdicts = 0;
    this.#field = Array.from({ length: candidates > 1 ? candidates : 0 }, (_, i) => {
      const item = element("li");
      item.append(element("div", undefined, "picture waiting"), element("span", `${i + 1} · seed ${seed + i}`));
      return item;
    });
    $("candidates").replaceChildren(...this.#field);
    $("candidates").classList.toggle("many", candidates > 4);
    $("verdicts").replaceChildren();
    $("field").hidden = candidates < 2;
    $("progress").removeAttribute("value");
    this.#state = candidates > 1 ? "choosing" : "painting";
    $("painting").hidden = true; // the one before, if any
    this.tell(candidates > 1 ? `Looking at ${candidates} candidates …` : "Painting …");
  }

  /** One event of the stream, besides the last. */
  hear(event) {
    if (event.type === "step") $("progress").value = event.step / event.steps;
    if (event.type === "preview") this.#preview(event);
    if (event.type === "verdict") this.#verdict(event);
  }

  #preview({ candidate, b64_json }) {
    const well = this.#field[candidate]?.querySelector(".picture");
    if (!well || well.firstChild) return this.#sharpen(candidate, picture(b64_json));
    well.classList.remove("waiting");
    const image = element("img");
    image.src = picture(b64_json);
    image.alt = `Candidate ${candidate + 1} after a few steps`;
    well.append(image);
    this.tell(`Candidate ${candidate + 1} of ${this.#field.length} is in.`);
  }

  #verdict({ first, second, verdict, why }) {
    this.#kept = verdict === "second" ? second : first;
    const words = {
      first: `${first + 1} preferred to ${second + 1}`,
      second: `${second + 1} preferred to ${first + 1}`,
      tie: `${first + 1} and ${second + 1} tie`,
      none: `no verdict on ${first + 1} and ${second + 1}`,
    }[verdict];
    const item = element("li");
    item.append(element("b", words), element("small", why));
    $("verdicts").append(item);
    this.#field[this.#kept === first ? second : first].classList.add("out");
    this.#mark();
    this.tell(`Candidates compared: ${words}.`);
    const image = this.#field[this.#kept].querySelector("img");
    if (++this.#verdicts === this.#field.length - 1) this.#sharpen(this.#kept, image?.src);
  }

  #mark() {
    for (const [i, item] of this.#field.entries()) item.classList.toggle("best", i === this.#kept);
  }

  /** Show the picture that is being finished, as far as it can be seen. */
  #sharpen(candidate, source) {
    if ($("answer").dataset.state !== "painting") {
      this.#state = "painting";
      this.tell(`Finishing candidate ${candidate + 1} …`);
    }
    this.#kept = candidate;
    this.#mark();
    if (!source) return;
    $("painting").hidden = false;
    $("painting").src = source;
  }

  /** The finished picture over the query, and what made it; both pictures as object URLs. */
  show({ before, after, trace, seconds }) {
    $("before").src = before;
    $("after").src = $("download").href = after;
    $("slider").value = 0;
    this.#slide();
    const [width, height] = trace.size;
    $("stage").style.setProperty("--ratio", width / height);
    const pull = trace.example_guidance > 1 ? { "Pull of the example": trace.example_guidance } : {};
    const spent = seconds ? { "Painted in": `${seconds.toFixed(1)} s` } : {};
    const facts = {
      Seed: trace.seed, Steps: trace.steps, Evaluations: trace.evaluations, Size: `${width} × ${height}`,
      By: [trace.adapter ?? trace.base, trace.version && `version ${trace.version}`].filter(Boolean).join(", "), ...pull, ...spent,
    };
    $("trace").replaceChildren(...Object.entries(facts).map(([name, value]) => {
      const pair = element("div");
      pair.append(element("dt", name), element("dd", value));
      return pair;
    }));
    this.#state = "done";
    this.tell(trace.judge_error ? `The judge decided nothing, the first candidate went on: ${trace.judge_error}` : "Done. Drag over the picture to compare it with B.");
  }

  /** A picture from the history has no field of candidates. */
  recall(painted) {
    $("field").hidden = true;
    this.show(painted);
  }

  fail(message) {
    $("failure-message").textContent = message;
    $("field").hidden = true;
    this.#state = "failed";
    this.tell("");
  }

  #slide() {
    const share = $("slider").value;
    $("compare").style.setProperty("--at", `${share}%`);
    $("slider").setAttribute("aria-valuetext", `${share} % B, ${100 - share} % B′`);
  }
}
