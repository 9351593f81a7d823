// What the page says to the server, and hears from it.

export class Refused extends Error {
  constructor(error, status = 0) {
    super(error.message);
    this.param = error.param;
    this.status = status;
  }
}

function authorization(key) {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

async function refusal(answer) {
  const text = await answer.text();
  try {
    return new Refused(JSON.parse(text).error, answer.status);
  } catch {
    return new Refused({ message: `The server answered ${answer.status}.` }, answer.status);
  }
}

/** What may be painted with, as `GET /v1/models` lists it. */
export async function models(key) {
  const answer = await fetch("v1/models", { headers: authorization(key) });
  if (!answer.ok) throw await refusal(answer);
  return (await answer.json()).data;
}

/** The events of one edit as they fall; the last one has the type "image". */
export async function* paint(parts, fields, key, signal) {
  const body = new FormData();
  for (const [name, file] of Object.entries(parts)) body.append(name, file, file.name);
  for (const [name, value] of Object.entries(fields)) body.append(name, value);
  const headers = { Accept: "text/event-stream", ...authorization(key) };
  const answer = await fetch("v1/analogies", { method: "POST", body, headers, signal });
  if (!answer.ok) throw await refusal(answer);
  for await (const { name, data } of messages(answer.body)) {
    if (data === "[DONE]") return;
    if (name === "error") throw new Refused(JSON.parse(data).error);
    yield JSON.parse(data);
  }
  throw new Error("The connection ended before the picture was there.");
}

/** Server-sent events of a body. */
async function* messages(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const message = { name: "message", data: "" };
      for (const line of block.split("\n")) {
        if (line.startsWith("event: ")) message.name = line.slice(7);
        if (line.startsWith("data: ")) message.data += line.slice(6);
      }
      if (message.data) yield message;
    }
  }
}

/** The same request as a command line; `shipped` are the example pictures that have to be fetched first. */
export function curl(parts, fields, shipped, withKey) {
  const files = Object.values(parts).filter((file) => shipped.has(file.name));
  const fetched = files.map((file) => quoted(new URL(`page/examples/${file.name}`, document.baseURI).href));
  const words = [`curl ${quoted(new URL("v1/analogies", document.baseURI).href)}`, "-H 'Accept: image/png'"];
  if (withKey) words.push('-H "Authorization: Bearer $VIRAL_API_KEY"');
  for (const [name, file] of Object.entries(parts)) words.push(`-F ${quoted(`${name}=@${filename(file.name)}`)}`);
  for (const [name, value] of Object.entries(fields)) words.push(`-F ${quoted(`${name}=${value}`)}`);
  const lines = fetched.length ? [["curl --remote-name-all", ...fetched].join(" \\\n  ")] : [];
  return [...lines, [...words, "-o answer.png"].join(" \\\n  ")].join("\n");
}

/** A word as a shell reads it. */
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** A file's name as curl's -F reads it. */
function filename(name) {
  return /[",;\\]/.test(name) ? `"${name.replaceAll(/["\\]/g, String.raw`\$&`)}"` : name;
}
