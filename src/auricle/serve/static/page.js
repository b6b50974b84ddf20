// The page: a file or the microphone in, words out; or labels, of a model that answers so.

import { Mel } from "./mel.js";
import { Meter, stretches } from "./meter.js";
import { listen, wav, RATE_HZ } from "./microphone.js";
import { Words } from "./words.js";

const LONGEST_DRAWN_BYTES = 64e6; // a larger file is heard, but not decoded here to be drawn
const $ = (id) => document.getElementById(id);
const mel = new Mel($("mel"), RATE_HZ);
const meter = new Meter($("bars"));
const words = new Words($("words"), $("partial"), $("spoken"), $("sound"));
const kinds = new Map(); // what each model answers with
let key = sessionStorage.getItem("key") || "";
let stop = null; // ends the microphone
let name = "words";
let work = new AbortController();

function say(text, trouble = false) {
  $("status").textContent = text;
  $("status").classList.toggle("trouble", trouble);
}

const call = (path, options = {}) =>
  fetch(path, { ...options, headers: { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) } });

async function problem(response) {
  if (response.status === 401) $("locked").hidden = false;
  const { error } = await response.json().catch(() => ({}));
  const wait = response.headers.get("Retry-After");
  return `${error?.message ?? response.statusText}${wait ? ` (try again in ${wait} s)` : ""}`;
}

async function models() {
  const response = await call("/v1/models");
  if (!response.ok) return say(await problem(response), true);
  $("locked").hidden = true;
  const { data } = await response.json();
  for (const { id, answer } of data) kinds.set(id, answer);
  $("model").replaceChildren(...data.map(({ id }) => new Option(id)));
  $("models").hidden = data.length < 2;
  kind();
  return say("");
}

const labels = () => kinds.get($("model").value) === "labels";

// What the page is for depends on what the chosen model answers with.
function kind() {
  begin(name);
  $("meter").hidden = !labels();
  $("said").textContent = labels() ? "Heard" : "Words";
}

function begin(called) {
  work.abort();
  work = new AbortController();
  stop?.();
  name = called;
  words.clear();
  meter.clear();
  mel.clear();
  $("downloads").hidden = true;
}

function playable(blob) {
  URL.revokeObjectURL($("sound").src);
  $("sound").src = URL.createObjectURL(blob);
  $("sound").hidden = false;
}

async function draw(file) {
  if (file.size > LONGEST_DRAWN_BYTES) return;
  try {
    const context = new OfflineAudioContext(1, 1, RATE_HZ);
    mel.show((await context.decodeAudioData(await file.arrayBuffer())).getChannelData(0));
  } catch {
    $("sound").hidden = true; // this browser does not know the format; the server may
  }
}

async function hear(file) {
  begin(file.name.replace(/\.[^.]*$/, ""));
  playable(file);
  say(`Hearing ${file.name} ...`);
  draw(file);
  const form = new FormData();
  form.append("model", $("model").value);
  if (!labels()) form.append("stream", "true");
  form.append("file", file, file.name);
  const path = `/v1/audio/${labels() ? "classifications" : "transcriptions"}`;
  const { signal } = work;
  try {
    const response = await call(path, { method: "POST", body: form, signal });
    if (!response.ok) return say(await problem(response), true);
    if (labels()) return labelled(await response.json());
    for await (const event of events(response.body)) {
      if (event.error) return say(event.error.message, true);
      if (event.words) words.add(event.words);
      if (event.heard) say(`Heard ${Math.round(event.heard)} s of ${file.name}`);
    }
    finished();
  } catch (error) {
    if (!signal.aborted) say(`The server cannot be reached: ${error.message}`, true);
  }
  return undefined;
}

function labelled({ duration, chosen, labels: likeliest, windows }) {
  meter.show(likeliest);
  words.add(stretches(windows ?? [{ start: 0, end: duration, labels: likeliest }]));
  finished();
  say(chosen.join(", ") || "None of its labels");
}

async function* events(body) {
  let text = "";
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) yield JSON.parse(part.replace(/^data: /, ""));
  }
}

function finished() {
  $("downloads").hidden = !words.known.length;
  const what = labels() ? "labels" : "words";
  say(words.known.length ? `${words.known.length} ${what}` : `No ${what} were heard`);
}

async function speak() {
  if (stop) {
    say("Finishing ...");
    return stop();
  }
  begin("spoken");
  const blocks = [];
  $("speak").setAttribute("aria-pressed", "true");
  $("speak").textContent = "Stop";
  const over = (why) => {
    stop = null;
    $("speak").setAttribute("aria-pressed", "false");
    $("speak").textContent = "Speak";
    words.show([]);
    if (blocks.length) playable(wav(blocks));
    finished();
    if (why) say(why, true);
  };
  try {
    stop = await listen({
      path: labels() ? "/v1/realtime/classifications" : "/v1/realtime",
      query: { model: $("model").value },
      key,
      sound: (samples) => {
        blocks.push(samples);
        mel.push(samples);
      },
      heard: (message) => {
        if (message.type === "labels") meter.show(message.labels);
        else if (message.type === "detection") words.add([{ ...message, word: message.label }]);
        else words.show(message.type === "partial" ? message.words : []);
        if (message.type === "final") words.add(message.words);
      },
      closed: over,
    });
    say("Listening ...");
  } catch (error) {
    over(`The microphone cannot be used: ${error.message}`);
  }
  return undefined;
}

async function download({ target }) {
  if (!target.matches("button")) return;
  const response = await call(`/v1/audio/transcripts?response_format=${target.value}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      words: words.known.map((each) => ({ ...each, word: each.word.replace(/\s+/g, "_") })), // labels may have spaces
      duration: Number.isFinite($("sound").duration) ? $("sound").duration : 0,
    }),
  });
  if (!response.ok) {
    say(await problem(response), true);
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = `${name}.${target.textContent}`;
  link.click();
  URL.revokeObjectURL(link.href);
}

$("speak").addEventListener("click", speak);
$("downloads").addEventListener("click", download);
$("model").addEventListener("change", kind);
$("file").addEventListener("change", ({ target }) => target.files.length && hear(target.files[0]));
$("locked").addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("key").value;
  sessionStorage.setItem("key", key);
  models();
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) hear(event.dataTransfer.files[0]);
  });
}
models();
